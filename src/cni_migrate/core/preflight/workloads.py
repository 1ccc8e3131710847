"""Checks of pods that would stop a drain: budgets, bare pods, emptyDir volumes."""

from collections.abc import Iterator
from typing import Final

from cni_migrate.core.model import names
from cni_migrate.core.model.objects import Budget
from cni_migrate.core.preflight.evicted import evicted, moved
from cni_migrate.core.preflight.registry import Facts, Finding, blocker, check, many, warning
from cni_migrate.core.render.foreign import AGENT, PORTMAP
from cni_migrate.core.steps.budgets import Budgets
from cni_migrate.core.steps.drain import Verdict, classify_all, evictable


@check
def budgets(facts: Facts) -> Iterator[Finding]:
    """Every budget lets at least one pod go, and no pod has two: the eviction API supports one only."""
    closed: dict[str, Budget] = {}
    double: list[str] = []
    every = Budgets(facts.seen.budgets.values())
    for pod in evicted(facts):
        found = every.over(pod)
        if every.in_each_others_way(pod):
            double.append(f"{pod.key}: {', '.join(sorted(budget.name for budget in found))}")
        closed |= {f"{b.namespace}/{b.name}": b for b in found if not evictable(pod, b)}
    if closed:
        shown = [
            f"{name} ({b.never or f'{b.current_healthy} healthy, {b.desired_healthy} needed'})"
            for name, b in sorted(closed.items())
        ]
        # No replica opens a budget that is closed whatever happens.
        more = "" if all(b.never for b in closed.values()) else "add a replica or make the pods healthy, or "
        yield blocker(
            "BUDGET_CLOSED",
            f"no eviction is allowed now by {many(len(closed), 'PodDisruptionBudget')}: a drain would be held",
            f"{more}loosen the budget; --disable-eviction LABELS deletes such pods",
            shown,
        )
    if double:
        yield blocker(
            "BUDGET_TWICE",
            f"two PodDisruptionBudgets over {many(len(double), 'pod')}: Kubernetes refuses to evict such pods at all",
            "leave each pod one budget; --disable-eviction LABELS deletes such pods",
            double,
        )


@check
def stubborn_pods(facts: Facts) -> Iterator[Finding]:
    """No pod is lost by being evicted, unless that was allowed."""
    bare: list[str] = []
    local: list[str] = []
    for node in facts.seen.nodes:
        for classified in classify_all(facts.seen.pods_on(node), facts.taint, facts.config.drain):
            if classified.verdict is Verdict.REFUSED:
                (local if classified.pod.local_storage else bare).append(f"{classified.pod.key} on {node}")
    if bare:
        yield blocker(
            "BARE_PODS",
            f"nothing would recreate {many(len(bare), 'pod')}",
            "delete them, give them a controller, or allow it: --force (drain.force)",
            bare,
        )
    if local:
        yield blocker(
            "EMPTYDIR_PODS",
            f"emptyDir data would be lost by {many(len(local), 'pod')}",
            "move the data, or allow it: --delete-emptydir-data (drain.delete_emptydir_data)",
            local,
        )


@check
def static_pods(facts: Facts) -> Iterator[Finding]:
    """No static pod is on the pod network: it would keep Canal's, which goes, and the API cannot recreate it."""
    found = sorted(
        f"{pod.key} on {pod.node}"
        for node in facts.seen.nodes
        for pod in facts.seen.pods_on(node)
        if pod.mirror and not pod.host_network and not pod.finished
    )
    if found:
        yield blocker(
            "STATIC_PODS",
            f"{many(len(found), 'static pod')} on the pod network: the kubelet alone can recreate them, so they stay on"
            " Canal",
            "give them hostNetwork, or make a DaemonSet of them; or --waive STATIC_PODS, and move each manifest out of"
            " the kubelet's folder and back once its node is migrated: clean-up waits for that",
            found,
        )


