"""The checks before a migration: one row per check and way to fail, on a cluster where nothing else is wrong.

A calm cluster gives no blocker and no warning; each row changes one thing and names the finding that must follow.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cni_migrate.core.model import names
from cni_migrate.core.model.canal import FoundCanal, settled
from cni_migrate.core.model.nodeconfig import NodeConfig
from cni_migrate.core.model.objects import Budget, CiliumConfig, CiliumNode, Node, Pod, Requirement, Taint, Toleration
from cni_migrate.core.model.selector import matches
from cni_migrate.core.preflight.findings import Facts, Finding, Hook, Severity, blockers, findings
from cni_migrate.core.preflight.registry import ReleaseFound
from cni_migrate.core.preflight.surroundings import gitops
from cni_migrate.core.render.coexistence import rows
from tests.unit.core.builders import (
    OUR_TAINT,
    REPLICASET,
    Seen,
    a_control_plane,
    a_daemonset,
    a_node,
    a_plan,
    a_pod,
    an_agent,
    seen,
)

FOUND = FoundCanal(
    daemonsets=(("kube-system", "canal"),), config_map="kube-system/canal-config", network="10.244.0.0/16",
    pods="10.244.0.0/16", pods_from="flannel's Network", backend="vxlan", vni=1, port=8472,
    cni_file="10-canal.conflist", network_name="k8s-pod-network",
)  # fmt: skip


def _calm() -> Seen:
    nodes = [a_control_plane(), a_node("w1"), a_node("w2", internal_ip="192.168.0.12", pod_cidr="10.244.2.0/24")]
    canal = a_daemonset("canal", containers=("kube-flannel",))
    agents = [an_agent("canal", node.name) for node in nodes]
    return seen(*nodes, canal, *agents, a_pod(labels={"app": "web"}))


def _facts(look: Seen | None = None, strategy: str = "multus", sections: Any = None, **changes: Any) -> Facts:
    config = a_plan(strategy, **(sections or {})).config
    values: dict[str, Any] = {"found": FOUND}
    return Facts(config=config, seen=look or _calm(), taint=OUR_TAINT, **{**values, **changes})


PARTS = {"w1": CiliumNode("w1", ("10.99.1.0/24",)), "w2": CiliumNode("w2", ("10.245.1.0/24",))}
"""What an earlier Cilium has left, of another network and of ours."""

EXISTING = {"cilium": {"source": "existing"}}
EVERYTHING = Toleration("", "Exists", "", "")
IN_TRANSIT = {
    row.key: row.wanted(a_plan("overlay", **EXISTING).config)[0]
    for row in rows("transit")
    if row.key != "label-prefix-file"
}
EDGE = {"matchLabels": {"edge": "true"}}
GUIDES = {"matchLabels": {"io.cilium.migration/cilium-default": "true"}}
PRIMARY = "/host/etc/cni/net.d/05-cilium.conflist"


def _installed(image: str = "quay.io/cilium/cilium:v1.20.2", **config: str) -> Facts:
    """With a Cilium that was installed before."""
    data = {"write-cni-conf-when-ready": "/host/etc/cni/net.d/05-cilium.conflist", **config}
    return _agents(data, images=(image,))


def _agents(data: dict[str, str] | None = None, **changes: Any) -> Facts:
    """With an installed Cilium whose keys are as they have to be, unless others are given."""
    usual = {
        "containers": ("cilium-agent",),
        "images": ("quay.io/cilium/cilium:v1.20.2",),
        "tolerations": (EVERYTHING,),
    }
    found = CiliumConfig("kube-system", IN_TRANSIT if data is None else data, "2030-01-01T00:00:00Z")
    operator = a_pod("cilium-operator-1", namespace="kube-system", containers=("cilium-operator",))
    look = _with(a_daemonset("cilium", **{**usual, **changes}), operator, cilium_config=found)
    return _facts(look, strategy="overlay", sections=EXISTING)


def _without_operator() -> Facts:
    """With an installed Cilium whose operator is gone."""
    facts = _agents()
    facts.seen.pods[:] = [pod for pod in facts.seen.pods if "cilium-operator" not in pod.containers]  # type: ignore[attr-defined]
    return facts


def _node_config(selector: Any, facts: Facts | None = None, **defaults: str) -> Facts:
    """With a CiliumNodeConfig of somebody else's."""
    keys = {key.replace("_", "-"): value for key, value in defaults.items()}
    return replace(facts or _agents(), node_configs=(NodeConfig("kube-system", "edge", selector, keys),))


def _switched() -> Facts:
    """With a node on which somebody has begun by hand."""
    facts = _installed()
    facts.seen.nodes["w1"] = a_node("w1", labels={"io.cilium.migration/cilium-default": "true"})  # type: ignore[index]
    return facts


def _settled(**changes: Any) -> Facts:
    """With the cluster's values in a silent configuration."""
    facts = _facts(**changes)
    return replace(facts, config=settled(facts.config, (), facts.found))


def _serious(facts: Facts) -> list[Finding]:
    return [finding for finding in findings(facts) if finding.severity is not Severity.INFO]


def _with(*objects: Any, **more: Any) -> Seen:
    found = _calm()
    for thing in objects:
        match thing:
            case Node():
                found.nodes[thing.name] = thing
            case Pod():
                found.pods.append(thing)
            case _:
                found.daemonsets[thing.namespace, thing.name] = thing
    for key, value in more.items():
        setattr(found, key, value)
    return found


def _without_canal() -> Seen:
    found = _calm()
    flannel = a_daemonset("kube-flannel-ds", "kube-flannel", containers=("kube-flannel",))
    found.daemonsets = {(flannel.namespace, flannel.name): flannel}
    return found


