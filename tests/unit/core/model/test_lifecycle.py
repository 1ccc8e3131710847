"""The tables of `states/` and the machine that reads them.

Case matrix: reachability, exits and ways back; every (state, event) pair; guards; tables that do not fit the enums;
every step name that a strategy uses.
"""

import itertools
from typing import Any

import pytest
from transitions import MachineError

from cni_migrate import resources
from cni_migrate.core.model.lifecycle import (
    GuardNotMet,
    Lifecycle,
    NodeEvent,
    NodeState,
    Phase,
    PhaseEvent,
    StrategyTable,
    ahead,
)
from cni_migrate.core.steps.registry import ABOUT, CLUSTER_STEPS, NODE_STEPS

NODE = Lifecycle(resources.read("states", "node.yaml"), NodeState, NodeEvent)
CLUSTER = Lifecycle(resources.read("states", "cluster.yaml"), Phase, PhaseEvent)
STRATEGIES = [
    StrategyTable.load(name, resources.read("states", f"{folder}/{name}.yaml"))
    for folder, name in (("strategies", "multus"), ("strategies", "overlay"), ("sources", "existing"))
]
WAYS_BACK = {PhaseEvent.BACK_TO_MIGRATING, PhaseEvent.BACK_TO_ATTACHING, PhaseEvent.BACK_TO_PREPARING, PhaseEvent.UNDO}


def _holds(_: str) -> bool:
    return True


def _reachable(table: Lifecycle[Any, Any], start: Any, events: set[Any]) -> set[Any]:
    found, new = {start}, {start}
    while new:
        edges = (edge for event, edge in table.edges.items() if event in events)
        new = {to for sources, to, _ in edges if found & set(sources)} - found
        found |= new
    return found


@pytest.mark.parametrize(("table", "states", "events"), [(NODE, NodeState, NodeEvent), (CLUSTER, Phase, PhaseEvent)])
def test_every_state_is_reachable(table: Lifecycle[Any, Any], states: Any, events: Any) -> None:
    """Each state can be reached from the initial one."""
    assert set(states) == _reachable(table, table.initial, set(events))


@pytest.mark.parametrize(
    ("table", "final"), [(NODE, {NodeState.MIGRATED}), (CLUSTER, {Phase.DONE})], ids=["node", "cluster"]
)
def test_every_state_but_the_last_has_an_exit_forward(table: Lifecycle[Any, Any], final: set[Any]) -> None:
    """From each state the last one can be reached without going back."""
    back = WAYS_BACK | {event for event in NodeEvent if event.backwards}
    forward = set(table.edges) - back
    for state in set(table.meanings) - final:
        assert final <= _reachable(table, state, forward), state


def test_every_node_state_has_a_way_back() -> None:
    """From each node state, canal included (half an attach), an event leads back, and canal is its end."""
    back = {event for event in NodeEvent if event.backwards}
    for state in NodeState:
        assert any(NODE.allows(state, event) for event in back), state
        assert NodeState.CANAL in _reachable(NODE, state, back), state


def test_every_phase_but_the_last_has_a_way_back() -> None:
    """Until Canal is removed, in the middle of clean-up, the cluster can go back to where it was found."""
    for phase in (Phase.PREPARING, Phase.ATTACHING, Phase.MIGRATING, Phase.CLEANING):
        assert Phase.PREFLIGHT in _reachable(CLUSTER, phase, WAYS_BACK), phase
    assert {Phase.DONE} == _reachable(CLUSTER, Phase.DONE, WAYS_BACK)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(NodeState, NodeEvent)))
def test_each_pair_moves_as_the_table_says_or_not_at_all(state: NodeState, event: NodeEvent) -> None:
    """A legal event ends in the table's target, any other raises and changes nothing."""
    sources, target, _ = NODE.edges[event]
    assert (state in sources) is NODE.allows(state, event)
    if state in sources:
        assert target is NODE.advance(state, event, _holds)
    else:
        with pytest.raises(MachineError):
            NODE.advance(state, event, _holds)


def test_a_guard_that_does_not_hold_is_named() -> None:
    """An event whose guard fails raises with the guard's name, and asks no other guard."""
    asked: list[str] = []

    def fails(guard: str) -> bool:
        asked.append(guard)
        return False

    with pytest.raises(GuardNotMet, match="drain from dual needs every_node_dual") as caught:
        NODE.advance(NodeState.DUAL, NodeEvent.DRAIN, fails)
    assert caught.value.guard == "every_node_dual"
    assert asked == ["every_node_dual"]


