"""One decision of the driver in the making, and the first part of it: nodes whose event is under way are carried on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cni_migrate.core.decision.advance import Waiting, Work, advance_list, advance_node, begin_event, history
from cni_migrate.core.model import guards
from cni_migrate.core.model.effects import Effect
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, PhaseEvent
from cni_migrate.core.model.objects import GateAsk, Node, Snapshot
from cni_migrate.core.model.record import Held, NodeRecord, Record
from cni_migrate.core.steps.view import Plan

NEXT_EVENT = {
    NodeEvent.ADOPT: NodeEvent.RELEASE,
    NodeEvent.DRAIN: NodeEvent.SWITCH,
    NodeEvent.SWITCH: NodeEvent.RELEASE,
}
"""What follows without another choice: a node that was drained is switched, then released."""

BETWEEN = {NodeState.DRAINING: NodeEvent.SWITCH, NodeState.CILIUM: NodeEvent.RELEASE}
"""The same, by the state in which the node was left."""


@dataclass(frozen=True)
class Decision:
    """One decision of the driver: the record to write first, the effects to perform then, when to look again.

    `durable`: the record has changed in a way that must be written even without effects. `gather`: after a change, so
    many seconds of changes are looked at together.
    """

    record: Record
    effects: tuple[Effect, ...]
    asks: tuple[GateAsk, ...]
    waits: tuple[Waiting, ...]
    deadline: datetime
    gather: float
    durable: bool
    final: Final | None


@dataclass
class Draft:
    """The decision in the making."""

    plan: Plan
    goal: Goal
    record: Record
    seen: Snapshot
    now: datetime
    stopping: bool
    work: Work = field(default_factory=Work)
    final: Final | None = None
    quiet: set[str] = field(default_factory=set)
    """Lines of history that need not be written at once: they come with the next write of the record."""
    _members: tuple[Mapping[str, NodeRecord], list[tuple[Node, NodeRecord]]] = field(default_factory=lambda: ({}, []))

    def members(self) -> list[tuple[Node, NodeRecord]]:
        """The nodes that take part, with their entries."""
        entries, found = self._members
        if entries is not self.record.nodes:
            nodes = self.seen.nodes
            entries = self.record.nodes
            found = [(nodes[n], e) for n, e in entries.items() if not e.gone and not e.skipped and n in nodes]
            self._members = entries, found
        return found

    def phase(self, event: PhaseEvent) -> None:
        """Move the cluster's phase."""
        old = self.record.cluster.phase
        new = self.plan.cluster_lifecycle.advance(old, event, guards.facts(self.record))
        cluster = self.record.cluster.model_copy(update={"phase": new, "since": self.now})
        self.record = history(self.record.with_cluster(cluster), self.now, f"phase {new}")


def carry_on(draft: Draft) -> None:
    """Advance every node whose event is under way, and begin the event that follows by itself.

    A driver that was asked to stop leaves a node between two events: out of service, so it is taken on like the others.
    """
    forward = draft.goal.kind == "forward" and not draft.stopping
    for name, entry in list(draft.record.nodes.items()):
        if forward and entry.event is None and entry.state in BETWEEN and not entry.gone and not entry.skipped:
            entry = begin_event(draft.plan, entry, BETWEEN[entry.state], draft.now)
            draft.record = draft.record.with_node(name, entry)
        if entry.event is None or entry.held is not None or entry.gone or entry.skipped:
            continue
        if draft.goal.kind == "node_back" and name != draft.goal.node:
            continue
        advance(draft, name)


def advance(draft: Draft, name: str) -> None:
    """Advance one node, through every event that follows by itself."""
    while (entry := draft.record.nodes[name]).event is not None and entry.held is None:
        event = entry.event
        moved = advance_node(draft.plan, draft.record, draft.seen, draft.now, name, draft.work, draft.stopping)
        draft.record = draft.record.with_node(name, moved.entry)
        if moved.entry.held is not None:
            _hold(draft, name, moved.entry.held)
        if not moved.ended:
            return
        draft.record = _ended(draft, name, event)
        following = NEXT_EVENT.get(event)
        if following is None or draft.stopping:
            return
        draft.record = draft.record.with_node(
            name, begin_event(draft.plan, draft.record.nodes[name], following, draft.now)
        )


