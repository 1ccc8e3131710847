"""Steps that take a node out of service and put it back: cordon, evict, taint, delete what is left; untaint.

The order matters: a taint that evicts deletes pods without asking their budgets, so it comes only when every eviction
has been accepted. It then keeps others away, but never Canal's own pods: its effect is one that they tolerate. Pods
that are leaving take the time they need: the agents of the node's networks are exchanged meanwhile, and
`await_pods_gone` waits for the last of them. Pods with host ports go first: the plugin that opened a port on the host
must be in force to close it.
"""

from collections.abc import Callable

from cni_migrate.core.model import names
from cni_migrate.core.model.effects import DeletePod, Effect, EvictPod, PatchNode
from cni_migrate.core.model.lifecycle import NodeEvent
from cni_migrate.core.model.objects import Pod
from cni_migrate.core.model.record import Before
from cni_migrate.core.model.words import many
from cni_migrate.core.steps.answers import Answer, Apply, Done, NodeChanges, Refuse, Wait
from cni_migrate.core.steps.drain import MOVES, Classification, Verdict, classify_all, overdue, refusals
from cni_migrate.core.steps.registry import node_step
from cni_migrate.core.steps.view import NodeView
from cni_migrate.core.steps.waited import why


def _classified(view: NodeView) -> list[Classification]:
    return classify_all(view.seen.pods_on(view.node.name), view.plan.taint, view.config.drain)


def _refused(view: NodeView, reasons: list[str]) -> Refuse:
    return Refuse(
        why=f"node {view.node.name} cannot be drained: " + "; ".join(reasons),
        next="move or delete these pods, or allow it: --delete-emptydir-data / --force (drain.delete_emptydir_data,"
        " drain.force)",
    )


@node_step("host", foreseeable=True, takes_out=True)
def cordon(view: NodeView) -> Answer:
    """Keep new pods off the node. Pods that cannot be moved are reported before anything is touched.

    The annotation goes into the same patch: it says that this cordon is ours to lift. A cordon that somebody else set
    stays theirs.
    """
    if view.never_switched:
        return Done()
    node = view.node
    if node.unschedulable and (
        view.cordon_is_ours or (view.entry.before is not None and view.entry.before.unschedulable)
    ):
        return Done()
    if reasons := refusals(_classified(view)):
        return _refused(view, reasons)
    if node.unschedulable:
        return Done(remember=NodeChanges(before=Before(unschedulable=True)))
    patch = PatchNode(node.name, node.uid, node.resource_version, {}, {names.CORDONED_BY: "true"}, unschedulable=True)
    return Apply((patch,), on=f"cordon of node {node.name}", remember=NodeChanges(before=Before(unschedulable=False)))


@node_step("drain", foreseeable=True)
def evict_host_ports(view: NodeView) -> Answer:
    """Evict the pods that have ports of the host, within their budgets, and wait until they are gone."""
    found = _classified(view)
    leaving = [r.pod for r in found if r.verdict is Verdict.LEAVING and r.pod.host_ports and not _hangs(view, r.pod)]
    return _evict(view, found, leaving, lambda pod: pod.host_ports)


@node_step("drain", foreseeable=True, evicts=True)
def evict_pods(view: NodeView) -> Answer:
    """Evict the node's pods within their budgets, in parallel, until every eviction is accepted."""
    return Done() if view.never_switched else _evict(view, _classified(view), [], lambda pod: True)


def _evict(view: NodeView, found: list[Classification], leaving: list[Pod], which: Callable[[Pod], bool]) -> Answer:
    """Evict those of the pods, and wait for them and for those that are leaving already."""
    if reasons := refusals(found):
        return _refused(view, reasons)
    to_move = [classified for classified in found if classified.verdict in MOVES and which(classified.pod)]
    remember = NodeChanges(displaced=_owners(view, [classified.pod for classified in to_move]))
    effects: list[Effect] = []
    for classified in to_move:
        pod, grace = classified.pod, _grace(view)
        if classified.verdict is Verdict.EVICT:
            effects.append(EvictPod(pod.namespace, pod.name, pod.uid, pod.node, grace))
        elif classified.verdict is Verdict.DELETE:
            effects.append(DeletePod(pod.namespace, pod.name, pod.uid, pod.node, grace=grace))
    leaving = [classified.pod for classified in to_move if classified.verdict is not Verdict.LAST] + leaving
    if not leaving:
        return Done(remember=remember) if to_move else Done()
    return Apply(tuple(effects), on=_to_leave(view, leaving), observed=_holdup(view, leaving), remember=remember)


def _grace(view: NodeView) -> int | None:
    """How many seconds a pod gets to end; None: what it says itself.

    0 counts as 1, as with `kubectl delete` without --force: a pod that is taken out of the API at once may still run,
    and hold its address, when the node's network is exchanged.
    """
    seconds = view.config.drain.grace_period
    return None if seconds < 0 else max(seconds, 1)


def _hangs(view: NodeView, pod: Pod) -> bool:
    return overdue(pod, view.config.drain, view.now)


def _holdup(view: NodeView, pods: list[Pod]) -> str:
    """Why the pods are still there: a budget first, as it needs a human."""
    for pod in pods:
        attempt = view.outcomes.attempts.get(f"evict:{pod.uid}")
        if attempt is not None and attempt.result in ("blocked", "failed"):
            return attempt.message if pod.key in attempt.message else f"pod {pod.key}: {attempt.message}"
    return ", ".join(f"{pod.key} {'terminating' if pod.deleting else 'to be evicted'}" for pod in pods[:3])


