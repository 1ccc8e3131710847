"""The steps around the gate: whom they ask, what they wait for, what they let pass. Judging reports: test_gate."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.connectivity.gate import shared
from cni_migrate.core.connectivity.peers import observers
from cni_migrate.core.decision.begin import begin
from cni_migrate.core.model import names
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState
from cni_migrate.core.model.objects import Pod
from cni_migrate.core.model.record import NodeRecord
from cni_migrate.core.model.rounds import BadProbe, GateReading, Round
from cni_migrate.core.steps.answers import Answer, Done, Refuse, Wait
from cni_migrate.core.steps.gates import excluded
from cni_migrate.core.steps.registry import CLUSTER_STEPS, NODE_STEPS
from cni_migrate.core.steps.view import ClusterView, NodeView, Plan
from tests.unit.core.builders import (
    NOW,
    Seen,
    a_cluster_view,
    a_node,
    a_plan,
    a_record,
    a_view,
    after,
    an_agent,
    an_entry,
    seen,
    under_way,
)

NODES = ("w1", "w2", "w3")
AGENTS = tuple(f"{node}/{mesh}" for node in NODES for mesh in "ab")
MULTUS, OVERLAY = a_plan(), a_plan("overlay")
KNOWN = ("w1/a w2/a primary http",)
TIMEOUT = BadProbe("w2/a", "primary", "http", "timeout")
THROUGH = BadProbe("w2/b", "primary", "policy_deny", "not blocked")
LATE = 20.0
"""Seconds after the step's beginning at which everything could have been reported."""


def _agents() -> list[Pod]:
    return [an_agent(names.KNET[mesh], node, namespace="knet-stress") for node in NODES for mesh in "ab"]


def _rounds(agent: str, bad: Iterable[BadProbe], end: datetime) -> list[Round]:
    node, mesh = agent.split("/")
    peers = frozenset(AGENTS) - {agent}
    return [
        Round(
            round=number,
            at=end - timedelta(seconds=0.5 * (10 - number)),
            node=node,
            mesh=mesh,
            uid=f"uid-{agent}",
            interval=0.5,
            peers=peers,
            sent=20,
            lost=len(list(bad)),
            bad=tuple(bad),
            stall_ms=0,
        )
        for number in range(1, 11)
    ]


def _reading(bad: Mapping[str, Iterable[BadProbe]], without: Iterable[str] = ()) -> GateReading:
    rounds = {agent: _rounds(agent, bad.get(agent, ()), after(LATE)) for agent in AGENTS if agent not in without}
    return GateReading(after(LATE), rounds, {})


def _found() -> Seen:
    return seen(*(a_node(name) for name in NODES), *_agents())


def _node_answer(
    step: str,
    bad: Mapping[str, Iterable[BadProbe]] | None = None,
    *,
    plan: Plan = MULTUS,
    seconds: float = LATE,
    without: Iterable[str] = (),
    baseline: tuple[str, ...] = (),
) -> Answer:
    entry = under_way("w1", NodeState.DRAINING, NodeEvent.SWITCH, step)
    found = _found()
    view = a_view(found, entry, plan=plan, now=after(seconds))
    if bad is not None:
        found.readings[f"w1/switch/{step}/1"] = _reading(bad, without)
    record = view.record.with_cluster(view.record.cluster.model_copy(update={"baseline": baseline}))
    return NODE_STEPS[step](
        NodeView(plan, found, record, after(seconds), NOW, view.node, entry, outcomes=found.outcomes)
    )


def _cluster_answer(
    step: str, key: str, bad: Mapping[str, Iterable[BadProbe]] | None = None, *, plan: Plan = MULTUS
) -> Answer:
    found = _found()
    if bad is not None:
        found.readings[f"{key}/{NOW.isoformat()}"] = _reading(bad)
    view = a_cluster_view(found, plan=plan)
    return CLUSTER_STEPS[step](ClusterView(plan, found, view.record, after(LATE), NOW, outcomes=found.outcomes))


