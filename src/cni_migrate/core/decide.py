"""The decision: from the record and one look at the cluster to what is to be done now. Pure.

Read it top-down: nodes whose event is under way are carried on first, so that a restarted driver finishes what another
began; then new events begin, as far as capacity, guards and operators allow; then the cluster's phase moves.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cni_migrate.core import guards
from cni_migrate.core.advance import Waiting, Work, advance_list, advance_node, begin_event, history
from cni_migrate.core.effects import Effect
from cni_migrate.core.enrol import adopted, enrol
from cni_migrate.core.goal import Final, Goal
from cni_migrate.core.lifecycle import NodeEvent, NodeState, Phase, PhaseEvent
from cni_migrate.core.objects import GateAsk, Node, Snapshot
from cni_migrate.core.order import capacity, in_order
from cni_migrate.core.record import Held, NodeRecord, Record
from cni_migrate.core.view import Plan

LOOK_AGAIN = timedelta(seconds=30)
"""The longest pause between two looks, should nothing change and no deadline come first."""

TOGETHER = 20
"""How many nodes may go through an event that leaves them in service, at once."""

NEXT_EVENT = {
    NodeEvent.ADOPT: NodeEvent.RELEASE,
    NodeEvent.DRAIN: NodeEvent.SWITCH,
    NodeEvent.SWITCH: NodeEvent.RELEASE,
}
"""What follows without another choice: a node that was drained is switched, then released."""

BETWEEN = {NodeState.DRAINING: NodeEvent.SWITCH, NodeState.CILIUM: NodeEvent.RELEASE}
"""The same, by the state in which the node was left."""


@dataclass(frozen=True)
class Turn:
    """One turn of the driver: the record to write first, the effects to perform then, when to look again.

    `durable`: the record has changed in a way that must be written even without effects.
    """

    record: Record
    effects: tuple[Effect, ...]
    asks: tuple[GateAsk, ...]
    waits: tuple[Waiting, ...]
    deadline: datetime
    durable: bool
    final: Final | None


@dataclass
class _Deciding:
    """The turn in the making."""

    plan: Plan
    goal: Goal
    record: Record
    seen: Snapshot
    now: datetime
    stopping: bool
    work: Work = field(default_factory=Work)
    final: Final | None = None

    def members(self) -> list[tuple[Node, NodeRecord]]:
        """The nodes that take part, with their entries."""
        nodes = self.seen.nodes
        return [(nodes[n], e) for n, e in self.record.nodes.items() if not e.gone and not e.skipped and n in nodes]

    def phase(self, event: PhaseEvent) -> None:
        """Move the cluster's phase."""
        old = self.record.cluster.phase
        new = self.plan.cluster_lifecycle.advance(old, event, guards.facts(self.record))
        cluster = self.record.cluster.model_copy(update={"phase": new, "since": self.now})
        self.record = history(self.record.with_cluster(cluster), self.now, f"phase {new}")


def decide(plan: Plan, goal: Goal, record: Record, seen: Snapshot, now: datetime, *, stopping: bool = False) -> Turn:
    """What to do now. Same input, same turn; nothing else is looked at."""
    turn = _Deciding(plan, goal, record, seen, now, stopping)
    if record.cluster.phase is not Phase.PREFLIGHT or record.nodes:
        turn.record = enrol(plan, record, seen, now, turn.work)
    _carry_on(turn)
    if turn.stopping:
        _stop(turn)
    elif goal.kind == "node_back":
        _node_back(turn)
    elif not _held(turn):
        (_back if goal.kind == "back" else _forward)(turn)
    work = turn.work
    deadline = now + LOOK_AGAIN
    if work.deadline is not None:
        deadline = min(deadline, max(work.deadline, now + timedelta(milliseconds=10)))
    return Turn(
        record=turn.record,
        effects=tuple(work.effects),
        asks=tuple(work.asks),
        waits=tuple(work.waits),
        deadline=deadline,
        durable=turn.final is not None or _landmarks(record) != _landmarks(turn.record),
        final=turn.final,
    )


def _landmarks(record: Record) -> object:
    """What must be in the record at once even when no effect follows: history, phase, what is held."""
    cluster = record.cluster
    return (cluster.history, cluster.phase, cluster.direction, cluster.held)


