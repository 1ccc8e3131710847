"""What Canal has left in the API: found by references, and told with who else owns or uses it."""

from typing import Any

import pytest

from cni_migrate.core.model.leftovers import Leftover, commands
from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.kube.leftovers import leftovers
from cni_migrate.kube.references import used_by
from tests.unit.kube.fake_api import FakeServer, listed
from tests.unit.kube.test_canal import run

NS = "kube-system"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
CONFIG = ObjectRef("v1", "ConfigMap", NS, "rke2-canal-config")
ACCOUNT = ObjectRef("v1", "ServiceAccount", NS, "rke2-canal")


def made(name: str, **more: Any) -> dict[str, Any]:
    meta = {"name": name, "uid": f"uid-{name}", **more.pop("metadata", {})}
    return {"metadata": meta, **more}


def binding(name: str, role: str, *accounts: str, kind: str = "ClusterRole", **more: Any) -> dict[str, Any]:
    subjects = [{"kind": "ServiceAccount", "name": one, "namespace": NS} for one in accounts]
    return made(name, roleRef={"kind": kind, "name": role}, subjects=subjects, **more)


def role(name: str, *groups: str, **more: Any) -> dict[str, Any]:
    return made(name, rules=[{"apiGroups": list(groups), "resources": ["*"], "verbs": ["get"]}], **more)


def definition(plural: str, kind: str) -> dict[str, Any]:
    spec = {"group": "crd.projectcalico.org", "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1", "served": True}]}  # fmt: skip
    return made(f"{plural}.crd.projectcalico.org", spec=spec)


def controllers() -> dict[str, Any]:
    container = {"name": "calico-kube-controllers", "image": "mirror.example/calico/kube-controllers:v3.32.0"}
    template = {"metadata": {"labels": {"k8s-app": "kc"}},
                "spec": {"serviceAccountName": "kc", "containers": [container]}}  # fmt: skip
    return made("calico-kube-controllers", spec={"template": template})


class World:
    """An API server with Canal's leftovers, to be varied."""

    def __init__(self) -> None:
        self.maps = {"rke2-canal-config": made("rke2-canal-config")}
        self.accounts = {"rke2-canal": made("rke2-canal")}
        self.bindings = [binding("rke2-canal-calico", "rke2-calico", "rke2-canal")]
        self.roles = [role("rke2-calico", "", "crd.projectcalico.org"), role("view", "")]
        self.local: list[dict[str, Any]] = []
        self.definitions = [definition("clusterinformations", "ClusterInformation")]
        self.objects: dict[str, list[dict[str, Any]]] = {"clusterinformations": [made("default")]}
        self.deployments: list[dict[str, Any]] = []
        self.budgets: list[dict[str, Any]] = []
        self.services: list[dict[str, Any]] = []
        self.pods: list[dict[str, Any]] = []
        self.aggregated: tuple[int, dict[str, Any]] = (404, {"message": "404 page not found"})

    def found(self, *used: ObjectRef) -> dict[str, Leftover]:
        server = FakeServer()
        for space, objects in (("configmaps", self.maps), ("serviceaccounts", self.accounts)):
            for name in ("canal-config", "kube-flannel-cfg", "rke2-canal-config", "canal", "flannel", "calico-node",
                         "calico-cni-plugin", "calico-kube-controllers", "rke2-canal", "kc", "shared"):  # fmt: skip
                there = objects.get(name)
                server.on("GET", f"/api/v1/namespaces/{NS}/{space}/{name}", (200, there) if there else (404, {}))
        server.on("GET", f"/api/v1/namespaces/{NS}/secrets/etcd", (403, {"message": "no"}))
        server.on("GET", f"/apis/apps/v1/namespaces/{NS}/deployments", listed(*self.deployments))
        server.on("GET", f"/apis/policy/v1/namespaces/{NS}/poddisruptionbudgets", listed(*self.budgets))
        server.on("GET", f"/api/v1/namespaces/{NS}/services", listed(*self.services))
        server.on("GET", f"/api/v1/namespaces/{NS}/pods", listed(*self.pods))
        server.on("GET", f"{RBAC}/clusterrolebindings", listed(*self.bindings))
        server.on("GET", f"{RBAC}/clusterroles", listed(*self.roles))
        server.on("GET", f"{RBAC}/namespaces/{NS}/rolebindings", listed(*self.local))
        server.on("GET", f"{RBAC}/namespaces/{NS}/roles/canal", (200, made("canal")))
        server.on("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", listed(*self.definitions))
        server.on("GET", "/apis/projectcalico.org", self.aggregated)
        for one in self.definitions:
            plural = one["spec"]["names"]["plural"]
            path = f"/apis/crd.projectcalico.org/v1/{plural}"
            server.on("GET", path, listed(*self.objects.get(plural, [])))
        found: tuple[Leftover, ...] = run(server, lambda client: leftovers(client, used or (CONFIG, ACCOUNT), [NS]))
        return {str(one.ref): one for one in found}


