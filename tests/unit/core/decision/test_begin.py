"""How an invocation begins: each refusal, and what the goal changes in the record."""

from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.decision.begin import begin, check_identity, new_record
from cni_migrate.core.decision.decide import decide
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.record import Held, NodeRecord, Record
from cni_migrate.core.steps.view import Plan
from cni_migrate.errors import Halted, MigrateError, RecordCorrupt, RecordError, RecordMismatch, UsageError
from tests.unit.core.builders import NOW, a_node, a_plan, a_record, after, an_entry, seen, under_way

PLAN = a_plan()
OVERLAY = a_plan("overlay")
HELD = Held(why="a budget", next="migrate run", since=NOW)
LATER = after(60)


def _begin(record: Record, goal: Goal | None = None, plan: Plan = PLAN) -> Record:
    nodes = {name: a_node(name) for name, entry in record.nodes.items() if not entry.gone}
    return begin(plan, goal or Goal(), record, nodes, LATER)


def _turned(record: Record, goal: Goal, plan: Plan = PLAN) -> Record:
    """The record after the beginning and the first decision, which is where events begin."""
    found = seen(*(a_node(name) for name, entry in record.nodes.items() if not entry.gone))
    return decide(plan, goal, begin(plan, goal, record, found.nodes, LATER), found, LATER).record


def _back(node: str = "w1", to: Any = "dual") -> Goal:
    return Goal(kind="rollback_node", node=node, to=to)


DRAINING = under_way("w1", NodeState.DRAINING, NodeEvent.SWITCH, "gate")


@pytest.mark.parametrize(
    ("nodes", "shards"), [(0, 1), (1, 1), (150, 1), (151, 2), (300, 2), (1000, 7), (5000, 34)]
)  # fmt: skip
def test_the_number_of_shards_fits_the_cluster(nodes: int, shards: int) -> None:
    """One up to 150 nodes, then one more for each 150."""
    assert new_record(Config(), nodes, "migrate 1").cluster.shards == shards


def test_a_new_record_says_what_must_not_change() -> None:
    """Strategy, digest and values of the identity."""
    config = Config(strategy="overlay")
    cluster = new_record(config, 3, "migrate 1").cluster
    assert (cluster.strategy, cluster.identity, cluster.phase) == ("overlay", config.digest(), Phase.PREFLIGHT)
    assert cluster.identity_values == config.identity()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"strategy": "overlay"}, ["begun with strategy multus", "says overlay"]),
        ({"cilium": {"pod_cidr": "10.99.0.0/16"}}, ["cilium.pod_cidr was '10.245.0.0/16', is '10.99.0.0/16'"]),
        ({"labels": {"cilium": {"key": "x", "value": "y"}}}, ["labels.cilium.key", "labels.cilium.value"]),
        ({"canal": {"daemonset": "flannel"}}, ["canal.daemonset was 'canal', is 'flannel'"]),
        ({"profile": "seed", "cilium": {"image": "x:1"}}, ["cilium.image"]),
        (
            {"cilium": {"extra_config": {"cluster-id": "3", "mtu": "1400"}}},
            ["cluster-id of cilium-config (helm value cluster.id) was '0', is '3'"],
        ),
        (
            {"cilium": {"extra_config": {"cni-chaining-mode": "portmap"}}},
            ["cni-chaining-mode of cilium-config (helm value cni.chainingMode) was 'none', is 'portmap'"],
        ),
    ],
)
def test_what_must_not_change_is_named_when_it_has(changes: dict[str, Any], says: list[str]) -> None:
    """A changed identity is refused, key by key."""
    with pytest.raises(RecordMismatch) as caught:
        check_identity(Config.model_validate({"strategy": "multus", **changes}), a_record(PLAN))
    for words in says:
        assert words in caught.value.message
    assert caught.value.next