def _budget(name: str = "web", allowed: int = 0, **selector: Any) -> Budget:
    return Budget("default", name, selector or {"matchLabels": {"app": "web"}}, allowed, False, 2, 2)


def _canal(**changes: Any) -> Seen:
    return _with(a_daemonset("canal", **{"containers": ("kube-flannel",), **changes}))


def _there(**changes: Any) -> dict[str, Any]:
    return {"found": replace(FOUND, **changes)}


def _natting(*images: str, **networks: str) -> Facts:
    """Canal with such images, an IPPool over its network that masquerades, and these further pools."""
    own = a_daemonset("canal", containers=("kube-flannel",), images=("flannel/flannel:v0.24.4", *images))
    pools = {"own": "10.244.0.0/16", **networks}
    return _facts(
        _with(own), pool_networks=pools, masquerading=("own", *(n for n in pools if n == "far")),
        **_there(calico=("DaemonSet kube-system/canal runs calico-node",)),
    )  # fmt: skip


def _no_canal(*objects: Any) -> Seen:
    found = _with(*objects)
    del found.daemonsets["kube-system", "canal"]
    return found


def _two_canals() -> Facts:
    other = a_daemonset("kube-flannel-ds", containers=("kube-flannel",))
    both = (("kube-system", "canal"), ("kube-system", "kube-flannel-ds"))
    return _facts(_with(other, an_agent("kube-flannel-ds", "w1")), **_there(daemonsets=both, flannels=both))


ONE_NODE = seen(a_node("w1"), a_daemonset("canal", containers=("kube-flannel",)), an_agent("canal", "w1"))
ONE_WORKER = seen(
    replace(a_control_plane(), taints=(Taint("node-role.kubernetes.io/control-plane", "", "NoSchedule"),)),
    a_node("w1"),
    a_daemonset("canal", containers=("kube-flannel",)),
    an_agent("canal", "w1"),
    an_agent("canal", "cp1"),
    a_pod(),
)
ONE_TOLERATED = seen(
    replace(a_control_plane(), taints=(Taint("node-role.kubernetes.io/control-plane", "", "NoSchedule"),)),
    a_node("w1"),
    a_daemonset("canal", containers=("kube-flannel",)),
    an_agent("canal", "w1"),
    an_agent("canal", "cp1"),
    a_pod(tolerations=(Toleration("node-role.kubernetes.io/control-plane", "Exists", "", ""),)),
)


def _crashing() -> Pod:
    return a_pod("broken", ready=False, labels={"app": "broken"})


def _closed(*, always: bool = False, healthy: int = 0, needed: int = 1) -> dict[tuple[str, str], Budget]:
    selector = {"matchLabels": {"app": "broken"}}
    return {("default", "broken"): Budget("default", "broken", selector, 0, always, healthy, needed)}


TWICE = _with(budgets={("default", n): _budget(n, 1) for n in ("web", "every")})

SPLIT = {"canal": {"more_daemonsets": ["kube-system/calico-node"]}}

