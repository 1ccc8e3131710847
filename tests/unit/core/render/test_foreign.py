"""An operator's own Cilium: what is read of it, what is refused by name, and what the transit changes and nothing else."""

import copy
from typing import Any

import pytest

from cni_migrate import resources
from cni_migrate.config import Config
from cni_migrate.core.model import names
from cni_migrate.core.render import foreign, suitability
from cni_migrate.core.render.manifests import TEMPLATES, Manifest, Manifests, Payload

TEXTS = {name: resources.read("templates", name) for name in TEMPLATES}
CONFIG = Config.model_validate({"strategy": "overlay"})

RELAY: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "hubble-relay", "namespace": "kube-system"},
    "spec": {
        "selector": {"matchLabels": {"k8s-app": "hubble-relay"}},
        "template": {
            "spec": {"containers": [{"name": "hubble-relay", "image": "quay.io/cilium/hubble-relay:v1.18.2"}]}
        },
    },
}


def objects(**settings: str) -> list[Manifest]:
    """The objects of a Cilium 1.18.2 as its operator wants it, with Hubble's relay."""
    wanted = Config.model_validate({"strategy": "overlay", "cilium": {"version": "1.18.2"}})
    made = copy.deepcopy(Manifests(TEXTS, wanted, Payload("canal:1", {})).cilium_final())
    for one in made:
        if one["kind"] == "DaemonSet":
            del one["spec"]["template"]["metadata"]["labels"][names.STAGE]
        if one["metadata"]["name"] == foreign.CONFIG:
            one["data"] |= {"hubble-listen-address": ":4244", "enable-hubble": "true", **settings}
    return [*made, copy.deepcopy(RELAY)]


def one(found: list[Manifest], kind: str, name: str) -> Manifest:
    (match,) = [m for m in found if m["kind"] == kind and m["metadata"]["name"] == name]
    return match


def test_it_tells_the_configuration_what_it_is() -> None:
    """Version, images, network, tunnel and file come from the objects."""
    found = foreign.read(objects()).facts()
    assert found == {
        "namespace": "kube-system",
        "version": "1.18.2",
        "image": "quay.io/cilium/cilium:v1.18.2",
        "operator_image": "quay.io/cilium/operator-generic:v1.18.2",
        "tunnel_protocol": "vxlan",
        "tunnel_port": 8473,
        "pod_cidr": "10.245.0.0/16",
        "mask_size": 24,
        "policy_enforcement": "default",
        "primary_file": "05-cilium.conflist",
        "agreed": {
            "cluster-id": "0", "cluster-name": "default", "labels": "",
            "enable-ipv4-masquerade": "true", "ipv4-native-routing-cidr": "", "max-connected-clusters": "255",
            "cni-chaining-mode": "none",
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("quay.io/cilium/cilium:v1.20.2", "1.20.2"),
        ("mirror:5000/cilium/cilium:1.16.0-rc.1@sha256:ab", "1.16.0-rc.1"),
        ("quay.io/cilium/cilium:latest", ""),
        ("quay.io/cilium/cilium@sha256:ab", ""),
    ],
)
def test_the_version_is_the_tag(image: str, version: str) -> None:
    """Digests and registries with ports do not disturb; a tag that is no version tells none."""
    made = objects()
    for container in one(made, "DaemonSet", "cilium")["spec"]["template"]["spec"]["containers"]:
        container["image"] = image
    assert foreign.read(made).version == version


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ipam": "kubernetes"}, "ipam is kubernetes"),
        ({"enable-k8s-networkpolicy": "false"}, "NetworkPolicies would be open"),
        ({"label-prefix-file": "/labels"}, "label-prefix-file is /labels"),
        ({"ipam": "eni"}, "ipam is eni"),
        ({"install-no-conntrack-iptables-rules": "true"}, "installNoConntrackIptablesRules: false"),
        ({"cluster-pool-ipv4-cidr": ""}, "cluster-pool-ipv4-cidr is not there"),
        ({"cluster-pool-ipv4-cidr": "10.1.0.0/16 10.2.0.0/16"}, "has 2 networks: 10.1.0.0/16, 10.2.0.0/16"),
        ({"routing-mode": "native"}, "routing-mode is native"),
        ({"tunnel-port": "8472"}, "tunnel port is 8472, which is flannel's"),
        ({"tunnel-port": ""}, "tunnel port is 8472, which is flannel's"),
        ({"enable-ipv4": "false"}, "enable-ipv4 is not true"),
        ({"custom-cni-conf": "true"}, "custom-cni-conf is true"),
        ({"enable-ipv6": "true"}, "enable-ipv6 is true"),
        ({"datapath-mode": "netkit"}, "datapath-mode is netkit"),
        ({"cni-chaining-mode": "aws-cni"}, "cni-chaining-mode is aws-cni"),
        ({"underlay-protocol": "ipv6"}, "underlay-protocol is ipv6"),
        ({"auto-direct-node-routes": "true"}, "auto-direct-node-routes is true"),
        ({"ipam": "multi-pool"}, "ipam is multi-pool"),
        ({"identity-allocation-mode": "kvstore"}, "identity-allocation-mode is kvstore"),
        ({"identity-management-mode": "both"}, "identityManagementMode: agent"),
        ({"enable-cilium-endpoint-slice": "true"}, "ciliumEndpointSlice.enabled: false"),
        ({"cilium-endpoint-gc-interval": "0"}, "operator.endpointGCInterval: 5m0s"),
        ({"cilium-endpoint-gc-interval": "0h0m0s"}, "cilium-endpoint-gc-interval is 0h0m0s"),
        ({"cluster-pool-ipv4-mask-size": "many"}, "cluster-pool-ipv4-mask-size is many"),
    ],
)
def test_what_cannot_be_moved_to_node_by_node_is_named(settings: dict[str, str], said: str) -> None:
    """Each contradiction is one sentence that says which value to write."""
    (found,) = suitability.problems(foreign.read(objects(**settings)), CONFIG)
    assert said in found


