"""Forward: from the first preparation to the last clean-up, phase after phase."""

from cni_migrate.core.decision.advance import history
from cni_migrate.core.decision.in_flight import Deciding, names_of, run_list, under_way
from cni_migrate.core.decision.membership import adopted, enrol
from cni_migrate.core.decision.schedule import begin_on
from cni_migrate.core.model import guards
from cni_migrate.core.model.goal import Final
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase, PhaseEvent


def forward(turn: Deciding) -> None:
    """Take the cluster's phase forward; each branch falls through to the next phase when its own is complete."""
    if turn.record.cluster.phase is Phase.PREFLIGHT:
        turn.phase(PhaseEvent.PREPARE)
        turn.record = enrol(turn.plan, turn.record, turn.seen, turn.now, turn.work)
    if turn.record.cluster.phase is Phase.PREPARING and run_list(turn, "prepare"):
        turn.phase(PhaseEvent.BEGIN_ATTACHING)
        _until(turn, Phase.PREPARING)
    if (
        turn.final is None
        and turn.record.cluster.phase is Phase.ATTACHING
        and _attached(turn)
        and run_list(turn, "attached")
    ):
        turn.phase(PhaseEvent.BEGIN_MIGRATING)
        _until(turn, Phase.ATTACHING)
    if turn.final is None and turn.record.cluster.phase is Phase.MIGRATING and _migrated(turn):
        turn.phase(PhaseEvent.BEGIN_CLEANING)
        _until(turn, Phase.MIGRATING)
    if (
        turn.final is None
        and turn.record.cluster.phase is Phase.CLEANING
        and _cleanable(turn)
        and run_list(turn, "clean")
    ):
        turn.phase(PhaseEvent.FINISH)
    if turn.final is None and turn.record.cluster.phase is Phase.DONE:
        turn.final = Final("done", "the cluster runs on Cilium; the audit is clean")


def _until(turn: Deciding, ended: Phase) -> None:
    if turn.goal.until is ended:
        turn.final = Final("done", f"stopped after {ended}, as --until asked", "migrate run")


def _attached(turn: Deciding) -> bool:
    """Begin to attach nodes; whether all are dual or beyond."""
    waiting = [node for node, entry in turn.members() if entry.state is NodeState.CANAL]
    if not waiting:
        return True
    straight = [n for n in waiting if adopted(turn.plan, turn.record, turn.record.nodes[n.name], n)]
    if straight:
        begin_on(turn, straight, NodeEvent.ADOPT)
    if others := [node for node in waiting if node not in straight]:
        begin_on(turn, others, NodeEvent.ATTACH)
    return False


def _migrated(turn: Deciding) -> bool:
    """Attach newcomers, begin to drain; whether every node that may be migrated is, and clean-up can begin."""
    if not _rerouted(turn) or not _attached(turn):
        return False
    if turn.record.cluster.list_name == "sweep" or _sweep_due(turn):
        if under_way(turn) or not run_list(turn, "sweep"):
            return False
        turn.record = turn.record.with_cluster(
            turn.record.cluster.model_copy(update={"last_sweep": _count(turn, NodeState.MIGRATED)})
        )
    waiting = [
        node for node, entry in turn.members() if entry.state is not NodeState.MIGRATED and turn.goal.wanted(node)
    ]
    if waiting:
        begin_on(turn, waiting, NodeEvent.DRAIN)
        return False
    if under_way(turn):
        return False
    left = guards.not_migrated(turn.record)
    if not left:
        return True
    skipped = [name for name in left if turn.record.nodes[name].skipped]
    if skipped and not turn.goal.partial:
        turn.final = Final(
            "halted",
            f"clean-up waits: {names_of(skipped)} {'is' if len(skipped) == 1 else 'are'} skipped and not migrated",
            f"migrate skip-node --undo {skipped[0]}, then migrate run",
        )
    else:
        turn.final = Final(
            "done",
            f"the nodes that were asked for are migrated; {len(left)} more to go: {names_of(left)}",
            "migrate run",
        )
    return False


def _rerouted(turn: Deciding) -> bool:
    """Lay the way to Canal's pods anew on migrated nodes that were rebooted; whether there is none left to begin with.

    Only where Canal leaves a node when it is migrated, and as long as a node is left that has pods on Canal. A node
    that is NotReady is waited for by all else.
    """
    if NodeEvent.REROUTE not in turn.plan.strategy.events or not guards.not_migrated(turn.record):
        return True
    rebooted = [
        node
        for node, entry in turn.members()
        if entry.state is NodeState.MIGRATED and entry.boot not in ("", node.boot_id) and node.ready
    ]
    if rebooted:
        begin_on(turn, rebooted, NodeEvent.REROUTE)
    return not rebooted and not any(entry.event is NodeEvent.REROUTE for _, entry in turn.members())


def _sweep_due(turn: Deciding) -> bool:
    done = _count(turn, NodeState.MIGRATED)
    every = turn.plan.config.gate.sweep_every or max(10, len(turn.record.nodes) // 4)
    return done - turn.record.cluster.last_sweep >= every


def _count(turn: Deciding, state: NodeState) -> int:
    return sum(1 for _, entry in turn.members() if entry.state is state)


def _cleanable(turn: Deciding) -> bool:
    """Clean-up goes on only while every node is migrated; a newcomer with Cilium's final form is.

    Before that form is applied a newcomer has no way in: it must be removed or the run waits.
    """
    left = guards.not_migrated(turn.record)
    for name in left:
        node, entry = turn.seen.nodes.get(name), turn.record.nodes[name]
        if node is not None and not entry.skipped and entry.event is None:
            turn.record = turn.record.with_node(name, entry.model_copy(update={"state": NodeState.MIGRATED}))
            turn.record = history(turn.record, turn.now, f"node {name} joined during clean-up: it starts on Cilium")
    left = guards.not_migrated(turn.record)
    if left:
        turn.final = Final("halted", f"clean-up waits: {names_of(left)} not migrated", "migrate status")
    return not left
