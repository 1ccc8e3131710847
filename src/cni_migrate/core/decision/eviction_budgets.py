"""Which evictions are worth a request now: as many as the budgets in the snapshot have room for.

The API server has the last word: it takes a disruption off the budget in the same moment as it accepts an eviction.
What is seen here lags behind that, so a budget is only believed in a version that is newer than the last refusal, and
not at once after a try of ours. While it shows no room, one eviction now and then asks all the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cni_migrate.core.model.attempts import Attempt
from cni_migrate.core.model.effects import EvictPod
from cni_migrate.core.model.objects import Budget, Pod, Snapshot
from cni_migrate.core.model.selector import matches

PAUSE = 0.5
"""Seconds from one try under a budget to the next, so that what the first has changed is seen."""

Key = tuple[str, str]


def selecting(pod: Pod, budgets: Mapping[Key, Budget]) -> list[Budget]:
    """The budgets that select a pod."""
    return [
        budget
        for budget in budgets.values()
        if budget.namespace == pod.namespace and matches(budget.selector, pod.labels)
    ]


@dataclass
class _Left:
    """What a budget has left in this decision: evictions, from when on, and when the last try under it was."""

    evictions: int
    since: datetime
    last: datetime | None


class Room:
    """The room of all budgets in one decision; what is given to one eviction is not there for the next."""

    def __init__(self, seen: Snapshot, attempts: Mapping[str, Attempt], now: datetime, retry_seconds: float) -> None:
        self._seen = seen
        self._attempts = attempts
        self._now = now
        self._retry = timedelta(seconds=retry_seconds)
        self._left: dict[Key, _Left] = {}
        self._tries: dict[Key, list[tuple[str, Attempt]]] = {}
        for attempt in attempts.values():
            for namespace, name, version in attempt.budgets:
                self._tries.setdefault((namespace, name), []).append((version, attempt))

    def next_try(self, effect: EvictPod) -> datetime:
        """When an eviction that was never tried, or was blocked, is worth a try.

        Not later than now: it is to be tried now, and the room it needs is taken.
        """
        last = self._attempts.get(effect.key)
        pod = self._seen.pod(effect.namespace, effect.name)
        known = pod is not None and pod.uid == effect.uid
        # A pod that is not Ready may leave whatever its budget has left (API: unhealthyPodEvictionPolicy).
        budgets = selecting(pod, self._seen.budgets) if pod is not None and known and pod.ready else []
        if not budgets:
            return self._now if last is None else last.at + self._retry
        left = [self._left_of(budget) for budget in budgets]
        tried = max((one.last for one in left if one.last is not None), default=None)
        with_room = all(one.evictions > 0 for one in left)
        soonest = max(one.since for one in left)
        if (with_room and soonest <= self._now) or tried is None or tried + self._retry <= self._now:
            for one in left:
                one.evictions -= 1
                one.last = self._now
            return self._now
        return min(soonest, tried + self._retry) if with_room else tried + self._retry

    def _left_of(self, budget: Budget) -> _Left:
        key = (budget.namespace, budget.name)
        if key not in self._left:
            tries = self._tries.get(key, [])
            here = [attempt.result for version, attempt in tries if version == budget.resource_version]
            evictions = 0 if "blocked" in here else budget.disruptions_allowed - here.count("applied")
            last = max((attempt.at for _, attempt in tries), default=None)
            since = self._now if last is None else last + timedelta(seconds=PAUSE)
            self._left[key] = _Left(evictions, since, last)
        return self._left[key]


def in_turn(effects: Iterable[EvictPod], attempts: Mapping[str, Attempt]) -> list[EvictPod]:
    """Evictions in the order in which they get room: never tried ones first, then those tried longest ago."""

    def key(effect: EvictPod) -> tuple[bool, float]:
        last = attempts.get(effect.key)
        return (last is not None, last.at.timestamp() if last is not None else 0.0)

    return sorted(effects, key=key)
