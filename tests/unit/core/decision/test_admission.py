"""The one door: each reason for which an event may not begin on a node now, in words, and that it is a wait with an end."""

import ast
from pathlib import Path
from typing import Any

import pytest

from cni_migrate.core.decision import admission
from cni_migrate.core.decision.admission import Case, why_not
from cni_migrate.core.decision.begin import begin
from cni_migrate.core.decision.decide import Decision, decide
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import Node, Requests
from cni_migrate.core.model.record import Before, Held, NodeRecord, Record
from cni_migrate.core.steps.view import Plan, out_of_service
from cni_migrate.errors import Halted
from tests.unit.core.builders import NOW, Seen, a_node, a_plan, a_pod, a_record, after, an_entry, seen, under_way

MULTUS, OVERLAY = a_plan(), a_plan("overlay")
HELD = Held(why="its agent crashes", next="mend it, then `migrate run`", since=NOW)
BACK = Goal(kind="rollback")
CANAL, DUAL, DRAINING, CILIUM, MIGRATED = NodeState
NEWCOMER = an_entry("w1", CILIUM, joined=True, took={"adopt": 3.0})


def _why_not(
    event: NodeEvent,
    nodes: dict[str, NodeRecord],
    *there: Node,
    plan: Plan = OVERLAY,
    goal: Goal | None = None,
    paused: str = "",
    **cluster: Any,
) -> str:
    """Why the event may not begin on w1, or ''."""
    found = {name: a_node(name) for name, entry in nodes.items() if not entry.gone} | {n.name: n for n in there}
    record = a_record(plan, nodes, **cluster)
    blocked = why_not(Case(plan, goal or Goal(), record, found, paused, "w1", event))
    return blocked.because if blocked is not None else ""


