"""The decision: from the record and one look at the cluster to what is to be done now. Pure.

Read it top-down: nodes whose event is under way are carried on first (`in_flight`), so that a restarted driver
finishes what another began; then new events begin (`schedule`), each through one door (`admission`), and the cluster's
phase moves (`forward`, `backward`); what could not begin becomes a wait with an end (`schedule.settle`).
"""

from datetime import datetime, timedelta

from cni_migrate.core.decision.advance import Work
from cni_migrate.core.decision.backward import backward, rollback_node
from cni_migrate.core.decision.draft import Decision, Draft
from cni_migrate.core.decision.forward import complete_already, forward
from cni_migrate.core.decision.in_flight import carry_on, roll_back_held, stop, stop_for_held, turn_round
from cni_migrate.core.decision.installed import keep_installed
from cni_migrate.core.decision.membership import sync_membership
from cni_migrate.core.decision.ownership import keep_deleted, keep_selected, keep_there
from cni_migrate.core.decision.probe_rate import keep_pace
from cni_migrate.core.decision.schedule import settle
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.core.model.outcomes import Outcomes
from cni_migrate.core.model.record import Record
from cni_migrate.core.steps.view import Plan

__all__ = ["Decision", "decide"]

LOOK_AGAIN = timedelta(seconds=30)
"""The longest pause between two looks, should nothing change and no deadline come first."""

GATHER, GATHER_MOST = 0.02, 0.5
"""Seconds of changes that are looked at together: for each node waited for, and at most. One node goes on at once;
of fifty, each would be a decision and a write of the record."""


def decide(
    plan: Plan,
    goal: Goal,
    record: Record,
    seen: Snapshot,
    now: datetime,
    *,
    outcomes: Outcomes | None = None,
    stopping: bool = False,
) -> Decision:
    """What to do now. Same input, same decision; nothing else is looked at.

    `outcomes` is what came of this process's earlier decisions.
    """
    draft = Draft(plan, goal, record, seen, now, stopping, Work(outcomes=outcomes or Outcomes()))
    if (final := complete_already(goal, record)) is not None:
        return Decision(record, (), (), (), now, 0.0, durable=True, final=final)
    if record.cluster.phase is not Phase.PREFLIGHT or record.nodes:
        draft.record = sync_membership(plan, record, seen, now, draft.work)
    keep_there(draft)
    keep_selected(draft)
    keep_deleted(draft)
    if not keep_installed(draft):  # what was begun would wait for what is not there
        _go_on(draft)
    elif draft.stopping:
        stop(draft)
    settle(draft)
    work = draft.work
    if draft.final is None and not (work.effects or work.asks or work.waits):
        stop_for_held(draft)  # each node on which an event was begun just now was held at its first step
    if draft.final is None and (pace := keep_pace(plan, draft.record, seen, work.outcomes.attempts, now)) is not None:
        work.effects.append(pace)
    deadline = now + LOOK_AGAIN
    if work.deadline is not None:
        deadline = min(deadline, max(work.deadline, now + timedelta(milliseconds=10)))
    return Decision(
        record=draft.record,
        effects=tuple(work.effects),
        asks=tuple(work.asks),
        waits=tuple(work.waits),
        deadline=deadline,
        gather=min(GATHER * max(1, len(work.waits)), GATHER_MOST),
        durable=draft.final is not None or _landmarks(record) != _landmarks(draft.record) or _told(record, draft),
        final=draft.final,
        lookups=tuple(work.lookups),
    )


def _go_on(draft: Draft) -> None:
    """Carry on what was begun, then begin what may be begun."""
    turn_round(draft)
    carry_on(draft)
    roll_back_held(draft)
    if draft.stopping:
        stop(draft)
    elif draft.goal.kind == "rollback_node":
        rollback_node(draft)
    elif not stop_for_held(draft):
        (backward if draft.goal.kind == "rollback" else forward)(draft)
        if draft.final is None:
            stop_for_held(draft)  # who was begun just now may be held at once, before anything was touched


def _landmarks(record: Record) -> object:
    """What must be in the record at once even when no effect follows: phase, what is held."""
    cluster = record.cluster
    return (cluster.phase, cluster.direction, cluster.held)


def _told(before: Record, draft: Draft) -> bool:
    """Whether history has a new line that somebody may wait for; that a node is released is seen by what follows it."""
    known, lines = before.cluster.history, draft.record.cluster.history
    return lines != known and any(line not in known and line.what not in draft.quiet for line in lines)
