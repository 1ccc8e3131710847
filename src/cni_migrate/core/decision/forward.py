"""Forward: from the first preparation to the last clean-up, phase after phase."""

from cni_migrate.core.decision.advance import Waiting, history
from cni_migrate.core.decision.draft import RESUME, Blocked, Draft, names_of, under_way
from cni_migrate.core.decision.in_flight import run_list
from cni_migrate.core.decision.membership import adopted, sync_membership
from cni_migrate.core.decision.no_return import passed
from cni_migrate.core.decision.schedule import begin_on
from cni_migrate.core.model import guards
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase, PhaseEvent
from cni_migrate.core.model.record import Record
from cni_migrate.core.steps.again import AGAIN, CLEAN


def forward(draft: Draft) -> None:
    """Take the cluster's phase forward; each branch falls through to the next phase when its own is complete."""
    if draft.record.cluster.phase is Phase.PREFLIGHT:
        draft.phase(PhaseEvent.PREPARE)
        draft.record = sync_membership(draft.plan, draft.record, draft.seen, draft.now, draft.work)
    if draft.record.cluster.phase is Phase.PREPARING and run_list(draft, "prepare"):
        draft.phase(PhaseEvent.BEGIN_ATTACHING)
        _until(draft, Phase.PREPARING)
    if (
        draft.final is None
        and draft.record.cluster.phase is Phase.ATTACHING
        and _attached(draft)
        and run_list(draft, "attached")
    ):
        draft.phase(PhaseEvent.BEGIN_MIGRATING)
        _until(draft, Phase.ATTACHING)
    if draft.final is None and draft.record.cluster.phase is Phase.MIGRATING and _migrated(draft) and _may_clean(draft):
        draft.phase(PhaseEvent.BEGIN_CLEANING)
    if (
        draft.final is None
        and draft.record.cluster.phase is Phase.CLEANING
        and _cleanable(draft)
        and _may_clean(draft)
        and run_list(draft, AGAIN if draft.record.cluster.list_name == AGAIN else CLEAN)
    ):
        draft.phase(PhaseEvent.FINISH)
    if (
        draft.final is None
        and draft.record.cluster.phase is Phase.DONE
        and (draft.record.cluster.list_name != AGAIN or run_list(draft, AGAIN))
        and _all_on_cilium(draft)
    ):
        draft.final = Final("done", "the cluster runs on Cilium; the audit is clean")


def _all_on_cilium(draft: Draft) -> bool:
    """Whether Cilium is Ready on those, too, that joined after the end; others are waited for a while."""
    late = [node.name for node, entry in draft.members() if entry.state is not NodeState.MIGRATED]
    for name in late:
        because = f"node {name} joined after the end, and Cilium is not Ready there"
        draft.blocked[name] = Blocked(because, "Cilium is Ready on it", nodes=(name,))
    return not late


def complete_already(goal: Goal, record: Record) -> Final | None:
    """How a run ends before it has begun, as the phase that it was to stop after is complete.

    Whether every node is migrated can be told only from the nodes that are there: see `_may_clean`.
    """
    if goal.kind != "forward" or goal.until is None or record.cluster.direction == "back":
        return None
    if not record.cluster.phase.beyond(goal.until):
        return None
    what = f"{goal.until} is complete already, the cluster is in phase {record.cluster.phase}: nothing was done"
    return Final("done", what, "migrate run" if record.cluster.phase is not Phase.DONE else "")


def _until(draft: Draft, ended: Phase) -> None:
    if draft.goal.until is ended:
        draft.final = Final("done", f"stopped after {ended}, as --until asked", "migrate run")


def _may_clean(draft: Draft) -> bool:
    """Whether clean-up may begin, or go on: it is part of the goal, and a human knows that it cannot be undone.

    Nor does it begin in a pause: who paused while the last node was under way has not seen Canal go.
    """
    paused = draft.seen.requests.paused_since
    open_still = not passed(draft.plan, draft.record)
    way_back = "; Canal is still there, so `migrate rollback` is possible" if open_still else ""
    if not draft.goal.cleans_up:
        asked = f", as --until {draft.goal.until} asked" if draft.goal.until is not None else ""
        stopped = f"stopped before clean-up{asked}"
        if draft.record.cluster.list_name:
            stopped = "clean-up is under way, and does not go on in a run of some nodes"
        draft.final = Final("done", f"every node is migrated: {stopped}{way_back}", "migrate cleanup")
    elif paused and draft.record.cluster.pausable:
        draft.work.waits.append(Waiting("", "", RESUME, f"paused since {paused}"))
        return False
    elif open_still and not draft.goal.consented:
        draft.final = Final("consent", f"every node is migrated{way_back}", "migrate cleanup")
    return draft.final is None