def test_a_good_one_has_no_problems() -> None:
    """Nothing is found where nothing is wrong."""
    assert suitability.problems(foreign.read(objects()), CONFIG) == []


@pytest.mark.parametrize(
    ("defaults", "said"),
    [
        ({"debug": "true"}, []),
        ({"enable-policy": "never"}, ["enable-policy"]),
        ({"tunnel-port": "9999", "debug": "true", "kube-proxy-replacement": "true"}, ["kube-proxy-replacement, tunnel-port"]),
    ],
)  # fmt: skip
def test_a_node_config_of_the_operator_s_decides_nothing_that_is_ours(
    defaults: dict[str, str], said: list[str]
) -> None:
    """It would outrank `cilium-config` on some nodes: it is named with its keys, any other one is nobody's business."""
    own: Manifest = {
        "apiVersion": "cilium.io/v2", "kind": "CiliumNodeConfig", "metadata": {"name": "gpu", "namespace": "kube-system"},
        "spec": {"nodeSelector": {"matchLabels": {"gpu": "yes"}}, "defaults": defaults},
    }  # fmt: skip
    found = suitability.problems(foreign.read([*objects(), own]), CONFIG)
    assert [one.partition(" sets ")[2].partition(", which")[0] for one in found] == said
    assert all("CiliumNodeConfig gpu" in one for one in found)


def test_agents_that_would_never_change_are_refused() -> None:
    """With OnDelete the end form would reach no agent."""
    made = objects()
    one(made, "DaemonSet", "cilium")["spec"]["updateStrategy"] = {"type": "OnDelete"}
    (found,) = suitability.problems(foreign.read(made), CONFIG)
    assert "OnDelete" in found


@pytest.mark.parametrize(
    ("kind", "name", "spec", "said"),
    [
        (
            "DaemonSet",
            names.CILIUM,
            {"hostNetwork": False},
            "the pods of DaemonSet cilium are not on the hosts' network",
        ),
        ("Deployment", names.CILIUM_OPERATOR, {"hostNetwork": False}, "Values: operator.hostNetwork: true"),
    ],
)
def test_pods_that_would_wait_for_the_network_they_make(kind: str, name: str, spec: dict[str, Any], said: str) -> None:
    """They were left out in transit, as all that has pods on the pod network: every node waited for its agent."""
    made = objects()
    one(made, kind, name)["spec"]["template"]["spec"] |= spec
    (found,) = suitability.problems(foreign.read(made), CONFIG)
    assert said in found