REASONS: list[tuple[str, NodeEvent, dict[str, NodeRecord], list[Node], dict[str, Any], str]] = [
    ("nothing", NodeEvent.DRAIN, {"w1": an_entry(state=DUAL)}, [], {}, ""),
    ("a node that is gone", NodeEvent.DRAIN, {"w1": an_entry(state=DUAL, gone=True)}, [], {}, "node w1 is gone"),
    ("no such edge", NodeEvent.SWITCH, {"w1": an_entry(state=DUAL)}, [], {}, "there is no switch from there"),
    ("the guard of a drain", NodeEvent.DRAIN, {"w1": an_entry(state=DUAL), "w2": an_entry("w2")}, [], {},
     "w2 not on both networks yet"),
    ("the guard of a detach", NodeEvent.DETACH, {"w1": an_entry(state=DUAL), "w2": an_entry("w2", MIGRATED)}, [], {},
     "w2 beyond dual"),
    ("skipped", NodeEvent.DRAIN, {"w1": an_entry(state=DUAL, skipped=True)}, [], {}, "node w1 is skipped"),
    ("skipped, and asked for by name", NodeEvent.RESTORE, {"w1": an_entry(state=MIGRATED, skipped=True)}, [],
     {"goal": Goal(kind="rollback_node", node="w1")}, ""),
    ("NotReady", NodeEvent.DRAIN, {"w1": an_entry(state=DUAL)}, [a_node(ready=False)], {}, "node w1 is NotReady"),
    ("NotReady on the way back", NodeEvent.RESTORE, {"w1": an_entry(state=MIGRATED)}, [a_node(ready=False)], {},
     "node w1 is NotReady"),
    ("NotReady while out of service by our hand", NodeEvent.SWITCH, {"w1": an_entry(state=DRAINING)},
     [a_node(ready=False)], {}, ""),
    ("a newcomer without a CNI", NodeEvent.ADOPT, {"w1": an_entry(joined=True)}, [a_node(ready=False)],
     {"plan": MULTUS}, ""),
    ("a cordon of somebody else", NodeEvent.DRAIN, {"w1": an_entry(state=DUAL)}, [a_node(unschedulable=True)], {},
     "cordoned by somebody else"),
    ("the same where the node stays in service", NodeEvent.ATTACH, {"w1": an_entry()}, [a_node(unschedulable=True)],
     {"phase": Phase.ATTACHING}, ""),
    ("the same on the way back, where it stays", NodeEvent.RESTORE, {"w1": an_entry(state=MIGRATED)},
     [a_node(unschedulable=True)], {}, ""),
    ("a pause", NodeEvent.DRAIN, {"w1": an_entry(state=DUAL)}, [], {"paused": "noon"}, "paused since noon"),
    ("a pause on the way back", NodeEvent.RESTORE, {"w1": an_entry(state=MIGRATED)}, [],
     {"paused": "noon", "goal": BACK}, "paused since noon"),
    ("a pause while out of service", NodeEvent.SWITCH, {"w1": an_entry(state=DRAINING)}, [], {"paused": "noon"}, ""),
    ("another out of service", NodeEvent.DRAIN, {"w1": an_entry(state=DUAL), "w2": an_entry("w2", CILIUM)}, [], {},
     "w2 is out of service, and max_unavailable is 1"),
    ("the same on the way back", NodeEvent.RESTORE, {"w1": an_entry(state=MIGRATED), "w2": an_entry("w2", CILIUM)}, [],
     {"goal": BACK}, "w2 is out of service"),
    ("another one that was lost", NodeEvent.RESTORE, {"w1": an_entry(state=MIGRATED), "w2": an_entry("w2", MIGRATED)},
     [a_node("w2", ready=False)], {"goal": BACK}, "node w2 is NotReady, and no other is taken out of service"),
    ("its own place", NodeEvent.RESTORE, {"w1": an_entry(state=DRAINING), "w2": an_entry("w2", CILIUM)}, [],
     {"goal": BACK}, ""),
    ("a second canary", NodeEvent.DRAIN,
     {"w1": an_entry(state=DUAL), "w2": under_way("w2", DUAL, NodeEvent.DRAIN, "cordon")}, [],
     {"plan": a_plan("overlay", max_unavailable="2")}, "w2 is out of service"),
    ("a newcomer that nobody knows the way back to", NodeEvent.RESTORE, {"w1": NEWCOMER, "w2": an_entry("w2", MIGRATED)},
     [], {"plan": MULTUS}, "they do not know the way"),
    ("the same while it is being adopted", NodeEvent.RESTORE,
     {"w1": under_way("w1", CANAL, NodeEvent.ADOPT, "gate"), "w2": an_entry("w2", MIGRATED)}, [],
     {"plan": MULTUS, "goal": BACK}, "they do not know the way"),
    ("two newcomers, and the cluster goes back", NodeEvent.RESTORE,
     {"w1": NEWCOMER, "w2": an_entry("w2", MIGRATED, took={"adopt": 1.0})}, [], {"plan": MULTUS, "goal": BACK}, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "event", "nodes", "there", "more", "because"), REASONS, ids=[row[0] for row in REASONS]
)
def test_why_an_event_may_not_begin(
    what: str, event: NodeEvent, nodes: dict[str, NodeRecord], there: list[Node], more: dict[str, Any], because: str
) -> None:
    """Each reason by itself, in words; '' where the event may begin."""
    found = _why_not(event, nodes, *there, **more)
    assert because in found, what
    assert bool(found) is bool(because), what


def _events(decision: Decision) -> dict[str, NodeEvent | None]:
    return {name: entry.event for name, entry in decision.record.nodes.items()}


def _begun(goal: Goal, nodes: dict[str, NodeRecord], found: Seen, plan: Plan, **cluster: Any) -> Record:
    return begin(plan, goal, a_record(plan, nodes, **cluster), found.nodes, NOW)


def test_a_rollback_waits_for_a_node_that_is_not_ready_and_then_halts() -> None:
    """It says which, until when, and what to type; the deadline counts from when nothing else was under way."""
    nodes = {"w1": an_entry(state=MIGRATED), "w2": an_entry("w2", MIGRATED)}
    found = seen(a_node("w1"), a_node("w2", ready=False))
    first = decide(OVERLAY, BACK, _begun(BACK, nodes, found, OVERLAY), found, NOW)
    assert first.final is None
    assert "node w2 is NotReady" in first.waits[0].observed
    assert _events(first) == {"w1": None, "w2": None}
    late = decide(OVERLAY, BACK, first.record, found, after(OVERLAY.config.deadlines.agent))
    assert late.final is not None
    assert late.final.outcome == "halted"
    assert "node w2 is NotReady" in late.final.message
    assert late.final.next == (
        "fix or uncordon what is named, or leave it out: `migrate skip-node w2`; then `migrate rollback`"
    )