GATES = ("gate", "baseline_gate", "recheck")
ONE_MORE = ("baseline_gate", "recheck")
"""They begin where nothing of the network has changed since clean rounds were seen: one has to follow."""


@pytest.mark.parametrize("step", GATES)
class TestNodeGates:
    """gate, baseline_gate, recheck: of one node."""

    def test_nothing_is_read_before_there_can_be_anything(self, step: str) -> None:
        """The wait says when it is worth it. Where the network has not changed, one new round is enough."""
        answer = _node_answer(step, seconds=0)
        assert isinstance(answer, Wait)
        assert answer.ask is None
        assert answer.retry_in == pytest.approx(0.75 if step in ONE_MORE else 2.75)

    def test_then_the_agents_are_asked_for(self, step: str) -> None:
        """The node's own among them, from the step's beginning on, or from as long before it as a gate takes."""
        answer = _node_answer(step)
        assert isinstance(answer, Wait)
        assert answer.ask is not None
        assert answer.ask.since == (after(-2.75) if step in ONE_MORE else NOW)
        assert {"w1/a", "w1/b"} <= {agent for _, _, agent in answer.ask.pods}
        assert answer.gate, "what is not proven by the deadline has failed the gate"

    def test_who_has_reported_enough_is_not_asked_again(self, step: str) -> None:
        """Only those who have not; and everybody once their last word is old."""
        found, key = _found(), f"w1/switch/{step}/1"
        entry = under_way("w1", NodeState.DRAINING, NodeEvent.SWITCH, step)
        view = a_view(found, entry, plan=OVERLAY, now=after(LATE))
        found.readings[key] = _reading({}, without=["w1/b"])
        for later, asked in ((0.1, None), (1.2, {"w1/b"}), (3.0, {"w1/a", "w1/b"})):
            now = after(LATE + later)
            answer = NODE_STEPS[step](
                NodeView(OVERLAY, found, view.record, now, NOW, view.node, entry, outcomes=found.outcomes)
            )
            assert isinstance(answer, Wait)
            if asked is None:
                assert answer.ask is None
                assert answer.retry_in is not None
            else:
                assert answer.ask is not None
                assert {agent for _, _, agent in answer.ask.pods} >= asked
                assert later > 2 or {agent for _, _, agent in answer.ask.pods} == asked

    def test_it_is_read_again_soon_and_then_less_and_less_often(self, step: str) -> None:
        """Most lack a moment only. With what is broken for long there is no hurry, and reading costs."""
        found, key = _found(), f"w1/switch/{step}/1"
        entry = under_way("w1", NodeState.DRAINING, NodeEvent.SWITCH, step)
        view = a_view(found, entry, plan=OVERLAY)
        pauses = []
        for seconds in (3.0, 4.0, 7.0):
            now = after(seconds)
            found.readings[key] = replace(_reading({"w1/a": [TIMEOUT]}), at=now)
            answer = NODE_STEPS[step](
                NodeView(OVERLAY, found, view.record, now, NOW, view.node, entry, outcomes=found.outcomes)
            )
            assert isinstance(answer, Wait)
            pauses.append(answer.retry_in)
        assert pauses == [0.25, 0.5, 1.0]

    def test_clean_rounds_pass_and_are_recorded(self, step: str) -> None:
        """With how much was sent."""
        answer = _node_answer(step, {})
        assert isinstance(answer, Done)
        assert answer.remember["gate"].sent > 0
        assert answer.remember["gate"].lost == 0

    def test_a_broken_pair_of_the_node_is_waited_for_and_named(self, step: str) -> None:
        """Should the deadline pass, the node is held because of a gate: exit code 6."""
        answer = _node_answer(step, {"w1/a": [TIMEOUT]})
        assert isinstance(answer, Wait)
        assert answer.gate
        assert "w1/a -> w2/a http: timeout" in answer.observed

    def test_a_pair_that_is_none_of_the_nodes_business_does_not_matter(self, step: str) -> None:
        """What goes on between other nodes is for the sweep."""
        assert isinstance(_node_answer(step, {"w3/a": [TIMEOUT]}), Done)

    def test_a_silent_agent_of_the_node_is_a_failure(self, step: str) -> None:
        """No report is no proof."""
        answer = _node_answer(step, {}, without=["w1/b"])
        assert isinstance(answer, Wait)
        assert answer.gate
        assert "w1/b" in answer.observed

    def test_what_was_broken_in_the_baseline_does_not_count(self, step: str) -> None:
        """By the very words that the baseline's record has."""
        assert isinstance(_node_answer(step, {"w1/a": [TIMEOUT]}, baseline=("w1/a w2/a primary http",)), Done)

    @pytest.mark.parametrize("plan", [MULTUS, OVERLAY], ids=["multus", "overlay"])
    def test_forbidden_callers_that_get_through_fail(self, step: str, plan: Plan) -> None:
        """Policies are in force on the way, with both strategies."""
        assert isinstance(_node_answer(step, {"w1/b": [THROUGH]}, plan=plan), Wait)