@pytest.mark.parametrize(
    "changes",
    [
        {"deadlines": {"drain": 5}},
        {"max_unavailable": "30%"},
        {"drain": {"force": True}},
        {"gate": {"rounds": 9}},
        {"canary": "w9"},
        {"soak_seconds": 60},
        {"auto_rollback": True},
        {"knet": {"interval": 2}},
        {"cilium": {"extra_config": {"cluster-id": "0", "mtu": "1400"}}},
    ],
)
def test_what_may_change_on_the_way_may(changes: dict[str, Any]) -> None:
    """Deadlines, budgets, gates and order are asked anew on every run."""
    check_identity(Config.model_validate({"strategy": "multus", **changes}), a_record(PLAN))


@pytest.mark.parametrize("goal", [Goal(kind="rollback"), _back()])
def test_before_the_first_change_there_is_nothing_to_go_back_from(goal: Goal) -> None:
    """A driver died behind its checks; no node is said not to be there."""
    with pytest.raises(UsageError, match="nothing was changed in this cluster"):
        begin(PLAN, goal, a_record(PLAN, phase=Phase.PREFLIGHT), {"w1": a_node()}, LATER)


def test_a_step_without_its_list_is_refused() -> None:
    """Half of an edit: nothing is looked up by a name that nobody knows."""
    with pytest.raises(RecordCorrupt, match="step 'x' is of no list"):
        _begin(a_record(PLAN, ["w1"], step="x"))


def test_an_identity_that_was_edited_by_hand_is_refused() -> None:
    """Even when the recorded values agree, the digest must."""
    with pytest.raises(RecordMismatch, match="identity"):
        check_identity(PLAN.config, a_record(PLAN, identity="0000"))


