"""Which node comes next, and how many at once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_migrate.config import Config
from cni_migrate.core.decision.order import canary, capacity, in_order
from cni_migrate.core.model.objects import Node
from tests.unit.core.builders import a_control_plane, a_node

ZONE = "topology.kubernetes.io/zone"


def _order(nodes: list[Node], **changes: Any) -> list[str]:
    return [node.name for node in in_order(Config(**changes), nodes)]


MIXED = [a_control_plane("a-cp"), a_node("w3"), a_node("w1"), a_control_plane("cp2"), a_node("w2")]


@pytest.mark.parametrize(
    ("description", "changes", "expected"),
    [
        ("workers by name, the control plane last", {}, ["w1", "w2", "w3", "a-cp", "cp2"]),
        ("the canary first", {"canary": "w3"}, ["w3", "w1", "w2", "a-cp", "cp2"]),
        ("even one of the control plane", {"canary": "cp2"}, ["cp2", "w1", "w2", "w3", "a-cp"]),
        ("the driver's own node at the very end", {"own_node": "w1"}, ["w2", "w3", "a-cp", "cp2", "w1"]),
        ("behind the control plane", {"own_node": "a-cp"}, ["w1", "w2", "w3", "cp2", "a-cp"]),
        ("unless the operator named it as the canary", {"canary": "w2", "own_node": "w2"},
         ["w2", "w1", "w3", "a-cp", "cp2"]),
        ("a canary that is not there changes nothing", {"canary": "gone"}, ["w1", "w2", "w3", "a-cp", "cp2"]),
    ],
)  # fmt: skip
def test_the_order(description: str, changes: dict[str, Any], expected: list[str]) -> None:
    """Canary, workers, control plane, own node."""
    assert _order(MIXED, **changes) == expected, description


def test_workers_of_one_zone_stay_together() -> None:
    """A zone is finished before the next one is begun; the canary's zone has no privilege."""
    nodes = [
        a_node("w1", labels={ZONE: "b"}),
        a_node("w2", labels={ZONE: "a"}),
        a_node("w3", labels={ZONE: "b"}),
        a_node("w4", labels={ZONE: "a"}),
    ]
    assert _order(nodes, canary="w1") == ["w1", "w2", "w4", "w3"]


def test_the_canary_is_not_the_own_node_by_itself() -> None:
    """Without a choice, the first worker that is not the driver's own node goes first."""
    assert canary(Config(own_node="w1"), MIXED) == "w2"
    assert canary(Config(), []) == ""


@given(
    st.lists(st.text("abc123", min_size=1, max_size=4), max_size=12, unique=True),
    st.text("abc123", max_size=4),
    st.text("abc123", max_size=4),
)
def test_ordering_loses_no_node_and_is_stable(names: list[str], first: str, own: str) -> None:
    """It is a permutation that does not depend on the order of what comes in."""
    config = Config(canary=first, own_node=own)
    nodes = [a_node(name) for name in names]
    ordered = in_order(config, nodes)
    assert sorted(node.name for node in ordered) == sorted(node.name for node in nodes)
    assert [n.name for n in in_order(config, reversed(nodes))] == [n.name for n in ordered]


@pytest.mark.parametrize(
    ("setting", "nodes", "expected"),
    [
        ("1", 1000, 1), ("3", 10, 3), ("10%", 100, 10), ("10%", 19, 1), ("10%", 9, 1), ("1%", 3, 1), ("33%", 3, 1),
        ("50%", 3, 1), ("67%", 3, 2), ("100%", 7, 7), ("29%", 100, 29), ("57%", 100, 57),
    ],
)  # fmt: skip
def test_percentages_are_rounded_down_but_never_to_nothing(setting: str, nodes: int, expected: int) -> None:
    """At least one node may always be out of service, or nothing would ever move."""
    assert capacity(Config(max_unavailable=setting), nodes) == expected


@given(st.integers(1, 100), st.integers(1, 5000))
def test_a_percentage_never_exceeds_its_share(percent: int, nodes: int) -> None:
    """For every cluster that is large enough for one node."""
    found = capacity(Config(max_unavailable=f"{percent}%"), nodes)
    assert found == 1 or found * 100 <= percent * nodes
    assert found >= 1


@pytest.mark.parametrize("text", ["0", "0%", "101%", "-1", "1.5", "", "many", "%", "01"])
def test_an_amount_that_makes_no_sense_is_refused(text: str) -> None:
    """Before anything is asked of the cluster."""
    with pytest.raises(ValueError, match="max_unavailable"):
        Config(max_unavailable=text)