BLOCKED: list[tuple[str, Callable[[], Facts], str, str]] = [
    ("a record that is gone", lambda: _facts(_with(a_node("w2", labels={"node-role.kubernetes/migrated": "migrated"}))),
     "RECORD_LOST", "w2: node-role.kubernetes/migrated"),
    ("a taint without a record", lambda: _facts(_with(a_node("w2", taints=(OUR_TAINT,)))), "RECORD_LOST", "w2: taint"),
    ("calico alone", lambda: _facts(_no_canal(a_daemonset("calico-node", containers=("calico-node",))),
                                    found=FoundCanal()),
     "CANAL_DAEMONSET", "Calico with a network of its own, which is not Canal (DaemonSet kube-system/calico-node)"),
    ("flannel in k3s", lambda: _facts(_no_canal(a_node("w1", annotations={f"{names.FLANNEL_ANNOTATIONS}backend-type": "vxlan"})),
                                      found=FoundCanal()),
     "CANAL_DAEMONSET", "flannel runs on 1 node, but in no DaemonSet: inside of another program (k3s)"),
    ("no network that is known", lambda: _facts(_no_canal(), found=FoundCanal()), "CANAL_DAEMONSET",
     "no DaemonSet runs flannel"),
    ("two canals", _two_canals, "CANAL_TWICE", "node w1: kube-system/canal-w1 and kube-system/kube-flannel-ds-w1"),
    ("broken settings", lambda: _facts(**_there(broken="net-conf.json in ConfigMap kube-system/canal-config: it is not"
                                                       " JSON", network="", pods="")),
     "CANAL_SETTINGS", "it is not JSON"),
    ("differing settings", lambda: _facts(**_there(differing=("ConfigMap a/b: Network 10.1.0.0/16, vxlan",))),
     "CANAL_SETTINGS", "ConfigMap a/b: Network 10.1.0.0/16, vxlan"),
    ("calico carries traffic", lambda: _facts(**_there(calico_routes=("DaemonSet a/b: CALICO_NETWORKING_BACKEND bird",))),
     "CALICO_BACKEND", "CALICO_NETWORKING_BACKEND bird"),
    ("flannel's etcd", lambda: _facts(**_there(flannel_etcd=True)), "CANAL_ETCD", "--kube-subnet-mgr"),
    ("calico's etcd", lambda: _facts(**_there(calico_etcd=True)), "CALICO_ETCD", "calicoctl"),
    ("a canal that tolerates nothing", lambda: _settled(**_there(tolerations=((),))), "CANAL_TAINT",
     "kube-system/canal does not tolerate"),
    ("a taint that was said", lambda: _facts(**_there(tolerations=((Toleration("", "Exists", "", "NoSchedule"),),))),
     "CANAL_TAINT", "omit drain.taint_effect"),
    ("a node without its part", lambda: _facts(_with(a_node("w9", pod_cidr=""), an_agent("canal", "w9"))),
     "NODE_CIDRS", "w9"),
    ("a node with IPv6 only", lambda: _facts(_with(a_node("w9", pod_cidr="fd00::/64", pod_cidrs=("fd00::/64",)),
                                                   an_agent("canal", "w9"))),
     "NODE_CIDRS", "w9"),
    ("rke2's multus", lambda: _facts(_with(a_daemonset("rke2-multus", containers=("kube-rke2-multus",)))),
     "OTHER_MULTUS", "rke2-multus"),
    ("a multus by its image", lambda: _facts(_with(a_daemonset("net", containers=("net",),
                                                               images=("example.org/a/multus-cni:v4.2.2",)))),
     "OTHER_MULTUS", "kube-system/net"),
    ("a namespace for agents that others use", lambda: _facts(_with(a_pod("grafana", namespace="knet-stress"))),
     "KNET_NAMESPACE", "knet-stress/grafana"),
    ("admission", lambda: _facts(refused=("a pod of DaemonSet kube-system/cilium: exceeded quota",)), "ADMISSION",
     "exceeded quota"),
    ("rights", lambda: _facts(rights_missing=("create pods/eviction",)), "RIGHTS", "create pods/eviction"),
    ("no canal", lambda: _facts(_without_canal(), **_there(daemonsets=(("kube-flannel", "kube-flannel-ds"),))),
     "CANAL_DAEMONSET", "kube-flannel/kube-flannel-ds"),
    ("canal down", lambda: _facts(_with(a_node("w3"))), "CANAL_READY", "w3"),
    ("one of two canals down", lambda: _facts(_with(a_daemonset("calico-node")), sections=SPLIT,
     **_there(daemonsets=(("kube-system", "canal"), ("kube-system", "calico-node")))), "CANAL_READY", "w1"),
    ("a label taken", lambda: _facts(_with(a_node("w2", labels={"node-role.kubernetes/cilium": "pool"}))),
     "LABELS_TAKEN", "w2: node-role.kubernetes/cilium=pool instead of cilium"),
    ("flannel with nftables", lambda: _facts(**_there(nftables=True)), "CANAL_NFTABLES", "EnableNFTables"),
    ("canal's selector taken", lambda: _facts(_canal(node_selector={"node-role.kubernetes/cilium-canal": "x"})),
     "LABELS_TAKEN", "DaemonSet kube-system/canal: node selector node-role.kubernetes/cilium-canal=x"),
    ("the taint taken", lambda: _facts(_with(a_node("w2", taints=(replace(OUR_TAINT, effect="NoSchedule"),)))),
     "TAINT_TAKEN", "w2: node-role.kubernetes/cilium=cilium:NoSchedule instead of cilium:NoExecute"),
    ("the taint's value taken", lambda: _facts(_with(a_node("w2", taints=(replace(OUR_TAINT, value="x"),)))),
     "TAINT_TAKEN", "w2: node-role.kubernetes/cilium=x:NoExecute"),
    ("a node down", lambda: _facts(_with(a_node("w2", ready=False))), "NODES_READY", "w2"),
    ("one node", lambda: _facts(ONE_NODE), "ENOUGH_NODES", "nowhere to go"),
    ("one worker", lambda: _facts(ONE_WORKER), "ENOUGH_NODES", "w1"),
    ("all others cordoned", lambda: _facts(_with(a_node("w2", unschedulable=True), a_node("cp1", unschedulable=True))),
     "ENOUGH_NODES", "w1"),
    ("a canary that is not there", lambda: _facts(sections={"canary": "w9"}), "NAMED_NODES", "w9"),
    ("an own node that is not there", lambda: _facts(sections={"own_node": "w9"}), "NAMED_NODES", "w9"),
    ("another cilium", lambda: _facts(_with(a_daemonset("cilium", containers=("cilium-agent",)))), "OTHER_CILIUM",
     "kube-system/cilium"),
    ("another cilium, and the way to go on with it",
     lambda: _facts(_with(a_daemonset("cilium", containers=("cilium-agent",)))), "OTHER_CILIUM", "cilium.source: existing"),
    ("an installed cilium of another time", lambda: _installed("quay.io/cilium/cilium:v1.14.3"), "CILIUM_INSTALLED",
     "1.14.3"),
    ("a release that is pending", lambda: _facts(release=ReleaseFound("cilium", "pending-install", 1)), "RELEASE",
     "sh.helm.release.v1.cilium.v1"),
    ("a release that is half gone", lambda: _facts(release=ReleaseFound("cilium", "uninstalling", 1)), "RELEASE",
     "helm uninstall cilium --namespace kube-system"),
    ("another program's release", lambda: _facts(release=ReleaseFound("podinfo", "deployed", 1)), "RELEASE",
     "is of chart podinfo"),
    ("a node that was switched by hand", lambda: _switched(), "CILIUM_SWITCHED", "w1"),
    ("no installed cilium", lambda: _facts(strategy="overlay", sections=EXISTING), "CILIUM_INSTALLED", "no Cilium in"),
    ("an installed cilium elsewhere", lambda: _facts(
        _with(a_daemonset("cilium", "network", containers=("cilium-agent",))), strategy="overlay", sections=EXISTING),
     "CILIUM_INSTALLED", "network/cilium"),
    ("an installed cilium of another version than was said",
     lambda: _installed("quay.io/cilium/cilium:v1.18.6"), "CILIUM_INSTALLED", "cilium.version is 1.20.2, the images of"),
    ("an installed cilium without its operator", lambda: _without_operator(), "CILIUM_OPERATOR", "is on a node"),
    ("an installed cilium of no version", lambda: _installed("r.example/cilium:latest"), "CILIUM_INSTALLED", "version"),
    ("an installed cilium as a chart has it", lambda: _installed(), "CILIUM_KEYS", "helm value cni.customConf: true"),
    ("an installed cilium off a node", lambda: _agents(node_selector={"pool": "x"}), "CILIUM_DAEMONSET",
     "nodeSelector keeps its agents off 3 nodes"),
    ("an installed cilium that prefers a node", lambda: _agents(
        node_terms=((Requirement("metadata.name", "In", ("w1",), on_name=True),),)),
     "CILIUM_DAEMONSET", "affinity.nodeAffinity keeps its agents off 2 nodes (cp1, w2)"),
    ("an installed cilium without tolerations", lambda: _agents(tolerations=()), "CILIUM_DAEMONSET", "tolerations lack"),
    ("an installed cilium that is told otherwise", lambda: _agents(settings={"enable-policy": "never"}),
     "CILIUM_DAEMONSET", "is started with enable-policy is never"),
    ("an installed cilium that reads no node config", lambda: _agents(
        settings={"build-config source": "config-map:kube-system/cilium-config"}),
     "CILIUM_DAEMONSET", "daemonSet.configSources"),
    ("an installed cilium that takes few keys from node configs", lambda: _agents(
        settings={"build-config allow-config-keys": "debug,cni-exclusive"}),
     "CILIUM_DAEMONSET", "takes cni-chaining-mode, custom-cni-conf, write-cni-conf-when-ready from no CiliumNodeConfig"),
    ("an installed cilium that refuses keys of node configs", lambda: _agents(
        settings={"build-config deny-config-keys": "cni-exclusive"}),
     "CILIUM_DAEMONSET", "daemonSet.blockedConfigOverrides"),
    ("an installed cilium with another folder", lambda: _agents(folders={"etc-cni-netd": "/etc/rancher/cni"}),
     "CILIUM_DAEMONSET", "volume etc-cni-netd is /etc/rancher/cni"),
    ("a node config that opens policies", lambda: _node_config({"matchLabels": {"name": "w1"}}, enable_policy="never"),
     "CILIUM_NODE_CONFIG", "kube-system/edge sets enable-policy to 'never': policies stay in force"),
    ("a node config that makes others use cilium", lambda: _node_config({}, write_cni_conf_when_ready=PRIMARY),
     "CILIUM_NODE_CONFIG", "write-cni-conf-when-ready to '/host/etc/cni/net.d/05-cilium.conflist' on 3 nodes (cp1, w1, w2)"),
    ("a node config that lets the chart's file be", lambda: _node_config(EDGE, custom_cni_conf="false"),
     "CILIUM_NODE_CONFIG", "custom-cni-conf"),
    ("a node config for switched nodes with another file", lambda: _node_config(
        GUIDES, write_cni_conf_when_ready="/host/etc/cni/net.d/00-cilium.conflist"), "CILIUM_NODE_CONFIG", "00-cilium"),
    ("a node config with another tunnel", lambda: _node_config(EDGE, tunnel_port="9999"), "CILIUM_NODE_CONFIG",
     "tunnel-port to '9999'"),
    ("a node config that an earlier cilium has left", lambda: _node_config(GUIDES, _facts(), custom_cni_conf="false"),
     "CILIUM_NODE_CONFIG", "CiliumNodeConfig edge sets custom-cni-conf"),
    ("another multus", lambda: _facts(_with(a_daemonset("kube-multus-ds", containers=("kube-multus",)))),
     "OTHER_MULTUS", "kube-multus-ds"),
    ("another daemonset is named", lambda: _facts(sections={"canal": {"daemonset": "kube-proxy"}}), "CANAL_DAEMONSET",
     "kube-system/canal"),
    ("a daemonset that is not canal's", lambda: _facts(**_there(daemonsets=())), "CANAL_DAEMONSET",
     "no DaemonSet runs flannel"),
    ("another pod network's value", lambda: _facts(**_there(network="10.42.0.0/16", pods="10.42.0.0/16")),
     "CANAL_POD_CIDR", "10.42.0.0/16"),
    ("nodes outside flannel's network", lambda: _facts(_with(a_node("w2", pod_cidr="10.42.1.0/24"))),
     "CANAL_POD_CIDR", "w2: 10.42.1.0/24"),
    ("another port of flannel's", lambda: _facts(**_there(port=4789)), "TUNNEL_PORT", "says 4789"),
    ("another vni", lambda: _facts(**_there(vni=4096)), "CANAL_VNI", "says 4096"),
    ("another file", lambda: _facts(**_there(cni_file="10-flannel.conflist")), "CANAL_CNI_FILE", "10-flannel.conflist"),
    ("another network's name", lambda: _facts(**_there(network_name="cbr0")), "CANAL_NETWORK_NAME", "says cbr0"),
    ("other folders", lambda: _facts(**_there(cni_folder="/etc/rancher/cni")), "CNI_FOLDER", "/etc/rancher/cni"),
    ("the same tunnel port", lambda: _settled(**_there(port=8473)), "TUNNEL_PORT", "8473"),
    ("a pod network that is cilium's", lambda: _settled(**_there(network="10.245.0.0/16", pods="10.245.0.0/16")),
     "CIDR_OVERLAP", "10.245.0.0/16"),
    ("a file before cilium's", lambda: _settled(**_there(cni_file="01-canal.conflist")), "CNI_FILES", "01-canal"),
    ("another backend", lambda: _facts(**_there(backend="host-gw", port=0, vni=0)), "CANAL_BACKEND", "host-gw"),
    ("wireguard", lambda: _facts(**_there(backend="wireguard", port=0, vni=0)), "CANAL_BACKEND", "wireguard"),
    ("policies by labels that are no part of identities",
     lambda: _facts(unknown_labels=("NetworkPolicy shop/db: podSelector by k8s.io/a",)), "POLICIES_LABELS", "shop/db"),
    ("sctp", lambda: _facts(sctp=("Service ims/hss",)), "SCTP", "ims/hss"),
    ("calico's policies", lambda: _facts(calico_policies=("GlobalNetworkPolicy deny",)), "CALICO_POLICIES", "deny"),
    ("a calico that hides who calls", lambda: _natting("docker.io/calico/node:v3.27.5"), "CALICO_NAT",
     "patch ippools.crd.projectcalico.org own --type"),
    ("a calico whose version is not told", lambda: _natting("example.org/mirror/calico-node@sha256:12"), "CALICO_NAT",
     "does not tell"),
    ("calico's ebpf", lambda: _facts(felix={"default": {"bpfEnabled": True}}), "FELIX", "bpfEnabled"),
    ("calico's ebpf by its environment", lambda: _facts(**_there(felix={"kube-system/canal": {"bpfenabled": "True"}})),
     "FELIX", "DaemonSet kube-system/canal: FELIX_BPFENABLED"),
    ("felix that goes behind cilium where policies are", lambda: _facts(
        policies=(("NetworkPolicy", "shop", "db"),), felix={"default": {"chainInsertMode": "Append"}}), "FELIX", "Insert"),
    ("the same by its environment", lambda: _facts(
        policies=(("NetworkPolicy", "shop", "db"),), **_there(felix={"kube-system/canal": {"chaininsertmode": "append"}})),
     "FELIX", "calico-node's environment"),
    ("one architecture's environment says nothing of it", lambda: _facts(
        felix={"default": {"bpfEnabled": True}},
        **_there(felix={"kube-system/a": {"bpfenabled": "false"}, "kube-system/b": {}})), "FELIX", "default: bpfEnabled"),
    ("calico's encryption", lambda: _facts(felix={"default": {"wireguardEnabled": True}}), "FELIX", "wireguardEnabled"),
    ("calico's addresses", lambda: _facts(ip_pools=("pool 10.1.0.0/16",), **_there(ipam="calico-ipam")), "CALICO_IPAM",
     "pool 10.1.0.0/16"),
    ("windows", lambda: _facts(_with(a_node("w2", os="windows"))), "WINDOWS", "w2"),
    ("another architecture", lambda: _facts(_with(a_node("w2", arch="s390x"))), "ARCHITECTURE", "w2: s390x"),
    ("ipv6 in flannel", lambda: _facts(**_there(network6="2001:db8::/56")), "DUAL_STACK", "2001:db8::/56"),
    ("no ipv4 in flannel", lambda: _facts(**_there(ipv4=False)), "DUAL_STACK", "EnableIPv4"),
    ("ipv6 on nodes", lambda: _facts(_with(a_node("w2", pod_cidrs=("10.244.2.0/24", "fd00:2::/64")))), "DUAL_STACK",
     "fd00:2::/64"),
    ("ipv6 before ipv4", lambda: _facts(_with(a_pod("web-2", ip="fd00:1::5"))), "IPV6_FIRST", "web-2: fd00:1::5"),
    ("an ipv6 service", lambda: _facts(ipv6_services=("shop/web",)), "DUAL_STACK", "shop/web"),
    ("parts of an earlier cilium's network",
     lambda: _facts(_with(cilium_nodes=PARTS)), "CILIUM_NODES",
     "w1: 10.99.1.0/24"),
    ("too few parts", lambda: _facts(sections={"cilium": {"pod_cidr": "10.245.0.0/23"}}), "CILIUM_POOL", "2 parts"),
    ("a node in cilium's network", lambda: _facts(_with(a_node("w2", internal_ip="10.245.0.9"))), "CIDR_OVERLAP",
     "node w2"),
    ("another address of a node in cilium's network",
     lambda: _facts(_with(a_node("w2", more_addresses=("203.0.113.7", "10.245.0.9")))), "CIDR_OVERLAP",
     "node w2 (10.245.0.9)"),
    ("a node's pod network in cilium's", lambda: _facts(_with(a_node("w2", pod_cidr="10.245.2.0/24"))), "CIDR_OVERLAP",
     "10.245.2.0/24"),
    ("a pod in cilium's network", lambda: _facts(_with(a_pod("web-1-b", ip="10.245.3.4"))), "CIDR_OVERLAP",
     "default/web-1-b"),
    ("services' network over cilium's", lambda: _facts(service_networks=("10.240.0.0/12",)), "CIDR_OVERLAP",
     "10.240.0.0/12"),
    ("the api server in cilium's network", lambda: _facts(api_servers=("10.245.3.4",)), "CIDR_OVERLAP", "10.245.3.4"),
    ("a service in cilium's network", lambda: _facts(service_ips=("10.245.0.10",)), "CIDR_OVERLAP", "10.245.0.10"),
    ("a node in canal's network", lambda: _facts(_with(a_node("w2", internal_ip="10.244.0.9"))), "CIDR_OVERLAP", "w2"),
    ("a closed budget", lambda: _facts(_with(budgets={("default", "web"): _budget()})), "BUDGET_CLOSED", "default/web"),
    ("two budgets", lambda: _facts(TWICE), "BUDGET_TWICE", "default/web-1-a"),
    ("a static pod", lambda: _facts(_with(a_pod("proxy-w1", controller=None, mirror=True))), "STATIC_PODS",
     "default/proxy-w1 on w1"),
    ("a bare pod", lambda: _facts(_with(a_pod("alone", controller=None))), "BARE_PODS", "default/alone on w1"),
    ("local data", lambda: _facts(_with(a_pod("cache", local_storage=True))), "EMPTYDIR_PODS", "default/cache on w1"),
]  # fmt: skip