# --- nodes under way ---------------------------------------------------------------------------------------------


def _carry_on(turn: _Deciding) -> None:
    """Advance every node whose event is under way, and begin the event that follows by itself.

    A driver that was asked to stop leaves a node between two events: out of service, so it is taken on like the others.
    """
    forward = turn.goal.kind == "forward" and not turn.stopping
    for name, entry in list(turn.record.nodes.items()):
        if forward and entry.event is None and entry.state in BETWEEN and not entry.gone and not entry.skipped:
            entry = begin_event(turn.plan, entry, BETWEEN[entry.state], turn.now)
            turn.record = turn.record.with_node(name, entry)
        if entry.event is None or entry.held is not None or entry.gone or entry.skipped:
            continue
        if turn.goal.kind == "node_back" and name != turn.goal.node:
            continue
        _advance(turn, name)


def _advance(turn: _Deciding, name: str) -> None:
    while (entry := turn.record.nodes[name]).event is not None and entry.held is None:
        event = entry.event
        moved = advance_node(turn.plan, turn.record, turn.seen, turn.now, name, turn.work, turn.stopping)
        turn.record = turn.record.with_node(name, moved.entry)
        if moved.entry.held is not None:
            _hold(turn, name, moved.entry.held)
        if not moved.ended:
            return
        turn.record = _ended(turn, name, event)
        following = NEXT_EVENT.get(event)
        if following is None or turn.stopping:
            return
        turn.record = turn.record.with_node(name, begin_event(turn.plan, turn.record.nodes[name], following, turn.now))


def _ended(turn: _Deciding, name: str, event: NodeEvent) -> Record:
    """The event's steps are done: move the node's state.

    The event's guard was asked when it began; a node that has joined since is attached before the next drain.
    """
    entry = turn.record.nodes[name]
    state = turn.plan.node_lifecycle.advance(entry.state, event, lambda _: True)
    seconds = round((turn.now - entry.started).total_seconds(), 1) if entry.started else 0.0
    update: dict[str, Any] = {
        "state": state,
        "event": None,
        "step": "",
        "since": turn.now,
        "started": None,
        "took": {**entry.took, event.value: seconds},
    }
    if event.backwards:
        update |= {"displaced": (), "cleaned": False, "rolled_back": turn.now.isoformat(timespec="seconds")}
    record = turn.record.with_node(name, entry.model_copy(update=update))
    return history(record, turn.now, f"node {name}: {event} done, {state}, {seconds:g} s")


def _hold(turn: _Deciding, name: str, held: Held) -> None:
    turn.record = history(turn.record, turn.now, f"node {name} is held: {held.why}")
    entry = turn.record.nodes[name]
    event = entry.event
    if not turn.plan.config.auto_rollback or event is None or event.backwards or turn.goal.kind != "forward":
        return
    back = NodeEvent.DETACH if event is NodeEvent.ATTACH else NodeEvent.RESTORE
    if not turn.plan.node_lifecycle.allows(entry.state, back):
        return
    turn.record = history(turn.record, turn.now, f"node {name}: rolling back by itself (auto_rollback)")
    begun = begin_event(turn.plan, entry, back, turn.now).model_copy(update={"failure": held})
    turn.record = turn.record.with_node(name, begun)


# --- stopping and halting ----------------------------------------------------------------------------------------


def _stop(turn: _Deciding) -> None:
    """Stop at the first moment when no effect of a current step is outstanding."""
    if turn.work.waits and not _only_gates(turn):
        return
    turn.final = Final("interrupted", "stopped on request at a safe point", "migrate run")


def _only_gates(turn: _Deciding) -> bool:
    return not turn.work.effects and all(
        wait.step in ("gate", "baseline_gate", "recheck", "sweep", "final_sweep", "soak") for wait in turn.work.waits
    )


