"""Every situation of two nodes, small as it is: nothing crashes, nothing is silent, and every run comes to an end.

Two nodes in every state and event, at its first and last step, held or not, one of them skipped, NotReady, cordoned by
others or deleted; a newcomer; a pause; every phase, direction and goal. Nothing in these clusters ever moves: so each
wait has to end by its own deadline, in words that name a command which is not refused.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from cni_migrate.core.decision.begin import begin
from cni_migrate.core.decision.decide import Decision, decide
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import Requests
from cni_migrate.core.model.record import Held, NodeRecord, Record
from cni_migrate.core.reports.plan import plan_view
from cni_migrate.core.steps.registry import untouched
from cni_migrate.core.steps.view import Plan, out_of_service
from cni_migrate.errors import MigrateError
from tests.unit.core.builders import NOW, Seen, a_node, a_plan, a_record, after, an_entry, seen, under_way

HELD = Held(why="a budget", next="mend it, then `migrate run`", since=NOW)
LATE = 4000
"""Seconds after which every deadline has passed."""

TURNS = 12
"""So many looks, each after every deadline of the last, and a run must be over: longer than any list of events."""

PLANS = {
    "multus": a_plan("multus"),
    "overlay": a_plan("overlay"),
    "multus, auto_rollback": a_plan("multus", auto_rollback=True),
    "overlay, auto_rollback": a_plan("overlay", auto_rollback=True),
}
FORWARD = Goal()
GOALS = [FORWARD, Goal(kind="rollback"), *(Goal(kind="rollback_node", node="w1", to=to) for to in ("dual", "canal"))]
COMMAND = re.compile(r"migrate (run|rollback-node|rollback)\b(?: (?!-)([a-z0-9]+))?(?: --to (dual|canal))?")


@cache
def _begun(plan: str, phase: Phase, direction: str) -> Record:
    more = {"back_since": NOW} if direction == "back" else {}
    return a_record(PLANS[plan], {}, phase=phase, direction=direction, **more)


@dataclass(frozen=True)
class Situation:
    """One of them; as text it is what a failure shows."""

    plan: str
    goal: Goal
    phase: Phase
    direction: str
    entries: tuple[NodeRecord, NodeRecord]
    flag: str = ""
    extra: str = ""

    def __str__(self) -> str:
        told = [f"{e.state} {e.event or '-'}/{e.step or '-'}{' held' if e.held else ''}" for e in self.entries]
        goal = f"{self.goal.command} in {self.phase} {self.direction}"
        return f"{self.plan}: {goal}: w1 ({told[0]}) {self.flag}, w2 ({told[1]}), {self.extra or 'nobody else'}"

    def record(self) -> Record:
        """What the record says."""
        first = self.entries[0].model_copy(update={"skipped": self.flag == "skipped"})
        nodes = {"w1": first, "w2": self.entries[1]}
        return _begun(self.plan, self.phase, self.direction).with_nodes(nodes)

    def seen(self) -> Seen:
        """The cluster, in which nothing ever moves."""
        first = a_node("w1", ready=self.flag != "NotReady", unschedulable=self.flag == "cordoned")
        nodes = [first, a_node("w2")] + ([a_node("w9")] if self.extra == "newcomer" else [])
        skip = {"w1": after(1).isoformat()} if self.flag == "skipped" else {}
        requests = Requests(skip=skip, paused_since="yesterday" if self.extra == "paused" else "")
        return seen(*(nodes[1:] if self.flag == "deleted" else nodes), requests=requests)


def _entries(plan: Plan, name: str) -> Iterator[NodeRecord]:
    for state in NodeState:
        yield an_entry(name, state)
    yield an_entry(name, NodeState.MIGRATED, boot="boot-0")
    yield an_entry(name, NodeState.MIGRATED, joined=True, took={"adopt": 1.0})
    for event, steps in plan.strategy.events.items():
        for state in plan.node_lifecycle.edges[event][0]:
            yield under_way(name, state, event, steps[0])
            yield under_way(name, state, event, steps[-1])
            yield under_way(name, state, event, steps[-1], held=HELD)


def _possible(phase: Phase, direction: str, entries: tuple[NodeRecord, NodeRecord]) -> bool:
    states = {entry.state for entry in entries}
    events = {entry.event for entry in entries}
    if phase is Phase.ATTACHING:
        early = {None, NodeEvent.ATTACH, NodeEvent.DETACH, NodeEvent.RESTORE}
        return states <= {NodeState.CANAL, NodeState.DUAL} and events <= early
    if phase is Phase.MIGRATING:
        return True
    return direction == "forward" and states == {NodeState.MIGRATED} and events == {None}


def _situations(name: str) -> Iterator[Situation]:
    plan = PLANS[name]
    pairs = list(itertools.product(_entries(plan, "w1"), _entries(plan, "w2")))
    goals = [FORWARD] if plan.config.auto_rollback else GOALS
    around = [("", ""), ("", "newcomer"), ("", "paused"), *((flag, "") for flag in ("skipped", "NotReady", "cordoned", "deleted"))]  # fmt: skip
    for goal, phase, entries in itertools.product(goals, list(Phase)[2:], pairs):
        for direction in ("forward", "back") if goal.kind == "rollback" else ("forward",):
            if not _possible(phase, direction, entries):
                continue
            for flag, extra in around if direction == "forward" else around[:1] + around[3:]:
                yield Situation(name, goal, phase, direction, entries, flag, extra)


def _typed(said: str) -> Iterator[Goal]:
    """The goals of the driving commands that a message names."""
    for command, node, to in COMMAND.findall(said):
        kinds = {"run": "forward", "rollback": "rollback", "rollback-node": "rollback_node"}
        yield Goal(kind=kinds[command], node=node if command == "rollback-node" else "", to=to or "dual")  # type: ignore[arg-type]


def _refused(plan: Plan, record: Record, found: Seen, said: str) -> str:
    """Which of the commands that are named is refused, with its words, or ''."""
    for goal in _typed(said):
        try:
            begin(plan, goal, record, found.nodes, NOW)
        except MigrateError as error:
            return f"`{goal.command}` is refused: {error.message}"
    return ""


def _out(plan: Plan, record: Record) -> int:
    """How many are out of service by our hand; who is held before anything was done to it serves as before."""
    there = [entry for entry in record.nodes.values() if not entry.gone]
    return sum(out_of_service(plan, e) and not (e.held is not None and untouched(plan, e)) for e in there)


def _trouble(case: Situation) -> str:
    """What is wrong with how this situation is answered, or ''."""
    plan, record, found = PLANS[case.plan], case.record(), case.seen()
    try:
        begun = begin(plan, case.goal, record, found.nodes, NOW)
    except MigrateError as error:
        return "" if error.next and not _refused(plan, record, found, error.next) else f"begin: next is {error.next!r}"
    if case.goal is FORWARD and not case.flag:
        plan_view(plan, case.goal, record, found, NOW, "t")
    most = max(1, _out(plan, begun))
    decision: Decision | None = None
    for turn in range(TURNS):
        decision = decide(plan, case.goal, begun, found, after(LATE * turn), outcomes=found.outcomes)
        begun = decision.record
        if (out := _out(plan, begun)) > most:
            return f"{out} nodes out of service"
        if decision.final is not None:
            said = _refused(plan, begun, found, decision.final.next)
            return f"final, next is {decision.final.next!r}: {said}" if said else ""
    assert decision is not None
    if case.extra == "paused" and any("paused" in wait.observed for wait in decision.waits):
        return ""
    return f"never ends: {[(w.node, w.step, w.on, w.observed) for w in decision.waits]}"


@pytest.mark.parametrize("name", PLANS)
def test_no_situation_is_answered_by_a_crash_or_by_silence(name: str) -> None:
    """Each is refused with a command that works, or ends within its deadlines and names one, or is paused and says so."""
    found: Counter[str] = Counter()
    first: dict[str, str] = {}
    number = 0
    for case in _situations(name):
        number += 1
        try:
            trouble = _trouble(case)
        except Exception as error:  # noqa: BLE001 - every kind of it is a finding
            trouble = f"{type(error).__name__}: {error}"
        if trouble:
            kind = re.sub(r"\d+", "N", f"{case.goal.command}: {trouble}")
            found[kind] += 1
            first.setdefault(kind, str(case))
    assert number > 1000
    told = [f"{count} x {kind}\n    e.g. {first[kind]}" for kind, count in found.most_common(25)]
    assert not found, f"{sum(found.values())} of {number} situations:\n" + "\n".join(told)
