"""The decision: from the record and one look at the cluster to what is to be done now. Pure.

Read it top-down: nodes whose event is under way are carried on first (`turn`), so that a restarted driver finishes what
another began; then new events begin (`starting`), as far as capacity, guards and operators allow; then the cluster's
phase moves (`forward`, `backward`).
"""

from datetime import datetime, timedelta

from cni_migrate.core.decision.backward import backward, node_back
from cni_migrate.core.decision.forward import forward
from cni_migrate.core.decision.in_flight import Deciding, Turn, carry_on, stop, stop_for_held
from cni_migrate.core.decision.membership import enrol
from cni_migrate.core.decision.probe_rate import keep_pace
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.core.model.record import Record
from cni_migrate.core.steps.view import Plan

__all__ = ["Turn", "decide"]

LOOK_AGAIN = timedelta(seconds=30)
"""The longest pause between two looks, should nothing change and no deadline come first."""

GATHER, GATHER_MOST = 0.02, 0.5
"""Seconds of changes that are looked at together: for each node waited for, and at most. One node goes on at once;
of fifty, each would be a turn and a write of the record."""


def decide(plan: Plan, goal: Goal, record: Record, seen: Snapshot, now: datetime, *, stopping: bool = False) -> Turn:
    """What to do now. Same input, same turn; nothing else is looked at."""
    turn = Deciding(plan, goal, record, seen, now, stopping)
    if record.cluster.phase is not Phase.PREFLIGHT or record.nodes:
        turn.record = enrol(plan, record, seen, now, turn.work)
    carry_on(turn)
    if turn.stopping:
        stop(turn)
    elif goal.kind == "node_back":
        node_back(turn)
    elif not stop_for_held(turn):
        (backward if goal.kind == "back" else forward)(turn)
    work = turn.work
    if turn.final is None and (pace := keep_pace(plan, turn.record, seen, now)) is not None:
        work.effects.append(pace)
    deadline = now + LOOK_AGAIN
    if work.deadline is not None:
        deadline = min(deadline, max(work.deadline, now + timedelta(milliseconds=10)))
    return Turn(
        record=turn.record,
        effects=tuple(work.effects),
        asks=tuple(work.asks),
        waits=tuple(work.waits),
        deadline=deadline,
        gather=min(GATHER * max(1, len(work.waits)), GATHER_MOST),
        durable=turn.final is not None or _landmarks(record) != _landmarks(turn.record) or _told(record, turn),
        final=turn.final,
    )


def _landmarks(record: Record) -> object:
    """What must be in the record at once even when no effect follows: phase, what is held."""
    cluster = record.cluster
    return (cluster.phase, cluster.direction, cluster.held)


def _told(before: Record, turn: Deciding) -> bool:
    """Whether history has a new line that somebody may wait for; that a node is released is seen by what follows it."""
    known, lines = before.cluster.history, turn.record.cluster.history
    return lines != known and any(line not in known and line.what not in turn.quiet for line in lines)