def test_recheck_reads_the_nodes_own_agents_only() -> None:
    """Two log reads instead of one per observer."""
    answer = _node_answer("recheck")
    assert isinstance(answer, Wait)
    assert answer.ask is not None
    assert {agent for _, _, agent in answer.ask.pods} == {"w1/a", "w1/b"}


def test_gate_hears_those_who_observe_the_node() -> None:
    """A node that reaches everybody and that nobody reaches is found by the others."""
    for observer in observers("w1", NODES, MULTUS.config):
        answer = _node_answer("gate", {observer: [BadProbe("w1/a", "primary", "http", "timeout")]})
        assert isinstance(answer, Wait)
        assert f"{observer} -> w1/a" in answer.observed


def _span(agent: str, begin: float, end: float) -> tuple[Round, ...]:
    """Clean rounds of an agent, each half second from `begin` to `end`, in seconds after `NOW`."""
    (one, *_) = _rounds(agent, (), NOW)
    times = range(int((end - begin) * 2) + 1)
    return tuple(replace(one, round=number + 1, at=after(begin + number / 2)) for number in times)


class TestRenewed:
    """gate, where the node's pods were made anew: at -2 s, before the step began."""

    def _answer(self, own: tuple[float, float], others: tuple[float, float], now: float) -> Answer:
        entry = under_way("w1", NodeState.DRAINING, NodeEvent.SWITCH, "gate", renewed=after(-2))
        found = _found()
        rounds = {agent: _span(agent, *(own if agent.startswith("w1/") else others)) for agent in AGENTS}
        found.readings["w1/switch/gate/1"] = GateReading(after(now), rounds, {})
        view = a_view(found, entry, now=after(now))
        return NODE_STEPS["gate"](view)

    def test_what_was_reported_since_counts(self) -> None:
        """Two seconds of it, the last of which is in the step."""
        assert isinstance(self._answer((-1.0, 1.5), (-1.0, 1.5), 2.0), Done)

    def test_what_was_reported_before_does_not(self) -> None:
        """Somebody who has reported all the time has seen the old pods."""
        answer = self._answer((-3.0, -0.5), (-3.0, -0.5), 2.0)
        assert isinstance(answer, Wait)
        assert "clean probe rounds" in answer.observed

    def test_what_was_lost_before_the_step_is_no_loss_of_the_gate(self) -> None:
        """A peer that starts has no address for a while: nothing that anybody who stays has lost."""
        entry = under_way("w1", NodeState.DRAINING, NodeEvent.SWITCH, "gate", renewed=after(-2))
        found = _found()
        rounds = {agent: list(_span(agent, -1.5, 1.5)) for agent in AGENTS}
        rounds["w1/a"][0] = replace(rounds["w1/a"][0], lost=1, bad=(TIMEOUT,))
        found.readings["w1/switch/gate/1"] = GateReading(after(2), {a: tuple(r) for a, r in rounds.items()}, {})
        answer = NODE_STEPS["gate"](a_view(found, entry, now=after(2)))
        assert isinstance(answer, Done)
        assert answer.remember["gate"].lost == 0

    def test_a_round_has_to_come_after_the_last_pod(self) -> None:
        """What only now got there may have broken something."""
        answer = self._answer((-2.0, 0.0), (-2.0, -0.5), 2.0)
        assert isinstance(answer, Wait)

    def test_observers_count_from_the_first_round_of_the_new_agents(self) -> None:
        """Before that they may have been answered by the old ones."""
        assert isinstance(self._answer((-1.0, 1.5), (-2.0, 0.5), 2.0), Wait), "1.5 s of it"
        assert isinstance(self._answer((-1.0, 1.5), (-2.0, 1.0), 2.0), Done)

    def test_it_is_read_sooner_than_if_all_of_it_had_to_come_in_the_step(self) -> None:
        """By the time that the kubelet takes to tell of a pod."""
        answer = self._answer((-1.0, 1.0), (-1.0, 1.0), 1.5)
        assert isinstance(answer, Wait)
        assert answer.ask is None
        assert answer.retry_in == pytest.approx(2.75 - 0.8 - 1.5)

    def test_whoever_lacks_something_is_read_again_when_it_is_due(self) -> None:
        """Not sooner, however little that is."""
        answer = self._answer((-1.0, 1.5), (0.0, 1.5), 2.0)
        assert isinstance(answer, Wait)
        assert answer.ask is None
        assert answer.retry_in == pytest.approx(0.0 + 2 * 1.03 + 0.25 - 2.0)

    def test_who_takes_over_proves_all_of_it(self) -> None:
        """What was seen before a driver was killed is nothing that the next one has seen."""
        plan = MULTUS
        entry = under_way("w1", NodeState.DRAINING, NodeEvent.SWITCH, "gate", renewed=after(-2))
        record = begin(plan, Goal(), a_record(plan, {"w1": entry}), {"w1": a_node()}, after(5))
        assert record.nodes["w1"].renewed is None


