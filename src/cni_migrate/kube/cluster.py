"""`ports.Cluster` on a real API server (or a simulated one: it cannot tell)."""

import random
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Self

from kr8s.asyncio import Api

from cni_migrate.config import Config
from cni_migrate.core.model.attempts import Attempt
from cni_migrate.core.model.effects import Effect
from cni_migrate.core.model.objects import Pod, Snapshot
from cni_migrate.kube.cache import Cache
from cni_migrate.kube.perform import Performer
from cni_migrate.kube.podevents import PodEvents
from cni_migrate.kube.request import Client
from cni_migrate.ports import Clock, Releases


class KubeCluster:
    """The cluster: a cache that is kept current, and a performer of effects.

    Use it as an async context manager: it lists everything, and watches until it is left.
    """

    def __init__(
        self,
        api: Client | Api,
        config: Config,
        clock: Clock,
        rng: random.Random | None = None,
        releases: Releases | None = None,
        *,
        watching: bool = True,
    ) -> None:
        """A cluster behind `api`.

        Args:
            api: what `connect` gives; or a bare kr8s `Api`, for tests in process.
            config: the namespace and the request deadline.
            clock: the time.
            rng: for the jitter.
            releases: Helm, where a release is to be made.
            watching: whether it is kept current; one look needs none of that.
        """
        timeout = config.deadlines.request
        existing = config.cilium.namespace if config.cilium.source == "existing" else ""
        self._client = api if isinstance(api, Client) else Client(api, clock, rng, timeout=timeout)
        self._cache = Cache(self._client, clock, config.namespace, existing, watching=watching)
        self._pod_events = PodEvents(self._client, self._cache, clock)
        self._performer = Performer(self._client, self._cache, clock, releases)

    async def __aenter__(self) -> Self:
        """List everything and start watching.

        Raises:
            ClusterError: the API server does not answer, or does not allow it.
        """
        await self._cache.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cache.close()

    @property
    def client(self) -> Client:
        """The client underneath, for whatever shares it: documents, logs."""
        return self._client

    def snapshot(self) -> Snapshot:
        """What is known now; live, so not to be kept across an `await`."""
        return self._cache.looked()

    async def perform(self, effects: Iterable[Effect]) -> None:
        """Do each effect once, in parallel where their targets differ.

        Raises:
            ClusterUnreachable: the API server did not answer within the retry deadline.
            RightsMissing: the API server forbade a write.
        """
        await self._performer.perform(effects)

    async def changed(self, until: datetime, gather: float) -> None:
        """Return when the snapshot has changed since the last `snapshot()`, or at `until`.

        Raises:
            ClusterUnreachable: nothing could be listed or watched for a minute.
        """
        await self._cache.changed(until, gather)

    async def look_up(self, pods: Iterable[Pod]) -> None:
        """Put the last Events of these pods into the snapshot; what cannot be read is left out, never an exception."""
        await self._pod_events.look_up(pods)

    @property
    def attempts(self) -> Mapping[str, Attempt]:
        """How the latest try of each effect ended, by the effect's key; live."""
        return MappingProxyType(self._cache.attempts)