REFUSALS: list[tuple[str, type[MigrateError], Goal, dict[str, NodeRecord], dict[str, Any], str]] = [
    ("an unknown node", UsageError, _back("w9"), {"w1": DRAINING}, {}, "there is no node w9; there are: w1"),
    ("a node that is gone", UsageError, _back(), {"w1": an_entry(gone=True)}, {}, "there is no node w1"),
    ("a node during clean-up", Halted, _back(), {"w1": an_entry(state=NodeState.MIGRATED)},
     {"phase": Phase.CLEANING}, "phase cleaning"),
    ("a node after the end", Halted, _back(), {"w1": an_entry(state=NodeState.MIGRATED)}, {"phase": Phase.DONE},
     "Canal was removed, there is nothing to go back to"),
    ("to canal while others need Canal's peers", Halted, _back(to="canal"),
     {"w1": an_entry(state=NodeState.DUAL), "w2": an_entry("w2", NodeState.MIGRATED)}, {}, "w2"),
    ("half an attach while others are beyond dual", Halted, _back(),
     {"w1": under_way("w1", NodeState.CANAL, NodeEvent.ATTACH, "gate"), "w2": an_entry("w2", NodeState.CILIUM)}, {},
     "w2"),
    ("a node that is on Canal", UsageError, _back(), {"w1": an_entry()}, {}, "nothing to roll back"),
    ("a node that is dual already", UsageError, _back(), {"w1": an_entry(state=NodeState.DUAL)}, {},
     "nothing to roll back"),
    ("one more node out of service than allowed", Halted, _back(),
     {"w1": an_entry(state=NodeState.MIGRATED), "w2": under_way("w2", NodeState.DUAL, NodeEvent.DRAIN, "cordon")}, {},
     "max_unavailable is 1"),
    ("the cluster before anything was done", UsageError, Goal(kind="rollback"), {}, {"phase": Phase.PREFLIGHT},
     "nothing was changed"),
    ("the cluster behind the point of no return", Halted, Goal(kind="rollback"), {},
     {"phase": Phase.CLEANING, "list_name": "clean", "step": "delete_canal",
      "position": list(PLAN.strategy.phases["clean"]).index("delete_canal")}, "behind the point of no return"),
    ("the cluster after the end", Halted, Goal(kind="rollback"), {}, {"phase": Phase.DONE}, "phase done"),
    ("forward in the middle of a rollback", Halted, Goal(), {"w1": DRAINING}, {"direction": "back"},
     "being rolled back"),
    ("an unknown step", RecordError, Goal(), {"w1": DRAINING.model_copy(update={"step": "jump"})}, {}, "jump"),
    ("a step of another event", RecordError, Goal(), {"w1": DRAINING.model_copy(update={"step": "cordon"})}, {},
     "cordon"),
    ("a step without its event", RecordError, Goal(), {"w1": an_entry(step="gate")}, {}, "gate"),
    ("an event that its state does not allow", RecordError, Goal(),
     {"w1": DRAINING.model_copy(update={"state": NodeState.CANAL})}, {}, "switch"),
    ("an unknown list of steps", RecordError, Goal(), {}, {"list_name": "dance", "step": "sweep"}, "dance"),
    ("a step that its list does not have there", RecordError, Goal(),
     {}, {"list_name": "prepare", "step": "audit", "position": 0}, "audit"),
    ("a position behind the list's end", RecordError, Goal(),
     {}, {"list_name": "prepare", "step": "sweep", "position": 99}, "99"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("description", "error", "goal", "nodes", "cluster", "says"), REFUSALS, ids=[row[0] for row in REFUSALS]
)
def test_refusals(
    description: str,
    error: type[MigrateError],
    goal: Goal,
    nodes: dict[str, NodeRecord],
    cluster: dict[str, Any],
    says: str,
) -> None:
    """What cannot be begun says why, and what to type instead."""
    with pytest.raises(error) as caught:
        _begin(a_record(PLAN, nodes, **cluster), goal)
    assert says in caught.value.message, description
    assert caught.value.next, description


@pytest.mark.parametrize(("name", "says"), [("w9", "no gate of node w9 has failed"), ("w8", "there is no node w8")])
def test_a_gate_of_a_node_that_takes_no_part_yet_is_not_accepted(name: str, says: str) -> None:
    """Nobody is told that a node is not there which kubectl shows: before the first run, or one that has joined."""
    with pytest.raises(UsageError, match=says):
        begin(PLAN, Goal(accept=frozenset({name})), a_record(PLAN, ["w1"]), {"w1": a_node(), "w9": a_node("w9")}, NOW)


@pytest.mark.parametrize(
    ("nodes", "to"),
    [
        ({"w1": an_entry(state=NodeState.DUAL), "w2": an_entry("w2", NodeState.MIGRATED)}, "canal"),
        ({"w1": an_entry(state=NodeState.MIGRATED), "w2": under_way("w2", NodeState.DUAL, NodeEvent.DRAIN, "cordon")},
         "dual"),
    ],
)  # fmt: skip
def test_a_node_that_cannot_go_back_alone_in_a_rollback_is_not_sent_forward(
    nodes: dict[str, NodeRecord], to: str
) -> None:
    """`migrate run` is refused then."""
    with pytest.raises(Halted) as caught:
        _begin(a_record(PLAN, nodes, direction="back"), _back(to=to))
    assert caught.value.next.startswith("migrate rollback  (")


@pytest.mark.parametrize(
    ("entry", "to", "event"),
    [
        (under_way("w1", NodeState.DUAL, NodeEvent.DRAIN, "evict_pods", held=HELD), "dual", NodeEvent.RESTORE),
        (DRAINING, "dual", NodeEvent.RESTORE),
        (an_entry(state=NodeState.CILIUM), "canal", NodeEvent.RESTORE),
        (an_entry(state=NodeState.MIGRATED), "dual", NodeEvent.RESTORE),
        (an_entry(state=NodeState.DUAL), "canal", NodeEvent.DETACH),
        (under_way("w1", NodeState.CANAL, NodeEvent.ATTACH, "cordon"), "dual", NodeEvent.DETACH),
        (under_way("w1", NodeState.CANAL, NodeEvent.ATTACH, "cordon"), "canal", NodeEvent.DETACH),
    ],
)
def test_a_node_goes_back_from_wherever_it_stands(entry: NodeRecord, to: str, event: NodeEvent) -> None:
    """Each state and each half-done event has its way back."""
    found = _turned(a_record(PLAN, {"w1": entry}), _back(to=to)).nodes["w1"]
    assert found.event is event
    assert (found.attempt, found.held, found.since, found.started) == (entry.attempt + 1, None, LATER, LATER)


def test_a_way_back_that_is_under_way_is_carried_on() -> None:
    """Rolling back what rolls back already begins nothing anew, but tries a held step again."""
    entry = under_way("w1", NodeState.CILIUM, NodeEvent.RESTORE, "await_canal", held=HELD)
    found = _begin(a_record(PLAN, {"w1": entry}), _back()).nodes["w1"]
    assert (found.step, found.attempt, found.held, found.since) == ("await_canal", 1, None, LATER)


def test_a_node_that_is_out_of_service_already_may_go_back_at_any_time() -> None:
    """It takes no other node's place."""
    other = under_way("w2", NodeState.DUAL, NodeEvent.DRAIN, "cordon")
    found = _turned(a_record(PLAN, {"w1": DRAINING, "w2": other}), _back())
    assert found.nodes["w1"].event is NodeEvent.RESTORE


def test_what_was_held_is_tried_again() -> None:
    """`migrate run` after a halt clears the reasons and lets deadlines count from now."""
    held = under_way("w1", NodeState.DUAL, NodeEvent.DRAIN, "evict_pods", held=HELD, failure=HELD)
    idle = an_entry("w2", NodeState.DUAL)
    record = _begin(a_record(PLAN, {"w1": held, "w2": idle}, held=HELD))
    assert record.cluster.held is None
    assert record.nodes["w1"].held is None
    assert record.nodes["w1"].failure is None
    assert record.nodes["w1"].since == LATER
    assert record.nodes["w2"] == idle


@pytest.mark.parametrize("goal", [Goal(), Goal(kind="rollback")], ids=["forward", "back"])
def test_a_step_that_a_driver_was_killed_in_goes_on(goal: Goal) -> None:
    """What agents have reported since it began counts; deadlines count from the new driver's beginning."""
    event = NodeEvent.RESTORE if goal.kind == "rollback" else NodeEvent.SWITCH
    entry = under_way("w1", NodeState.DRAINING, event, "gate")
    direction = "back" if goal.kind == "rollback" else "forward"
    record = _begin(a_record(PLAN, {"w1": entry}, direction=direction), goal)
    assert (record.nodes["w1"].since, record.cluster.since, record.cluster.resumed) == (NOW, NOW, LATER)


def test_a_beginning_in_the_future_was_told_by_another_clock() -> None:
    """It would keep every round from counting."""
    early = under_way("w1", NodeState.DRAINING, NodeEvent.SWITCH, "gate", since=after(3600))
    record = _begin(a_record(PLAN, {"w1": early}, since=after(3600)))
    assert (record.nodes["w1"].since, record.cluster.since) == (LATER, LATER)


def test_a_way_that_was_not_laid_is_laid_anew() -> None:
    """Canal does so at the beginning of a reroute, so the gate at its end is not asked again without it."""
    held = under_way("w1", NodeState.MIGRATED, NodeEvent.REROUTE, "gate", held=HELD)
    busy = under_way("w2", NodeState.MIGRATED, NodeEvent.REROUTE, "gate")
    found = _begin(a_record(PLAN, {"w1": held, "w2": busy}))
    first = PLAN.strategy.events[NodeEvent.REROUTE][0]
    assert [(entry.step, entry.attempt) for entry in found.nodes.values()] == [(first, 2), ("gate", 1)]
    assert found.nodes["w1"].held is None


@pytest.mark.parametrize("why", ["skipped", "gone"])
def test_a_way_is_laid_anew_by_the_door_that_every_event_has(why: str) -> None:
    """A node that is skipped, or gone, is left at the step that it was in."""
    held = under_way("w1", NodeState.MIGRATED, NodeEvent.REROUTE, "gate", held=HELD, skipped=why == "skipped")
    record = a_record(PLAN, {"w1": held, "w2": an_entry("w2", NodeState.DUAL)}, phase=Phase.MIGRATING)
    nodes = {"w2": a_node("w2")} if why == "gone" else {name: a_node(name) for name in record.nodes}
    entry = begin(PLAN, Goal(), record, nodes, LATER).nodes["w1"]
    assert (entry.step, entry.attempt) == ("gate", held.attempt)


def test_a_rolled_back_cluster_starts_over() -> None:
    """After a complete rollback, `migrate run` goes forward with a clean list of nodes."""
    record = a_record(PLAN, {"w1": an_entry()}, direction="back", phase=Phase.PREFLIGHT)
    found = _begin(record)
    assert found.cluster.direction == "forward"
    assert dict(found.nodes) == {}


def test_a_cluster_goes_back_from_the_middle() -> None:
    """What is under way turns round, the rest waits for its turn, and the skipped take part again."""
    nodes = {
        "w1": under_way("w1", NodeState.CILIUM, NodeEvent.RELEASE, "untaint"),
        "w2": an_entry("w2", NodeState.MIGRATED, skipped=True),
        "w3": an_entry("w3", NodeState.DUAL),
    }
    found = _turned(a_record(PLAN, nodes), Goal(kind="rollback"))
    assert found.cluster.direction == "back"
    assert found.nodes["w1"].event is NodeEvent.RESTORE
    assert found.nodes["w2"].event is None
    assert not found.nodes["w2"].skipped
    assert found.nodes["w3"].event is None


def test_half_an_attach_waits_for_the_others_when_the_cluster_goes_back() -> None:
    """Detach refuses while others are beyond dual, also for a newcomer caught in its attach by the rollback."""
    nodes = {
        "w1": under_way("w1", NodeState.CANAL, NodeEvent.ATTACH, "cordon"),
        "w2": an_entry("w2", NodeState.MIGRATED),
    }
    found = _turned(a_record(PLAN, nodes), Goal(kind="rollback"))
    assert found.nodes["w1"].event is not NodeEvent.DETACH


def test_begin_changes_nothing_it_was_given() -> None:
    """Records are values."""
    record = a_record(OVERLAY, {"w1": an_entry(state=NodeState.MIGRATED)})
    before = record.model_dump_json()
    _begin(record, _back(), OVERLAY)
    assert record.model_dump_json() == before


def test_what_was_waived_is_noted_with_who_and_when_and_once() -> None:
    """The history begins with it; a run that goes on does not repeat it."""
    goal = Goal(waived=("DUAL_STACK: IPv6 is in use (Service shop/web)",), by="ann@bastion")
    record = _begin(a_record(PLAN, {}, phase=Phase.PREFLIGHT), goal)
    said = "preflight waived by ann@bastion: DUAL_STACK: IPv6 is in use (Service shop/web)"
    assert [(line.at, line.what) for line in record.cluster.history] == [(LATER, said)]
    begun = record.with_cluster(record.cluster.model_copy(update={"phase": Phase.PREPARING}))
    assert _begin(begun, goal).cluster.history == record.cluster.history


def test_what_only_the_first_steps_find_out_may_be_waived_then() -> None:
    """While it prepares, whoever goes on with another word has it recorded, once; later there is nothing to waive."""
    goal = Goal(waivers=("FIREWALL:w1",), by="ann@bastion")
    record = _begin(a_record(PLAN, {}, phase=Phase.PREPARING), goal)
    assert record.cluster.waived == ("FIREWALL:w1",)
    assert [line.what for line in record.cluster.history] == ["waived by ann@bastion: FIREWALL:w1"]
    assert _begin(record, goal).cluster.history == record.cluster.history
    assert _begin(a_record(PLAN, {}, phase=Phase.MIGRATING), goal).cluster.waived == ()


@pytest.mark.parametrize("phase", [Phase.PREFLIGHT, Phase.MIGRATING])
def test_the_drain_options_of_the_last_run_are_kept(phase: Phase) -> None:
    """As they were typed last: without them nothing is kept of an earlier run's."""
    record = _begin(a_record(PLAN, {}, phase=phase), Goal(drain=" --force"))
    assert record.cluster.drain == " --force"
    assert _begin(record, Goal()).cluster.drain == ""


def test_what_was_waived_is_kept_until_the_migration_begins() -> None:
    """As it was typed, for a run that follows one that was killed."""
    fresh = new_record(PLAN.config, 2, "migrate 0.0.0")
    record = begin(PLAN, Goal(waivers=("DUAL_STACK",)), fresh, {}, NOW)
    assert record.cluster.waived == ("DUAL_STACK",)
