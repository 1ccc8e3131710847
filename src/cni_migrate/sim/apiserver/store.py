"""Objects, their indexes, one resourceVersion counter, and the history that watches are served from.

A stored object is never changed: a write replaces it. So objects are shared between lists, watch events and the
simulated world without copies, and each version is encoded to JSON at most once.
"""

import asyncio
import random
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Literal

from cni_migrate.sim.apiserver import jsonvalue, status
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.client import Kind, Object
from cni_migrate.sim.clock import TICK, SimClock

HISTORY = 100
FRESH = 75.0
"""So many events per resource, and all of so many seconds, a watch can go back: as a real watch cache's least capacity
and `eventFreshDuration` (k8s.io/apiserver, storage/cacher/watch_cache.go)."""

Change = Literal["ADDED", "MODIFIED", "DELETED"]


class Stored:
    """One version of one object, with its JSON once somebody asked for it."""

    __slots__ = ("_tail", "name", "namespace", "object", "version")

    def __init__(self, obj: Object, version: int) -> None:
        metadata = obj["metadata"]
        self.object = obj
        self.version = version
        self.name: str = metadata["name"]
        self.namespace: str = metadata.get("namespace", "")
        self._tail = b""

    @property
    def key(self) -> str:
        """Where it sorts in a list: etcd's order of `namespace/name`."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def uid(self) -> str:
        """Its uid."""
        uid: str = self.object["metadata"]["uid"]
        return uid

    def tail(self) -> bytes:
        """The JSON after `{"kind":...,"apiVersion":...,`: all that does not depend on the version it is read in."""
        if not self._tail:
            rest = {key: value for key, value in self.object.items() if key not in ("kind", "apiVersion")}
            self._tail = jsonvalue.encoded(rest)[1:]
        return self._tail


def json_head(kind: Kind) -> bytes:
    """The JSON before `Stored.tail()` for a reader of this kind and version."""
    return f'{{"kind":"{kind.kind}","apiVersion":"{kind.api_version}",'.encode()


class Event:
    """One change: what is now (or was last, for DELETED) and what was before."""

    __slots__ = ("after", "at", "before", "change")

    def __init__(self, change: Change, after: Stored, before: Stored | None, at: float = 0.0) -> None:
        self.change = change
        self.after = after
        self.before = before
        self.at = at
        """The clock's seconds."""

    @property
    def version(self) -> int:
        """The resourceVersion this change made."""
        return self.after.version


