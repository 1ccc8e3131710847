"""What is known of the cluster: one store and one watch per kind, and the live snapshot on top of them."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Self

from cni_migrate.core.model import names
from cni_migrate.core.model.attempts import Attempt
from cni_migrate.core.model.nodeconfig import NodeConfig
from cni_migrate.core.model.objects import (
    Budget,
    CiliumConfig,
    CiliumNode,
    DaemonSet,
    Endpoint,
    Node,
    Pod,
    Requests,
    Snapshot,
)
from cni_migrate.kube import paths, views
from cni_migrate.kube.crds import CiliumKinds
from cni_migrate.kube.reflector import Health, Reflector
from cni_migrate.kube.request import Client
from cni_migrate.kube.store import Json, PodStore, Store, by_name, by_namespace
from cni_migrate.ports import Clock

MOMENT: Final = 0.000_002
"""Seconds that count as none: instants are told in microseconds, and a virtual clock never passes less."""

CHECK: Final = 5.0
"""Seconds between two looks at whether the watches are well, while nothing changes."""

ATTEMPTS: Final = 10_000
"""How many outcomes are remembered; the oldest are dropped."""


class Cache:
    """The stores, the tasks that fill them, and who is woken by a change."""

    def __init__(
        self, client: Client, clock: Clock, namespace: str, cilium: str = "", *, watching: bool = True
    ) -> None:
        """A cache that is empty until entered.

        Args:
            client: reads the cluster.
            clock: the time.
            namespace: where the operators' ConfigMap is.
            cilium: where `cilium-config` and the CiliumNodeConfigs are that somebody else keeps; '' when none is
                looked at.
            watching: whether it is kept current; if not, it stays as it was when it was entered.
        """
        self._client = client
        self._clock = clock
        self._watching = watching
        self._dirty = asyncio.Event()
        self.health: Final = Health()
        wake = self._dirty.set
        self.nodes: Final = Store(views.node, by_name, wake, same=_same_node)
        self.pods: Final = PodStore(views.pod, wake)
        self.daemonsets: Final = Store(views.daemonset, by_namespace, wake, same=_same_daemonset)
        self.budgets: Final = Store(views.budget, by_namespace, wake, same=_same_budget)
        self.requests: Final = Store(views.requests, by_namespace, wake)
        self.cilium_nodes: Final = Store(views.cilium_node, by_name, wake)
        self.endpoints: Final = Store(views.endpoint, by_namespace, wake)
        self.cilium_config: Final = Store(views.cilium_config, by_namespace, wake)
        self.attempts: Final[dict[str, Attempt]] = {}
        self.pod_events: Final[dict[str, str]] = {}
        self._reflectors = [
            self._reflector(self.nodes, paths.path("v1", "nodes")),
            self._reflector(self.pods, paths.path("v1", "pods")),
            self._reflector(self.daemonsets, paths.path("apps/v1", "daemonsets")),
            self._reflector(self.budgets, paths.path("policy/v1", "poddisruptionbudgets")),
            self._reflector(
                self.requests,
                paths.path("v1", "configmaps", namespace=namespace),
                {"fieldSelector": f"metadata.name={names.REQUESTS}"},
            ),
        ]
        if cilium:
            place = paths.path("v1", "configmaps", namespace=cilium)
            own = {"fieldSelector": f"metadata.name={names.CILIUM_CONFIG}"}
            self._reflectors.append(self._reflector(self.cilium_config, place, own))
        kinds: dict[str, Store[Any, Any]] = {"ciliumnodes": self.cilium_nodes, "ciliumendpoints": self.endpoints}
        self.node_configs: Final = Store(views.node_config, by_namespace, wake)
        if cilium:
            kinds["ciliumnodeconfigs"] = self.node_configs
        self.cilium: Final = CiliumKinds(client, clock, self.health, wake, kinds, cilium, watching=watching)
        self._tasks: list[asyncio.Task[None]] = []
        self.snapshot: Final[Snapshot] = _Live(self)

    def _reflector(self, store: Store[Any, Any], path: str, selector: Mapping[str, str] | None = None) -> Reflector:
        return Reflector(
            self._client, self._clock, store, path, self.health, selector=selector, watching=self._watching
        )

    async def __aenter__(self) -> Self:
        """Start, and return once every kind has been listed.

        Raises:
            ClusterUnreachable: that did not work within a minute.
            Unauthorized: the credentials are not accepted.
            RightsMissing: something may not be listed or watched.
        """
        self._tasks = [asyncio.create_task(one.run(), name=f"watch {one.what}") for one in self._reflectors]
        self._tasks.append(asyncio.create_task(self.cilium.run(), name="watch cilium.io"))
        try:
            for one in (*(reflector.synced for reflector in self._reflectors), self.cilium.synced):
                await self._synced(one)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop watching. A task is asked again and again: before Python 3.12 `wait_for` may swallow a cancellation."""
        while left := [task for task in self._tasks if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=1.0)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def changed(self, until: datetime, gather: float) -> None:
        """Return when something has changed since `looked`, or at `until`.

        After a change, further ones are gathered for `gather` seconds.

        Raises:
            ClusterError: nothing could be listed or watched for a minute.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + (until - self._clock.now()).total_seconds()
        while not self._dirty.is_set():
            self._check()
            left = end - loop.time()
            if left <= MOMENT:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._dirty.wait(), min(left, CHECK))
        self._check()
        await self._clock.sleep(gather)

    def looked(self) -> Snapshot:
        """The snapshot; from now on `changed` waits for the next change."""
        self._dirty.clear()
        return self.snapshot

    def note(self, key: str, attempt: Attempt) -> None:
        """Remember how the latest try of an effect ended."""
        self.attempts.pop(key, None)
        self.attempts[key] = attempt
        if len(self.attempts) > ATTEMPTS:
            del self.attempts[next(iter(self.attempts))]
        self._dirty.set()

    def told(self, uid: str, event: str) -> None:
        """The last Event of a pod."""
        if self.pod_events.get(uid) != event:
            self.pod_events[uid] = event
            self._dirty.set()

    def store(self, api_version: str, kind: str) -> Store[Any, Any] | None:
        """The store of a kind, if there is one."""
        stores: dict[tuple[str, str], Store[Any, Any]] = {
            ("", "Node"): self.nodes,
            ("", "Pod"): self.pods,
            ("apps", "DaemonSet"): self.daemonsets,
            ("policy", "PodDisruptionBudget"): self.budgets,
        }
        return stores.get((paths.group_of(api_version), kind))

    def fold(self, raw: Json) -> None:
        """Take over the answer to an own write."""
        if raw.get("kind") and (store := self.store(str(raw.get("apiVersion", "")), str(raw["kind"]))) is not None:
            store.fold(raw)

    async def _synced(self, event: asyncio.Event) -> None:
        waiting = asyncio.create_task(event.wait())
        try:
            while not waiting.done():
                self._check(starting=True)
                under_way = (task for task in self._tasks if not task.done())
                await asyncio.wait([waiting, *under_way], timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    def _check(self, *, starting: bool = False) -> None:
        for task in self._tasks:
            if task.done():
                task.result()
        if starting:
            self.health.check_rights()
        self.health.check(self._client.server)


def _same_node(old: Node, new: Node) -> bool:
    """A node's status is written every few minutes; that alone is no reason to decide anew."""
    return replace(old, resource_version=new.resource_version) == new