def test_references_lead_to_everything() -> None:
    """From what the DaemonSet used to bindings and roles, by whatever names; and Calico's definitions."""
    world = World()
    world.local = [binding("canal", "canal", "rke2-canal", kind="Role")]
    found = world.found()
    assert set(found) == {
        "ConfigMap kube-system/rke2-canal-config", "ServiceAccount kube-system/rke2-canal",
        "ClusterRoleBinding rke2-canal-calico", "ClusterRole rke2-calico", "RoleBinding kube-system/canal",
        "Role kube-system/canal", "CustomResourceDefinition clusterinformations.crd.projectcalico.org",
    }  # fmt: skip
    assert all(one.removable and one.uid for one in found.values())


def test_calicos_deployment_leads_to_its_account_and_budget() -> None:
    """Known by its image, under any registry; a budget of others is not taken."""
    world = World()
    world.deployments = [controllers(), made("web", spec={"template": {"metadata": {}, "spec": {"containers": []}}})]
    world.accounts["kc"] = made("kc")
    world.bindings.append(binding("kc", "kc", "kc"))
    world.roles.append(role("kc", ""))
    world.budgets = [
        made("kc", spec={"selector": {"matchLabels": {"k8s-app": "kc"}}}),
        made("web", spec={"selector": {"matchLabels": {"app": "web"}}}),
    ]
    found = world.found()
    assert {"Deployment kube-system/calico-kube-controllers", "PodDisruptionBudget kube-system/kc",
            "ServiceAccount kube-system/kc", "ClusterRole kc"} <= set(found)  # fmt: skip
    assert not [name for name in found if "web" in name]


def test_what_a_deployment_or_an_account_led_to_is_found_when_that_is_gone() -> None:
    """Seen with the real one: `delete poddisruptionbudgets` was refused, and the Deployment had gone at the same time."""
    world = World()
    world.accounts = {}
    world.bindings.append(binding("calico-kube-controllers", "calico-kube-controllers", "calico-kube-controllers"))
    world.roles.append(role("calico-kube-controllers", "", "crd.projectcalico.org"))
    world.budgets = [made("kc", spec={"selector": {"matchLabels": {"k8s-app": "calico-kube-controllers"}}})]
    world.services = [made("typha", spec={"selector": {"k8s-app": "calico-typha"}}), made("none", spec={})]
    found = world.found(ACCOUNT)
    assert {"PodDisruptionBudget kube-system/kc", "Service kube-system/typha",
            "ClusterRoleBinding calico-kube-controllers", "ClusterRole calico-kube-controllers",
            "ClusterRoleBinding rke2-canal-calico", "ClusterRole rke2-calico"} <= set(found)  # fmt: skip
    assert "Service kube-system/none" not in found