class Subscription:
    """A reader's queue of the events of one resource; it wakes its reader without polling."""

    def __init__(self, table: "Table", namespace: str | None) -> None:
        self._table = table
        self.namespace = namespace
        self.pending: deque[Event] = deque()
        self.ended = False
        self._waiter: asyncio.Future[None] | None = None

    def offer(self, event: Event) -> None:
        """Queue an event."""
        self.pending.append(event)
        self.wake()

    def wake(self) -> None:
        """Let the reader look, whether or not there is an event."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float | None) -> None:
        """Return when something is pending, the subscription has ended, or the time is over."""
        if self.pending or self.ended:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait_for(self._waiter, seconds if seconds is None else max(seconds, TICK))
        except TimeoutError:
            pass
        finally:
            self._waiter = None

    def end(self) -> None:
        """The server ends it: the reader gets what is pending, then the end."""
        self.ended = True
        self.close()
        self.wake()

    def close(self) -> None:
        """The reader is gone."""
        self._table.subscriptions.pop(id(self), None)


class Table:
    """The objects of one resource, whatever the version, and its bounded history."""

    def __init__(self, history: int) -> None:
        self.items: dict[str, Stored] = {}
        self.by_namespace: dict[str, dict[str, Stored]] = {}
        self.by_node: dict[str, dict[str, Stored]] = {}
        self.subscriptions: dict[int, Subscription] = {}
        self.history: deque[Event] = deque()
        self._least = history
        self.forgotten = 0
        """The last version that is no more in the history: a watch from before it gets 410."""
        self.latest = 0
        """The version of the last change, of any object."""

    def apply(self, event: Event) -> None:
        """Take over a change and tell the readers."""
        after, before = event.after, event.before
        key = after.key
        if before is not None:
            self._drop(key, before)
        if event.change != "DELETED":
            self._keep(key, after)
        self.latest = event.version
        self.history.append(event)
        while len(self.history) > self._least and event.at - self.history[0].at >= FRESH:
            self.forgotten = self.history.popleft().version
        for subscription in list(self.subscriptions.values()):
            if subscription.namespace is None or subscription.namespace == after.namespace:
                subscription.offer(event)

    def _keep(self, key: str, stored: Stored) -> None:
        self.items[key] = stored
        if stored.namespace:
            self.by_namespace.setdefault(stored.namespace, {})[key] = stored
        if node := _node_of(stored):
            self.by_node.setdefault(node, {})[key] = stored

    def _drop(self, key: str, stored: Stored) -> None:
        self.items.pop(key, None)
        if stored.namespace:
            self.by_namespace[stored.namespace].pop(key, None)
        if node := _node_of(stored):
            self.by_node[node].pop(key, None)

    def since(self, version: int) -> list[Event]:
        """The events after a version; 410 when the history does not reach back."""
        if version < self.forgotten:
            raise status.expired(version, self.forgotten)
        late: list[Event] = []
        for event in reversed(self.history):
            if event.version <= version:
                break
            late.append(event)
        late.reverse()
        return late


def _node_of(stored: Stored) -> str:
    spec = stored.object.get("spec")
    if stored.object["kind"] != "Pod" or not isinstance(spec, dict):
        return ""
    node: str = spec.get("nodeName", "")
    return node


class Store:
    """All objects of the cluster. Everything in it is synchronous: a call is one transaction.

    The same seed and the same calls at the same instants of the clock give the same bytes.
    """

    def __init__(self, clock: SimClock, *, seed: int = 0, history: int = HISTORY) -> None:
        self.clock = clock
        self.version = 1
        self.random = random.Random(seed)
        self._history = history
        self._tables: dict[tuple[str, str], Table] = {}
        self.listeners: list[Callable[[Resource, Event], None]] = []

    def now(self) -> datetime:
        """The present instant."""
        return self.clock.now()

    def timestamp(self) -> str:
        """The present instant as `metav1.Time` writes it: whole seconds."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def new_uid(self) -> str:
        """The next uid."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def table(self, resource: Resource) -> Table:
        """The resource's table, made on first use."""
        table = self._tables.get(resource.key)
        if table is None:
            table = self._tables[resource.key] = Table(self._history)
            table.forgotten = 0
        return table

    def get(self, resource: Resource, namespace: str, name: str) -> Stored | None:
        """The object of this name, if there is one."""
        return self.table(resource).items.get(f"{namespace}/{name}" if namespace else name)

    def select(self, resource: Resource, namespace: str | None = None, node: str | None = None) -> list[Stored]:
        """All objects, or those of a namespace or on a node, in list order."""
        table = self.table(resource)
        chosen: dict[str, Stored] = table.items
        if node is not None:
            chosen = table.by_node.get(node, {})
            if namespace is not None:
                return [chosen[key] for key in sorted(chosen) if chosen[key].namespace == namespace]
        elif namespace is not None:
            chosen = table.by_namespace.get(namespace, {})
        return [chosen[key] for key in sorted(chosen)]

    def put(self, resource: Resource, obj: Object) -> Stored:
        """Store a new object or a new version of one; the caller gives it away and must not touch it any more."""
        before = self.get(resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        return self._apply(resource, "MODIFIED" if before else "ADDED", obj, before)

    def remove(self, resource: Resource, stored: Stored) -> Stored:
        """Remove an object; what is returned carries the version of its removal."""
        obj = {**stored.object, "metadata": dict(stored.object["metadata"])}
        return self._apply(resource, "DELETED", obj, stored)

    def _apply(self, resource: Resource, change: Change, obj: Object, before: Stored | None) -> Stored:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        event = Event(change, Stored(obj, self.version), before, self.clock.seconds())
        self.table(resource).apply(event)
        for listener in self.listeners:
            listener(resource, event)
        return event.after

    def subscribe(self, resource: Resource, version: int, namespace: str | None = None) -> Subscription:
        """A queue of the events after `version`; 410 when the history does not reach back."""
        table = self.table(resource)
        subscription = Subscription(table, namespace)
        missed = table.since(version)
        subscription.pending.extend(event for event in missed if namespace in (None, event.after.namespace))
        table.subscriptions[id(subscription)] = subscription
        return subscription

    def compact(self) -> None:
        """Forget all history: every watch from an older version gets 410, as after an etcd compaction."""
        for table in self._tables.values():
            table.history.clear()
            table.forgotten = self.version

    def end_watches(self, resources: Iterable[Resource] | None = None) -> None:
        """End all watches, or those of some resources, as a restarting API server does."""
        keys = None if resources is None else {resource.key for resource in resources}
        for key, table in self._tables.items():
            if keys is None or key in keys:
                for subscription in list(table.subscriptions.values()):
                    subscription.end()

    def tables(self) -> Sequence[Table]:
        """Every table, for those who must look through all objects."""
        return list(self._tables.values())