WARNED: list[tuple[str, Callable[[], Facts], str, str]] = [
    ("a cordoned node", lambda: _facts(_with(a_node("w3", unschedulable=True), an_agent("canal", "w3"))),
     "NODES_CORDONED", "w3"),
    ("hooks that nobody runs", lambda: _facts(left_out=("Job kube-system/certs",)), "CILIUM_HOOKS", "kube-system/certs"),
    ("no canal config", lambda: _facts(**_there(unread=("net-conf.json",))), "CANAL_CONFIG", "net-conf.json"),
    ("a part that is guessed", lambda: _facts(_with(), sections={"canal": {"network": "10.240.0.0/12"}},
                                              **_there(network="10.240.0.0/12", pods_from="the nodes' podCIDRs")),
     "CANAL_POD_PART", "10.240.0.0/12"),
    ("a pair that cilium does not list", lambda: _facts(version="v1.30.2"), "CILIUM_KUBERNETES", "v1.30.2"),
    ("host ports that are served in the end only", lambda: _facts(_with(a_pod("ingress", host_ports=True)),
     host_ports="kube-proxy-replacement"), "HOST_PORTS", "until then they are closed"),
    ("own workloads without the secrets", lambda: _facts(pulled_without=("Deployment a/relay",), sections={
        "pull_secrets": ["mirror", "more"]}), "CILIUM_PULL", "imagePullSecrets: [{name: mirror}, {name: more}]"),
    ("own images from elsewhere", lambda: _facts(mirrored_without=("cilium/agent: quay.io/c:v1",), sections={
        "registry": "r.example"}), "CILIUM_PULL", "are not from registry r.example"),
    ("agents that find no API server without kube-proxy", lambda: _facts(lost_without_kube_proxy=True), "CILIUM_API_SERVER",
     "k8sServiceHost"),
    ("a release that is there", lambda: _facts(release=ReleaseFound("cilium", "failed", 2)), "RELEASE", "revision 2, failed"),
    ("host ports", lambda: _facts(_with(a_pod("ingress", host_ports=True))), "HOST_PORTS", "default/ingress"),
    ("a plugin that cilium's file has not", lambda: _facts(**_there(chained=("portmap", "tuning"))), "CNI_PLUGINS", "tuning"),
    ("limits of bandwidth", lambda: _facts(
        _with(a_pod("slow", annotations={"kubernetes.io/egress-bandwidth": "10M"})), **_there(chained=("bandwidth",))),
     "CNI_PLUGINS", "default/slow"),
    ("webhooks", lambda: _facts(pod_hooks=(Hook("guard/pods", "guard/server"),)), "WEBHOOKS", "guard/server"),
    ("felix appends", lambda: _facts(felix={"default": {"chainInsertMode": "Append"}}), "FELIX", "chainInsertMode"),
    ("felix drops to the host", lambda: _facts(felix={"default": {"defaultEndpointToHostAction": "Drop"}}), "FELIX",
     "defaultEndpointToHostAction"),
    ("felix in nftables mode", lambda: _facts(felix={"node.w1": {"nftablesMode": "Enabled"}}), "FELIX", "node.w1"),
    ("policies that end", lambda: _facts(policies=(("NetworkPolicy", "shop", "db"),), **_there(calico=("calico-node",)),
                                         sections={"cilium": {"policy_enforcement": "never"}}), "POLICIES_OFF", "shop: 1"),
    ("policies that are logged", lambda: _facts(policies=(("NetworkPolicy", "shop", "db"),), audited=True,
                                                **_there(calico=("calico-node",))), "POLICIES_OFF", "policy-audit-mode"),
    ("policies that nobody enforces", lambda: _facts(policies=(("NetworkPolicy", "shop", "db"),)), "POLICIES_NEW",
     "shop: 1"),
    ("ranges of ports", lambda: _facts(port_ranges=("NetworkPolicy shop/db: ports 1-9",)), "POLICIES_PORTS", "shop/db"),
    ("calico is removed in another image", lambda: _facts(strategy="overlay", sections={"host_task": {"image": "a/b:1"}},
     **_there(calico=("CNI file 10-canal.conflist has the plugin calico",))), "CLEANING_IMAGE", "a/b:1"),
    ("policies on addresses", lambda: _facts(ip_blocks=("NetworkPolicy shop/db: 10.244.0.0/16",)), "POLICIES_IPBLOCK",
     "shop/db"),
    ("an autoscaler", lambda: _facts(_with(a_pod("ca-1", containers=("cluster-autoscaler",)))), "CLUSTER_AUTOSCALER",
     "default/ca-1"),
    ("kured", lambda: _facts(_with(an_agent("kured", labels={"name": "kured"}))), "KURED", "kured"),
    ("machine health checks", lambda: _facts(crds=("machinehealthchecks.cluster.x-k8s.io",)), "MACHINE_HEALTH", "cluster"),
    ("ipvs", lambda: _facts(proxy_mode="ipvs"), "KUBE_PROXY_IPVS", "IPVS"),
    ("kube-proxy's network", lambda: _facts(proxy_cidr="10.244.0.0/16"), "KUBE_PROXY_CIDR", "10.245.0.0/16"),
    ("a dns cache", lambda: _facts(_with(a_daemonset("node-local-dns", containers=("node-cache",)))), "NODE_LOCAL_DNS",
     "node-local-dns"),
    ("argo cd", lambda: _facts(_canal(labels={"argocd.argoproj.io/instance": "net"})), "GITOPS", "Argo CD"),
    ("flux", lambda: _facts(_canal(labels={"kustomize.toolkit.fluxcd.io/name": "net"})), "GITOPS", "Flux"),
    ("helm", lambda: _facts(_canal(labels={names.MANAGED_BY: "Helm"})), "GITOPS", "Helm"),
    ("the addon manager", lambda: _facts(_canal(labels={"addonmanager.kubernetes.io/mode": "Reconcile"})), "GITOPS",
     "addon manager"),
    ("an operator", lambda: _facts(_canal(owner="Installation default")), "GITOPS", "Installation default (its operator)"),
    ("a mesh's plugin", lambda: _facts(_with(a_daemonset("istio-cni-node", folders={"net": "/etc/cni/net.d"}))),
     "CNI_WRITERS", "kube-system/istio-cni-node"),
    ("a volume on the node", lambda: _facts(_with(a_pod("db-0", claims=("data-db-0",))),
                                             local_volumes={"default/data-db-0": "PersistentVolume pv-7"}),
     "LOCAL_VOLUMES", "default/db-0 on w1: PersistentVolume pv-7"),
    ("cautions", lambda: _facts(cautions=("Cilium 1.7.2: tried on the simulator only",)), "MANIFESTS", "1.7.2"),
]  # fmt: skip


