"""The plan: per node and in order, from the same steps, filters and effects that a run uses."""

from typing import Any

import pytest

from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import NodeState, Phase
from cni_migrate.core.model.objects import Budget, Requests
from cni_migrate.core.model.record import Record
from cni_migrate.core.reports.plan import PlanView, plan_view
from cni_migrate.core.steps.registry import ABOUT
from tests.unit.core.builders import (
    NOW,
    Seen,
    a_control_plane,
    a_daemonset,
    a_node,
    a_plan,
    a_pod,
    a_record,
    an_agent,
    an_entry,
    seen,
)  # fmt: skip


def _cluster() -> Seen:
    return seen(
        a_control_plane(), a_node("w1"), a_node("w2"), a_daemonset("canal"), an_agent("canal", "w1"),
        a_pod("web-1-a", labels={"app": "web"}), a_pod("alone", controller=None),
        budgets={("default", "web"): Budget("default", "web", {"matchLabels": {"app": "web"}}, 0, False, 2, 2)},
    )  # fmt: skip


def _view(strategy: str = "multus", record: Record | None = None, found: Seen | None = None, **goal: Any) -> PlanView:
    return plan_view(a_plan(strategy), Goal(**goal), record, found or _cluster(), NOW, "migrate/test")


@pytest.mark.parametrize("strategy", ["multus", "overlay"])
def test_from_the_beginning(strategy: str) -> None:
    """Every node has every event; every step says what it does; the cluster's steps are before and after."""
    view = _view(strategy)
    assert (view.strategy, view.phase, view.at_once) == (strategy, Phase.PREFLIGHT, 1)
    assert [node.name for node in view.nodes] == ["w1", "w2", "cp1"]
    for node in view.nodes:
        assert [event.name for event in node.events] == ["attach", "drain", "switch", "release"]
    assert [event.name for event in (*view.before, *view.after)] == ["prepare", "attached", "clean"]
    steps = [step for node in view.nodes for event in node.events for step in event.steps]
    assert all(step.about == ABOUT[step.name].title for step in steps)
    assert "apply Namespace cni-migrate" in view.next_effects


@pytest.mark.parametrize(
    ("strategy", "until", "phase", "lists", "events", "moving"),
    [
        ("overlay", Phase.PREPARING, Phase.PREFLIGHT, ["prepare"], [], 0),
        ("overlay", Phase.ATTACHING, Phase.PREFLIGHT, ["prepare", "attached"], ["attach"], 0),
        ("multus", Phase.ATTACHING, Phase.PREFLIGHT, ["prepare", "attached"], ["attach"], 1),
        ("overlay", Phase.MIGRATING, Phase.PREFLIGHT, ["prepare", "attached"], ["attach", "drain", "switch", "release"], 1),
        ("overlay", Phase.ATTACHING, Phase.MIGRATING, [], [], 0),
        ("overlay", Phase.MIGRATING, Phase.MIGRATING, [], ["drain", "switch", "release"], 1),
    ],
)  # fmt: skip
def test_a_run_that_stops_early(
    strategy: str, until: Phase, phase: Phase, lists: list[str], events: list[str], moving: int
) -> None:
    """With `--until` only what comes before its end is promised, counted, asked about and in the way."""
    found = seen(a_node("w1"), a_daemonset("canal"), an_agent("canal", "w1"), a_pod("web-1-a", labels={"app": "web"}),
                 budgets=_cluster().budgets)  # fmt: skip
    state = NodeState.CANAL if phase is Phase.PREFLIGHT else NodeState.DUAL
    record = (
        None if phase is Phase.PREFLIGHT else a_record(a_plan(strategy), {"w1": an_entry(state=state)}, phase=phase)
    )
    view = _view(strategy, record, found, until=until)
    assert [event.name for event in view.before] == lists
    assert [event.name for event in view.nodes[0].events] == events
    assert view.after == ()
    assert view.moving == moving
    assert bool(view.blockers) is bool(moving)
    assert (view.seconds == 0) is (until is not Phase.MIGRATING)


def test_a_pod_with_two_budgets_is_in_the_way_however_open_they_are() -> None:
    """The eviction API answers 500 to it, always: a drain would be held. One that has not started meets none."""
    web = {"matchLabels": {"app": "web"}}
    two = {("default", name): Budget("default", name, web, 1, False, 2, 2) for name in ("web", "again")}
    found = seen(a_node("w1"), a_node("w2"), a_daemonset("canal"), a_pod("web-1-a", labels={"app": "web"}),
                 a_pod("web-1-b", labels={"app": "web"}, phase="Pending"), budgets=two)  # fmt: skip
    said = "PodDisruptionBudgets default/again, default/web share 1 pod, which Kubernetes never evicts for that"
    assert _view(found=found).blockers == (said,)


