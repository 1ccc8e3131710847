"""Single turns of the decision: what begins, what is carried on, what stops it. Whole runs are in tests/simulation."""

from typing import Any

import pytest

from cni_migrate.core.decision.decide import Decision, decide
from cni_migrate.core.decision.no_return import passed, point_of_no_return
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import Requests
from cni_migrate.core.model.record import Held, NodeRecord
from cni_migrate.core.steps.view import Plan
from tests.unit.core.builders import NOW, Seen, a_node, a_plan, a_pod, a_record, after, an_entry, seen, under_way

OVERLAY = a_plan("overlay")
HELD = Held(why="a budget", next="mend it", since=NOW)


def _decide(
    nodes: dict[str, NodeRecord],
    *,
    found: Seen | None = None,
    goal: Goal | None = None,
    plan: Plan = OVERLAY,
    stopping: bool = False,
    **cluster: Any,
) -> Decision:
    there = found or seen(*(a_node(name) for name, entry in nodes.items() if not entry.gone))
    return decide(
        plan, goal or Goal(), a_record(plan, nodes, **cluster), there, NOW, outcomes=there.outcomes, stopping=stopping
    )


def _events(decision: Decision) -> dict[str, NodeEvent | None]:
    return {name: entry.event for name, entry in decision.record.nodes.items()}


def _all(state: NodeState, *names: str) -> dict[str, NodeRecord]:
    return {name: an_entry(name, state) for name in names}


@pytest.mark.parametrize(
    ("state", "event"), [(NodeState.DRAINING, NodeEvent.SWITCH), (NodeState.CILIUM, NodeEvent.RELEASE)]
)
def test_a_node_that_was_left_between_two_events_goes_on_with_the_next(state: NodeState, event: NodeEvent) -> None:
    """Ctrl-C at the end of an event records the state without the event that follows."""
    decision = _decide({"w1": an_entry("w1", state), "w2": an_entry("w2", NodeState.DUAL)})
    assert _events(decision) == {"w1": event, "w2": None}


def test_one_node_begins_and_it_is_the_canary() -> None:
    """With max_unavailable 3, the first ever still goes alone."""
    plan = a_plan("overlay", max_unavailable="3", canary="w2")
    decision = _decide(_all(NodeState.DUAL, "w1", "w2", "w3", "w4"), plan=plan)
    assert _events(decision) == {"w1": None, "w2": NodeEvent.DRAIN, "w3": None, "w4": None}


def test_after_the_canary_as_many_begin_as_may() -> None:
    """Once one is migrated, max_unavailable counts."""
    plan = a_plan("overlay", max_unavailable="2")
    nodes = {"w0": an_entry("w0", NodeState.MIGRATED), **_all(NodeState.DUAL, "w1", "w2", "w3")}
    decision = _decide(nodes, plan=plan)
    assert [name for name, event in _events(decision).items() if event] == ["w1", "w2"]


def test_no_node_leaves_dual_before_every_node_is_dual() -> None:
    """A newcomer is attached first."""
    decision = _decide({"w1": an_entry("w1", NodeState.DUAL), "w2": an_entry("w2", joined=True)})
    assert _events(decision) == {"w1": None, "w2": NodeEvent.ATTACH}


def test_a_skipped_node_holds_nobody_up() -> None:
    """It is waived by name."""
    decision = _decide(
        {"w1": an_entry("w1", NodeState.DUAL), "w2": an_entry("w2", skipped=True)},
        found=seen(a_node("w1"), a_node("w2"), requests=Requests(skip={"w2": "x"})),
    )
    assert _events(decision) == {"w1": NodeEvent.DRAIN, "w2": None}


def test_a_node_that_others_have_cordoned_is_not_touched() -> None:
    """Another one goes instead."""
    decision = _decide(_all(NodeState.DUAL, "w1", "w2"), found=seen(a_node("w1", unschedulable=True), a_node("w2")))
    assert _events(decision) == {"w1": None, "w2": NodeEvent.DRAIN}