def _text(finding: Finding) -> str:
    return f"{finding.what} {finding.to_do} {' '.join(finding.objects)}"


def test_a_calm_cluster_has_nothing_to_mend() -> None:
    """No blocker and no warning, but what is taken for granted is said."""
    found = findings(_facts(version="v1.34.4", images={"cilium": "example.org/cilium:1"}))
    assert [finding for finding in found if finding.severity is not Severity.INFO] == []
    assert {"CNI_FOLDER", "FIREWALL", "IMAGES", "VERSION"} <= {finding.id for finding in found}


@pytest.mark.parametrize(("facts", "check_id", "says"), [row[1:] for row in BLOCKED], ids=[row[0] for row in BLOCKED])
def test_blockers(facts: Callable[[], Facts], check_id: str, says: str) -> None:
    """What a run cannot do without is a blocker that names the thing and what to do."""
    found = {finding.id: finding for finding in blockers(findings(facts()))}
    assert check_id in found
    assert says in _text(found[check_id])
    assert found[check_id].to_do


def test_an_installed_cilium_in_another_place_is_not_to_be_removed() -> None:
    """Who has named a wrong namespace is told where it is, and not that it has to go."""
    elsewhere = _with(a_daemonset("cilium", "network", containers=("cilium-agent",)))
    found = {one.id for one in findings(_facts(elsewhere, strategy="overlay", sections=EXISTING))}
    assert "CILIUM_INSTALLED" in found
    assert "OTHER_CILIUM" not in found


