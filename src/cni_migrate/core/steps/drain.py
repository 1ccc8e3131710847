"""Which pods a drain evicts, leaves alone, or refuses to touch: kubectl's filters, in kubectl's order.

Source: kubectl `pkg/drain/filters.go` (deleted, DaemonSet, mirror, local storage, unreplicated). Two deviations, both
because here the pod network changes and not the machine: pods on the host's network that tolerate our taint stay, and
all verdicts are collected before anything is touched. And `--pod-selector` leaves no pod where it is: those that it
does not select lose their network with the node's, so they go last and are refused like the others.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from cni_migrate import labelselector
from cni_migrate.configsections import Drain
from cni_migrate.core.model import names
from cni_migrate.core.model.objects import Budget, Pod, Taint


class Verdict(Enum):
    """What a drain does with a pod."""

    EVICT = "evict"
    DELETE = "delete"
    LAST = "last"
    LEAVING = "leaving"
    STAYS = "stays"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Classification:
    """A pod, what happens to it, and why."""

    pod: Pod
    verdict: Verdict
    reason: str


def classify(pod: Pod, taint: Taint, options: Drain) -> Classification:
    """The verdict on one pod."""
    if pod.mirror:
        return Classification(pod, Verdict.STAYS, "static pod: belongs to the node")
    if pod.labels.get(names.COMPONENT) == names.HOST_TASK and pod.labels.get(names.MANAGED_BY) == names.TOOL:
        return Classification(pod, Verdict.STAYS, "a task of this migration")
    if pod.of_daemonset:
        return Classification(pod, Verdict.STAYS, "DaemonSet pod: it would come straight back")
    if pod.host_network and any(toleration.tolerates(taint) for toleration in pod.tolerations):
        return Classification(pod, Verdict.STAYS, "uses the host's network: not affected")
    if pod.deleting:
        return Classification(pod, Verdict.LEAVING, "terminating")
    if pod.finished:
        return Classification(pod, Verdict.EVICT, "finished")
    if pod.local_storage and not options.delete_emptydir_data:
        return Classification(pod, Verdict.REFUSED, "its emptyDir data would be lost (--delete-emptydir-data)")
    if pod.controller is None and not options.force:
        return Classification(pod, Verdict.REFUSED, "nothing would recreate it (--force)")
    if options.pod_selector and not pod.host_ports and not labelselector.parse(options.pod_selector)(pod.labels):
        return Classification(pod, Verdict.LAST, "not selected (--pod-selector): deleted once the node is tainted")
    if options.disable_eviction and labelselector.parse(options.disable_eviction)(pod.labels):
        return Classification(pod, Verdict.DELETE, "deleted, its budgets are not asked (--disable-eviction)")
    what = "moves to another node" if pod.controller is not None else "is deleted for good: nothing recreates it"
    return Classification(pod, Verdict.EVICT, f"{what}, its emptyDir data are lost" if pod.local_storage else what)


def classify_all(pods: Iterable[Pod], taint: Taint, options: Drain) -> list[Classification]:
    """The verdicts on all pods of a node, by namespace and name."""
    return [classify(pod, taint, options) for pod in sorted(pods, key=lambda pod: pod.key)]


MOVES: Final = (Verdict.EVICT, Verdict.DELETE, Verdict.LAST)
"""What makes a pod go to another node."""


def overdue(pod: Pod, options: Drain, now: datetime) -> bool:
    """Whether a pod should have been gone for so long that it is not waited for (kubectl, skipDeletedFilter)."""
    limit = options.skip_wait_for_delete_timeout
    return limit > 0 and pod.due_gone is not None and (now - pod.due_gone).total_seconds() > limit


def evictable(pod: Pod, budget: Budget) -> bool:
    """Whether the eviction API would let the pod go now, whatever its deletion costs others.

    As in kubernetes/kubernetes, pkg/registry/core/pod/storage/eviction.go: a pod that has not started, or has ended,
    meets no budget; one that is not Ready may go under AlwaysAllow, and under IfHealthyBudget while enough others
    are healthy; any other needs a disruption that is allowed.
    """
    if pod.phase in ("Pending", "Succeeded", "Failed") or pod.deleting:
        return True
    if not pod.ready:
        enough = 0 < budget.desired_healthy <= budget.current_healthy
        return budget.unhealthy_always_allowed or enough or budget.disruptions_allowed > 0
    return budget.disruptions_allowed > 0


def refusals(found: Iterable[Classification]) -> list[str]:
    """The refused pods, in words."""
    return [
        f"pod {classified.pod.key}: {classified.reason}"
        for classified in found
        if classified.verdict is Verdict.REFUSED
    ]