def test_what_chooses_pods_of_others_is_not_taken() -> None:
    world = World()
    world.deployments = [controllers()]
    world.budgets = [made("all", spec={"selector": {}})]
    world.services = [made("tier", spec={"selector": {"k8s-app": "kc"}})]
    world.pods = [made("dns-0", metadata={"namespace": NS, "labels": {"k8s-app": "kc"}}, spec={"containers": []})]
    assert not [name for name in world.found() if name.startswith(("PodDisruptionBudget", "Service "))]


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"},
          "annotations": {"meta.helm.sh/release-name": "rke2-canal"}}, "Helm release rke2-canal"),
        ({"labels": {"addonmanager.kubernetes.io/mode": "Reconcile"}}, "the addon manager"),
        ({"annotations": {"objectset.rio.cattle.io/owner-name": "canal"}}, "Rancher"),
        ({"ownerReferences": [{"kind": "Installation", "name": "default"}]}, "Installation default"),
    ],
)  # fmt: skip
def test_what_somebody_else_owns_is_named_with_its_owner(metadata: dict[str, Any], owner: str) -> None:
    """They would make it again, so it is not ours to remove."""
    world = World()
    world.maps["rke2-canal-config"] = made("rke2-canal-config", metadata=metadata)
    (config,) = (one for name, one in world.found().items() if name.startswith("ConfigMap"))
    assert (config.owner, config.removable) == (owner, False)


def test_what_others_use_is_kept() -> None:
    """A pod of somebody's with the account, a binding for others, a role of Kubernetes' own."""
    world = World()
    world.accounts["shared"] = made("shared")
    world.pods = [made("cache-0", metadata={"namespace": NS},
                       spec={"serviceAccountName": "rke2-canal", "containers": []})]  # fmt: skip
    world.bindings += [
        binding("both", "both", "rke2-canal", "backup"),
        binding("canal-views", "view", "rke2-canal"),
        binding("others", "rke2-calico", "backup"),
    ]
    world.roles = [
        role("rke2-calico", ""), role("both", ""),
        role("view", "", metadata={"labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}),
    ]  # fmt: skip
    found = world.found()
    assert found["ServiceAccount kube-system/rke2-canal"].kept == "pod cache-0 uses it"
    assert found["ClusterRoleBinding both"].kept == "it is for backup, too"
    assert found["ClusterRole both"].kept
    assert found["ClusterRole rke2-calico"].kept == "ClusterRoleBinding others binds it"
    assert found["ClusterRoleBinding canal-views"].removable
    assert "ClusterRole view" not in found
    assert "ClusterRoleBinding others" not in found


def test_what_an_operator_has_written_keeps_its_definition() -> None:
    """Settings and policies would go with it; what Calico's programs have made by themselves does not count."""
    world = World()
    world.definitions += [definition("felixconfigurations", "FelixConfiguration"), definition("tiers", "Tier")]
    world.objects |= {"felixconfigurations": [made("default"), made("node.w1")], "tiers": [made("kube-admin")]}
    found = world.found()
    felix = found["CustomResourceDefinition felixconfigurations.crd.projectcalico.org"]
    assert felix.kept == "with it would go FelixConfiguration default and 1 more"
    assert found["CustomResourceDefinition tiers.crd.projectcalico.org"].removable


def test_what_an_api_server_of_calico_needs_is_kept() -> None:
    """With its definitions gone it answers nothing, and the cluster deletes no namespace any more."""
    world = World()
    world.aggregated = (200, {"versions": []})
    world.roles.append(role("calico-crds", "crd.projectcalico.org"))
    world.bindings.append(binding("calico-apiserver-access-calico-crds", "calico-crds", "calico-apiserver"))
    found = world.found()
    told = "Calico's API server, APIService v3.projectcalico.org, needs it: remove that first"
    assert found["CustomResourceDefinition clusterinformations.crd.projectcalico.org"].kept == told
    assert "ClusterRole calico-crds" not in found
    assert found["ClusterRoleBinding rke2-canal-calico"].removable


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 2},  # calicoctl has no name either
        {"managedFields": [{"manager": "kubectl-create", "operation": "Update"}]},
        {"managedFields": []},
    ],
    ids=["changed since", "made by somebody else", "nobody can tell"],
)
def test_what_calico_has_made_unasked_keeps_no_definition(change: dict[str, Any]) -> None:
    """calico-node makes settings and a pool when it starts; by them "audit: clean" was never reached on a real one."""
    world = World()
    kinds = {"felixconfigurations": "FelixConfiguration", "ippools": "IPPool", "bgpconfigurations": "BGPConfiguration"}
    world.definitions += [definition(plural, kind) for plural, kind in kinds.items()]
    own: dict[str, Any] = {"managedFields": [{"manager": "Go-http-client", "operation": "Update"}], "generation": 1}
    world.objects |= {
        "felixconfigurations": [made("default", metadata=own)],
        "ippools": [made("default-ipv4-ippool", metadata=own), made("mine", metadata=own)],
        "bgpconfigurations": [made("default", metadata={**own, **change})],
    }
    found = world.found()
    kept = {plural: found[f"CustomResourceDefinition {plural}.crd.projectcalico.org"].kept for plural in kinds}
    assert kept == {
        "felixconfigurations": "",
        "ippools": "with it would go IPPool mine",
        "bgpconfigurations": "with it would go BGPConfiguration default",
    }