@pytest.mark.parametrize(("facts", "check_id", "says"), [row[1:] for row in WARNED], ids=[row[0] for row in WARNED])
def test_warnings(facts: Callable[[], Facts], check_id: str, says: str) -> None:
    """What the operator may choose is a warning, alone, and no blocker."""
    found = _serious(facts())
    assert [(check_id, Severity.WARNING)] == [(finding.id, finding.severity) for finding in found]
    assert says in _text(found[0])


def test_who_keeps_the_second_of_two_daemonsets() -> None:
    """Flannel's may be somebody's own, Calico's an operator's."""
    second = a_daemonset("calico-node", "calico-system", owner="Installation default")
    facts = _facts(_with(second), sections={"canal": {"more_daemonsets": ["calico-system/calico-node"]}})
    assert ["calico-system/calico-node" in one.what for one in gitops(facts)] == [True]


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param(lambda: _facts(_with(budgets={("default", "x"): _budget("x", matchLabels={"app": "db"})})),
                     id="a closed budget over nothing"),
        pytest.param(lambda: _facts(_with(budgets={("other", "web"): replace(_budget(), namespace="other")})),
                     id="a closed budget in another namespace"),
        pytest.param(lambda: _facts(_with(budgets={("default", "web"): _budget()}),
                                    sections={"drain": {"disable_eviction": "app=web"}}), id="budgets are bypassed"),
        pytest.param(lambda: _facts(_with(budgets={("default", "web"): _budget()}),
                                    sections={"drain": {"pod_selector": "!app"}}), id="the pods go last"),
        pytest.param(lambda: _facts(ONE_TOLERATED), id="one worker, whose pods the control plane takes"),
        pytest.param(lambda: _facts(_with(replace(_crashing(), ready=False), budgets=_closed(always=True))),
                     id="a crash-looping pod under AlwaysAllow"),
        pytest.param(lambda: _facts(_with(_crashing(), budgets=_closed(healthy=2, needed=2))),
                     id="a pod that is not Ready while enough others are"),
        pytest.param(lambda: _facts(_with(replace(_crashing(), phase="Pending"), budgets=_closed())),
                     id="a pod that has not started"),
        pytest.param(lambda: _facts(felix={"default": {"bpfEnabled": False, "chainInsertMode": "Insert"}}),
                     id="felix as usual"),
        pytest.param(lambda: _facts(**_there(chained=("portmap", "bandwidth"))), id="a plugin that no pod makes use of"),
        pytest.param(lambda: _facts(felix={"default": {"bpfEnabled": True}},
                                    **_there(felix={"kube-system/canal": {"bpfenabled": "false"}})),
                     id="felix whose environment goes before what the API says"),
        pytest.param(lambda: _facts(_canal(folders={"net": "/etc/cni/net.d"})), id="canal writes its own file"),
        pytest.param(lambda: _facts(_with(a_daemonset("logs", folders={"etc": "/etc"}))), id="a folder around it"),
        pytest.param(lambda: _facts(ip_pools=("pool",)), id="pools that nothing uses"),
        pytest.param(lambda: _natting("quay.io/calico/node:v3.28.0"), id="a calico that masquerades behind others"),
        pytest.param(lambda: _natting("calico/node:v3.24.1", ours="10.245.0.0/16"), id="a pool for cilium's network, too"),
        pytest.param(lambda: _natting("calico/node:v3.24.1", own="10.9.0.0/16", far="192.168.0.0/16"),
                     id="pools that pods have no addresses of"),
        pytest.param(lambda: _facts(proxy_mode="iptables", proxy_cidr="10.0.0.0/8"), id="kube-proxy as usual"),
        pytest.param(lambda: _facts(_with(a_node("w2", os="linux", arch="arm64"))), id="arm64"),
        pytest.param(lambda: _facts(_with(a_pod("alone", controller=None)), sections={"drain": {"force": True}}),
                     id="bare pods are allowed"),
        pytest.param(lambda: _facts(_with(a_pod("cache", local_storage=True)),
                                    sections={"drain": {"delete_emptydir_data": True}}), id="local data may go"),
        pytest.param(lambda: _facts(_with(a_pod("static", controller=None, mirror=True, host_network=True))),
                     id="static pods of the host stay"),
        pytest.param(lambda: _facts(_with(a_daemonset("cilium", containers=("cilium-agent",),
                                                      labels={names.MANAGED_BY: names.TOOL}))), id="our own cilium"),
        pytest.param(lambda: _facts(_with(a_pod("node-agent", ip="10.245.0.7", host_network=True))),
                     id="a host's address is not a pod's"),
        pytest.param(lambda: _facts(_with(a_pod("ingress", host_ports=True)), host_ports="portmap"),
                     id="host ports that the portmap plugin serves"),
        pytest.param(lambda: _facts(policies=(("NetworkPolicy", "shop", "db"),), **_there(calico=("calico-node",))),
                     id="policies under multus"),
        pytest.param(lambda: _facts(_with(a_daemonset("firewall", containers=("kube-router",))),
                                    policies=(("NetworkPolicy", "shop", "db"),)), id="policies that another enforces"),
        pytest.param(lambda: _facts(policies=(("NetworkPolicy", "knet-stress", "knet-stress-guard"),)),
                     id="a policy of our own, that nobody enforces yet"),
        pytest.param(lambda: _facts(strategy="overlay", **_there(calico=("calico-node",))), id="calico beside overlay"),
        pytest.param(lambda: _facts(_with(a_pod("broken", ip="none"))), id="an address that is none"),
    ],
)  # fmt: skip
def test_what_is_no_trouble(facts: Callable[[], Facts]) -> None:
    """What looks like trouble and is none."""
    assert _serious(facts()) == []