def test_a_skip_lets_a_rollback_go_on_without_the_node() -> None:
    """Asked for since the rollback began, it counts; the end waits for the node, and says so."""
    nodes = {"w1": an_entry(state=MIGRATED), "w2": an_entry("w2", MIGRATED)}
    found = seen(a_node("w1"), a_node("w2", ready=False), requests=Requests(skip={"w2": after(1).isoformat()}))
    begun = _begun(BACK, nodes, found, OVERLAY)
    assert _events(decide(OVERLAY, BACK, begun, found, after(2))) == {"w1": NodeEvent.RESTORE, "w2": None}
    over = begun.with_nodes({**begun.nodes, "w1": an_entry(state=DUAL)})
    final = decide(OVERLAY, BACK, over, found, after(2)).final
    assert final is not None
    assert final.message == "the rollback waits: w2 is skipped and not back"
    assert final.next == "migrate skip-node --undo w2, then migrate rollback"


@pytest.mark.parametrize(
    "entry",
    [an_entry(state=MIGRATED), under_way("w1", MIGRATED, NodeEvent.REROUTE, "gate")],
    ids=["nothing is under way there", "in the middle of an event"],
)
def test_clean_up_waits_for_a_skipped_node_that_is_migrated(entry: NodeRecord) -> None:
    """It would not be touched by it: Canal's files and our labels would stay, and the audit be clean."""
    nodes = {"w1": entry.model_copy(update={"skipped": True}), "w2": an_entry("w2", MIGRATED)}
    found = seen(a_node("w1"), a_node("w2"), requests=Requests(skip={"w1": after(-60).isoformat()}))
    decision = decide(OVERLAY, Goal(), a_record(OVERLAY, nodes, phase=Phase.MIGRATING), found, NOW)
    assert decision.record.cluster.phase is Phase.MIGRATING
    assert decision.final is not None
    assert decision.final.message == "clean-up waits: w1 is skipped"
    assert decision.final.next == "migrate skip-node --undo w1, then migrate run"


def test_who_was_skipped_on_the_way_forward_goes_back_too() -> None:
    """Else the cluster could never be as it was found."""
    nodes = {"w1": an_entry(state=CANAL), "w2": an_entry("w2", DUAL, skipped=True)}
    found = seen(a_node("w1"), a_node("w2"), requests=Requests(skip={"w2": after(-60).isoformat()}))
    begun = _begun(BACK, nodes, found, OVERLAY, phase=Phase.ATTACHING)
    assert _events(decide(OVERLAY, BACK, begun, found, NOW)) == {"w1": None, "w2": NodeEvent.DETACH}


@pytest.mark.parametrize("state", [DRAINING, CILIUM])
def test_a_node_that_is_out_of_service_goes_back_before_the_others(state: NodeState) -> None:
    """Left idle between two events behind a migrated one, it is the first to go back: it takes nobody's place."""
    nodes = {"w1": an_entry(state=state), "w2": an_entry("w2", MIGRATED)}
    found = seen(a_node("w1"), a_node("w2"))
    begun = _begun(BACK, nodes, found, OVERLAY)
    assert _events(decide(OVERLAY, BACK, begun, found, NOW)) == {"w1": NodeEvent.RESTORE, "w2": None}


def test_a_skipped_node_goes_back_by_name() -> None:
    """`rollback-node` takes it at its word, and it stays skipped."""
    nodes = {"w1": an_entry(state=MIGRATED, skipped=True)}
    found = seen(a_node("w1"), requests=Requests(skip={"w1": after(-60).isoformat()}))
    goal = Goal(kind="rollback_node", node="w1")
    decision = decide(OVERLAY, goal, _begun(goal, nodes, found, OVERLAY), found, NOW)
    assert _events(decision) == {"w1": NodeEvent.RESTORE}
    assert decision.record.nodes["w1"].skipped
    assert decision.waits


def test_a_skipped_node_that_was_left_out_of_service_is_named_with_the_way_out() -> None:
    """Skipped in the middle of its event it keeps its place: to skip it once more would help nobody."""
    nodes = {"w1": under_way("w1", DRAINING, NodeEvent.SWITCH, "gate", skipped=True), "w2": an_entry("w2", DUAL)}
    found = seen(a_node("w1"), a_node("w2"), requests=Requests(skip={"w1": after(-60).isoformat()}))
    first = decide(OVERLAY, Goal(), a_record(OVERLAY, nodes), found, NOW)
    assert [wait.observed for wait in first.waits] == [
        "w1 is out of service, and max_unavailable is 1 (skipped, so left as they are: w1)"
    ]
    final = decide(OVERLAY, Goal(), first.record, found, after(100_000)).final
    assert final is not None
    assert "`migrate skip-node --undo w1`; then `migrate run`" in final.next