def _attached(draft: Draft) -> bool:
    """Begin to attach nodes; whether all are dual or beyond."""
    waiting = [node for node, entry in draft.members() if entry.state is NodeState.CANAL]
    if not waiting:
        return True
    straight = [n for n in waiting if adopted(draft.plan, draft.record, draft.record.nodes[n.name], n)]
    if straight:
        begin_on(draft, straight, NodeEvent.ADOPT)
    if others := [node for node in waiting if node not in straight]:
        begin_on(draft, others, NodeEvent.ATTACH)
    return False


def _migrated(draft: Draft) -> bool:
    """Attach newcomers, begin to drain; whether every node that may be migrated is, and clean-up can begin."""
    if not _rerouted(draft) or not _attached(draft):
        return False
    if draft.record.cluster.list_name == "sweep" or _sweep_due(draft):
        if under_way(draft) or not run_list(draft, "sweep"):
            return False
        draft.record = draft.record.with_cluster(
            draft.record.cluster.model_copy(update={"last_sweep": _count(draft, NodeState.MIGRATED)})
        )
    waiting = [
        node for node, entry in draft.members() if entry.state is not NodeState.MIGRATED and draft.goal.wanted(node)
    ]
    if waiting:
        begin_on(draft, waiting, NodeEvent.DRAIN)
        return False
    if under_way(draft):
        return False
    left = guards.not_migrated(draft.record)
    skipped = [name for name, entry in draft.record.nodes.items() if entry.skipped and not entry.gone]
    if not left and not skipped:
        return True
    if draft.goal.partial and left:
        # Who is skipped of the nodes that were asked for is as far from the goal as of all nodes in a run of all.
        skipped = [name for name in left if name in skipped and draft.goal.wanted(draft.seen.nodes[name])]
    is_skipped = f"{names_of(skipped)} {'is' if len(skipped) == 1 else 'are'} skipped"
    if draft.goal.partial and left and skipped:
        draft.final = Final(
            "halted",
            f"not every node that was asked for is migrated: {is_skipped}",
            f"migrate skip-node --undo {skipped[0]}, then migrate run",
        )
    elif skipped:
        # A migrated node, too: who is skipped is not touched, and clean-up would leave Canal's files and our labels.
        draft.final = Final(
            "halted",
            f"clean-up waits: {is_skipped}{' and not migrated' if set(skipped) & set(left) else ''}",
            f"migrate skip-node --undo {skipped[0]}, then migrate run",
        )
    else:
        draft.final = Final(
            "done",
            f"the nodes that were asked for are migrated; {len(left)} more to go: {names_of(left)}",
            "migrate run",
        )
    return False


def _rerouted(draft: Draft) -> bool:
    """Lay the way to Canal's pods anew on migrated nodes that were rebooted; whether there is none left to begin with.

    Only where Canal leaves a node when it is migrated, and as long as a node is left that has pods on Canal. A node
    that is NotReady is waited for by all else.
    """
    if NodeEvent.REROUTE not in draft.plan.strategy.events or not guards.not_migrated(draft.record):
        return True
    rebooted = [
        node
        for node, entry in draft.members()
        if entry.state is NodeState.MIGRATED and entry.boot not in ("", node.boot_id) and node.ready
    ]
    if rebooted:
        begin_on(draft, rebooted, NodeEvent.REROUTE)
    return not rebooted and not any(entry.event is NodeEvent.REROUTE for _, entry in draft.members())


def _sweep_due(draft: Draft) -> bool:
    done = _count(draft, NodeState.MIGRATED)
    every = draft.plan.config.gate.sweep_every or max(10, len(draft.record.nodes) // 4)
    return done - draft.record.cluster.last_sweep >= every


def _count(draft: Draft, state: NodeState) -> int:
    return sum(1 for _, entry in draft.members() if entry.state is state)


def _cleanable(draft: Draft) -> bool:
    """Clean-up goes on only while every node is migrated; a newcomer with Cilium's final form is.

    Before that form is applied a newcomer has no way in: it must be removed or the run waits.
    """
    left = guards.not_migrated(draft.record)
    for name in left:
        node, entry = draft.seen.nodes.get(name), draft.record.nodes[name]
        if node is not None and not entry.skipped and entry.event is None:
            draft.record = draft.record.with_node(name, entry.model_copy(update={"state": NodeState.MIGRATED}))
            draft.record = history(draft.record, draft.now, f"node {name} joined during clean-up: it starts on Cilium")
    left = guards.not_migrated(draft.record)
    if left:
        draft.final = Final("halted", f"clean-up waits: {names_of(left)} not migrated", "migrate status")
    return not left