@pytest.mark.parametrize(("at_once", "begun"), [("1", []), ("2", ["w2"])])
def test_a_lost_node_is_not_touched_and_counts_as_out_of_service(at_once: str, begun: list[str]) -> None:
    """What is down already is part of what may be down at once."""
    plan = a_plan("overlay", max_unavailable=at_once)
    nodes = {"w0": an_entry("w0", NodeState.MIGRATED), **_all(NodeState.DUAL, "w1", "w2", "w3")}
    found = seen(a_node("w0"), a_node("w1", ready=False), a_node("w2"), a_node("w3"))
    decision = _decide(nodes, found=found, plan=plan)
    assert [name for name, event in _events(decision).items() if event] == begun


def test_a_pause_begins_nothing_and_finishes_what_is_under_way() -> None:
    """And says since when."""
    nodes = {
        "w1": under_way("w1", NodeState.CILIUM, NodeEvent.RELEASE, "untaint"),
        "w2": an_entry("w2", NodeState.DUAL),
    }
    found = seen(a_node("w1"), a_node("w2"), requests=Requests(paused_since="yesterday"))
    decision = _decide(nodes, found=found)
    assert decision.record.nodes["w2"].event is None
    assert decision.record.nodes["w1"].step == "recheck"
    assert "paused since yesterday" in [wait.observed for wait in decision.waits]


def test_a_run_of_nodes_of_which_one_is_skipped_has_not_done_what_was_asked() -> None:
    """It says which, and how it takes part again; who was not asked for may be skipped."""
    nodes = {"w1": an_entry("w1", NodeState.MIGRATED), **_all(NodeState.DUAL, "w2", "w3")}
    found = seen(*map(a_node, nodes), requests=Requests(skip={"w2": "x"}))
    some = Goal(wanted=lambda node: node.name in ("w1", "w2"), partial=True)
    final = _decide(nodes, found=found, goal=some).final
    assert final is not None
    assert (final.outcome, final.next) == ("halted", "migrate skip-node --undo w2, then migrate run")
    assert final.message == "not every node that was asked for is migrated: w2 is skipped"
    done = _decide(nodes, found=found, goal=Goal(wanted=lambda node: node.name == "w1", partial=True)).final
    assert done is not None
    assert (done.outcome, done.message[:10]) == ("done", "the nodes ")


@pytest.mark.parametrize("consented", [True, False])
def test_a_pause_keeps_clean_up_from_beginning(consented: bool) -> None:
    """It was typed while the last node was under way: Canal is not deleted before somebody has looked."""
    nodes = _all(NodeState.MIGRATED, "w1", "w2")
    found = seen(a_node("w1"), a_node("w2"), requests=Requests(paused_since="noon"))
    decision = _decide(nodes, found=found, goal=Goal(consented=consented))
    assert (decision.record.cluster.phase, decision.final) == (Phase.MIGRATING, None)
    assert [(wait.on, wait.observed) for wait in decision.waits] == [("`migrate resume`", "paused since noon")]
    before = _decide(nodes, found=found, goal=Goal(until=Phase.MIGRATING)).final
    assert before is not None
    assert before.outcome == "done", "what ends there anyway waits for nobody"
    assert _decide(nodes).record.cluster.phase is Phase.CLEANING


def test_a_held_node_stops_the_run_with_its_reason() -> None:
    """Nothing else begins."""
    nodes = {
        "w1": under_way("w1", NodeState.DUAL, NodeEvent.DRAIN, "evict_pods", held=HELD),
        "w2": an_entry("w2", NodeState.DUAL),
    }
    decision = _decide(nodes)
    assert decision.final is not None
    assert (decision.final.outcome, decision.final.message, decision.final.next) == ("halted", "a budget", "mend it")
    assert decision.effects == ()
    assert decision.record.nodes["w2"].event is None


def test_the_others_are_carried_to_their_end_before_a_held_node_stops_the_run() -> None:
    """A node out of service is not left there because of another one."""
    nodes = {
        "w1": under_way("w1", NodeState.DUAL, NodeEvent.DRAIN, "evict_pods", held=HELD),
        "w2": under_way("w2", NodeState.CILIUM, NodeEvent.RELEASE, "untaint"),
    }
    assert _decide(nodes).final is None


