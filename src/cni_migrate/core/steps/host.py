"""Steps that look at or change a node's files and links, by one-shot pods (docs/reference/host-tasks.md)."""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from cni_migrate.core.model import names
from cni_migrate.core.model.effects import DeletePod, RunHostTask
from cni_migrate.core.model.lifecycle import NodeEvent
from cni_migrate.core.model.objects import Node, Pod
from cni_migrate.core.render.foreign import PORTMAP
from cni_migrate.core.steps.answers import Answer, Apply, Done, NodeChanges, Refuse, Wait
from cni_migrate.core.steps.registry import node_step
from cni_migrate.core.steps.view import ClusterView, NodeView

CNI_ENDINGS = (".conf", ".conflist", ".json")
"""What a container runtime reads in the CNI folder (containerd: go-cni `ConfFiles`)."""


_LISTS = ("files", "lacks", "links", "leases", "chains", "rules", "left")


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What a host task reported: CNI files, links, leases, chains, other files left behind.

    `lacks` are paths that the first plugin of Canal's file reads and that are not there; `routed` is whether flannel
    has laid a route to the pods of any other node; `rules` are the families of iptables in which our rule is.
    """

    files: tuple[str, ...]
    lacks: tuple[str, ...]
    routed: bool
    links: tuple[str, ...]
    leases: tuple[str, ...]
    chains: tuple[str, ...]
    rules: tuple[str, ...]
    left: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "HostStatus | None":
        """The status from a task's termination message, or None when it is not one."""
        try:
            data: dict[str, Any] = json.loads(text)
            lists = {key: tuple(map(str, data.get(key, ()))) for key in _LISTS}
            return cls(routed=bool(data.get("routed")), **lists)
        except (ValueError, TypeError, AttributeError):
            return None

    @property
    def first(self) -> str:
        """The active CNI configuration: the first by name that a runtime reads."""
        return next(iter(self._read), "")

    @property
    def second(self) -> str:
        """The file that would be active without the first."""
        return next(iter(self._read[1:]), "")

    @property
    def _read(self) -> list[str]:
        return [name for name in sorted(self.files) if name.endswith(CNI_ENDINGS)]


def task_name(node: Node, purpose: str) -> str:
    """The name of a task's pod: the same for the same purpose on the same node, so that none is ever started twice.

    The node's uid is in it: a node that was made anew under the same name must not be believed by what its predecessor
    has done.
    """
    digest = hashlib.sha256(f"{node.name}/{node.uid}/{purpose}".encode()).hexdigest()[:10]
    return f"host-{node.name[:40].strip('.-').replace('.', '-')}-{digest}"


def task_of(view: NodeView, step: str) -> str:
    """The name of the host task that a step of the node's event would run; another one if it goes back alone."""
    alone = "/alone" if view.entry.alone else ""
    return task_name(view.node, f"{view.entry.event}/{step}/{view.entry.attempt}{alone}")


def current_task(view: NodeView) -> str:
    """The name of the host task that the node's current step would run."""
    return task_of(view, view.entry.step)


def run_task(view: ClusterView, node: str, name: str, *ops: str) -> HostStatus | Answer:
    """The result of a host task; until there is one, the answer that gets it."""
    pod = view.seen.pod(view.config.namespace, name)
    on = f"host task `{' '.join(ops)}` on node {node}"
    if pod is None:
        known = view.record.cluster.cleaning_image
        manifest = view.plan.manifests.host_task(node, name, ops, cleaning_image=known)
        return Apply((RunHostTask(node, name, manifest),), on=on, observed="not started")
    if pod.deleting:
        return Wait(on=on, observed=f"an older pod {name} is terminating")
    # The kubelet tells how the container has ended a second before it calls the pod Succeeded.
    if pod.phase == "Succeeded" or (pod.message and not pod.trouble):
        status = HostStatus.parse(pod.message)
        return status or Refuse(
            why=f"{on} reported something unreadable: {pod.message[:200]!r}",
            next=f"look at `kubectl -n {pod.namespace} describe pod {name}`, and delete it",
        )
    if pod.phase == "Failed" and pod.trouble.startswith("DeadlineExceeded"):
        # It may have begun long before its step, beside an agent that was slow to start: the step has its own deadline.
        again = DeletePod(pod.namespace, pod.name, pod.uid, pod.node)
        return Apply((again,), on=on, observed=f"{pod.trouble[:200]}; it is begun again")
    if pod.phase == "Failed":
        return Refuse(
            why=f"{on} failed: {pod.message[:300] or pod.trouble}",
            next=f"look at `kubectl -n {pod.namespace} logs {name}`, and delete the pod",
        )
    return Wait(on=on, observed=pod.trouble or pod.phase)