def test_an_operator_of_no_replicas() -> None:
    """Nodes would have no networks for pods, so that no agent became ready."""
    made = objects()
    one(made, "Deployment", names.CILIUM_OPERATOR)["spec"]["replicas"] = 0
    (found,) = suitability.problems(foreign.read(made), CONFIG)
    assert "Values: operator.replicas: 1" in found


@pytest.mark.parametrize(
    ("kind", "name"),
    [("ConfigMap", foreign.CONFIG), ("Deployment", names.CILIUM_OPERATOR), ("DaemonSet", names.CILIUM)],
)
def test_parts_of_a_cilium_in_two_namespaces(kind: str, name: str) -> None:
    """Agents and operator look for what is theirs in their own namespace."""
    made = objects()
    one(made, kind, name)["metadata"]["namespace"] = "elsewhere"
    with pytest.raises(foreign.ForeignError, match="is in namespace"):
        foreign.read(made)


def test_a_container_beside_the_operator_s() -> None:
    """The operator's image is that of its own container, wherever in the list it stands."""
    made = objects()
    pod = one(made, "Deployment", names.CILIUM_OPERATOR)["spec"]["template"]["spec"]
    pod["containers"].insert(0, {"name": "proxy", "image": "example.org/proxy:v9.9.9"})
    assert foreign.read(made).facts()["operator_image"] == "quay.io/cilium/operator-generic:v1.18.2"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "there is no DaemonSet with a container cilium-agent"),
        (["text"], "document 1: no Kubernetes object"),
        ([{"kind": "ConfigMap"}], "document 1: no Kubernetes object: its apiVersion is missing"),
        ([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}], "a ConfigMap without a name"),
    ],
)
def test_what_is_no_cilium_is_refused(given: list[Any], said: str) -> None:
    """Another program's chart, a text, half an object: each is told."""
    with pytest.raises(foreign.ForeignError, match=said):
        foreign.read(given)


def test_twice_the_same_object_is_refused() -> None:
    """Which of two would win is not guessed."""
    with pytest.raises(foreign.ForeignError, match="ConfigMap kube-system/cilium-config is there twice"):
        foreign.read([*objects(), one(objects(), "ConfigMap", "cilium-config")])


def test_lists_are_taken_apart_and_hooks_left_out() -> None:
    """`kubectl get -o yaml` gives a List; a chart's hooks run around an installation that does not happen."""
    hook = copy.deepcopy(RELAY)
    hook["metadata"]["annotations"] = {"helm.sh/hook": "post-install"}
    found = foreign.read([None, {"apiVersion": "v1", "kind": "List", "items": [*objects(), hook]}])
    assert len(found.objects) == len(objects())