@pytest.mark.parametrize("phase", [Phase.ATTACHING, Phase.MIGRATING])
def test_stopping_begins_nothing(phase: Phase) -> None:
    """With nothing under way it ends at once."""
    decision = _decide(_all(NodeState.DUAL, "w1"), stopping=True, phase=phase)
    assert decision.final is not None
    assert decision.final.outcome == "interrupted"
    assert _events(decision) == {"w1": None}


def test_nodes_that_were_not_asked_for_are_left_alone() -> None:
    """--nodes: the run ends when these are migrated, and says what is left."""
    goal = Goal(wanted=lambda node: node.name == "w1", partial=True)
    decision = _decide({"w1": an_entry("w1", NodeState.MIGRATED), "w2": an_entry("w2", NodeState.DUAL)}, goal=goal)
    assert decision.final is not None
    assert decision.final.outcome == "done"
    assert "1 more to go: w2" in decision.final.message


def test_clean_up_waits_for_skipped_nodes() -> None:
    """Canal cannot go while somebody needs it."""
    nodes = {"w1": an_entry("w1", NodeState.MIGRATED), "w2": an_entry("w2", NodeState.DUAL, skipped=True)}
    found = seen(a_node("w1"), a_node("w2"), requests=Requests(skip={"w2": "x"}))
    decision = _decide(nodes, found=found)
    assert decision.final is not None
    assert decision.final.outcome == "halted"
    assert "w2" in decision.final.message
    assert "skip-node --undo w2" in decision.final.next


def test_a_gone_node_does_not_hold_clean_up_up() -> None:
    """The cluster's phase moves on without it."""
    nodes = {"w1": an_entry("w1", NodeState.MIGRATED), "w2": an_entry("w2", NodeState.DUAL, gone=True)}
    assert _decide(nodes).record.cluster.phase is Phase.CLEANING


def test_the_same_look_gives_the_same_turn() -> None:
    """Nothing but the arguments is looked at."""
    nodes = _all(NodeState.DUAL, "w1", "w2", "w3")
    one, two = _decide(nodes), _decide(nodes)
    assert (one.record, one.effects, one.deadline, one.final) == (two.record, two.effects, two.deadline, two.final)


def test_the_cluster_goes_back_last_node_first() -> None:
    """In reverse order, one at a time."""
    decision = _decide(_all(NodeState.MIGRATED, "w1", "w2", "w3"), goal=Goal(kind="rollback"), direction="back")
    assert _events(decision) == {"w1": None, "w2": None, "w3": NodeEvent.RESTORE}


def test_nobody_is_detached_while_another_is_beyond_dual() -> None:
    """The phase goes back only when every node is dual."""
    nodes = {"w1": an_entry("w1", NodeState.MIGRATED), "w2": an_entry("w2", NodeState.DUAL)}
    decision = _decide(nodes, goal=Goal(kind="rollback"), direction="back")
    assert _events(decision) == {"w1": NodeEvent.RESTORE, "w2": None}
    assert decision.record.cluster.phase is Phase.MIGRATING


def test_a_node_rolled_back_by_itself_still_stops_the_run() -> None:
    """auto_rollback mends the node, not the cause."""
    decision = _decide({"w1": an_entry("w1", NodeState.DUAL, failure=HELD), "w2": an_entry("w2", NodeState.DUAL)})
    assert decision.final is not None
    assert "rolled back by itself" in decision.final.message
    assert decision.record.nodes["w2"].event is None


def test_a_sweep_that_is_due_lets_no_other_node_begin() -> None:
    """There is always somebody under way with more than one at once: it would never come."""
    plan = a_plan("overlay", max_unavailable="2", gate={"sweep_every": 1})
    nodes = {
        "w1": an_entry("w1", NodeState.MIGRATED),
        "w2": under_way("w2", NodeState.DUAL, NodeEvent.DRAIN, "evict_pods"),
        "w3": an_entry("w3", NodeState.DUAL),
    }
    found = seen(*(a_node(name) for name in nodes), a_pod("p", node="w2"))
    decision = _decide(nodes, plan=plan, found=found)
    assert decision.record.nodes["w3"].event is None
    assert decision.record.cluster.list_name == ""
    decision = _decide({**nodes, "w2": an_entry("w2", NodeState.DUAL)}, plan=plan, found=found)
    assert decision.record.cluster.list_name == "sweep"