def _run(view: NodeView, *ops: str) -> HostStatus | Answer:
    return run_task(view, view.node.name, current_task(view), *ops)


LOOK_EVERY = 6.0
"""Seconds between two looks at a host that is not as it should be yet."""


def _look_again(view: NodeView, on: str, observed: str, status: HostStatus) -> Answer:
    """The node is not as it should be yet: remove the finished task after a while, so that another looks anew."""
    name = current_task(view)
    remember = NodeChanges(files=status.files)
    started = view.outcomes.attempts.get(f"host:{name}")
    left = LOOK_EVERY - (view.now - started.at).total_seconds() if started is not None else 0.0
    if left > 0:
        return Apply((), on=on, observed=observed, remember=remember, retry_in=left)
    pod: Pod | None = view.seen.pod(view.config.namespace, name)
    effects = (DeletePod(pod.namespace, pod.name, pod.uid, pod.node),) if pod is not None else ()
    return Apply(effects, on=on, observed=observed, remember=remember)


def _unfit(view: NodeView, status: HostStatus) -> Answer | None:
    """The answer while Canal is not fit for use on the node, or None when it is.

    A published Canal keeps flannel's subnet file inside its pod (no canal.yaml from 3.20 to 3.32 mounts /run/flannel),
    so it is asked for what the plugin in its CNI file reads, and for the routes that flannel lays to the other nodes.
    """
    name = view.node.name
    if status.lacks:
        return _look_again(view, f"{status.lacks[0]} on node {name}, which Canal's CNI plugin reads", "missing", status)
    on_flannel = f"{names.FLANNEL_ANNOTATIONS}public-ip"
    others = [node for node in view.seen.nodes.values() if node.name != name and on_flannel in node.annotations]
    if others and not status.routed:
        return _look_again(view, f"flannel's routes to the other nodes' pods on node {name}", "none", status)
    return None


def _check_first(view: NodeView, wanted: str, whose: str, *, behind: str = "", without: str = "") -> Answer:
    """See that a file is active, and behind it Canal's if that is `behind`: then Canal must be fit for use, too.

    The file that it has to be `without` is removed before.
    """
    removed = (f"remove-cni={without}",) if without else ()
    status = _run(view, *removed, f"await-first={wanted}")
    if isinstance(status, Wait | Apply) and view.entry.files:
        status = replace(status, observed=f"{status.observed}; CNI files when seen last: {', '.join(view.entry.files)}")
    if not isinstance(status, HostStatus):
        return status
    on = f"{whose} file {wanted} to be the active CNI configuration on node {view.node.name}"
    if behind and status.first == wanted and status.second != behind:
        on = f"Canal's file {behind} to be right behind {wanted} on node {view.node.name}"
    if status.first != wanted or (behind and status.second != behind):
        observed = f"active: {status.first or 'none'}; files: {', '.join(status.files) or 'none'}"
        return _look_again(view, on, observed, status)
    if view.config.canal.cni_file in (wanted, behind):
        unfit = _unfit(view, status)
        if unfit is not None:
            return unfit
    remember = NodeChanges(files=status.files)
    if view.entry.event is NodeEvent.ATTACH and behind:
        remember["leases"] = status.leases
    return Done(remember=remember)


@node_step("host", beside=("await_cilium", "await_cilium_cidr"))
def check_canal_first(view: NodeView) -> Answer:
    """See on the host that Canal's CNI file is active."""
    return _check_first(view, view.config.canal.cni_file, "Canal's")


@node_step("host")
def check_subnet(view: NodeView) -> Answer:
    """See on the host that Canal is up: its plugin finds what it reads, and the other nodes' pods have their routes.

    Its pod may be Ready before that, and is taken off the node right after this step.
    """
    status = _run(view, "status")
    if not isinstance(status, HostStatus):
        return status
    return _unfit(view, status) or Done(remember=NodeChanges(files=status.files))