@check
def local_volumes(facts: Facts) -> Iterator[Finding]:
    """Pods whose PersistentVolume is on their node cannot run anywhere else meanwhile."""
    found = [
        f"{pod.key} on {pod.node}: {facts.local_volumes[claim]}"
        for pod in moved(facts)
        for claim in (f"{pod.namespace}/{name}" for name in pod.claims)
        if claim in facts.local_volumes
    ]
    if found:
        yield warning(
            "LOCAL_VOLUMES",
            f"{many(len(found), 'pod')} with a volume on the node: Pending from the drain until the node is back",
            "make sure that the workload can do without each of them for some minutes, or fail it over first",
            sorted(found),
        )


@check
def other_writers(facts: Facts) -> Iterator[Finding]:
    """Nobody else writes into the CNI folder: a service mesh's plugin puts itself behind what is in force there.

    With it a pod gets its proxy's rules; the file that Cilium writes has none of it (istio-cni, linkerd-cni).
    """
    folder = facts.config.host_task.cni_folder
    found = [
        "/".join(name)
        for name, one in sorted(facts.seen.daemonsets.items())
        if name not in facts.found.daemonsets
        and folder in one.folders.values()
        and not {AGENT, "kube-multus"} & {*one.containers}
        and one.labels.get(names.MANAGED_BY) != names.TOOL
    ]
    if found:
        yield warning(
            "CNI_WRITERS",
            f"{many(len(found), 'DaemonSet')} of somebody else's with the CNI folder {folder} of the nodes: what is"
            " chained into Canal's file there (istio-cni, linkerd-cni) is not in Cilium's, and agents rewrite that",
            "migrate one node first (--nodes NODE) and check whether its file has the plugin; cni.exclusive: false in"
            " Cilium's values lets it stay",
            found,
        )


SHAPED: Final = ("kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth")
"""By these annotations a pod asks the plugin `bandwidth` for limits (kubernetes.io: "Network Plugins")."""


@check
def chained_plugins(facts: Facts) -> Iterator[Finding]:
    """What plugins behind Canal's own do for pods: in Cilium's file they are missing."""
    others = [one for one in facts.found.chained if one not in (PORTMAP, "bandwidth")]
    if others:
        yield warning(
            "CNI_PLUGINS",
            f"Canal's CNI file calls {', '.join(others)} for each pod, which Cilium's does not: what it does for pods"
            " is gone on each node once it is migrated",
            "look what it is set to do (cni_network_config in Canal's ConfigMap), and whether pods rely on it",
            others,
        )
    if "bandwidth" not in facts.found.chained:
        return
    every = (pod for node in facts.seen.nodes for pod in facts.seen.pods_on(node))
    if shaped := sorted(pod.key for pod in every if any(key in pod.annotations for key in SHAPED)):
        yield warning(
            "CNI_PLUGINS",
            f"{many(len(shaped), 'pod')} with limits of bandwidth, which Canal's plugin holds: they have none on each"
            " node once it is migrated",
            "turn Cilium's bandwidth manager on for the end (it knows egress limits), or do without",
            shaped,
        )


@check
def host_ports(facts: Facts) -> Iterator[Finding]:
    """Pods that are reached by a port of their host: Canal's portmap plugin does that, the built-in Cilium does not.

    Without the replacement of kube-proxy it takes the portmap plugin behind Cilium's own
    (https://docs.cilium.io/en/stable/installation/cni-chaining-portmap/).
    """
    found = sorted(pod.key for node in facts.seen.nodes for pod in facts.seen.pods_on(node) if pod.host_ports)
    if found and facts.host_ports != PORTMAP:
        serves = "Cilium as it is installed here does not serve them, so these ports are closed on each node once it is"
        if facts.host_ports:
            serves = (
                f"{facts.host_ports} serves them, which comes with the last step: until then they are closed on each"
            )
            serves += " node that is"
        yield warning(
            "HOST_PORTS",
            f"{many(len(found), 'pod')} with host ports: {serves} migrated",
            "give these pods hostNetwork or a NodePort first; or have your own Cilium serve them: portmap chaining",
            found,
        )
