"""Which effects are performed now: each by how its latest try ended."""

import pytest

from cni_migrate.core.decision.advance import CONFLICT_PAUSE, Work, due
from cni_migrate.core.model.attempts import Result
from cni_migrate.core.model.effects import DeletePod, Effect, EvictPod, PatchNode, PutObject, RunHostTask
from tests.unit.core.builders import NOW, Seen, after

EVICT = EvictPod("default", "web", "uid-1", "w1")
PATCH = PatchNode("w1", "uid-w1", "7", {"a": "b"}, {})
PUT = PutObject({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "y"}})
TASK = RunHostTask("w1", "host-w1-abc", {"spec": {"containers": [{"args": ["status"]}]}})
EVERY = (EVICT, PATCH, PUT, TASK, DeletePod("default", "web", "uid-1", "w1"))
RETRY = 5.0


def _due(effect: Effect, seen: Seen, seconds: float) -> tuple[list[Effect], str, Work]:
    work = Work(outcomes=seen.outcomes)
    wanted, trouble = due([effect], seen, after(seconds), RETRY, work)
    return wanted, trouble, work


@pytest.mark.parametrize("effect", EVERY, ids=lambda effect: type(effect).__name__)
def test_what_was_never_tried_is_due(effect: Effect) -> None:
    """By this process: a restarted driver tries once more, and every effect allows that."""
    assert _due(effect, Seen(), 0)[:2] == ([effect], "")


@pytest.mark.parametrize("result", ["applied", "gone"])
@pytest.mark.parametrize("effect", [EVICT, PATCH, PUT], ids=lambda effect: type(effect).__name__)
def test_what_was_done_is_never_repeated(effect: Effect, result: Result) -> None:
    """An accepted eviction is not sent twice, however long the pod takes."""
    seen = Seen()
    seen.tried(effect.key, result)
    wanted, trouble, work = _due(effect, seen, 3600)
    assert (wanted, trouble, work.deadline) == ([], "", None)


def test_a_host_task_whose_pod_was_removed_is_run_again() -> None:
    """After a second, as the step removes the finished task when it wants to look anew."""
    seen = Seen()
    seen.tried(TASK.key, "applied")
    wanted, _, work = _due(TASK, seen, 0.5)
    assert wanted == []
    assert work.deadline == after(1)
    assert _due(TASK, seen, 1.0)[0] == [TASK]


def test_a_quota_of_node_ports_is_told_with_the_key_that_does_without_one() -> None:
    """The namespace of the agents is made on the way, so nothing can be checked before."""
    for limit, helped in (("services.nodeports", True), ("services", False)):
        seen = Seen()
        seen.tried(PUT.key, "failed", f"services x is forbidden: exceeded quota: q, requested: {limit}=1, limited: 0")
        assert ("`knet.node_port: false`" in _due(PUT, seen, 0)[1]) is helped


@pytest.mark.parametrize(("result", "pause"), [("blocked", RETRY), ("conflict", CONFLICT_PAUSE)])
def test_what_was_blocked_is_tried_again_after_a_pause(result: Result, pause: float) -> None:
    """A budget is asked again after drain.retry_seconds; a conflict nearly at once; the turn ends in time for it."""
    seen = Seen()
    seen.tried(EVICT.key, result, "budget web")
    wanted, trouble, work = _due(EVICT, seen, pause / 2)
    assert (wanted, trouble) == ([], "")
    assert work.deadline == after(pause)
    assert _due(EVICT, seen, pause)[0] == [EVICT]


@pytest.mark.parametrize("effect", EVERY, ids=lambda effect: type(effect).__name__)
def test_what_cannot_work_says_so_and_stops_the_rest(effect: Effect) -> None:
    """A refusal of the API server is reported with the effect in words, and no other effect is begun."""
    seen = Seen()
    seen.tried(effect.key, "failed", "admission webhook said no")
    wanted, trouble = due(
        [EvictPod("default", "other", "uid-2", "w1"), effect], seen, NOW, RETRY, Work(outcomes=seen.outcomes)
    )
    assert wanted == []
    assert "admission webhook said no" in trouble


def test_the_earliest_retry_decides_when_to_look_again() -> None:
    """Several blocked effects: the turn ends for the first of them."""
    other = EvictPod("default", "b", "uid-2", "w1")
    seen = Seen()
    seen.tried(EVICT.key, "blocked", at=NOW)
    seen.tried(other.key, "blocked", at=after(2))
    work = Work(outcomes=seen.outcomes)
    due([EVICT, other], seen, after(3), RETRY, work)
    assert work.deadline == after(5)


def test_another_version_of_the_node_is_another_effect() -> None:
    """A patch that met a conflict is not repeated, but made anew from what is seen then."""
    seen = Seen()
    seen.tried(PATCH.key, "conflict")
    newer = PatchNode("w1", "uid-w1", "8", {"a": "b"}, {})
    assert _due(newer, seen, 0)[0] == [newer]


def test_the_next_pod_of_a_statefulset_is_another_effect() -> None:
    """It has the same name and another uid."""
    seen = Seen()
    seen.tried(EVICT.key, "applied")
    following = EvictPod("default", "web", "uid-2", "w1")
    assert _due(following, seen, 0)[0] == [following]


def test_what_failed_before_the_step_was_tried_again_gets_another_try() -> None:
    """`migrate retry-node` on a driver that still runs: its memory of the failure must not answer for the cluster."""
    seen = Seen()
    seen.tried(EVICT.key, "failed", "webhook down", at=NOW)
    assert due([EVICT], seen, after(9), RETRY, Work(outcomes=seen.outcomes), since=after(8)) == ([EVICT], "")
    assert due([EVICT], seen, after(9), RETRY, Work(outcomes=seen.outcomes), since=NOW)[0] == []