def test_the_transit_changes_what_it_must_and_nothing_else() -> None:
    """The relay waits for the end; agents, operator and some keys differ; every other object is as it came."""
    source = foreign.read(objects())
    before = copy.deepcopy(source.objects)
    made = foreign.transit(source, CONFIG, {"enable-policy": "default"})
    assert source.objects == before, "what came in is not changed"
    changed = [m["metadata"]["name"] for m in made if m not in source.objects]
    assert set(changed) == {foreign.CONFIG, names.CILIUM, names.CILIUM_OPERATOR}
    assert [m for m in source.objects if m["metadata"]["name"] not in {m["metadata"]["name"] for m in made}] == [RELAY]
    data = one(made, "ConfigMap", foreign.CONFIG)["data"]
    assert data.items() >= foreign.TRANSIT.items()
    assert source.config["write-cni-conf-when-ready"], "it alone makes an agent write its file, on every node"
    assert not data.keys() & set(foreign.WRITTEN)
    assert data["enable-hubble"] == "true", "what the operator wants stays where it does no harm"
    daemonset = one(made, "DaemonSet", names.CILIUM)
    assert daemonset["spec"]["updateStrategy"] == {"type": "OnDelete"}
    (term,) = daemonset["spec"]["template"]["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    assert term["matchExpressions"][-1]["key"] == CONFIG.labels.detached.key
    operator = one(made, "Deployment", names.CILIUM_OPERATOR)
    assert operator["spec"]["template"]["metadata"]["labels"].pop(names.STAGE) == "transit"
    assert operator in source.objects, "without the mark in the end, it is made anew"


@pytest.mark.parametrize(
    ("settings", "told", "off"),
    [
        ({"kube-proxy-replacement": "true", "enable-bpf-masquerade": "true"},
         {"kube-proxy-replacement: true", "enable-bpf-masquerade: true"}, {"enable-bpf-masquerade"}),
        ({"enable-wireguard": "true", "encrypt-node": "true"}, {"enable-wireguard: true", "encrypt-node: true"},
         {"encrypt-node"}),
        ({"enable-ipsec": "true"}, {"enable-ipsec: true"}, set()),
        ({"enable-egress-gateway": "True", "enable-bpf-masquerade": "1", "kube-proxy-replacement": "true"},
         {"enable-egress-gateway: True", "enable-bpf-masquerade: 1", "kube-proxy-replacement: true"},
         {"enable-egress-gateway", "enable-bpf-masquerade"}),
        ({"enable-bbr": "true", "enable-bbr-hostns-only": "true"}, {"enable-bbr: true", "enable-bbr-hostns-only: true"},
         {"enable-bbr", "enable-bbr-hostns-only"}),
        ({"enable-ztunnel": "true"}, {"enable-ztunnel: true"}, {"enable-ztunnel"}),
        ({"enable-node-port": "true"}, {"enable-node-port: true"}, {"enable-node-port"}),
        ({"policy-audit-mode": "true"}, {"policy-audit-mode: true"}, {"policy-audit-mode"}),
        ({"disable-endpoint-crd": "true"}, {"disable-endpoint-crd: true"}, {"disable-endpoint-crd"}),
        ({"set-cilium-node-taints": "true"}, set(), {"set-cilium-node-taints"}),
        ({"enable-host-legacy-routing": "false"}, {"enable-host-legacy-routing: false"}, set()),
        ({"enable-hubble": "true", "enable-envoy-config": "true"}, {"enable-envoy-config: true"}, {"enable-envoy-config"}),
    ],
)  # fmt: skip
def test_what_takes_part_in_no_transit_comes_with_the_last_step(
    settings: dict[str, str], told: set[str], off: set[str]
) -> None:
    """It is off while Canal is there, told before, and in the end what the operator wrote."""
    source = foreign.read(objects(**settings))
    assert suitability.problems(source, CONFIG) == []
    assert set(foreign.later(source.config)) == told
    data = one(foreign.transit(source, CONFIG, {}), "ConfigMap", foreign.CONFIG)["data"]
    assert {key for key in foreign.OFF if data.get(key) == "false"} == off
    for key in settings:
        if key in foreign.TRANSIT:
            assert data[key] == foreign.TRANSIT[key]
    final = Manifests(TEXTS, CONFIG, Payload("canal:1", {}), foreign=source).cilium_final()
    assert one(final, "ConfigMap", foreign.CONFIG)["data"].items() >= settings.items()


@pytest.mark.parametrize(
    ("settings", "who"),
    [
        ({}, ""), ({"kube-proxy-replacement": "true"}, "kube-proxy-replacement"), ({"cni-chaining-mode": "portmap"}, "portmap"),
        ({"kube-proxy-replacement": "false", "cni-chaining-mode": "none"}, ""),
    ],
)  # fmt: skip
def test_host_ports_are_served(settings: dict[str, str], who: str) -> None:
    """By the portmap plugin from a node's first moment on Cilium; by the replacement of kube-proxy in the end."""
    made = Manifests(TEXTS, CONFIG, Payload("canal:1", {}), foreign=foreign.read(objects(**settings)))
    assert made.host_ports() == who
    (node_config,) = made.node_config(["cilium.io/v2/ciliumnodeconfigs"])
    assert node_config["spec"]["defaults"]["cni-chaining-mode"] == ("portmap" if who == "portmap" else "none")


@pytest.mark.parametrize(
    ("settings", "agent", "lost"),
    [
        ({}, {}, False),
        ({"kube-proxy-replacement": "true"}, {}, True),
        ({"kube-proxy-replacement": "true", "k8s-api-server-urls": "https://10.0.0.1:6443"}, {}, False),
        ({"kube-proxy-replacement": "true"}, {"args": ["--k8s-api-server-urls=https://10.0.0.1:6443"]}, False),
        (
            {"kube-proxy-replacement": "true"},
            {"env": [{"name": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.1"}]},
            False,
        ),
    ],
)
def test_agents_that_replace_kube_proxy_know_the_api_server(
    settings: dict[str, str], agent: dict[str, list[Any]], lost: bool
) -> None:
    """By its Service they would reach it as long as kube-proxy is there, and not after it was removed."""
    given = objects(**settings)
    for container in one(given, "DaemonSet", names.CILIUM)["spec"]["template"]["spec"]["containers"]:
        for key, more in agent.items():
            container[key] = [*container.get(key, []), *more]
    made = Manifests(TEXTS, CONFIG, Payload("canal:1", {}), foreign=foreign.read(given))
    assert made.lost_without_kube_proxy() is lost


TOLD: list[tuple[str, dict[str, Any], str]] = [
    ("an argument", {"args": ["--enable-policy=never"]}, "started with enable-policy is never"),
    ("an argument of two words", {"args": ["--tunnel-port", "9999"]}, "started with tunnel-port is 9999"),
    ("the environment", {"env": [{"name": "CILIUM_KUBE_PROXY_REPLACEMENT", "value": "true"}]},
     "started with kube-proxy-replacement is true"),
    ("another cluster", {"args": ["--cluster-id=7"]}, "started with cluster-id is 7"),
    ("IPsec", {"args": ["--enable-ipsec=true"]}, "or what else says it there: extraArgs, extraEnv"),
    ("flannel's port", {"args": ["--tunnel-port=8472"]}, "it is flannel's port"),
]  # fmt: skip


@pytest.mark.parametrize("strategy", ["overlay", "multus"])
@pytest.mark.parametrize(("agent", "says"), [row[1:] for row in TOLD], ids=[row[0] for row in TOLD])
def test_what_agents_are_started_with_is_judged_as_their_configuration(
    agent: dict[str, list[Any]], says: str, strategy: str
) -> None:
    """It outranks what the migration writes, so it is refused when the objects are read."""
    given = objects(**{"tunnel-port": "8999"})
    for container in one(given, "DaemonSet", names.CILIUM)["spec"]["template"]["spec"]["containers"]:
        for key, more in agent.items():
            container[key] = [*container.get(key, []), *more]
    config = Config.model_validate({"strategy": strategy})
    found = suitability.problems(foreign.read(given), config)
    assert says in "; ".join(found)


def test_a_node_config_with_the_name_of_the_migration_s_own() -> None:
    """Clean-up deletes it by its name, and the operator's would be gone."""
    own = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNodeConfig",
        "metadata": {"name": names.NODE_CONFIG, "namespace": "kube-system"},
        "spec": {"nodeSelector": {}, "defaults": {"debug": "true"}},
    }
    (found,) = suitability.problems(foreign.read([*objects(), own]), CONFIG)
    assert "has the name of the migration's own" in found


FILE = "--write-cni-conf-when-ready=/host/etc/cni/net.d/05-cilium.conflist"


@pytest.mark.parametrize(("strategy", "refused"), [("overlay", True), ("multus", False)])
def test_an_argument_that_names_the_cni_file(strategy: str, refused: bool) -> None:
    """All nodes at once would be Cilium's; where each has two agents, the migration's own argument outranks it."""
    given = objects()
    for container in one(given, "DaemonSet", names.CILIUM)["spec"]["template"]["spec"]["containers"]:
        container["args"] = [*container.get("args", []), FILE]
    found = suitability.problems(foreign.read(given), Config.model_validate({"strategy": strategy}))
    assert ("write-cni-conf-when-ready is" in "; ".join(found)) is refused


@pytest.mark.parametrize(("strategy", "refused"), [("overlay", True), ("multus", False)])
def test_agents_that_read_no_node_config(strategy: str, refused: bool) -> None:
    """By one each node is switched, where there is one agent per node."""
    given = objects()
    pod = one(given, "DaemonSet", names.CILIUM)["spec"]["template"]["spec"]
    build = {
        "name": "config",
        "image": "a",
        "command": ["cilium-dbg", "build-config", "--source=config-map:cilium-config"],
    }
    pod["initContainers"] = [build, *pod.get("initContainers", [])]
    found = suitability.problems(foreign.read(given), Config.model_validate({"strategy": strategy}))
    assert ("reads no CiliumNodeConfig" in "; ".join(found)) is refused


AGREED = (
    "tunnel-protocol", "tunnel-port", "routing-mode", "ipam", "cluster-pool-ipv4-cidr", "cluster-pool-ipv4-mask-size",
    "identity-allocation-mode", "cluster-name", "cluster-id", "datapath-mode", "cni-chaining-mode", "labels",
    "enable-ipv4", "enable-ipv4-masquerade", "preallocate-bpf-maps", "bpf-map-dynamic-size-ratio",
)  # fmt: skip
"""What nodes agree on, or an agent refuses to find changed when it restarts."""


@pytest.mark.parametrize("strategy", ["overlay", "multus"])
def test_what_nodes_agree_on_is_the_same_on_the_way_and_in_the_end(strategy: str) -> None:
    """A key that differed would be found by the first agent that restarts in its final form, with all nodes migrated."""
    settings = {"cluster-name": "prod", "cluster-id": "7", "labels": "k8s:app", "cni-chaining-mode": "portmap"}
    source = foreign.read(objects(**settings))
    config = Config.model_validate({"strategy": strategy})
    data = one(foreign.transit(source, config, {}), "ConfigMap", foreign.CONFIG)["data"]
    assert {key: data.get(key) for key in AGREED} == {key: source.config.get(key) for key in AGREED}


def test_terms_of_the_operator_stay() -> None:
    """Node selector terms are alternatives: each gets the condition, none is lost."""
    made = objects()
    terms = [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"matchFields": []}]
    one(made, "DaemonSet", "cilium")["spec"]["template"]["spec"]["affinity"] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    }
    spec = one(foreign.transit(foreign.read(made), CONFIG, {}), "DaemonSet", "cilium")["spec"]["template"]["spec"]
    found = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [[e["operator"] for e in term["matchExpressions"]] for term in found] == [["Exists", "NotIn"], ["NotIn"]]
    assert found[1]["matchFields"] == []


def test_multus_gets_two_daemonsets_of_the_one() -> None:
    """The first beside Canal with its own selector and file, the second where Canal is gone."""
    config = Config.model_validate({"strategy": "multus"})
    made = foreign.transit(foreign.read(objects()), config, {})
    first, second = one(made, "DaemonSet", names.FIRST_CILIUM), one(made, "DaemonSet", names.CILIUM)
    assert first["spec"]["selector"]["matchLabels"].items() <= first["spec"]["template"]["metadata"]["labels"].items()
    assert first["spec"]["selector"] != second["spec"]["selector"]
    for daemonset, label, file in (
        (first, config.labels.canal_cilium, config.cilium.extra_file),
        (second, config.labels.cilium, config.cilium.primary_file),
    ):
        spec = daemonset["spec"]["template"]["spec"]
        assert spec["nodeSelector"][label.key] == label.value
        (agent,) = [c for c in spec["containers"] if c["name"] == foreign.AGENT]
        assert f"--write-cni-conf-when-ready=/host/etc/cni/net.d/{file}" in agent["args"]


def test_the_end_is_what_the_operator_wrote() -> None:
    """In the end every object is applied as it came, and every image is listed."""
    source = foreign.read(objects())
    made = Manifests(TEXTS, CONFIG, Payload("canal:1", {}), foreign=source)
    assert made.cilium_final() == list(source.objects)
    assert "quay.io/cilium/hubble-relay:v1.18.2" in made.images().values()


def pulled_by(kind: str, name: str, **spec: Any) -> Manifest:
    """A workload, or an account, with what it says of pulling."""
    meta = {"name": name, "namespace": "kube-system"}
    if kind == "ServiceAccount":
        return {"apiVersion": "v1", "kind": kind, "metadata": meta, **spec}
    pod = {"containers": [{"name": name, "image": f"quay.io/cilium/{name}:v1"}], **spec}
    inner = {"template": {"spec": pod}}
    outer = {"jobTemplate": {"spec": inner}} if kind == "CronJob" else inner
    return {"apiVersion": "apps/v1" if kind != "CronJob" else "batch/v1", "kind": kind, "metadata": meta, "spec": outer}


MIRROR = [{"name": "mirror"}]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([pulled_by("Deployment", "ui")], ["Deployment kube-system/ui"]),
        ([pulled_by("CronJob", "certs")], ["CronJob kube-system/certs"]),
        ([pulled_by("Deployment", "ui", imagePullSecrets=[{"name": "other"}])], ["Deployment kube-system/ui"]),
        ([pulled_by("Deployment", "ui", imagePullSecrets=MIRROR)], []),
        ([pulled_by("ServiceAccount", "ui", imagePullSecrets=MIRROR), pulled_by("Deployment", "ui", serviceAccountName="ui")],
         []),
        ([pulled_by("ServiceAccount", "ui"), pulled_by("Deployment", "ui", serviceAccountName="ui")],
         ["Deployment kube-system/ui"]),
    ],
)  # fmt: skip
def test_workloads_that_are_pulled_without_the_secrets(more: list[Manifest], told: list[str]) -> None:
    """Who names one, or whose account does, is pulled with it; nothing is said where no secrets are configured."""
    agents = objects()[:-1]
    for found in agents:
        if found["kind"] in ("DaemonSet", "Deployment"):
            found["spec"]["template"]["spec"]["imagePullSecrets"] = MIRROR
    config = Config.model_validate({"strategy": "overlay", "pull_secrets": ["backup", "mirror"]})
    own = foreign.read([*agents, *more])
    assert Manifests(TEXTS, config, Payload("canal:1", {}), foreign=own).pulled_without() == told
    assert Manifests(TEXTS, CONFIG, Payload("canal:1", {}), foreign=own).pulled_without() == []