WAITING = {
    "w1": under_way("w1", NodeState.DUAL, NodeEvent.DRAIN, "await_newcomers"),
    "w2": an_entry("w2", joined=True),
    "w3": an_entry("w3", NodeState.MIGRATED),
}
LABEL = a_plan().config.labels.canal_cilium


@pytest.mark.parametrize(
    ("plan", "event"), [(a_plan(), NodeEvent.ADOPT), (OVERLAY, NodeEvent.ATTACH)], ids=["multus", "overlay"]
)
def test_a_drain_that_waits_for_a_newcomer_leaves_it_room(plan: Plan, event: NodeEvent) -> None:
    """With max_unavailable 1 the newcomer is taken in all the same: nobody waits for ever."""
    assert _events(_decide(WAITING, plan=plan))["w2"] is event


def test_a_drain_that_waits_for_a_labelled_newcomer_leaves_it_room() -> None:
    """An autoscaler's template carries the label, so Canal runs there: it is attached, not adopted."""
    found = seen(a_node("w1"), a_node("w2", labels={LABEL.key: LABEL.value}), a_node("w3"))
    assert _events(_decide(WAITING, plan=a_plan(), found=found))["w2"] is NodeEvent.ATTACH


@pytest.mark.parametrize(
    ("plan", "boot", "others", "event"),
    [
        (a_plan(), "boot-0", NodeState.DUAL, NodeEvent.REROUTE),
        (a_plan(), "boot-1", NodeState.DUAL, None),
        (a_plan(), "", NodeState.DUAL, None),
        (a_plan(), "boot-0", NodeState.MIGRATED, None),
        (OVERLAY, "boot-0", NodeState.DUAL, None),
    ],
    ids=["rebooted", "not rebooted", "not known", "nobody is on Canal", "Canal is still there"],
)
def test_a_rebooted_node_gets_its_way_to_canals_pods_back(
    plan: Plan, boot: str, others: NodeState, event: NodeEvent | None
) -> None:
    """Where Canal has left it, while others have pods on Canal; and nobody is drained meanwhile."""
    nodes = {"w1": an_entry("w1", NodeState.MIGRATED, boot=boot), "w2": an_entry("w2", others)}
    begun = _events(_decide(nodes, plan=plan))
    assert begun["w1"] is event
    assert event is None or begun["w2"] is None


@pytest.mark.parametrize(("step", "durable"), [("soak", False), ("cordon", True)])
def test_the_end_of_a_release_alone_is_no_reason_to_write_at_once(step: str, durable: bool) -> None:
    """It comes with what follows, or a while later; that a node is held somebody waits for."""
    event = NodeEvent.RELEASE if step == "soak" else NodeEvent.DRAIN
    nodes = {
        "w1": under_way("w1", NodeState.CILIUM, event, step),
        "w2": under_way("w2", NodeState.DUAL, NodeEvent.DRAIN, "baseline_gate"),
    }
    found = seen(a_node("w1"), a_node("w2"), a_pod(controller=None))
    decision = _decide(nodes, found=found)
    assert (decision.durable, decision.effects) == (durable, ())
    assert len(decision.record.cluster.history) == 1


@pytest.mark.parametrize(
    ("until", "phase"),
    [
        (until, phase)
        for until in (Phase.PREPARING, Phase.ATTACHING, Phase.MIGRATING)
        for phase in Phase
        if list(Phase).index(phase) > list(Phase).index(until)
    ],
)
def test_until_a_phase_that_is_complete_does_nothing(until: Phase, phase: Phase) -> None:
    """Typed again, or late, `--until` ends at once with exit code 0 and says where the cluster stands."""
    nodes = {"w1": an_entry("w1", NodeState.DUAL), "w2": under_way("w2", NodeState.DUAL, NodeEvent.DRAIN, "cordon")}
    decision = _decide(nodes, goal=Goal(until=until), phase=phase)
    assert decision.final is not None
    assert (decision.final.outcome, decision.effects) == ("done", ())
    assert f"{until} is complete already, the cluster is in phase {phase}" in decision.final.message
    assert decision.record == a_record(OVERLAY, nodes, phase=phase)


