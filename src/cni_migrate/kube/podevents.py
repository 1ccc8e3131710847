"""The last Events of pods that are waited for: read one by one, seldom, and never in the way."""

from collections.abc import Iterable
from typing import Any, Final

import structlog

from cni_migrate.core.model.objects import Pod
from cni_migrate.errors import ClusterError, RightsMissing
from cni_migrate.kube import paths
from cni_migrate.kube.cache import Cache
from cni_migrate.kube.request import Client
from cni_migrate.ports import Clock

EVERY: Final = 25.0
"""Seconds from one look at a pod's Events to the next."""

MOST: Final = 5
"""So many pods are looked at together; what is waited for beside them has the same reason, or its turn later."""

log = structlog.get_logger(__name__)


class PodEvents:
    """Reads the last Events of pods into the cache."""

    def __init__(self, client: Client, cache: Cache, clock: Clock) -> None:
        self._client = client
        self._cache = cache
        self._clock = clock
        self._looked: dict[str, float] = {}
        self._forbidden = False

    async def look_up(self, pods: Iterable[Pod]) -> None:
        """Put the last Events of some of these pods into the snapshot; what cannot be read is left out."""
        now = self._clock.now().timestamp()
        self._looked = {uid: at for uid, at in self._looked.items() if now - at < EVERY}
        for pod in [one for one in pods if one.uid not in self._looked][:MOST]:
            if self._forbidden:
                return
            self._looked[pod.uid] = now
            await self._look_up(pod)

    async def _look_up(self, pod: Pod) -> None:
        try:
            answer = await self._client.request(
                "GET",
                paths.path("v1", "events", namespace=pod.namespace),
                params={"fieldSelector": f"involvedObject.uid={pod.uid}", "limit": "50"},
                deadline=0,
            )
        except RightsMissing:
            self._forbidden = True
            return
        except ClusterError as error:
            log.debug("events not read", pod=pod.key, error=str(error))
            return
        if answer.ok and (said := last(answer.object.get("items") or ())):
            self._cache.told(pod.uid, said)


def last(events: Iterable[Any]) -> str:
    """The newest warning as `Reason: message`, or the newest Event where nothing was warned of; '' of none."""
    newest = max(events, key=lambda one: (one.get("type") == "Warning", _when(one)), default=None)
    if newest is None:
        return ""
    return f"{newest.get('reason') or 'Event'}: {' '.join(str(newest.get('message') or '').split())}"


def _when(event: Any) -> str:
    """When it happened last: clients before events.k8s.io/v1 write `lastTimestamp`, later ones `eventTime`."""
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")