def test_an_unguarded_event_asks_nothing() -> None:
    """Events without `requires` never look at the cluster."""

    def never(guard: str) -> bool:
        raise AssertionError(guard)

    assert NODE.advance(NodeState.DRAINING, NodeEvent.SWITCH, never) is NodeState.CILIUM


@pytest.mark.parametrize(
    "text",
    [
        "initial: canal\nstates: {canal: x}\nevents: {}\n",
        resources.read("states", "node.yaml").replace("  attach:", "  atach:"),
        resources.read("states", "node.yaml").replace("  dual: both", "  duel: both"),
    ],
    ids=["lacks members", "unknown event", "unknown state"],
)
def test_a_table_that_does_not_fit_the_enums_is_refused(text: str) -> None:
    """The tables name every member of the enums, and no other."""
    with pytest.raises(ValueError, match=r"table must name|is not a valid"):
        Lifecycle(text, NodeState, NodeEvent)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: str(strategy.name))
def test_a_strategy_names_only_steps_that_exist(strategy: StrategyTable) -> None:
    """Each event of each strategy has steps, none twice in a row, all registered."""
    assert {event for event in NodeEvent if not event.of_some} <= set(strategy.events)
    for steps in strategy.events.values():
        assert steps
        assert set(steps) <= set(NODE_STEPS)
    for steps in strategy.phases.values():
        assert steps
        assert set(steps) <= set(CLUSTER_STEPS)


def test_no_step_is_unused() -> None:
    """Every registered step belongs to an event or a phase of some strategy."""
    lists = [steps for table in STRATEGIES for steps in (*table.events.values(), *table.phases.values())]
    used = {step for steps in lists for step in steps}
    assert set(ABOUT) == used


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: str(strategy.name))
def test_no_list_of_steps_has_one_twice_where_its_place_is_looked_up(strategy: StrategyTable) -> None:
    """A node's place inside an event is found by the step's name, so a name occurs once per event."""
    for event, steps in strategy.events.items():
        assert len(steps) == len(set(steps)), event


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: str(strategy.name))
def test_the_taint_follows_the_evictions(strategy: StrategyTable) -> None:
    """The NoExecute taint bypasses budgets, so it never comes before the evictions."""
    for event, steps in strategy.events.items():
        if "taint" in steps and event is not NodeEvent.ADOPT:  # a newcomer has nothing to evict yet
            assert steps.index("cordon") < steps.index("evict_pods") < steps.index("taint"), event


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: str(strategy.name))
def test_every_event_that_changes_pods_ends_behind_a_gate(strategy: StrategyTable) -> None:
    """Attach (with a drain), switch, release, restore and detach prove connectivity."""
    for event in (NodeEvent.SWITCH, NodeEvent.RELEASE, NodeEvent.RESTORE, NodeEvent.DETACH):
        assert {"gate", "recheck"} & set(strategy.events[event]), event
    if NodeEvent.ATTACH not in strategy.in_service:
        assert "gate" in strategy.events[NodeEvent.ATTACH]


def test_mermaid_shows_every_edge() -> None:
    """The diagram has one arrow per edge, guards in brackets."""
    text = NODE.mermaid()
    for event, (sources, target, guard) in NODE.edges.items():
        for source in sources:
            assert f"  {source} --> {target}: {event}" + (f" [{guard}]" if guard else "") in text.splitlines()


@pytest.mark.parametrize(
    ("state", "coming"),
    [
        (NodeState.CANAL, ["attach", "drain", "switch", "release"]),
        (NodeState.DUAL, ["drain", "switch", "release"]),
        (NodeState.DRAINING, ["switch", "release"]),
        (NodeState.CILIUM, ["release"]),
        (NodeState.MIGRATED, []),
    ],
)
def test_the_way_forward_is_that_of_the_table(state: NodeState, coming: list[str]) -> None:
    """The order is said once, by the edges; plan and time that is left are counted by it."""
    assert ahead(NODE, state) == coming


def test_what_follows_by_itself_is_an_edge() -> None:
    """And who was left between two events is taken on by the same."""
    for event, then in NODE.then.items():
        assert NODE.allows(NODE.target(event), then)
    left = {state: NODE.left_at(state) for state in NodeState}
    assert {state: event for state, event in left.items() if event} == {"draining": "switch", "cilium": "release"}