def _ended(draft: Draft, name: str, event: NodeEvent) -> Record:
    """The event's steps are done: move the node's state.

    The event's guard was asked when it began; a node that has joined since is attached before the next drain.
    """
    entry = draft.record.nodes[name]
    state = draft.plan.node_lifecycle.advance(entry.state, event, lambda _: True)
    seconds = round((draft.now - entry.started).total_seconds(), 1) if entry.started else 0.0
    update: dict[str, Any] = {
        "state": state,
        "event": None,
        "step": "",
        "since": draft.now,
        "started": None,
        "took": {**entry.took, event.value: seconds},
    }
    if event.backwards:
        update |= {"displaced": (), "cleaned": False, "rolled_back": draft.now.isoformat(timespec="seconds")}
    record = draft.record.with_node(name, entry.model_copy(update=update))
    what = f"node {name}: {event} done, {state}, {seconds:g} s"
    if event is NodeEvent.RELEASE:  # what other nodes' guards ask for is written before they go on by it
        draft.quiet.add(what)
    return history(record, draft.now, what)


def _hold(draft: Draft, name: str, held: Held) -> None:
    draft.record = history(draft.record, draft.now, f"node {name} is held: {held.why}")
    entry = draft.record.nodes[name]
    event = entry.event
    if not draft.plan.config.auto_rollback or event is None or event.backwards or draft.goal.kind != "forward":
        return
    back = NodeEvent.DETACH if event is NodeEvent.ATTACH else NodeEvent.RESTORE
    if back is NodeEvent.DETACH and guards.beyond_dual(draft.record):
        return  # others would lose the way to its pods: it stays held
    draft.record = history(draft.record, draft.now, f"node {name}: rolling back by itself (auto_rollback)")
    begun = begin_event(draft.plan, entry, back, draft.now).model_copy(update={"failure": held})
    draft.record = draft.record.with_node(name, begun)
    draft.work.look_at(draft.now)


def stop(draft: Draft) -> None:
    """Stop at the first moment when no effect of a current step is outstanding."""
    if draft.work.waits and not _only_gates(draft):
        return
    draft.final = Final("interrupted", "stopped on request at a safe point", "migrate run")


def _only_gates(draft: Draft) -> bool:
    return not draft.work.effects and all(
        wait.step in ("gate", "baseline_gate", "recheck", "sweep", "final_sweep", "soak") for wait in draft.work.waits
    )


def stop_for_held(draft: Draft) -> bool:
    """Whether a held node stops the run; those still under way are carried to the end of their event first."""
    found = {n: e.held for n, e in draft.record.nodes.items() if e.held is not None and not e.skipped and not e.gone}
    failed = {
        n: e.failure for n, e in draft.record.nodes.items() if e.failure is not None and e.event is None and not e.gone
    }
    cluster = draft.record.cluster.held
    if not found and not failed and cluster is None:
        return False
    if any(e.event and not e.held and not e.gone and not e.skipped for e in draft.record.nodes.values()):
        return True
    reasons = [h.why for h in found.values()] + [
        f"{h.why} (node {n} was rolled back by itself)" for n, h in failed.items()
    ]
    first = cluster or next(iter({**found, **failed}.values()))
    if cluster is not None:
        reasons.insert(0, cluster.why)
    is_gate = first.gate
    draft.final = Final("gate" if is_gate else "halted", "; ".join(dict.fromkeys(reasons)), first.next)
    return True


def run_list(draft: Draft, name: str) -> bool:
    """Carry a list of cluster steps on; whether it has ended."""
    draft.record, ended = advance_list(
        draft.plan, draft.record, draft.seen, draft.now, name, draft.work, draft.stopping
    )
    if draft.record.cluster.held is not None:
        draft.record = history(draft.record, draft.now, f"held: {draft.record.cluster.held.why}")
        stop_for_held(draft)
    return ended


def under_way(draft: Draft) -> bool:
    """Whether any node's event is under way, held ones included."""
    return any(entry.event is not None for _, entry in draft.members())


def names_of(found: list[str]) -> str:
    """Node names for a message: five at the most, and how many more."""
    head = ", ".join(sorted(found)[:5])
    return head if len(found) <= 5 else f"{head} and {len(found) - 5} more"