def test_blockers_come_first() -> None:
    """The order is by severity, then as the checks are."""
    found = findings(_facts(_with(a_node("w2", ready=False)), pod_hooks=(Hook("guard/pods", ""),)))
    severities = [finding.severity for finding in found]
    assert severities == sorted(severities, key=list(Severity).index)


@pytest.mark.parametrize(
    ("selector", "labels", "holds"),
    [
        (None, {}, False),
        ({}, {"a": "1"}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "1", "b": "2"}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "2"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, {"a": "1"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {"a": "1"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": ""}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Near"}]}, {"a": ""}, False),
    ],
)
def test_label_selectors(selector: dict[str, Any] | None, labels: dict[str, str], holds: bool) -> None:
    """As Kubernetes reads them; an operator that is unknown selects nothing."""
    assert matches(selector, labels) is holds


def test_nothing_is_found_twice_for_one_reason() -> None:
    """A pod of a ReplicaSet under one open budget is nobody's concern."""
    pod = a_pod("web-1-c", controller=REPLICASET, labels={"app": "web"})
    assert _serious(_facts(_with(pod, budgets={("default", "web"): _budget(allowed=1)}))) == []


@pytest.mark.parametrize(
    "facts",
    [
        _agents(),
        _agents(settings={"config-dir": "/tmp/cilium/config-map", "k8s-namespace": "kube-system"}),
        _agents(settings={"build-config source": "config-map:kube-system/cilium-config,cilium-node-config:kube-system"}),
        _node_config(EDGE, debug="true"),
        _node_config(EDGE, enable_policy="default"),
        _node_config(
            GUIDES, write_cni_conf_when_ready=PRIMARY, custom_cni_conf="false", cni_chaining_mode="none",
            cni_exclusive="true",
        ),
        replace(_facts(), node_configs=(NodeConfig("kube-system", "cilium-default", GUIDES, {"cni-exclusive": "true"}, True),)),
    ],
)  # fmt: skip
def test_an_installed_cilium_as_its_guide_has_it_is_no_finding(facts: Facts) -> None:
    """Nor are its guide's own CiliumNodeConfig, one of ours from before, and keys that do not matter here."""
    assert _serious(facts) == []


@pytest.mark.parametrize(
    ("budgets", "shown", "todo"),
    [
        ({"a": ""}, ["default/a (2 healthy, 2 needed)"], "add a replica or make the pods healthy, or loosen the budget;"),
        ({"a": "maxUnavailable: 0"}, ["default/a (maxUnavailable: 0)"], "loosen the budget;"),
        ({"a": "maxUnavailable: 0", "b": ""}, ["default/a (maxUnavailable: 0)", "default/b (2 healthy, 2 needed)"],
         "add a replica or make the pods healthy, or loosen the budget;"),
    ],
    ids=["a replica helps", "no replica helps", "one of each"],
)  # fmt: skip
def test_nobody_is_told_to_add_replicas_where_none_helps(budgets: dict[str, str], shown: list[str], todo: str) -> None:
    """A budget with maxUnavailable 0 stays closed however many pods there are."""
    every = {("default", name): replace(_budget(name), never=never) for name, never in budgets.items()}
    (found,) = (one for one in findings(_facts(_with(budgets=every))) if one.id == "BUDGET_CLOSED")
    assert list(found.objects) == shown
    assert found.to_do.startswith(todo)