def test_a_pause_stops_a_rollback_between_two_nodes() -> None:
    """Who is under way turns round all the same: it is not left out of service."""
    nodes = {"w1": under_way("w1", DRAINING, NodeEvent.SWITCH, "gate"), "w2": an_entry("w2", MIGRATED)}
    found = seen(a_node("w1"), a_node("w2"), requests=Requests(paused_since="noon"))
    begun = _begun(BACK, nodes, found, OVERLAY)
    assert _events(decide(OVERLAY, BACK, begun, found, NOW)) == {"w1": NodeEvent.RESTORE, "w2": None}
    begun = begun.with_node("w1", an_entry(state=DUAL))
    decision = decide(OVERLAY, BACK, begun, found, after(100_000))
    assert (decision.final, _events(decision)["w2"]) == (None, None)
    assert [(wait.on, wait.observed) for wait in decision.waits] == [("`migrate resume`", "paused since noon")]


def test_skipping_a_node_that_was_rolled_back_by_itself_lets_the_others_go_on() -> None:
    """The operator has read why, and has waived it."""
    nodes = {"w1": an_entry(state=DUAL, failure=HELD), "w2": an_entry("w2", DUAL)}
    found = seen(a_node("w1"), a_node("w2"), requests=Requests(skip={"w1": NOW.isoformat()}))
    decision = decide(OVERLAY, Goal(), a_record(OVERLAY, nodes), found, NOW)
    assert decision.final is None
    assert _events(decision) == {"w1": None, "w2": NodeEvent.DRAIN}


@pytest.mark.parametrize("goal", [Goal(), BACK], ids=["auto_rollback", "rollback"])
def test_eight_nodes_in_a_reroute_go_back_one_at_a_time(goal: Goal) -> None:
    """They are in service: taking each back takes it out, and max_unavailable is 1."""
    plan = a_plan("multus", auto_rollback=goal.kind == "forward")
    nodes = {f"w{n}": under_way(f"w{n}", MIGRATED, NodeEvent.REROUTE, "gate", held=HELD) for n in range(1, 9)}
    nodes["w9"] = an_entry("w9", DUAL)
    found = seen(*(a_node(name) for name in nodes))
    record = a_record(plan, nodes)
    record = begin(plan, goal, record, found.nodes, NOW) if goal.kind == "rollback" else record
    decision = decide(plan, goal, record, found, NOW)
    assert sum(out_of_service(plan, entry) for entry in decision.record.nodes.values()) == 1
    assert decision.final is None


def test_a_held_adopt_is_not_rolled_back_by_itself() -> None:
    """Nodes that have left Canal do not know the way to pods that it would have there: it stays held, and says so."""
    plan = a_plan("multus", auto_rollback=True)
    nodes = {
        "w1": under_way("w1", CANAL, NodeEvent.ADOPT, "gate", held=HELD, joined=True),
        "w2": an_entry("w2", MIGRATED),
    }
    decision = decide(plan, Goal(), a_record(plan, nodes), seen(a_node("w1"), a_node("w2")), NOW)
    assert _events(decision)["w1"] is NodeEvent.ADOPT
    assert decision.final is not None
    assert HELD.why in decision.final.message


def test_newcomers_go_back_last_also_when_the_rollback_finds_them_half_way() -> None:
    """One that is being adopted is carried on meanwhile, and turned when the others are dual again."""
    nodes = {
        "w1": under_way("w1", CANAL, NodeEvent.ADOPT, "cordon", joined=True),
        "w2": an_entry("w2", MIGRATED),
    }
    found = seen(a_node("w1"), a_node("w2"))
    begun = _begun(BACK, nodes, found, MULTUS)
    assert _events(decide(MULTUS, BACK, begun, found, NOW)) == {"w1": NodeEvent.ADOPT, "w2": NodeEvent.RESTORE}
    begun = begun.with_node("w2", an_entry("w2", DUAL))
    assert _events(decide(MULTUS, BACK, begun, found, NOW))["w1"] is NodeEvent.RESTORE


def test_what_is_blocked_while_others_are_under_way_is_shown() -> None:
    """The run does not wait for it yet, but who looks sees it."""
    plan = a_plan("overlay", max_unavailable="3")
    nodes = {"w0": an_entry("w0", MIGRATED), **{name: an_entry(name, DUAL) for name in ("w1", "w2")}}
    found = seen(a_node("w0"), a_node("w1", unschedulable=True), a_node("w2"))
    decision = decide(plan, Goal(), a_record(plan, nodes), found, NOW)
    assert _events(decision)["w2"] is NodeEvent.DRAIN
    assert "node w1 was cordoned by somebody else" in [wait.observed for wait in decision.waits]
    assert decision.record.cluster.idle_since is None


