"""Checks of what kind of Canal is there: whether it is one at all, only one, and one that works as is known here.

What cannot be migrated is refused by its name: another network, flannel or Calico with an etcd of their own, settings
that flannel would not start with.
"""

from collections.abc import Iterator
from typing import Final

from cni_migrate.core.model import names
from cni_migrate.core.model.words import many
from cni_migrate.core.preflight.registry import Facts, Finding, blocker, check

OTHERS: Final = {
    "calico-node": "Calico with a network of its own, which is not Canal",
    "weave": "Weave Net",
    "kindnet-cni": "kindnet",
    "antrea-agent": "Antrea",
    "kube-router": "kube-router",
    "aws-node": "the AWS VPC CNI",
    "cilium-agent": "Cilium already",
    "ovnkube-node": "OVN-Kubernetes",
}
"""Networks by the names of their containers."""


def network_instead(facts: Facts) -> str:
    """Which network the cluster has, where no DaemonSet of its runs flannel; '' when that cannot be told."""
    for container, what in OTHERS.items():
        for (namespace, name), one in sorted(facts.seen.daemonsets.items()):
            if container in one.containers and one.labels.get(names.MANAGED_BY) != names.TOOL:
                return f"its network is {what} (DaemonSet {namespace}/{name})"
    marked = [
        node.name
        for node in facts.seen.nodes.values()
        if any(key.startswith(names.FLANNEL_ANNOTATIONS) for key in node.annotations)
    ]
    if marked:
        return (
            f"flannel runs on {many(len(marked), 'node')}, but in no DaemonSet: inside of another program (k3s) or as a"
            " service of the host, where it cannot be taken off a node through the API"
        )
    return ""


@check
def two_canals(facts: Facts) -> Iterator[Finding]:
    """No node has two flannels: which one pods are on cannot be told."""
    uids = {one.uid for name in facts.found.flannels if (one := facts.seen.daemonsets.get(name)) is not None}
    twice: list[str] = []
    for node in sorted(facts.seen.nodes):
        owners = {
            pod.controller[2]: pod.key
            for pod in facts.seen.pods_on(node)
            if not pod.finished and pod.controller is not None and pod.controller[2] in uids
        }
        if len(owners) > 1:
            twice.append(f"node {node}: {' and '.join(sorted(owners.values()))}")
    if twice:
        there = ", ".join("/".join(name) for name in facts.found.flannels)
        yield blocker(
            "CANAL_TWICE",
            f"flannel runs twice on {many(len(twice), 'node')}, by DaemonSets {there}: which one's network pods are on"
            " cannot be told",
            "remove the one that is left over from an earlier installation, with its CNI file on the nodes",
            twice,
        )


@check
def settings(facts: Facts) -> Iterator[Finding]:
    """Flannel would start again with its settings: the way back restarts it."""
    if facts.found.broken:
        yield blocker(
            "CANAL_SETTINGS",
            f"flannel would not start with its settings, {facts.found.broken}; its pods run only because they have read"
            " them before",
            "fix the ConfigMap, and restart one pod of Canal to see that it comes back",
            [f"ConfigMap {facts.found.config_map}"],
        )


@check
def same_settings(facts: Facts) -> Iterator[Finding]:
    """All of flannel's DaemonSets have the same settings: one port, one network is what the migration goes by."""
    if facts.found.differing:
        yield blocker(
            "CANAL_SETTINGS",
            "flannel's DaemonSets have different settings: which hold on a node cannot be told",
            "give them the same net-conf.json; delete a DaemonSet that is obsolete",
            facts.found.differing,
        )


@check
def routes_of_calico(facts: Facts) -> Iterator[Finding]:
    """Flannel carries the pods' traffic, and Calico none of it."""
    if facts.found.calico_routes:
        yield blocker(
            "CALICO_BACKEND",
            "Calico is told to carry pods' traffic itself, beside flannel: which of them does cannot be told, and what"
            " Calico lays for it was not tried",
            "set CALICO_NETWORKING_BACKEND to none, as Canal has it, and restart its pods first; where flannel alone"
            " carries it all the same: --waive CALICO_BACKEND",
            facts.found.calico_routes,
        )


@check
def datastores(facts: Facts) -> Iterator[Finding]:
    """Flannel and Calico keep what they know in the Kubernetes API, where it can be seen."""
    where = ["/".join(name) for name in facts.found.daemonsets]
    if facts.found.flannel_etcd:
        yield blocker(
            "CANAL_ETCD",
            "flannel has its networks from an etcd (it runs without --kube-subnet-mgr), not from the nodes' podCIDRs:"
            " which addresses belong to which node cannot be told",
            "move flannel to the Kubernetes API first (--kube-subnet-mgr; --cluster-cidr of the controller manager)",
            where,
        )
    if facts.found.calico_etcd:
        yield blocker(
            "CALICO_ETCD",
            "Calico keeps its own objects in an etcd: policies of Calico's own kinds, tiers and host endpoints there"
            " cannot be seen, and would be open under Cilium",
            "look with calicoctl (get globalnetworkpolicy, networkpolicy --all-namespaces, hostendpoint, tier); when"
            " there is none, or all are translated: --waive CALICO_ETCD",
            where,
        )


@check
def node_cidrs(facts: Facts) -> Iterator[Finding]:
    """Every node has its part of the pod network: flannel's and the tool's knowledge of a node begins there."""
    without = sorted(
        node.name
        for node in facts.seen.nodes.values()
        if node.os == "linux" and not any("." in cidr for cidr in (node.pod_cidr, *node.pod_cidrs))
    )
    if facts.found.daemonsets and without:
        yield blocker(
            "NODE_CIDRS",
            f"{many(len(without), 'node')} without a podCIDR of IPv4: flannel cannot serve them",
            "start the controller manager with --allocate-node-cidrs and --cluster-cidr, or remove these nodes",
            without,
        )


@check
def tolerated(facts: Facts) -> Iterator[Finding]:
    """Canal's pods tolerate the taint of a node in transit: on the way back they start while it is there."""
    taint = facts.taint
    lacking = [
        "/".join(name)
        for name, every in zip(facts.found.daemonsets, facts.found.tolerations, strict=False)
        if not any(one.tolerates(taint) for one in every)
    ]
    if lacking:
        yield blocker(
            "CANAL_TAINT",
            f"DaemonSet {' and '.join(lacking)} does not tolerate the taint {taint.key}:{taint.effect} of a node in"
            " transit: Canal would be kept off it, and with it the way back",
            "add the toleration {operator: Exists, effect: NoSchedule} to it; omit drain.taint_effect: it is found",
            lacking,
        )
