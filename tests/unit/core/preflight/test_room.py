"""Room to drain: what the pods of a node request has to be free on the others."""

from dataclasses import replace
from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.model.objects import Amount, Node, Pod, Taint, Toleration
from cni_migrate.core.preflight.findings import Facts, Finding, blockers, findings
from tests.unit.core.builders import OUR_TAINT, Seen, a_node, a_pod, seen

GI = 2**30
BOX = Amount(cpu=4000, memory=8 * GI, pods=10)


def _node(name: str, allocatable: Amount | None = BOX, **changes: Any) -> Node:
    return a_node(name, allocatable=allocatable, **changes)


def _pod(name: str, node: str, cpu: int = 0, memory: int = 0, **changes: Any) -> Pod:
    return a_pod(name, node=node, needs=Amount(cpu, memory, 1), **changes)


def _found(look: Seen, **sections: Any) -> list[Finding]:
    config = Config.model_validate({"strategy": "overlay", **sections})
    return [one for one in findings(Facts(config, look, OUR_TAINT)) if one.id == "ROOM"]


@pytest.mark.parametrize(
    "needs",
    [Amount(cpu=3000), Amount(memory=5 * GI), Amount(cpu=3000, memory=5 * GI)],
    ids=["cpu", "memory", "both"],
)
def test_what_does_not_fit_elsewhere_is_named(needs: Amount) -> None:
    """By processor, by memory: the pod, its node, and what it requests."""
    pods = [_pod(f"web-{n}", f"w{n}", needs.cpu, needs.memory) for n in (1, 2)]
    (finding,) = _found(seen(_node("w1"), _node("w2"), *pods))
    assert finding.objects == tuple(f"default/web-{n} on w{n}: {replace(needs, pods=1)}" for n in (1, 2))
    assert "max_unavailable" not in finding.to_do


def test_the_number_of_pods_counts_too() -> None:
    """A node takes so many, whatever they request."""
    pods = [_pod(f"web-{n}-{i}", f"w{n}") for n in (1, 2) for i in range(6)]
    (finding,) = _found(seen(_node("w1"), _node("w2"), *pods))
    assert len(finding.objects) == 4, "two of six do not fit, of each node"
    assert finding.objects[0].endswith("no requests")


def test_where_there_is_room_nothing_is_said() -> None:
    """Spread over several nodes, none of which has room for all."""
    pods = [_pod(f"web-{i}", "w1", 1500, GI) for i in range(2)]
    others = [_pod(f"other-{n}", f"w{n}", 2000, GI) for n in (2, 3)]
    assert _found(seen(_node("w1"), _node("w2"), _node("w3"), *pods, *others)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"controller": ("DaemonSet", "logs", "uid-logs")},
        {"host_network": True, "tolerations": (Toleration("", "Exists", "", ""),)},
        {"phase": "Succeeded"},
        {"mirror": True},
    ],
    ids=["of a DaemonSet", "on the host's network", "finished", "static"],
)
def test_what_stays_needs_no_room(changes: dict[str, Any]) -> None:
    """It is not moved."""
    pods = [_pod(f"web-{n}", f"w{n}", 3000, **changes) for n in (1, 2)]
    assert _found(seen(_node("w1"), _node("w2"), *pods)) == []


def test_what_stays_takes_room_elsewhere() -> None:
    """A DaemonSet's pod on the other node has requested what is there."""
    agent = _pod("logs", "w2", 3000, controller=("DaemonSet", "logs", "uid-logs"))
    pod = _pod("web", "w1", 2000)
    (finding,) = _found(seen(_node("w1"), _node("w2"), pod, agent))
    assert [one.partition(" on ")[0] for one in finding.objects] == ["default/web"]
    assert _found(seen(_node("w1"), _node("w2"), pod, replace(agent, phase="Failed"))) == []


@pytest.mark.parametrize(
    "changes",
    [{"unschedulable": True}, {"ready": False}, {"taints": (Taint("gpu", "", "NoSchedule"),)}],
    ids=["cordoned", "NotReady", "tainted"],
)
def test_a_node_that_takes_nobody_is_no_room(changes: dict[str, Any]) -> None:
    """However empty it is."""
    pods = [_pod(f"web-{n}", f"w{n}", 3000) for n in (1, 2)]
    assert _found(seen(_node("w1"), _node("w2"), _node("w3"), *pods)) == []
    (finding,) = _found(seen(_node("w1"), _node("w2"), _node("w3", **changes), *pods))
    assert len(finding.objects) == 2


def test_a_node_that_does_not_say_what_it_has_is_taken_for_empty() -> None:
    """Nothing is known against it."""
    pods = [_pod(f"web-{n}", f"w{n}", 3000) for n in (1, 2)]
    assert _found(seen(_node("w1"), _node("w2"), _node("w3", None), *pods)) == []


def test_nodes_that_are_drained_together_have_to_fit_together() -> None:
    """With two at once, the two that have most to move; the remedy names the key."""
    nodes = [_node(f"w{n}") for n in (1, 2, 3)]
    pods = [_pod("a", "w1", 0, 3 * GI), _pod("b", "w2", 0, 3 * GI), _pod("c", "w3", 0, 3 * GI)]
    assert _found(seen(*nodes, *pods)) == []
    (finding,) = _found(seen(*nodes, *pods), max_unavailable="2")
    assert len(finding.objects) == 1
    assert "max_unavailable" in finding.to_do


def test_it_is_waived_as_a_judgement() -> None:
    """They may wait until their node is back."""
    pods = [_pod(f"web-{n}", f"w{n}", 3000) for n in (1, 2)]
    look = seen(_node("w1"), _node("w2"), *pods)
    assert blockers(_found(look)) != []
    assert blockers(_found(look, preflight={"waive": ["ROOM"]})) == []
    assert len(blockers(_found(look, preflight={"waive": ["ROOM:default/web-1"]}))[0].objects) == 1
