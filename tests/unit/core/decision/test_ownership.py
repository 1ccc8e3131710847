"""Turns in which somebody else has changed Canal's DaemonSet. Whole runs are in tests/simulation/test_owner.py."""

from datetime import timedelta
from typing import Any

import pytest

from cni_migrate.core.decision.decide import Decision, decide
from cni_migrate.core.model import names
from cni_migrate.core.model.effects import PatchObject
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import DaemonSet, Writer
from tests.unit.core.builders import NOW, a_daemonset, a_node, a_plan, a_record, an_entry, seen, under_way

MULTUS = a_plan("multus")
LABEL = MULTUS.config.labels.canal_cilium
SELECTED = {LABEL.key: LABEL.value}
OURS = [
    a_daemonset(name, namespace, labels={names.MANAGED_BY: names.TOOL})
    for namespace, name in [
        ("kube-system", "cilium"), (MULTUS.config.cilium.namespace, names.FIRST_CILIUM), ("kube-system", "kube-multus"),
        ("cni-migrate", names.IDENTITIES), ("knet-stress", "knet-stress-a"), ("knet-stress", "knet-stress-b"),
    ]
]  # fmt: skip


def canal(**changes: Any) -> DaemonSet:
    return a_daemonset("canal", **{"node_selector": SELECTED, "update_strategy": "OnDelete", **changes})


def turn(*canals: DaemonSet, goal: Goal | None = None, **cluster: Any) -> Decision:
    nodes = {
        "w1": under_way("w1", NodeState.DUAL, NodeEvent.DRAIN, "evict_pods"),
        "w2": an_entry("w2", NodeState.MIGRATED if cluster.get("phase") is Phase.DONE else NodeState.DUAL),
    }
    if cluster.get("phase") is Phase.DONE:
        nodes["w1"] = an_entry("w1", NodeState.MIGRATED)
    values: dict[str, Any] = {"canal_before": {"updateStrategy": "RollingUpdate"}, **cluster}
    found = seen(a_node(), a_node("w2"), *OURS, *canals)
    return decide(MULTUS, goal or Goal(), a_record(MULTUS, nodes, **values), found, NOW, outcomes=found.outcomes)


@pytest.mark.parametrize(
    ("put_back", "field"),
    [
        ({"node_selector": {}}, "spec.template.spec.nodeSelector is empty"),
        ({"node_selector": {"kubernetes.io/os": "linux"}}, "spec.template.spec.nodeSelector is kubernetes.io/os=linux"),
        ({"update_strategy": "RollingUpdate"}, "spec.updateStrategy is RollingUpdate"),
    ],
)
def test_an_owner_that_puts_canal_back_holds_all_by_the_field(put_back: dict[str, Any], field: str) -> None:
    """The cluster, and the node whose event is under way; the owner is named by its mark, and who wrote it last."""
    writer = Writer("helm-controller", "2026-01-01T00:00:00Z", frozenset({"nodeSelector", "updateStrategy"}))
    record = turn(canal(**put_back, labels={"helm.cattle.io/chart": "rke2-canal"}, writers=(writer,))).record
    held = record.cluster.held
    assert held is not None
    assert field in held.why
    assert "the Helm controller" in held.why
    assert "helm-controller" in held.why
    assert "it sets the selector again and goes on" in held.next
    assert record.nodes["w1"].held == held
    assert record.nodes["w2"].held is None


def test_whoever_types_it_again_gets_the_selector_back_first() -> None:
    decision = turn(canal(node_selector={}), reselect=True)
    patches = [one for one in decision.effects if isinstance(one, PatchObject)]
    assert [one.body["spec"]["template"]["spec"]["nodeSelector"] for one in patches] == [SELECTED]
    assert decision.record.cluster.held is None
    assert any("node selector of" in wait.on for wait in decision.waits)
    assert turn(canal(), reselect=True).record.cluster.reselect is False


@pytest.mark.parametrize("goal", [Goal(), Goal(kind="rollback"), Goal(kind="rollback_node", node="w1")])
@pytest.mark.parametrize("gone", [(), (canal(deleting=True),)], ids=["gone", "going"])
def test_a_canal_that_was_deleted_holds_all(goal: Goal, gone: tuple[DaemonSet, ...]) -> None:
    back = {"direction": "back"} if goal.kind == "rollback" else {}
    held = turn(*gone, goal=goal, **back).record.cluster.held
    assert held is not None
    assert held.why.startswith("DaemonSet kube-system/canal of Canal's was deleted by somebody")
    assert f"at once `{goal.command}`" in held.next


def test_a_canal_that_is_made_again_after_the_end_is_named_and_deleted_by_the_next_run() -> None:
    """A run that is under way is held; one that begins deletes it anew, if clean-up is part of what was asked for."""
    again = canal(node_selector={}, created=NOW + timedelta(minutes=1), labels={"addonmanager.kubernetes.io/mode": "R"})
    held = turn(again, phase=Phase.DONE).record.cluster.held
    assert held is not None
    assert "the addon manager" in held.why
    assert "has made DaemonSet kube-system/canal again" in held.why
    assert "addon manager's folder" in held.next
    begun = turn(again, phase=Phase.DONE, reselect=True).record.cluster
    assert (begun.held, begun.list_name, begun.reselect, begun.again) == (None, "again", False, 1)
    assert begun.history[-1].what.endswith("it is deleted again")


def test_a_canal_that_was_made_before_the_end_is_no_news() -> None:
    old = canal(created=NOW - timedelta(days=9))
    assert turn(old, phase=Phase.DONE, reselect=True).record.cluster.history == ()


def test_who_is_not_moved_is_not_held_for_a_node_that_goes_back_alone() -> None:
    """w1 was left in its drain: when w2 is back, `migrate rollback-node w2` would be refused, and `status` named it."""
    record = turn(goal=Goal(kind="rollback_node", node="w2", to="canal")).record
    assert record.cluster.held is not None
    assert "migrate rollback-node w2" in record.cluster.held.next
    assert record.nodes["w1"].held is None