def test_what_happens_to_pods() -> None:
    """As the drain's filters say, with the budgets that allow none."""
    first = _view().nodes[0]
    assert {pod.pod: pod.verdict for pod in first.pods} == {
        "default/alone": "refused", "default/web-1-a": "evict", "kube-system/canal-w1": "stays",
    }  # fmt: skip
    closed = {pod.pod: pod.budgets for pod in first.pods if pod.budgets}
    assert closed == {"default/web-1-a": ("web",)}


def test_effects_that_can_be_told_now() -> None:
    """A cordon and a label follow from what is there; an address of a pod to come does not."""
    found = _cluster()
    found.pods = [pod for pod in found.pods if pod.name != "alone"]
    drain = _view("overlay", found=found).nodes[0].events[1]
    effects = {step.name: step.effects for step in drain.steps}
    assert effects["cordon"] == ("node w1: cordon, annotation cni-migrate.io/cordoned",)
    assert effects["evict_pods"] == ("evict pod default/web-1-a from w1",)


def test_from_the_middle() -> None:
    """What is done is not planned again, and what comes next follows from the record."""
    plan = a_plan()
    entries = {name: an_entry(name, NodeState.DUAL) for name in ("w2", "cp1")}
    record = a_record(plan, {"w1": an_entry("w1", NodeState.MIGRATED), **entries})
    view = plan_view(plan, Goal(), record, _cluster(), NOW, "migrate/test")
    assert view.phase is Phase.MIGRATING
    assert [[event.name for event in node.events] for node in view.nodes] == [[], *[["drain", "switch", "release"]] * 2]
    assert [event.name for event in (*view.before, *view.after)] == ["clean"]
    assert any("w2" in wait for wait in view.next_waits)


def test_a_chosen_node() -> None:
    """The others are attached, as the first drain needs that, but not migrated; nor is anything cleaned up."""
    view = _view(wanted=lambda node: node.name == "w2", partial=True)
    assert [(node.name, node.chosen, len(node.events)) for node in view.nodes] == [
        ("w1", False, 1), ("w2", True, 4), ("cp1", False, 1),
    ]  # fmt: skip
    assert view.after == ()


@pytest.mark.parametrize(
    ("changes", "trouble"),
    [({"ready": False}, "NotReady"), ({"unschedulable": True}, "cordoned by somebody else"), ({}, "")],
)
def test_nodes_that_are_not_touched(changes: dict[str, Any], trouble: str) -> None:
    """Each with its reason."""
    found = _cluster()
    found.nodes["w2"] = a_node("w2", **changes)
    assert _view(found=found).nodes[1].trouble == trouble


def _asked(requests: Requests, **goal: Any) -> PlanView:
    """The plan of three nodes on both networks, with what operators have asked for."""
    plan = a_plan()
    record = a_record(plan, {name: an_entry(name, NodeState.DUAL) for name in ("w1", "w2", "cp1")})
    found = _cluster()
    found.requests = requests
    return plan_view(plan, Goal(**goal), record, found, NOW, "migrate/test")


def test_a_skipped_node_is_not_planned() -> None:
    """Its pods do not move, and only a run that ends in clean-up waits for it."""
    view = _asked(Requests(skip={"w1": NOW.isoformat()}))
    assert [(node.name, node.goes, node.trouble) for node in view.nodes] == [
        ("w1", False, "skipped"), ("w2", True, ""), ("cp1", True, ""),
    ]  # fmt: skip
    assert not [pod for pod in view.nodes[0].pods if pod.moves]
    assert [one for one in view.blockers if "skip" in one] == [
        "node w1 is skipped, and clean-up waits for it: `migrate skip-node --undo w1`"
    ]
    some = _asked(Requests(skip={"w1": NOW.isoformat()}), wanted=lambda node: node.name == "w2", partial=True)
    assert not [one for one in some.blockers if "skip" in one]
    asked = _asked(Requests(skip={"w1": NOW.isoformat()}), wanted=lambda node: node.name == "w1", partial=True)
    assert asked.blockers[0] == "node w1 is skipped, and was asked for: `migrate skip-node --undo w1`"


def test_a_pause_would_hold_a_run() -> None:
    """It has no end but `migrate resume`."""
    assert _asked(Requests(paused_since="noon")).blockers[0] == (
        "paused since noon: no further node, nor clean-up, begins until `migrate resume`"
    )


def test_who_joins_after_the_end_is_not_drained() -> None:
    """It starts on Cilium, which is waited for."""
    plan = a_plan()
    record = a_record(plan, {name: an_entry(name, NodeState.MIGRATED) for name in ("w1", "cp1")}, phase=Phase.DONE)
    view = plan_view(plan, Goal(), record, _cluster(), NOW, "migrate/test")
    assert not any(node.events for node in view.nodes)
    assert view.blockers == ("node w2 joined after the end, and Cilium is not Ready there",)


def test_the_json_form() -> None:
    """The names that are promised."""
    data = _view().model_dump(mode="json", by_alias=True)
    assert set(data) == set(PlanView.model_json_schema(by_alias=True)["properties"])
    assert set(data["nodes"][0]) >= {"name", "state", "events", "pods", "trouble"}