def test_images_that_are_not_from_the_mirror() -> None:
    """They are put as they are, so they are named with what runs them; only where a mirror is configured."""
    config = Config.model_validate({"strategy": "overlay", "registry": "quay.io/cilium"})
    own = foreign.read([*objects(), pulled_by("Deployment", "ui")])
    assert Manifests(TEXTS, config, Payload("canal:1", {}), foreign=own).mirrored_without() == []
    other = config.model_copy(update={"registry": "quay.io/ci"})
    named = Manifests(TEXTS, other, Payload("canal:1", {}), foreign=own).mirrored_without()
    assert "ui/ui: quay.io/cilium/ui:v1" in named
    assert Manifests(TEXTS, CONFIG, Payload("canal:1", {}), foreign=own).mirrored_without() == []


@pytest.mark.parametrize("key", ["enable-ip-masq-agent", "enable-ipv4-big-tcp", "enable-ipv6-big-tcp"])
def test_what_agents_would_not_start_with_comes_later(key: str) -> None:
    """They are told to do without BPF masquerading and host routing on the way: what takes those is off as well."""
    own = foreign.read(objects(**{key: "true"}))
    made = Manifests(TEXTS, CONFIG, Payload("canal:1", {}), foreign=own)
    assert one(made.cilium(), "ConfigMap", foreign.CONFIG)["data"][key] == "false"
    assert one(made.cilium_final(), "ConfigMap", foreign.CONFIG)["data"][key] == "true"
    assert f"{key}: true" in made.later()
