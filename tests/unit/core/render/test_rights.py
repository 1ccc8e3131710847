"""The rights for an operator's own Cilium: enough for each of its objects, by name, and for a release if there is one."""

from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.render import foreign, rights
from cni_migrate.core.render.manifests import Manifests, Payload
from tests.unit.core.render.test_foreign import TEXTS, objects

SECRETS = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "cilium-secrets"}}
ROLE: dict[str, Any] = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "tls", "namespace": "cilium-secrets"},
    "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
}


@pytest.mark.parametrize(
    ("kind", "resource"),
    [
        ("Secret", "secrets"), ("NetworkPolicy", "networkpolicies"), ("IngressClass", "ingressclasses"),
        ("Endpoints", "endpoints"), ("DaemonSet", "daemonsets"), ("Gateway", "gateways"),
        ("CiliumNodeConfig", "ciliumnodeconfigs"), ("CronJob", "cronjobs"), ("ServiceMonitor", "servicemonitors"),
    ],
)  # fmt: skip
def test_a_kind_has_a_resource(kind: str, resource: str) -> None:
    """As Kubernetes names them."""
    assert rights.plural(kind) == resource


@pytest.mark.parametrize(
    ("source", "changes"), [("chart", {"update", "delete", "patch"}), ("manifests", {"update", "delete"})]
)
def test_every_object_can_be_put_and_taken_away(source: str, changes: set[str]) -> None:
    """Each by its name, in its namespace, which comes first; Helm's release has its Secrets."""
    given = {"source": source, "chart": "c", "manifests": "m"}
    config = Config.model_validate({"strategy": "overlay", "cilium": {key: given[key] for key in ("source", source)}})
    own = foreign.read([SECRETS, ROLE, *objects()])
    found = Manifests(TEXTS, config, Payload("canal:1", {}), foreign=own).rbac()

    assert found[0]["metadata"]["name"] == "cilium-secrets"
    ours = {
        m["metadata"].get("namespace", ""): m["rules"]
        for m in found
        if m["metadata"]["name"] == "cni-migrate-own" and "rules" in m
    }
    bound = [
        m["metadata"].get("namespace", "")
        for m in found
        if m["kind"].endswith("Binding") and m["roleRef"]["name"] == "cni-migrate-own"
    ]
    assert sorted(bound) == sorted(ours) == ["", "cilium-secrets", "kube-system"]
    for one in own.objects:
        rules = ours[one["metadata"].get("namespace", "")]
        verbs = {
            verb
            for rule in rules
            if rights.plural(one["kind"]) in rule["resources"]
            and one["metadata"]["name"] in rule.get("resourceNames", [one["metadata"]["name"]])
            for verb in rule["verbs"]
        }
        assert verbs >= {"get", "create"} | changes, one["metadata"]
    assert (rights.RELEASE in ours["kube-system"]) == (source == "chart")
    (grants,) = (
        m["rules"] for m in found if m["metadata"]["name"] == "cni-migrate-grants" and m["kind"] == "ClusterRole"
    )
    assert ROLE["rules"][0] in grants


def test_nobody_else_gets_more() -> None:
    """With the built-in Cilium there are no such rights."""
    found = Manifests(TEXTS, Config(), Payload("canal:1", {})).rbac()
    assert not [m for m in found if m["metadata"]["name"] == "cni-migrate-own" or m["kind"] == "Namespace"]


def test_an_installed_cilium_is_looked_at_and_no_more() -> None:
    """In its namespace nothing may be made, changed or deleted but a CiliumNodeConfig; its configuration may be read."""
    given = {"cilium": {"source": "existing", "namespace": "network"}}
    found = Manifests(TEXTS, Config.model_validate(given), Payload("canal:1", {})).rbac()
    (role,) = [m for m in found if m["kind"] == "Role" and m["metadata"]["namespace"] == "network"]
    writes = {
        (resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if verb not in ("get", "list", "watch")
    }
    assert {resource for resource, _ in writes} == {"ciliumnodeconfigs"}
    named = {tuple(rule["resources"]): rule.get("resourceNames") for rule in role["rules"]}
    assert named["configmaps",] == ["cilium-config"]
    assert not any(m["metadata"]["name"] == "cni-migrate-own" for m in found)
    grants = [
        rule for m in found if m["metadata"]["name"] == "cni-migrate-grants" and "rules" in m for rule in m["rules"]
    ]
    assert not any("customresourcedefinitions" in rule["resources"] for rule in grants), (
        "nothing of Cilium's is granted"
    )


def test_an_installed_cilium_is_never_made_nor_deleted() -> None:
    """No object of Cilium's is among those that are put, taken away or pulled."""
    config = Config.model_validate({"cilium": {"source": "existing"}})
    made = Manifests(TEXTS, config, Payload("canal:1", {}, cilium_config={"cni-chaining-mode": "portmap"}))
    assert made.cilium() == made.cilium_final() == []
    assert not any(name.startswith("cilium") for name in made.images())
    (node_config,) = made.node_config(["cilium.io/v2/ciliumnodeconfigs"])
    assert node_config["spec"]["defaults"]["cni-chaining-mode"] == "portmap"
    assert node_config["metadata"]["name"] == "cni-migrate", "one of the guide's name may be the owner's"


HOOK: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "certs", "annotations": {"helm.sh/hook": "post-install, post-upgrade"}},
    "spec": {"template": {"spec": {"containers": [{"name": "certgen", "image": "certgen:1"}]}}},
}


@pytest.mark.parametrize(
    ("source", "event", "runs"),
    [("chart", "", True), ("chart", "pre-delete", False), ("manifests", "", False)],
)
def test_what_helm_runs_in_the_last_step_can_be_put_pulled_and_waited_for(source: str, event: str, runs: bool) -> None:
    """A hook is none of the objects that stay; nobody runs it where there is no helm, or at another moment."""
    given = {"source": source, "chart": "c", "manifests": "m"}
    config = Config.model_validate({"strategy": "overlay", "cilium": {key: given[key] for key in ("source", source)}})
    hook = {
        **HOOK,
        "metadata": {"name": "certs", "annotations": {"helm.sh/hook": event or "post-install, post-upgrade"}},
    }
    own = foreign.read([*objects(), hook, {"metadata": {"annotations": {"helm.sh/hook": "pre-install"}}}])
    made = Manifests(TEXTS, config, Payload("canal:1", {}), foreign=own)
    assert ("certgen:1" in made.images().values()) is runs
    assert made.left_out() == (["Job kube-system/certs"] if source == "manifests" else [])
    assert not [one for one in made.cilium_final() if one["kind"] == "Job"]
    roles = [m for m in made.rbac() if m["metadata"]["name"] == "cni-migrate-own" and "rules" in m]
    (here,) = [m["rules"] for m in roles if m["metadata"].get("namespace") == "kube-system"]
    verbs = {verb for rule in here if "jobs" in rule["resources"] for verb in rule["verbs"]}
    assert verbs == ({"get", "create", "update", "delete", "patch", "list", "watch"} if runs else set())