class TestSweeps:
    """sweep, final_sweep: the whole cluster."""

    @pytest.mark.parametrize(("step", "key"), [("sweep", "sweep"), ("final_sweep", "final")])
    def test_every_agent_is_asked_and_every_pair_counts(self, step: str, key: str) -> None:
        """Clean passes, one broken pair anywhere does not."""
        question = _cluster_answer(step, key)
        assert isinstance(question, Wait)
        assert question.ask is not None
        assert {agent for _, _, agent in question.ask.pods} == set(AGENTS)
        assert isinstance(_cluster_answer(step, key, {}), Done)
        broken = _cluster_answer(step, key, {"w3/a": [TIMEOUT]})
        assert isinstance(broken, Wait)
        assert broken.gate

    @pytest.mark.parametrize("enforcement", ["default", "never"])
    def test_at_the_end_policies_hold_again(self, enforcement: str) -> None:
        """Unless the configuration wants none; on the way they hold in any case."""
        plan = a_plan("overlay", cilium={"policy_enforcement": enforcement})
        answer = _cluster_answer("final_sweep", "final", {"w1/b": [THROUGH]}, plan=plan)
        assert isinstance(answer, Wait if enforcement == "default" else Done)
        assert isinstance(_cluster_answer("sweep", "sweep", {"w1/b": [THROUGH]}, plan=plan), Wait)


