"""When an eviction is worth a request: by what its budget shows, in which version, and by the tries before."""

from collections.abc import Sequence

import pytest

from cni_migrate.core.decision.advance import Work, due
from cni_migrate.core.decision.eviction_budgets import PAUSE, selecting
from cni_migrate.core.model.attempts import Attempt, Result
from cni_migrate.core.model.effects import EvictPod
from cni_migrate.core.model.objects import Budget, Pod
from tests.unit.core.builders import Seen, a_pod, after, seen

RETRY = 5.0
WEB = {"app": "web"}


def _budget(allowed: int, version: str = "2", name: str = "web", labels: dict[str, str] | None = None) -> Budget:
    return Budget("default", name, {"matchLabels": labels or WEB}, allowed, False, 3, 2, version)


def _pods(number: int, node: str = "w1", **changes: object) -> list[Pod]:
    return [a_pod(f"web-{node}-{n}", node=node, **{"labels": WEB, **changes}) for n in range(number)]


def _evict(pod: Pod) -> EvictPod:
    return EvictPod(pod.namespace, pod.name, pod.uid, pod.node)


def _seen(pods: Sequence[Pod], *budgets: Budget) -> Seen:
    return seen(*pods, budgets={(one.namespace, one.name): one for one in budgets})


def _tried(found: Seen, pod: Pod, result: Result, seconds: float, *versions: str, budget: str = "web") -> None:
    known = frozenset(("default", budget, version) for version in versions)
    found.attempts[_evict(pod).key] = Attempt(result, "budget web", after(seconds), known)


def _due(found: Seen, pods: Sequence[Pod], seconds: float, work: Work | None = None) -> tuple[list[str], Work]:
    work = work or Work(outcomes=found.outcomes)
    wanted, trouble = due([_evict(pod) for pod in pods], found, after(seconds), RETRY, work)
    assert not trouble
    return [effect.name for effect in wanted if isinstance(effect, EvictPod)], work


@pytest.mark.parametrize(
    ("allowed", "version", "seconds", "again"),
    [
        (1, "2", PAUSE / 2, PAUSE),
        (1, "2", PAUSE, 0),
        (1, "1", PAUSE, RETRY),
        (0, "2", PAUSE, RETRY),
        (0, "2", RETRY, 0),
        (1, "1", RETRY, 0),
    ],
    ids=["too soon", "room", "room of before", "no room", "no room for long", "room of before, for long"],
)
def test_a_blocked_eviction_is_tried_again(allowed: int, version: str, seconds: float, again: float) -> None:
    """Soon after a newer budget shows room, otherwise after retry_seconds; until then the turn ends in time for it."""
    (pod,) = pods = _pods(1)
    found = _seen(pods, _budget(allowed, version))
    _tried(found, pod, "blocked", 0, "1")
    names, work = _due(found, pods, seconds)
    assert names == ([] if again else [pod.name])
    assert work.deadline == (after(again) if again else None)


@pytest.mark.parametrize(("allowed", "first"), [(0, 1), (1, 1), (3, 3), (9, 5)])
def test_as_many_are_tried_as_the_budget_allows(allowed: int, first: int) -> None:
    """One in any case, so that it is known what the API server says; the others when there is room for them."""
    pods = _pods(5)
    names, work = _due(_seen(pods, _budget(allowed)), pods, 0)
    assert names == [pod.name for pod in pods[:first]]
    assert work.deadline == (after(RETRY) if first < 5 else None)


def test_blocked_ones_take_turns() -> None:
    """With one disruption allowed one of them is tried, the one that was tried longest ago."""
    pods = _pods(3)
    found = _seen(pods, _budget(1, "2"))
    for pod, seconds in zip(pods, (2, 1, 3), strict=True):
        _tried(found, pod, "blocked", seconds, "1")
    assert _due(found, pods, 4)[0] == [pods[1].name]
    found.budgets["default", "web"] = _budget(2, "2")
    assert _due(found, pods, 4)[0] == [pods[1].name, pods[0].name]


@pytest.mark.parametrize(("version", "seconds", "more"), [("1", 1, 1), ("2", 1, 2), ("2", PAUSE / 2, 0)])
def test_what_was_accepted_in_a_version_of_the_budget_is_taken_off_it(version: str, seconds: float, more: int) -> None:
    """The snapshot may not show yet what the last eviction took."""
    pods = _pods(4)
    found = _seen(pods, _budget(2, version))
    _tried(found, pods[0], "applied", 0, "1")
    assert _due(found, pods[1:], seconds)[0] == [pod.name for pod in pods[1 : 1 + more]]


def test_nodes_share_the_room_of_a_turn() -> None:
    """Two nodes are drained at once, and the budget allows one disruption."""
    here, there = _pods(2), _pods(2, "w2")
    found = _seen([*here, *there], _budget(1))
    work = Work(outcomes=found.outcomes)
    assert _due(found, here, 0, work)[0] == [here[0].name]
    assert _due(found, there, 0, work)[0] == []


def test_a_pod_that_is_not_ready_is_tried_whatever_the_budget_shows() -> None:
    """The API server may let it go without asking the budget's number; when not, retry_seconds hold."""
    pods = _pods(2, ready=False)
    found = _seen(pods, _budget(0))
    assert _due(found, pods, 0)[0] == [pod.name for pod in pods]
    for pod in pods:
        _tried(found, pod, "blocked", 0, "1")
    assert _due(found, pods, RETRY - 1)[0] == []
    assert _due(found, pods, RETRY)[0] == [pod.name for pod in pods]


def test_every_budget_of_a_pod_must_have_room() -> None:
    """One without room is enough to wait."""
    (pod,) = pods = _pods(1, labels={**WEB, "tier": "front"})
    found = _seen(pods, _budget(1), _budget(0, name="front", labels={"tier": "front"}))
    _tried(found, pod, "blocked", 0, "1")
    assert len(selecting(pod, found.budgets)) == 2
    assert _due(found, pods, 1)[0] == []


def test_the_next_pod_of_the_same_name_is_none_that_is_known() -> None:
    """A StatefulSet's pod came anew meanwhile: its eviction is sent, and the uid decides."""
    (pod,) = _pods(1)
    found = _seen(_pods(1, uid="uid-next"), _budget(0))
    assert _due(found, [pod], 0)[0] == [pod.name]