def _owners(view: NodeView, pods: list[Pod]) -> tuple[str, ...]:
    """The owners whose pods are all Ready now: they must be Ready again before the node counts as migrated."""
    owners = set(view.entry.displaced)
    for pod in pods:
        if pod.controller is None or pod.controller[0] == "Job":
            continue
        kind, name, uid = pod.controller
        if not view.seen.unready_of(uid):
            owners.add(f"{kind} {pod.namespace}/{name} {uid}")
    return tuple(sorted(owners))


@node_step("host", foreseeable=True)
def taint(view: NodeView) -> Answer:
    """Taint the node, so that nothing comes back before its network is switched."""
    if view.never_switched or view.tainted:
        return Done()
    node, ours = view.node, view.plan.taint
    for other in node.taints:
        if (other.key, other.effect) == (ours.key, ours.effect):
            return Refuse(
                why=f"node {node.name} has the taint {other.key}={other.value}:{other.effect}, set by somebody else: it"
                f" is not overwritten with {ours.value}",
                next=f"remove it (`kubectl taint node {node.name} {other.key}-`)",
            )
    patch = PatchNode(node.name, node.uid, node.resource_version, {}, {}, taints=(*node.taints, ours))
    return Apply((patch,), on=f"taint of node {node.name}")


@node_step("pods")
def delete_left_pods(view: NodeView) -> Answer:
    """Delete what is left on the node's pod network, but for DaemonSets' pods."""
    if view.never_switched:
        return Done()
    left = [pod for pod in _to_go(view) if not pod.deleting]
    if not left:
        return Done()
    effects = tuple(
        DeletePod(pod.namespace, pod.name, pod.uid, pod.node, grace=_grace(view))
        for pod in left
        # A taint that evicts makes the control plane delete those of DaemonSets; another one only keeps new ones away.
        if not pod.of_daemonset or view.plan.taint.effect != "NoExecute"
    )
    observed = ", ".join(pod.key for pod in left[:3])
    return Apply(
        effects, on=f"{many(len(left), 'pod')} left on node {view.node.name} to be told to go", observed=observed
    )


@node_step("drain")
def await_pods_gone(view: NodeView) -> Answer:
    """Wait until the pods that were told to leave the node are gone.

    On the way back those that were born on Canal may stay: a pod that hangs is a reason to go back.
    """
    if view.never_switched:
        return Done()
    back = view.entry.event is NodeEvent.RESTORE
    leaving = [pod for pod in _to_go(view) if pod.deleting and not (back and view.on_canal(pod))]
    if not leaving:
        return Done()
    first = ", ".join(f"{pod.key} {why(view.seen, pod)}" for pod in leaving[:3])
    more = f" and {len(leaving) - 3} more" if len(leaving) > 3 else ""
    retry_in = _until_overdue(view, leaving)
    return Wait(on=_to_leave(view, leaving), observed=first + more, retry_in=retry_in, pods=tuple(leaving[:3]))


def _until_overdue(view: NodeView, leaving: list[Pod]) -> float | None:
    """Seconds until the first of them is waited for no longer; None where each is waited for."""
    limit = view.config.drain.skip_wait_for_delete_timeout
    ends = [pod.due_gone for pod in leaving if pod.due_gone is not None]
    if limit == 0 or not ends:
        return None
    return limit + (min(ends) - view.now).total_seconds() + 0.001


def _to_leave(view: NodeView, pods: list[Pod]) -> str:
    return f"{many(len(pods), 'pod')} to leave node {view.node.name}"


def _to_go(view: NodeView) -> list[Pod]:
    """The node's pods that do not come straight back."""
    return [pod for pod in view.pods if not (pod.of_daemonset and _stays(view, pod)) and not _own_task(view, pod)]


def _stays(view: NodeView, pod: Pod) -> bool:
    return any(toleration.tolerates(view.plan.taint) for toleration in pod.tolerations)


def _own_task(view: NodeView, pod: Pod) -> bool:
    return pod.namespace == view.config.namespace and pod.labels.get(names.COMPONENT) == names.HOST_TASK


@node_step("host")
def untaint(view: NodeView) -> Answer:
    """Put the node back into service: our taint off, and the cordon off if it was ours."""
    node = view.node
    if not view.tainted and not view.cordon_is_ours:
        return Done(remember=NodeChanges(before=None))
    patch = PatchNode(
        node.name,
        node.uid,
        node.resource_version,
        {},
        {names.CORDONED_BY: None} if view.cordon_is_ours else {},
        unschedulable=False if view.cordon_is_ours and node.unschedulable else None,
        taints=tuple(t for t in node.taints if t != view.plan.taint) if view.tainted else None,
    )
    return Apply((patch,), on=f"node {node.name} to be back in service")


@node_step("pods")
def await_displaced(view: NodeView) -> Answer:
    """Wait until the pods that were moved away are Ready again, wherever they are now.

    Those on a node that is NotReady are that node's trouble, not this one's.
    """
    for owner in view.entry.displaced:
        what, uid = owner.rsplit(" ", 1)
        for pod in view.seen.unready_of(uid):
            elsewhere = view.seen.nodes.get(pod.node)
            if elsewhere is not None and not elsewhere.ready and pod.node != view.node.name:
                continue
            if not pod.finished:
                where = f"on node {pod.node}" if pod.node else "without a node"
                return Wait(
                    on=f"the pods of {what} to be Ready",
                    observed=f"{pod.key} {where}: {why(view.seen, pod)}",
                    pods=(pod,),
                )
    return Done(remember=NodeChanges(displaced=()))


@node_step("none")
def soak(view: NodeView) -> Answer:
    """Let the node work for a while before the next one is touched."""
    left = view.config.soak_seconds - (view.now - view.since).total_seconds()
    if left <= 0:
        return Done()
    return Wait(on=f"node {view.node.name} to soak", observed=f"{left:.0f} s left", retry_in=left)
