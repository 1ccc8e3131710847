"""Cilium's own kinds, which the API server serves only from some point of the migration on, and maybe not for ever.

Whether they are served is learnt from discovery, which every user may read: a small GET, often for two minutes after
something was installed that may register them and while only some are there, seldom otherwise. A watch on all
CustomResourceDefinitions would cost megabytes of schemas and a right more. A kind whose list answers 404 is empty, and
looked for again; once all are there, nothing is looked for until then.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from cni_migrate import cilium_versions
from cni_migrate.errors import ClusterError
from cni_migrate.kube import paths
from cni_migrate.kube.discovery import served_by
from cni_migrate.kube.reflector import Health, NotServed, Reflector
from cni_migrate.kube.request import Client
from cni_migrate.kube.store import Store
from cni_migrate.ports import Clock

GROUP: Final = "cilium.io"
VERSION: Final = "cilium.io/v2"
"""The version in which Cilium has served its nodes and endpoints from 1.0 to this day."""

NODE_CONFIGS: Final = "ciliumnodeconfigs"

EXPECTED: Final = frozenset({"ciliumnodes", "ciliumendpoints", NODE_CONFIGS})
"""The kinds that the operator registers, one after the other; what of them is missing is looked for often."""

OFTEN: Final = 2.0
SELDOM: Final = 30.0
DOUBTED: Final = 2
"""So many times a group that serves less than before is looked at again before that is believed."""

HURRY: Final = 120.0
"""For so many seconds after an installation, or after the group has appeared, it is looked at often."""


class CiliumKinds:
    """Learns which kinds of Cilium are served, and runs a reflector for each that has a store."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        health: Health,
        changed: Callable[[], None],
        stores: Mapping[str, Store[Any, Any]],
        namespace: str = "",
        *,
        watching: bool = True,
    ) -> None:
        """Nothing is served until `run` has found out.

        Args:
            client: reads the cluster.
            clock: the time.
            health: told what fails.
            changed: called when what is served changes.
            stores: the stores to keep filled, by plural.
            namespace: where the CiliumNodeConfigs are.
            watching: whether more than one look is wanted.
        """
        self._client = client
        self._clock = clock
        self._health = health
        self._changed = changed
        self._stores = stores
        self._watching = watching
        self._namespace = namespace
        self._running: dict[str, tuple[Reflector, asyncio.Task[None]]] = {}
        self._again = asyncio.Event()
        self._hurry_until = 0.0
        self.served: frozenset[str] = frozenset()
        self.synced: Final = asyncio.Event()

    async def run(self) -> None:
        """Look, start, stop, until cancelled."""
        pauses, doubted = self._client.backoff(first=1.0, most=10.0), 0
        try:
            while True:
                try:
                    found = await served_by(self._client, GROUP, deadline=0)
                except ClusterError as error:
                    self._health.failed(GROUP, error)
                    await self._clock.sleep(pauses.pause())
                    continue
                pauses.reset()
                self._health.ok(GROUP)
                if not found >= self.served and doubted < DOUBTED:  # a proxy's 404 reads the same
                    doubted += 1
                    await self._clock.sleep(1.0)
                    continue
                doubted = 0
                if found and not self.served:
                    self.hurry()
                await self._adopt(found)
                await self._first_lists()
                self.synced.set()
                if not self._watching:
                    await asyncio.get_running_loop().create_future()  # for ever: a list that failed is tried again
                await self._rest()
        finally:
            for _, task in self._running.values():
                task.cancel()
            await asyncio.gather(*(task for _, task in self._running.values()), return_exceptions=True)

    def hurry(self) -> None:
        """Look often for a while: something was installed that may bring more kinds, or one is asked for."""
        self._hurry_until = asyncio.get_running_loop().time() + HURRY
        if not self._complete:
            self._again.set()

    @property
    def _complete(self) -> bool:
        """Whether all is there: what goes then is told by its watch, so that nobody needs to look."""
        return {one.rpartition("/")[2] for one in self.served} >= EXPECTED

    async def _rest(self) -> None:
        """Wait for the next look; between two looks there are `OFTEN` seconds at least."""
        await self._clock.sleep(OFTEN)
        hurried = asyncio.get_running_loop().time() < self._hurry_until and not self._complete
        if not hurried and not self._again.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._again.wait(), None if self._complete else SELDOM)
        self._again.clear()

    async def _adopt(self, found: frozenset[str]) -> None:
        for plural, store in self._stores.items():
            running, path = self._running.get(plural), self._path(plural, found)
            if running is not None and (running[1].done() or running[0].path != path):
                await self._stop(plural)
                running = None
            if running is None and path:
                reflector = self._reflector(store, path)
                self._running[plural] = reflector, asyncio.create_task(self._follow(reflector), name=f"watch {plural}")
        if found != self.served:
            self.served = found
            self._changed()

    def _reflector(self, store: Store[Any, Any], path: str) -> Reflector:
        return Reflector(self._client, self._clock, store, path, self._health, watching=self._watching, optional=True)

    def _path(self, plural: str, found: frozenset[str]) -> str:
        """Where a kind is listed; '' while it is not served."""
        if plural == NODE_CONFIGS:
            version = cilium_versions.served_node_config(found)
            return paths.path(version, plural, namespace=self._namespace) if version else ""
        return paths.path(VERSION, plural) if f"{VERSION}/{plural}" in found else ""

    async def _stop(self, plural: str) -> None:
        reflector, task = self._running.pop(plural)
        if task.done():
            task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._stores[plural].clear()
        self._health.ok(reflector.path)

    async def _follow(self, reflector: Reflector) -> None:
        try:
            await reflector.run()
        except NotServed:
            self._stores[reflector.what].clear()
            self._health.ok(reflector.path)
        finally:
            self._again.set()

    async def _first_lists(self) -> None:
        """Wait until what is served has been listed, or turned out not to be served, or fails."""
        for reflector, task in self._running.values():
            waiting = asyncio.create_task(reflector.synced.wait())
            try:
                while not waiting.done() and not task.done() and reflector.path not in self._health.failing:
                    await asyncio.wait([waiting, task], timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
