"""Checks of what else acts on nodes and Services meanwhile: kube-proxy, DNS caches, autoscalers, reboots, repairs."""

from collections.abc import Iterator
from typing import Final

from cni_migrate.core.model.cidr import within
from cni_migrate.core.model.objects import Pod
from cni_migrate.core.model.words import many
from cni_migrate.core.preflight.registry import Facts, Finding, blocker, check, warning

ACTORS: Final = {
    "cluster-autoscaler": (
        "CLUSTER_AUTOSCALER",
        "the cluster autoscaler",
        "it removes nodes that are cordoned or empty",
    ),
    "karpenter": ("CLUSTER_AUTOSCALER", "Karpenter", "it replaces nodes that are cordoned or empty"),
    "kured": ("KURED", "kured", "it drains and reboots nodes on its own, beside the one in transit"),
    "machine-healthcheck-controller": (
        "MACHINE_HEALTH",
        "machine health checks",
        "they replace nodes that are NotReady",
    ),
    "descheduler": ("DESCHEDULER", "the descheduler", "it evicts pods on its own, and takes what budgets have left"),
}
"""What is known by the name of its container or by its pods' label: the finding, its name, what it does."""

_LABELS: Final = ("app.kubernetes.io/name", "app", "k8s-app", "name")


def _is(pod: Pod) -> str:
    marks = {*pod.containers, *(pod.labels.get(key, "") for key in _LABELS)}
    return next((name for name in ACTORS if name in marks), "")


@check
def actors(facts: Facts) -> Iterator[Finding]:
    """Nobody else removes, reboots or repairs nodes meanwhile."""
    found: dict[str, list[str]] = {}
    for node in facts.seen.nodes:
        for pod in facts.seen.pods_on(node):
            if not pod.finished and (name := _is(pod)):
                found.setdefault(name, []).append(pod.key)
    for name, pods in sorted(found.items()):
        check_id, what, why = ACTORS[name]
        if check_id:
            yield warning(check_id, f"{what} is at work: {why}", "pause it until the migration is done", sorted(pods))
    if checks := [name for name in facts.crds if name.startswith("machinehealthchecks.")]:
        yield warning(
            "MACHINE_HEALTH",
            "machine health checks may replace a node that is NotReady or out of service for long",
            "pause them (cluster.x-k8s.io/paused) until the migration is done",
            checks,
        )


@check
def kube_proxy(facts: Facts) -> Iterator[Finding]:
    """kube-proxy serves pods of both networks alike."""
    if facts.proxy_mode == "ipvs":
        yield warning(
            "KUBE_PROXY_IPVS",
            "kube-proxy is in IPVS mode: only its iptables mode was tried beside Cilium",
            "rehearse on a copy of the cluster, or change kube-proxy's mode to iptables first",
        )
    cidrs = [one.strip() for one in facts.proxy_cidr.split(",") if "." in one]
    cilium = facts.config.cilium.pod_cidr
    if cidrs and not any(within(cilium, one) for one in cidrs):
        yield warning(
            "KUBE_PROXY_CIDR",
            f"kube-proxy's cluster CIDR is {', '.join(cidrs)}, and cilium.pod_cidr {cilium} is not in it: calls of"
            " migrated pods by ClusterIP may be masqueraded, and policies see their node instead of them",
            "set clusterCIDR of kube-proxy to a network that holds both, or take cilium.pod_cidr from inside of it",
        )


@check
def dns_cache(facts: Facts) -> Iterator[Finding]:
    """NodeLocal DNSCache answers on the host: policies that allow DNS by pod labels do not cover it."""
    found = ["/".join(key) for key, one in facts.seen.daemonsets.items() if "node-cache" in one.containers]
    if found:
        yield warning(
            "NODE_LOCAL_DNS",
            "NodeLocal DNSCache answers on each node's own network: under Cilium a policy has to allow the host for it",
            "allow DNS to the host, or have a CiliumLocalRedirectPolicy after the migration (docs.cilium.io: Node-local"
            " DNS cache)",
            found,
        )


BUILT: Final = ("", "amd64", "arm64")
"""Architectures that Cilium's images are published for."""


@check
def platforms(facts: Facts) -> Iterator[Finding]:
    """Every node can run Cilium: Linux, on an architecture that its images are built for."""
    nodes = facts.seen.nodes.values()
    if windows := sorted(node.name for node in nodes if node.os == "windows"):
        yield blocker(
            "WINDOWS",
            f"{many(len(windows), 'node')} with Windows: Cilium does not run there, and clean-up waits for them",
            "move these nodes to a cluster of their own first",
            windows,
        )
    if others := sorted(f"{node.name}: {node.arch}" for node in nodes if node.os == "linux" and node.arch not in BUILT):
        yield blocker(
            "ARCHITECTURE",
            f"{many(len(others), 'node')} with an architecture that Cilium's images are not published for",
            "remove them from the cluster; or name images that are built for it, and --waive ARCHITECTURE",
            others,
        )
