"""Host tasks that run ahead of their step: which, when, and that nothing else does."""

import json
from dataclasses import replace

import pytest

from cni_migrate.core.decision.advance import MANY_TASKS, Work, advance_node
from cni_migrate.core.decision.plan import make_plan  # noqa: F401 - registers the steps
from cni_migrate.core.model import names
from cni_migrate.core.model.effects import DeletePod, Effect, RunHostTask, SweepTasks
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState
from cni_migrate.core.model.objects import Pod
from cni_migrate.core.model.record import NodeRecord
from cni_migrate.core.steps.host import task_name
from cni_migrate.core.steps.registry import ABOUT, NODE_STEPS, ahead
from cni_migrate.core.steps.view import Plan
from tests.unit.core.builders import (
    EVERYTHING,
    NOW,
    OURS,
    Seen,
    a_daemonset,
    a_node,
    a_plan,
    a_pod,
    a_record,
    an_agent,
    seen,
    under_way,
)

MULTUS, OVERLAY = a_plan(), a_plan("overlay")
LABELS = MULTUS.config.labels


def _advance(plan: Plan, found: Seen, entry: NodeRecord, *, stopping: bool = False) -> tuple[NodeRecord, list[Effect]]:
    work = Work(outcomes=found.outcomes)
    found.nodes.setdefault("w1", a_node())
    moved = advance_node(plan, a_record(plan, {"w1": entry}), found, NOW, "w1", work, stopping)
    return moved.entry, work.effects


def _starting(name: str) -> Seen:
    """An agent that is not Ready yet."""
    return seen(a_daemonset(name), an_agent(name, ready=False, phase="Pending"))


def _task(entry: NodeRecord, step: str, phase: str = "Running", message: str = "") -> Pod:
    name = task_name(a_node("w1"), f"{entry.event}/{step}/{entry.attempt}")
    labels = {names.COMPONENT: names.HOST_TASK, names.MANAGED_BY: names.TOOL}
    return a_pod(
        name, namespace="cni-migrate", labels=labels, controller=None, host_network=True, phase=phase, message=message,
        tolerations=EVERYTHING,
    )  # fmt: skip


SWITCH = under_way("w1", NodeState.DRAINING, NodeEvent.SWITCH, "await_cilium")
ATTACH = under_way("w1", NodeState.CANAL, NodeEvent.ATTACH, "await_multus")


@pytest.mark.parametrize(
    ("plan", "found", "entry", "step"),
    [
        (MULTUS, _starting("cilium"), SWITCH, "check_cilium_first"),
        (MULTUS, seen(), SWITCH.model_copy(update={"step": "exchange_labels"}), "check_cilium_first"),
        (OVERLAY, _starting("cilium"), SWITCH.model_copy(update={"step": "restart_cilium"}), "check_cilium_first"),
        (OVERLAY, seen(), SWITCH.model_copy(update={"step": "label_switched"}), "check_cilium_first"),
        (MULTUS, _starting(names.MULTUS), ATTACH, "check_multus_first"),
        (MULTUS, seen(), ATTACH.model_copy(update={"step": "taint"}), "check_multus_first"),
        (MULTUS, seen(a_pod()), ATTACH.model_copy(update={"step": "evict_pods"}), "check_multus_first"),
        (OVERLAY, _starting("cilium"), ATTACH.model_copy(update={"step": "await_cilium"}), "check_canal_first"),
    ],
)
def test_the_task_of_a_step_to_come_is_started_once(plan: Plan, found: Seen, entry: NodeRecord, step: str) -> None:
    """Under the name by which the step itself would start it, and no second time."""
    after, effects = _advance(plan, found, entry)
    assert after.step == entry.step
    tasks = [effect for effect in effects if isinstance(effect, RunHostTask)]
    assert [task.name for task in tasks] == [_task(entry, step).name]
    there = seen(*found.nodes.values(), *found.pods, *found.daemonsets.values(), _task(entry, step))
    assert not any(isinstance(effect, RunHostTask) for effect in _advance(plan, there, after)[1])


def test_nobody_who_stops_starts_anything_ahead() -> None:
    """The next run will."""
    assert _advance(MULTUS, _starting("cilium"), SWITCH, stopping=True)[1] == []


@pytest.mark.parametrize("number", [MANY_TASKS - 2, MANY_TASKS])
def test_a_task_that_has_ended_ahead_stays_until_its_step_has_read_it(number: int) -> None:
    """Others of this node that have ended go once they are many."""
    found = _starting("cilium")
    earlier = [
        _task(SWITCH.model_copy(update={"attempt": 9 + n}), "check_cilium_first", "Succeeded") for n in range(number)
    ]
    found.pods += [_task(SWITCH, "check_cilium_first", "Succeeded", "{}"), *earlier]
    _, effects = _advance(MULTUS, found, SWITCH)
    gone = [pod.name for pod in earlier] if number == MANY_TASKS else []
    assert [effect.name for effect in effects if isinstance(effect, DeletePod)] == gone