class TestBaseline:
    """take_baseline: what is broken before anything is touched."""

    def test_nothing_broken_is_an_empty_baseline(self) -> None:
        """And the figures are recorded."""
        answer = _cluster_answer("take_baseline", "baseline", {})
        assert isinstance(answer, Done)
        assert dict(answer.remember)["baseline"] == ()

    def test_what_is_broken_is_recorded_in_words_that_gates_know(self) -> None:
        """The next gate lets exactly this pair pass."""
        answer = _cluster_answer("take_baseline", "baseline", {"w1/a": [TIMEOUT]})
        assert isinstance(answer, Done)
        assert dict(answer.remember)["baseline"] == KNOWN
        assert isinstance(_node_answer("gate", {"w1/a": [TIMEOUT]}, baseline=KNOWN), Done)

    def test_a_network_that_is_broken_altogether_is_refused(self) -> None:
        """Nothing could be proven on it."""
        many = [
            BadProbe(f"w2/{mesh}", "primary", kind, "timeout") for mesh in "ab" for kind in ("http", "udp", "tcp", "x")
        ]
        flood = [
            *many,
            *(BadProbe(f"w3/{m}", "primary", k, "timeout") for m in "ab" for k in ("http", "udp", "tcp", "x")),
        ]
        answer = _cluster_answer("take_baseline", "baseline", dict.fromkeys(AGENTS, flood))
        assert isinstance(answer, Refuse)
        assert answer.gate
        assert "fix the cluster's network first" in answer.next

    @pytest.mark.parametrize(("probed", "taken"), [(shared(Config()), True), (frozenset({"api"}), False)])
    def test_it_waits_until_all_that_is_shared_was_probed(self, probed: frozenset[str], taken: bool) -> None:
        """What fails then was broken before: a baseline without it would hold the first node for it."""
        found, key = _found(), f"baseline/{NOW.isoformat()}"
        reading = _reading({"w1/a": [TIMEOUT]})
        rounds = {agent: [replace(one, shared=probed) for one in known] for agent, known in reading.rounds.items()}
        found.readings[key] = replace(reading, rounds=rounds)
        view = a_cluster_view(found)
        answer = CLUSTER_STEPS["take_baseline"](
            ClusterView(MULTUS, found, view.record, after(LATE), NOW, outcomes=found.outcomes)
        )
        assert isinstance(answer, Done if taken else Wait), answer

    def test_it_waits_for_every_agent(self) -> None:
        """A baseline without somebody would excuse whatever they would have said."""
        found = _found()
        found.readings[f"baseline/{NOW.isoformat()}"] = _reading({}, without=["w3/b"])
        view = a_cluster_view(found)
        answer = CLUSTER_STEPS["take_baseline"](
            ClusterView(MULTUS, found, view.record, after(LATE), NOW, outcomes=found.outcomes)
        )
        assert isinstance(answer, Wait)
        assert "w3/b" in answer.observed


@pytest.mark.parametrize(
    ("description", "entry", "changes", "out"),
    [
        ("a quiet node is asked", an_entry("w2", NodeState.DUAL), {}, False),
        ("a migrated one is asked", an_entry("w2", NodeState.MIGRATED), {}, False),
        ("a skipped one is not", an_entry("w2", skipped=True), {}, True),
        ("one that is NotReady is not", an_entry("w2", NodeState.DUAL), {"ready": False}, True),
        ("a newcomer that is not attached is not", an_entry("w2", joined=True), {}, True),
        ("one in transit is not", under_way("w2", NodeState.DUAL, NodeEvent.DRAIN, "cordon"), {}, True),
        ("one whose event leaves it in service is", under_way("w2", NodeState.CANAL, NodeEvent.ATTACH, "x"), {}, False),
        ("one that the record does not know is not", None, {}, True),
    ],
)
def test_of_whom_nothing_can_be_asked(
    description: str, entry: NodeRecord | None, changes: dict[str, Any], out: bool
) -> None:
    """A gate excludes them, by name, and never the node it is about."""
    found = seen(a_node("w1"), a_node("w2", **changes))
    record = a_record(OVERLAY, {"w1": an_entry("w1", NodeState.DUAL)} | ({"w2": entry} if entry else {}))
    view = ClusterView(OVERLAY, found, record, NOW, NOW)
    assert (excluded(view) == {"w2"}) is out, description
    assert excluded(view, ["w2"]) == frozenset()