def _same_daemonset(old: DaemonSet, new: DaemonSet) -> bool:
    return replace(old, resource_version=new.resource_version) == new


def _same_budget(old: Budget, new: Budget) -> bool:
    return replace(old, resource_version=new.resource_version) == new


class _Live:
    """The snapshot: a read-only door to the stores, which move on while nobody is deciding."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self.nodes: Final[Mapping[str, Node]] = MappingProxyType(cache.nodes.views)
        self.daemonsets: Final[Mapping[tuple[str, str], DaemonSet]] = MappingProxyType(cache.daemonsets.views)
        self.budgets: Final[Mapping[tuple[str, str], Budget]] = MappingProxyType(cache.budgets.views)
        self.cilium_nodes: Final[Mapping[str, CiliumNode]] = MappingProxyType(cache.cilium_nodes.views)
        self.endpoints: Final[Mapping[tuple[str, str], Endpoint]] = MappingProxyType(cache.endpoints.views)
        self.pod_events: Final[Mapping[str, str]] = MappingProxyType(cache.pod_events)

    def pods_on(self, node: str) -> Collection[Pod]:
        return self._cache.pods.on(node)

    def pods_of(self, controller_uid: str) -> Collection[Pod]:
        return self._cache.pods.of(controller_uid)

    def unready_of(self, controller_uid: str) -> Collection[Pod]:
        return self._cache.pods.unready(controller_uid)

    def pod(self, namespace: str, name: str) -> Pod | None:
        return self._cache.pods.views.get((namespace, name))

    @property
    def pending(self) -> Collection[Pod]:
        return self._cache.pods.on("")

    @property
    def served(self) -> Collection[str]:
        return self._cache.cilium.served

    @property
    def cilium_config(self) -> CiliumConfig | None:
        return next(iter(self._cache.cilium_config.views.values()), None)

    @property
    def node_configs(self) -> Collection[NodeConfig]:
        return self._cache.node_configs.views.values()

    @property
    def requests(self) -> Requests:
        return next(iter(self._cache.requests.views.values()), Requests())