ALL_MIGRATED = _all(NodeState.MIGRATED, "w1", "w2")


@pytest.mark.parametrize(
    ("goal", "outcome"),
    [
        (Goal(until=Phase.MIGRATING), "done"),
        (Goal(wanted=lambda node: node.name == "w1", partial=True), "done"),
        (Goal(consented=False), "consent"),
    ],
    ids=["until migrating", "some nodes", "nobody has agreed"],
)
@pytest.mark.parametrize("phase", [Phase.MIGRATING, Phase.CLEANING])
def test_what_does_not_clean_up_leaves_the_way_back_open(goal: Goal, outcome: str, phase: Phase) -> None:
    """When every node is migrated these runs end, in the phase in which they are, and name both ways on."""
    decision = _decide(ALL_MIGRATED, goal=goal, phase=phase)
    assert decision.final is not None
    assert (decision.final.outcome, decision.effects) == (outcome, ())
    assert decision.record.cluster.phase is phase
    if goal.until is None or phase is Phase.MIGRATING:
        assert "`migrate rollback` is possible" in decision.final.message
        assert decision.final.next == "migrate cleanup"


def test_a_run_of_some_nodes_behind_the_point_of_no_return_says_where_it_stands() -> None:
    """Not that it stopped before clean-up: Canal is gone."""
    steps = list(OVERLAY.strategy.phases["clean"])
    at: dict[str, Any] = {"phase": Phase.CLEANING, "list_name": "clean", "position": len(steps) - 2, "step": steps[-2]}
    final = _decide(ALL_MIGRATED, goal=Goal(wanted=lambda _: True, partial=True), **at).final
    assert final is not None
    assert final.message == ("every node is migrated: clean-up is under way, and does not go on in a run of some nodes")
    assert final.next == "migrate cleanup"


@pytest.mark.parametrize("plan", [a_plan("multus"), OVERLAY], ids=["multus", "overlay"])
def test_the_point_of_no_return_is_where_canal_is_deleted(plan: Plan) -> None:
    """Each step of clean-up before it allows a rollback; from its intent on there is none."""
    assert point_of_no_return(plan) == "delete_canal"
    steps = list(plan.strategy.phases["clean"])
    for position, step in enumerate(steps):
        record = a_record(plan, ALL_MIGRATED, phase=Phase.CLEANING, list_name="clean", position=position, step=step)
        assert passed(plan, record) is (position >= steps.index("delete_canal"))
    assert not passed(plan, a_record(plan, ALL_MIGRATED, phase=Phase.CLEANING))
    assert passed(plan, a_record(plan, ALL_MIGRATED, phase=Phase.DONE))


def test_behind_the_point_of_no_return_nobody_is_asked() -> None:
    """A run that goes on with clean-up there has nothing to ask about any more."""
    position = list(OVERLAY.strategy.phases["clean"]).index("delete_canal")
    cluster: dict[str, Any] = {"list_name": "clean", "position": position, "step": "delete_canal"}
    decision = _decide(ALL_MIGRATED, goal=Goal(consented=False), phase=Phase.CLEANING, **cluster)
    assert decision.final is None
    assert decision.effects


@pytest.mark.parametrize(("resumed", "held"), [(-10, False), (-3600, True)])
def test_no_deadline_is_before_the_drivers_beginning(resumed: float, held: bool) -> None:
    """A step that began an hour ago is late only for a driver that has waited."""
    entry = under_way("w1", NodeState.DRAINING, NodeEvent.SWITCH, "restart_cilium", since=after(-3600))
    decision = _decide({"w1": entry}, resumed=after(resumed))
    assert (decision.record.nodes["w1"].held is not None) is held