def _held(turn: _Deciding) -> bool:
    """Whether a held node stops the run; those still under way are carried to the end of their event first."""
    found = {n: e.held for n, e in turn.record.nodes.items() if e.held is not None and not e.skipped and not e.gone}
    failed = {
        n: e.failure for n, e in turn.record.nodes.items() if e.failure is not None and e.event is None and not e.gone
    }
    cluster = turn.record.cluster.held
    if not found and not failed and cluster is None:
        return False
    if any(e.event and not e.held and not e.gone and not e.skipped for e in turn.record.nodes.values()):
        return True
    reasons = [h.why for h in found.values()] + [
        f"{h.why} (node {n} was rolled back by itself)" for n, h in failed.items()
    ]
    first = cluster or next(iter({**found, **failed}.values()))
    if cluster is not None:
        reasons.insert(0, cluster.why)
    is_gate = first.gate
    turn.final = Final("gate" if is_gate else "halted", "; ".join(reasons), first.next)
    return True


# --- forward -----------------------------------------------------------------------------------------------------


def _forward(turn: _Deciding) -> None:
    """Take the cluster's phase forward; each branch falls through to the next phase when its own is complete."""
    if turn.record.cluster.phase is Phase.PREFLIGHT:
        turn.phase(PhaseEvent.PREPARE)
        turn.record = enrol(turn.plan, turn.record, turn.seen, turn.now, turn.work)
    if turn.record.cluster.phase is Phase.PREPARING and _list(turn, "prepare"):
        turn.phase(PhaseEvent.BEGIN_ATTACHING)
        _until(turn, Phase.PREPARING)
    if (
        turn.final is None
        and turn.record.cluster.phase is Phase.ATTACHING
        and _attached(turn)
        and _list(turn, "attached")
    ):
        turn.phase(PhaseEvent.BEGIN_MIGRATING)
        _until(turn, Phase.ATTACHING)
    if turn.final is None and turn.record.cluster.phase is Phase.MIGRATING and _migrated(turn):
        turn.phase(PhaseEvent.BEGIN_CLEANING)
        _until(turn, Phase.MIGRATING)
    if turn.final is None and turn.record.cluster.phase is Phase.CLEANING and _cleanable(turn) and _list(turn, "clean"):
        turn.phase(PhaseEvent.FINISH)
    if turn.final is None and turn.record.cluster.phase is Phase.DONE:
        turn.final = Final("done", "the cluster runs on Cilium; the audit is clean")


def _until(turn: _Deciding, ended: Phase) -> None:
    if turn.goal.until is ended:
        turn.final = Final("done", f"stopped after {ended}, as --until asked", "migrate run")


def _list(turn: _Deciding, name: str) -> bool:
    """Carry a list of cluster steps on; whether it has ended."""
    turn.record, ended = advance_list(turn.plan, turn.record, turn.seen, turn.now, name, turn.work, turn.stopping)
    if turn.record.cluster.held is not None:
        turn.record = history(turn.record, turn.now, f"held: {turn.record.cluster.held.why}")
        _held(turn)
    return ended


def _attached(turn: _Deciding) -> bool:
    """Begin to attach nodes; whether all are dual or beyond."""
    waiting = [node for node, entry in turn.members() if entry.state is NodeState.CANAL]
    if not waiting:
        return True
    straight = [n for n in waiting if adopted(turn.plan, turn.record, turn.record.nodes[n.name], n)]
    _begin(turn, straight, NodeEvent.ADOPT)
    _begin(turn, [node for node in waiting if node not in straight], NodeEvent.ATTACH)
    return False


def _migrated(turn: _Deciding) -> bool:
    """Attach newcomers, begin to drain; whether every node that may be migrated is, and clean-up can begin."""
    if not _attached(turn):
        return False
    if turn.record.cluster.list_name == "sweep" or _sweep_due(turn):
        if not _list(turn, "sweep"):
            return False
        turn.record = turn.record.with_cluster(
            turn.record.cluster.model_copy(update={"last_sweep": _count(turn, NodeState.MIGRATED)})
        )
    waiting = [
        node for node, entry in turn.members() if entry.state is not NodeState.MIGRATED and turn.goal.wanted(node)
    ]
    if waiting:
        _begin(turn, waiting, NodeEvent.DRAIN)
        return False
    if any(entry.event is not None for _, entry in turn.members()):
        return False
    left = guards.not_migrated(turn.record)
    if not left:
        return True
    skipped = [name for name in left if turn.record.nodes[name].skipped]
    if skipped and not turn.goal.partial:
        turn.final = Final(
            "halted",
            f"clean-up waits: {_names(skipped)} {'is' if len(skipped) == 1 else 'are'} skipped and not migrated",
            f"migrate skip-node --undo {skipped[0]}, then migrate run",
        )
    else:
        turn.final = Final(
            "done", f"the nodes that were asked for are migrated; {len(left)} more to go: {_names(left)}", "migrate run"
        )
    return False