@pytest.mark.parametrize(
    ("event", "step", "swept"),
    [
        (NodeEvent.ATTACH, "reclaim_leases", False),
        (NodeEvent.RELEASE, "soak", False),
        (NodeEvent.RESTORE, "untaint", True),
        (NodeEvent.DETACH, "untaint", True),
    ],
)
def test_tasks_that_have_ended_are_removed_together(event: NodeEvent, step: str, swept: bool) -> None:
    """By one request at the end of an event; those of an attach stay until the node is switched, or goes back."""
    entry = under_way("w1", NodeState.DUAL, event, step)
    found = seen(ended := _task(entry, "check_multus_first", "Succeeded"), _task(entry, "check_canal_first"))
    _, effects = _advance(MULTUS, found, entry)
    wanted: list[Effect] = [SweepTasks("cni-migrate", "w1", ((ended.name, ended.uid),))]
    assert effects == (wanted if swept else [])


def test_what_ran_ahead_and_failed_is_told_by_its_own_step() -> None:
    """The agent may still get Ready; the step refuses as it would have."""
    found = _starting("cilium")
    found.pods.append(_task(SWITCH, "check_cilium_first", "Failed", "no"))
    after, effects = _advance(MULTUS, found, SWITCH)
    assert (after.step, after.held, effects) == ("await_cilium", None, [])
    found.pods[0] = an_agent("cilium")
    assert _advance(MULTUS, found, SWITCH)[0].held is not None


def test_the_result_of_a_task_that_ran_ahead_ends_its_step_in_the_same_turn() -> None:
    """The agent is Ready, its file was in force before."""
    found = seen(a_daemonset("cilium"), an_agent("cilium"))
    status = {"files": ["05-cilium.conflist"], "routed": True}
    found.pods.append(_task(SWITCH, "check_cilium_first", "Succeeded", json.dumps(status)))
    after, _ = _advance(MULTUS, found, SWITCH)
    assert after.step == "gate"
    assert after.files == ("05-cilium.conflist",)


def test_a_task_whose_container_has_ended_is_not_waited_for() -> None:
    """The kubelet calls its pod Succeeded a second later. One that has failed is told as such when it says so, too."""
    found = seen(a_daemonset("cilium"), an_agent("cilium"))
    status = json.dumps({"files": ["05-cilium.conflist"], "routed": True})
    found.pods.append(_task(SWITCH, "check_cilium_first", "Running", status))
    assert _advance(MULTUS, found, SWITCH)[0].step == "gate"
    found.pods[-1] = replace(found.pods[-1], trouble="Error (exit code 1)")
    assert _advance(MULTUS, found, SWITCH)[0].step == "check_cilium_first"


def test_leases_are_given_back_beside_the_gate() -> None:
    """Once the node is put back into service, all of its single pods are gone."""
    node = a_node(unschedulable=True, annotations=OURS)
    entry = ATTACH.model_copy(update={"step": "untaint", "leases": ("10.244.1.5", "10.244.1.6")})
    _, effects = _advance(MULTUS, seen(node, a_pod()), entry)
    (task,) = [effect for effect in effects if isinstance(effect, RunHostTask)]
    assert task.pod["spec"]["containers"][0]["args"] == ["free-leases=10.244.1.6"]


@pytest.mark.parametrize(
    ("steps", "step"),
    [
        (("taint", "await_multus", "delete_single_pods", "check_multus_first"), "check_multus_first"),
        (("taint", "gate", "await_multus", "check_multus_first"), ""),
        (("check_multus_first", "gate"), ""),
        (("untaint", "gate", "reclaim_leases"), "reclaim_leases"),
        (("gate",), ""),
    ],
)
def test_only_such_steps_may_be_between(steps: tuple[str, ...], step: str) -> None:
    """A task that would wait for what other steps bring about first would only stand in the way."""
    assert ahead(steps) == step


def test_only_steps_with_host_tasks_run_ahead_and_only_beside_steps_that_exist() -> None:
    """A name that is written wrong would be no error otherwise."""
    flagged = {name: about.beside for name, about in ABOUT.items() if about.beside}
    assert set(flagged) == {"check_canal_first", "check_multus_first", "check_cilium_first", "reclaim_leases"}
    assert {step for beside in flagged.values() for step in beside} <= set(NODE_STEPS)