@node_step("host", beside=("label_multus", "evict_pods", "taint", "await_multus", "delete_single_pods"))
def check_multus_first(view: NodeView) -> Answer:
    """See on the host that Multus's CNI file is active, Canal's behind it; the leased addresses are recorded.

    Where the node goes back to Canal alone, Multus's file is removed instead, and Canal's is active.
    """
    if view.entry.alone:
        if view.agents(view.node.name, view.config.multus.namespace, names.MULTUS):
            return Wait(on=f"Multus to leave node {view.node.name}", observed="its pod is there")
        return _check_first(view, view.config.canal.cni_file, "Canal's", without=view.config.multus.cni_file)
    return _check_first(view, view.config.multus.cni_file, "Multus's", behind=view.config.canal.cni_file)


@node_step(
    "host", beside=("exchange_labels", "await_old_agents_gone", "await_cilium", "label_switched", "restart_cilium")
)
def check_cilium_first(view: NodeView) -> Answer:
    """See on the host that Cilium's CNI file is active; the files it renamed are recorded."""
    return _check_first(view, view.config.cilium.primary_file, "Cilium's")


@node_step("host", beside=("untaint", "await_probed", "gate"))
def reclaim_leases(view: NodeView) -> Answer:
    """Give back the Canal addresses of pods that were deleted while another plugin was active.

    Only those that were leased before the first of them was deleted: a pod that is just starting has an address that
    nobody here knows of. The node's allocation goes round, so none of them is given out again meanwhile.
    """
    taken = {pod.ip for pod in (*view.pods, *view.static(view.node.name))}
    left = [address for address in view.entry.leases if address not in taken]
    if not left:
        return Done(remember=NodeChanges(leases=()))
    status = _run(view, "free-leases=" + ",".join(left))
    return Done(remember=NodeChanges(leases=())) if isinstance(status, HostStatus) else status


@node_step("host")
def free_host_ports(view: NodeView) -> Answer:
    """Take away what portmap laid for pods that have left the other network.

    A DaemonSet's pod is deleted while the new network's file is active, whose portmap knows nothing of what the old
    one's has laid (seen with Cilium 1.20.2 and portmap 1.1): that stands first in the list, and leads nowhere.
    """
    if view.plan.manifests.host_ports() != PORTMAP or not any(pod.host_ports for pod in view.pods):
        return Done()
    status = _run(view, "free-host-ports" if view.entry.event is NodeEvent.SWITCH else f"free-host-ports={PORTMAP}")
    return Done() if isinstance(status, HostStatus) else status


def _keep_leases(view: NodeView) -> str:
    """The operation that gives back every Canal address that no pod on the node has."""
    every = (*view.pods, *view.static(view.node.name))
    return "keep-leases=" + ",".join(sorted(pod.ip for pod in every if view.on_canal(pod)))


@node_step("host")
def remove_cilium_file(view: NodeView) -> Answer:
    """Remove the second Cilium's CNI file, and put back what it renamed.

    Leases of Canal pods that were deleted while Cilium was active are given back in the same task.
    """
    return _changed(view, f"remove-cni={view.config.cilium.primary_file}", "restore-bak", _keep_leases(view))


@node_step("host")
def remove_multus_file(view: NodeView) -> Answer:
    """Remove Multus's CNI file, in case it did not leave with its pod."""
    return _changed(view, f"remove-cni={view.config.multus.cni_file}")


@node_step("host")
def restore_canal_files(view: NodeView) -> Answer:
    """Put back the CNI files that Cilium renamed, then remove its own.

    Leases of Canal pods that were deleted while Cilium was active are given back in the same task.
    """
    return _changed(view, "restore-bak", f"remove-cni={view.config.cilium.primary_file}", _keep_leases(view))


@node_step("host")
def clean_cilium_host(view: NodeView) -> Answer:
    """Remove Cilium's links, chains and files from the host, and the rule for calls to its pods."""
    return _changed(view, "remove-cilium", "remove-rules")


@node_step("host")
def lay_rules(view: NodeView) -> Answer:
    """Lay the node's rules: calls from Canal's pods to Cilium's keep the caller's address.

    And the node's own calls, its kubelet's probes, are known to Cilium as such. The identity agent lays them each time
    that it starts, so after a reboot, too; here they are looked at, and laid again if they have gone.
    """
    return _changed(view, "lay-rules")


def _changed(view: NodeView, *ops: str) -> Answer:
    status = _run(view, *ops)
    return Done(remember=NodeChanges(files=status.files)) if isinstance(status, HostStatus) else status