def _sweep_due(turn: _Deciding) -> bool:
    done = _count(turn, NodeState.MIGRATED)
    idle = not any(entry.event is not None for _, entry in turn.members())
    every = turn.plan.config.gate.sweep_every or max(10, len(turn.record.nodes) // 4)
    return idle and done - turn.record.cluster.last_sweep >= every


def _count(turn: _Deciding, state: NodeState) -> int:
    return sum(1 for _, entry in turn.members() if entry.state is state)


def _cleanable(turn: _Deciding) -> bool:
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
        turn.final = Final("halted", f"clean-up waits: {_names(left)} not migrated", "migrate status")
    return not left


# --- beginning events --------------------------------------------------------------------------------------------


def _begin(turn: _Deciding, waiting: list[Node], event: NodeEvent) -> None:
    """Begin an event on as many of these nodes as may be out of service at once."""
    if turn.seen.requests.paused_since:
        turn.work.waits.append(Waiting("", "", "`migrate resume`", f"paused since {turn.seen.requests.paused_since}"))
        return
    in_service = event in turn.plan.strategy.in_service
    room = _room(turn, in_service)
    idle = [node for node in waiting if turn.record.nodes[node.name].event is None]
    untouchable: list[str] = []
    for node in in_order(turn.plan.config, idle):
        if event is not NodeEvent.ADOPT and (reason := _untouchable(node, in_service)):
            untouchable.append(reason)
            continue
        if room <= 0:
            continue
        entry = begin_event(turn.plan, turn.record.nodes[node.name], event, turn.now)
        turn.record = turn.record.with_node(node.name, entry)
        _advance(turn, node.name)
        room -= 1
    under_way = any(entry.event is not None and entry.held is None for _, entry in turn.members())
    if idle and not under_way and turn.final is None:
        _wait_for_nodes(turn, untouchable or _lost(turn))
    elif turn.record.cluster.idle_since is not None:
        turn.record = turn.record.with_cluster(turn.record.cluster.model_copy(update={"idle_since": None}))


def _lost(turn: _Deciding) -> list[str]:
    """The nodes that are NotReady without our doing: they count against max_unavailable."""
    return [
        f"node {node.name} is NotReady, and no other is taken out of service meanwhile"
        for node, entry in turn.members()
        if not node.ready and not out_of_service(turn.plan, entry)
    ]


def _room(turn: _Deciding, in_service: bool) -> int:
    """How many more nodes may begin: the first ever goes alone, as a canary; nodes that were lost count as out."""
    entries = [entry for entry in turn.record.nodes.values() if not entry.gone]
    under_way = sum(1 for entry in entries if entry.event is not None)
    if in_service:
        return TOGETHER - under_way
    limit = capacity(turn.plan.config, len(entries))
    out = sum(1 for entry in entries if out_of_service(turn.plan, entry))
    ahead = NodeState.MIGRATED if turn.record.cluster.phase is Phase.MIGRATING else NodeState.DUAL
    if turn.record.cluster.direction == "forward" and not any(entry.state is ahead for entry in entries):
        limit = 1
    return limit - out - len(_lost(turn))


def out_of_service(plan: Plan, entry: NodeRecord) -> bool:
    """Whether the node is, or is about to be, out of service by our hand."""
    if entry.event is not None:
        return entry.event not in plan.strategy.in_service
    return entry.state in (NodeState.DRAINING, NodeState.CILIUM)


def _untouchable(node: Node, in_service: bool) -> str:
    """Why a node is not touched: its trouble, or its cordon, is somebody else's business."""
    if not node.ready:
        return f"node {node.name} is NotReady"
    if node.unschedulable and not in_service:
        return f"node {node.name} was cordoned by somebody else"
    return ""


def _wait_for_nodes(turn: _Deciding, reasons: list[str]) -> None:
    """Nothing can begin: wait for the nodes a while, then halt and say so."""
    cluster = turn.record.cluster
    if cluster.idle_since is None:
        turn.record = turn.record.with_cluster(cluster.model_copy(update={"idle_since": turn.now}))
        cluster = turn.record.cluster
    assert cluster.idle_since is not None
    end = cluster.idle_since + timedelta(seconds=turn.plan.config.deadlines.agent)
    if turn.now >= end:
        turn.record = turn.record.with_cluster(cluster.model_copy(update={"idle_since": None}))
        turn.final = Final(
            "halted",
            "not touched: " + "; ".join(reasons),
            "mend or uncordon what is named, or `migrate skip-node NODE`, then `migrate run`",
        )
        return
    turn.work.waits.append(Waiting("", "", "nodes that cannot be touched", "; ".join(reasons[:3])))
    turn.work.look_at(end)


# --- back --------------------------------------------------------------------------------------------------------


def _back(turn: _Deciding) -> None:
    """Take the whole cluster back, in reverse order."""
    if turn.record.cluster.phase is Phase.MIGRATING:
        beyond = [node for node, entry in turn.members() if entry.state.beyond_dual]
        if not beyond and not _under_way(turn):
            turn.phase(PhaseEvent.BACK_TO_ATTACHING)
        else:
            _begin_back(turn, beyond, NodeEvent.RESTORE)
    if turn.final is None and turn.record.cluster.phase is Phase.ATTACHING:
        dual = [node for node, entry in turn.members() if entry.state is NodeState.DUAL]
        if not dual and not _under_way(turn):
            turn.phase(PhaseEvent.BACK_TO_PREPARING)
            turn.record = turn.record.with_cluster(turn.record.cluster.model_copy(update={"list_name": ""}))
        else:
            _begin_back(turn, dual, NodeEvent.DETACH)
    if turn.final is None and turn.record.cluster.phase is Phase.PREPARING and _list(turn, "undo"):
        turn.phase(PhaseEvent.UNDO)
        turn.record = turn.record.with_cluster(
            turn.record.cluster.model_copy(update={"canal_before": None, "baseline": ()})
        )
    if turn.final is None and turn.record.cluster.phase is Phase.PREFLIGHT:
        turn.final = Final("done", "the cluster is as it was found")


def _under_way(turn: _Deciding) -> bool:
    return any(entry.event is not None for _, entry in turn.members())


def _begin_back(turn: _Deciding, waiting: list[Node], event: NodeEvent) -> None:
    """Begin a backward event on nodes, the last one first."""
    in_service = event in turn.plan.strategy.in_service
    room = _room(turn, in_service)
    idle = [node for node in waiting if turn.record.nodes[node.name].event is None]
    ordered = list(reversed(in_order(turn.plan.config, idle)))
    # Nodes that joined late come last: Canal elsewhere must run again before it can learn the way to them.
    ordered.sort(key=lambda node: turn.record.nodes[node.name].joined)
    for node in ordered:
        if turn.record.nodes[node.name].state in (NodeState.DRAINING, NodeState.CILIUM):
            room = max(room, 1)  # it is out of service already
        if room <= 0:
            return
        entry = begin_event(turn.plan, turn.record.nodes[node.name], event, turn.now)
        turn.record = turn.record.with_node(node.name, entry)
        _advance(turn, node.name)
        room -= 1


def _node_back(turn: _Deciding) -> None:
    """`migrate rollback-node`: carried on by `_carry_on`; see whether it is there, or goes on to Canal."""
    name = turn.goal.node
    entry = turn.record.nodes[name]
    if entry.gone:
        turn.final = Final("halted", f"node {name} is gone", "migrate status")
    elif entry.held is not None:
        turn.final = Final("gate" if entry.held.gate else "halted", entry.held.why, entry.held.next)
    elif entry.event is None and entry.state is NodeState.DUAL and turn.goal.to == "canal":
        turn.record = turn.record.with_node(name, begin_event(turn.plan, entry, NodeEvent.DETACH, turn.now))
        _advance(turn, name)
    elif entry.event is None:
        turn.final = Final("done", f"node {name} is back: {entry.state}", "migrate run")


def _names(found: list[str]) -> str:
    head = ", ".join(sorted(found)[:5])
    return head if len(found) <= 5 else f"{head} and {len(found) - 5} more"