def test_a_decision_that_answers_nothing_is_a_bug() -> None:
    """It says so at once, instead of keeping somebody waiting for nothing."""
    with pytest.raises(ValueError, match="answers nothing"):
        Decision(a_record(OVERLAY), (), (), (), NOW, 0.0, durable=False, final=None)


def test_the_run_follows_the_plan() -> None:
    """The first of those that are left is no canary: zones stay together, and w2 comes before w10."""
    zone = "topology.kubernetes.io/zone"
    zones = {"w1": "a", "w2": "b", "w3": "b", "w4": "a", "w10": "a"}
    there = [a_node(name, labels={zone: where}) for name, where in zones.items()]
    nodes = {name: an_entry(name, MIGRATED if name == "w1" else DUAL) for name in zones}
    plan = a_plan("overlay", max_unavailable="2")
    decision = decide(plan, Goal(), a_record(plan, nodes), seen(*there), NOW)
    assert [name for name, event in _events(decision).items() if event] == ["w4", "w10"]


@pytest.mark.parametrize("ready", [True, False])
def test_a_node_that_joins_after_the_end(ready: bool) -> None:
    """Cilium is everywhere by then: it is migrated when its agent is Ready, and waited for until then."""
    from tests.unit.core.builders import a_daemonset, an_agent

    nodes = {"w1": an_entry(state=MIGRATED)}
    found = seen(a_node("w1"), a_node("w9"), a_daemonset("cilium"), an_agent("cilium", "w9", ready=ready))
    decision = decide(OVERLAY, Goal(), a_record(OVERLAY, nodes, phase=Phase.DONE), found, NOW)
    assert (decision.final is not None) is ready
    assert decision.record.nodes["w9"].state is (MIGRATED if ready else CANAL)
    if not ready:
        assert "node w9 joined after the end" in decision.waits[0].observed
        late = decide(OVERLAY, Goal(), decision.record, found, after(4000)).final
        assert late is not None
        assert late.outcome == "halted"
        assert "skip-node" not in late.next  # which is refused after the end
        assert "`kubectl delete node w9`; then `migrate run`" in late.next


def test_a_node_that_went_back_alone_in_a_rollback_says_the_rollback_comes_next() -> None:
    """`migrate run` is refused then."""
    goal = Goal(kind="rollback_node", node="w1")
    nodes = {"w1": an_entry(state=DUAL, skipped=True)}
    final = decide(OVERLAY, goal, a_record(OVERLAY, nodes, direction="back"), seen(a_node("w1")), NOW).final
    assert final is not None
    assert (final.outcome, final.next) == ("done", "migrate rollback")


@pytest.mark.parametrize(
    ("goal", "command"),
    [
        (Goal(), "migrate run"),
        (BACK, "migrate rollback"),
        (Goal(kind="rollback_node", node="w1"), "migrate rollback-node w1"),
        (Goal(kind="rollback_node", node="w1", to="canal"), "migrate rollback-node w1 --to canal"),
    ],
)
def test_who_is_stopped_or_held_is_told_the_command_that_goes_on(goal: Goal, command: str) -> None:
    """`migrate run` is refused in the middle of a rollback, so it is not what to type there."""
    event, state = (NodeEvent.DRAIN, DUAL) if goal.kind == "forward" else (NodeEvent.RESTORE, DRAINING)
    nodes = {"w1": under_way("w1", state, event, "baseline_gate" if event is NodeEvent.DRAIN else "await_canal")}
    found = seen(a_node("w1"))
    record = a_record(OVERLAY, nodes, direction="back" if goal.kind == "rollback" else "forward")
    late = decide(OVERLAY, goal, record, found, after(4000)).final
    assert late is not None
    assert f"then `{command}` resumes" in late.next
    quiet = decide(OVERLAY, goal, a_record(OVERLAY, {"w1": an_entry(state=DUAL)}), found, NOW, stopping=True).final
    assert quiet is not None
    assert quiet.next == command


def test_nothing_but_the_door_begins_an_event() -> None:
    """An entry gets its event, and the first step of it, in one place; elsewhere events only end."""
    folder = Path(admission.__file__).parents[1]
    found = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "event" and not isinstance(value, ast.Constant):
                        found.append(path.name)
    assert found == ["admission.py"]


