"""The guards that the tables name, over hand-made records."""

import pytest

from cni_migrate import resources
from cni_migrate.core.model.guards import against, facts
from cni_migrate.core.model.lifecycle import Lifecycle, NodeEvent, NodeState, Phase, PhaseEvent
from cni_migrate.core.model.record import NodeRecord, Record
from tests.unit.core.builders import a_plan, a_record, an_entry, under_way

PLAN = a_plan()
CANAL, DUAL, MIGRATED = an_entry("w1"), an_entry("w1", NodeState.DUAL), an_entry("w1", NodeState.MIGRATED)


def _gone(entry: NodeRecord) -> NodeRecord:
    return entry.model_copy(update={"gone": True})


def _skipped(entry: NodeRecord) -> NodeRecord:
    return entry.model_copy(update={"skipped": True})


def _record(**nodes: NodeRecord) -> Record:
    return a_record(PLAN, nodes)


@pytest.mark.parametrize(
    ("guard", "nodes", "names"),
    [
        ("every_node_dual", {"a": DUAL, "b": MIGRATED}, []),
        ("every_node_dual", {"a": DUAL, "b": CANAL}, ["b"]),
        ("every_node_dual", {"a": DUAL, "b": _skipped(CANAL)}, []),
        ("every_node_dual", {"a": DUAL, "b": _gone(CANAL)}, []),
        ("every_node_dual", {"a": under_way("w1", NodeState.CANAL, NodeEvent.ATTACH, "gate")}, ["a"]),
        ("no_node_beyond_dual", {"a": DUAL, "b": CANAL}, []),
        ("no_node_beyond_dual", {"a": DUAL, "b": MIGRATED}, ["b"]),
        ("no_node_beyond_dual", {"a": DUAL, "b": _gone(MIGRATED)}, []),
        ("no_node_beyond_dual", {"a": DUAL, "b": _skipped(MIGRATED)}, ["b"]),
        ("no_node_beyond_dual", {"a": under_way("w1", NodeState.DUAL, NodeEvent.DRAIN, "cordon")}, ["a"]),
        ("no_node_beyond_dual", {"a": under_way("w1", NodeState.DUAL, NodeEvent.DETACH, "cordon")}, []),
        ("every_node_migrated", {"a": MIGRATED}, []),
        ("every_node_migrated", {"a": MIGRATED, "b": _skipped(CANAL)}, ["b"]),
        ("every_node_migrated", {"a": MIGRATED, "b": _gone(CANAL)}, []),
        ("every_node_canal", {"a": CANAL}, []),
        ("every_node_canal", {"a": CANAL, "b": DUAL}, ["b"]),
        ("every_node_canal", {"a": under_way("w1", NodeState.CANAL, NodeEvent.ATTACH, "gate")}, ["a"]),
        ("every_node_canal", {"a": CANAL, "b": _gone(DUAL)}, []),
    ],
)
def test_who_stands_against_a_guard(guard: str, nodes: dict[str, NodeRecord], names: list[str]) -> None:
    """The nodes are named, and the guard holds exactly when there are none."""
    record = _record(**nodes)
    assert against(record, guard) == names
    assert facts(record)(guard) is not bool(names)


def test_every_guard_of_the_tables_exists() -> None:
    """A table cannot name a guard that is not there."""
    record = _record(a=DUAL)
    node = Lifecycle(resources.read("states", "node.yaml"), NodeState, NodeEvent)
    cluster = Lifecycle(resources.read("states", "cluster.yaml"), Phase, PhaseEvent)
    named = {guard for _, _, guard in (*node.edges.values(), *cluster.edges.values()) if guard}
    assert named == {"every_node_dual", "every_node_migrated", "every_node_canal", "no_node_beyond_dual"}
    for guard in named:
        assert facts(record)(guard) in (True, False)