def test_without_a_word_of_the_daemonset_the_usual_names_are_looked_for() -> None:
    """A migration that an older version has ended told nothing."""
    world = World()
    world.maps = {"canal-config": made("canal-config")}
    world.accounts = {"canal": made("canal")}
    found = world.found(ObjectRef("v1", "Secret", NS, "etcd"))
    assert {"ConfigMap kube-system/canal-config", "ServiceAccount kube-system/canal"} <= set(found)
    assert found["Secret kube-system/etcd"].kept, "what may not be read is named, and kept"


def test_what_a_pod_uses() -> None:
    """Accounts, ConfigMaps and Secrets, by whatever way a pod's spec names them, each once."""
    pod = {
        "serviceAccountName": "canal",
        "volumes": [
            {"name": "a", "configMap": {"name": "volume"}},
            {"name": "b", "projected": {"sources": [{"configMap": {"name": "projected"}}, {"secret": {"name": "s1"}}]}},
            {"name": "c", "secret": {"secretName": "s2"}},
            {"name": "d", "hostPath": {"path": "/run"}},
        ],
        "initContainers": [
            {"env": [{"name": "CALICO_CNI_SERVICE_ACCOUNT", "value": "plugin"}, {"name": "X", "value": "1"}]}
        ],
        "containers": [
            {"envFrom": [{"configMapRef": {"name": "from"}}, {"secretRef": {"name": "s3"}}],
             "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "volume", "key": "k"}}},
                     {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s4", "key": "k"}}}]}
        ],
    }  # fmt: skip
    assert [f"{ref.kind} {ref.name}" for ref in used_by(pod, NS)] == [
        "ServiceAccount canal", "ConfigMap volume", "ConfigMap projected", "Secret s1", "Secret s2",
        "ServiceAccount plugin", "ConfigMap from", "Secret s3", "Secret s4",
    ]  # fmt: skip


def test_the_commands_that_remove_it() -> None:
    """One for each kind and namespace, what runs first and definitions last."""
    refs = [
        ObjectRef("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "a.crd.projectcalico.org"),
        ObjectRef("v1", "ConfigMap", NS, "canal-config"), ObjectRef("v1", "ConfigMap", NS, "b"),
        ObjectRef("apps/v1", "Deployment", NS, "calico-kube-controllers"),
    ]  # fmt: skip
    assert list(commands(Leftover(ref) for ref in refs)) == [
        "kubectl delete deployment -n kube-system calico-kube-controllers",
        "kubectl delete configmap -n kube-system b canal-config",
        "kubectl delete crd a.crd.projectcalico.org",
    ]