@pytest.mark.parametrize("plan", [MULTUS, OVERLAY], ids=["multus", "overlay"])
@pytest.mark.parametrize("step", ["baseline_gate", "cordon"])
def test_a_node_that_is_held_before_its_cordon_takes_nobodys_place(plan: Plan, step: str) -> None:
    """It serves as before: another node may go back meanwhile. One that was touched keeps its place."""
    held = under_way("w2", DUAL, NodeEvent.DRAIN, step, held=HELD)
    record = a_record(plan, {"w1": an_entry("w1", MIGRATED), "w2": held}, phase=Phase.MIGRATING)
    nodes = {name: a_node(name) for name in record.nodes}
    goal = Goal(kind="rollback_node", node="w1")
    assert begin(plan, goal, record, nodes, after(60)).nodes["w1"].state is MIGRATED
    touched = held.model_copy(update={"before": Before(unschedulable=False)})
    with pytest.raises(Halted, match="w2 is out of service"):
        begin(plan, goal, record.with_node("w2", touched), nodes, after(60))


def test_what_was_held_before_its_cordon_comes_through_the_door_again() -> None:
    """Another node may have been taken out of service since: it has to wait for its turn."""
    held = under_way("w2", DUAL, NodeEvent.DRAIN, "baseline_gate", held=HELD)
    back = under_way("w1", MIGRATED, NodeEvent.RESTORE, "evict_pods", before=Before(unschedulable=False))
    record = a_record(MULTUS, {"w1": back, "w2": held, "w3": an_entry("w3", MIGRATED)}, phase=Phase.MIGRATING)
    nodes = {name: a_node(name) for name in record.nodes}
    begun = begin(MULTUS, Goal(), record, nodes, after(60))
    assert (begun.nodes["w2"].event, begun.nodes["w2"].retries) == (None, 1)
    decision = decide(MULTUS, Goal(), begun, seen(*nodes.values()), after(60))
    assert decision.record.nodes["w2"].event is None


def test_a_retry_of_what_was_held_before_its_cordon_comes_through_the_door_again() -> None:
    """The same, on request while a driver works."""
    held = under_way("w2", DUAL, NodeEvent.DRAIN, "baseline_gate", held=HELD)
    back = under_way("w1", MIGRATED, NodeEvent.RESTORE, "evict_pods", before=Before(unschedulable=False))
    record = a_record(MULTUS, {"w1": back, "w2": held, "w3": an_entry("w3", MIGRATED)}, phase=Phase.MIGRATING)
    found = seen(*(a_node(name) for name in record.nodes), requests=Requests(retry={"w2": after(30).isoformat()}))
    entry = decide(MULTUS, Goal(), record, found, after(60)).record.nodes["w2"]
    assert (entry.held, entry.event) == (None, None)


def test_who_is_held_as_soon_as_its_event_begins_stops_the_run() -> None:
    """A drain that is refused before anything is touched: no other node is begun, and the run says why it ends."""
    label = MULTUS.config.labels.canal_cilium
    nodes = [a_node(name, labels={label.key: label.value}) for name in ("w1", "w2")]
    found = seen(*nodes, *(a_pod(f"bare-{node.name}", node=node.name, controller=None) for node in nodes))
    record = a_record(MULTUS, {node.name: an_entry(node.name) for node in nodes}, phase=Phase.ATTACHING)
    decision = decide(MULTUS, Goal(), record, found, NOW)
    first, second = decision.record.nodes["w1"], decision.record.nodes["w2"]
    assert first.held is not None
    assert (first.step, second.event) == ("cordon", None)
    assert decision.final is not None
    assert decision.final.message == first.held.why


def test_who_is_held_before_its_cordon_is_not_taken_out_by_its_own_way_back() -> None:
    """With `auto_rollback` a detach would cordon it: it stays held, and serves, while another node is out."""
    plan = a_plan("multus", auto_rollback=True)
    held = under_way("w2", CANAL, NodeEvent.ATTACH, "label_dual", held=HELD)
    out = under_way("w1", CANAL, NodeEvent.ATTACH, "evict_pods", before=Before(unschedulable=False))
    record = a_record(plan, {"w1": out, "w2": held}, phase=Phase.ATTACHING)
    nodes = {name: a_node(name) for name in record.nodes}
    blocked = why_not(Case(plan, Goal(), record, nodes, "", "w2", NodeEvent.DETACH))
    assert blocked is not None
    assert "w1 is out of service" in blocked.because
