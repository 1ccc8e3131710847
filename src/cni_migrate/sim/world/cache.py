"""The world's copy of the API's objects, kept by watches, and its writes, which update that copy at once."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cni_migrate.sim.client import ApiError, Client, Kind, Object, PatchType
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.kinds import CRD, LATE, WATCHED

Handler = Callable[[Object | None, Object | None], None]
"""Called with the former and the present version; None where there is none."""

_NOTHING: Mapping[meta.Key, Object] = {}


class Informer:
    """All objects of one kind by key, with indexes, and those who want to know of changes.

    Versions only go forward: what a watch brings later than a write's own answer is skipped. The handlers see each
    version at most once.
    """

    def __init__(self, client: Client, kind: Kind) -> None:
        self._client = client
        self.kind = kind
        self.items: dict[meta.Key, Object] = {}
        self._seen = 0
        self._handlers: list[Handler] = []
        self._indexes: dict[str, tuple[Callable[[Object], str], dict[str, dict[meta.Key, Object]]]] = {}

    def index(self, name: str, value: Callable[[Object], str]) -> None:
        """Keep an index; objects for which `value` is empty are not in it."""
        self._indexes[name] = (value, {})

    def on_change(self, handler: Handler) -> None:
        """Tell `handler` of every change from now on."""
        self._handlers.append(handler)

    def get(self, name: str, namespace: str = "") -> Object | None:
        """The object of this name."""
        return self.items.get((namespace, name))

    def by(self, index: str, value: str) -> Iterable[Object]:
        """The objects with this value in an index, oldest entry first."""
        return self._indexes[index][1].get(value, _NOTHING).values()

    def count(self, index: str, value: str) -> int:
        """How many objects have this value in an index."""
        return len(self._indexes[index][1].get(value, _NOTHING))

    def put(self, obj: Object, *, watched: bool = False) -> None:
        """Take over a version, from the watch or from the answer of a write."""
        version = meta.version(obj)
        place = meta.key(obj)
        old = self.items.get(place)
        stale = old is not None and meta.version(old) >= version
        gone = old is None and not watched and version <= self._seen
        if watched:
            self._seen = max(self._seen, version)
        if stale or gone:
            return
        if old is not None and meta.uid(old) != meta.uid(obj):
            self._drop(place, old)
            old = None
        self.items[place] = obj
        for value, entries in self._indexes.values():
            before = value(old) if old is not None else ""
            after = value(obj)
            if before and before != after:
                entries[before].pop(place, None)
            if after:
                entries.setdefault(after, {})[place] = obj
        for handler in self._handlers:
            handler(old, obj)

    def remove(self, obj: Object) -> None:
        """The object is gone from the API."""
        self._seen = max(self._seen, meta.version(obj))
        place = meta.key(obj)
        old = self.items.get(place)
        if old is not None and meta.uid(old) == meta.uid(obj):
            self._drop(place, old)

    def _drop(self, place: meta.Key, old: Object) -> None:
        del self.items[place]
        for value, entries in self._indexes.values():
            before = value(old)
            if before:
                entries[before].pop(place, None)
        for handler in self._handlers:
            handler(old, None)

    def clear(self) -> None:
        """Nothing of this kind is there any more."""
        for place, old in list(self.items.items()):
            self._drop(place, old)

    async def fill(self) -> str:
        """List: take over what is there, forget what is not. Answers the version to watch from."""
        objects, version = await self._client.list(self.kind)
        present = {meta.key(obj): meta.uid(obj) for obj in objects}
        for place, old in list(self.items.items()):
            if present.get(place) != meta.uid(old):
                self._drop(place, old)
        for obj in objects:
            self.put(obj)
        self._seen = max(self._seen, int(version))
        return version

    async def follow(self, version: str) -> None:
        """Watch for ever, from a list's version; list again when the server has forgotten it."""
        while True:
            try:
                async for change, obj in self._client.watch(self.kind, resource_version=version):
                    version = obj["metadata"]["resourceVersion"]
                    if change == "DELETED":
                        self.remove(obj)
                    elif change in ("ADDED", "MODIFIED"):
                        self.put(obj, watched=True)
            except ApiError as error:
                if error.code != 410:
                    raise
                version = await self.fill()
            await asyncio.sleep(0)


class Cluster:
    """The API as the world uses it: informers to read from, and writes that keep them current.

    A write answers None when its object is gone or was replaced (404, or 409 on a uid), which for a controller is no
    error but news that its watch will bring. Every other refusal is raised.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.informers = {kind: Informer(client, kind) for kind in WATCHED}
        self.late = {kind: Informer(client, kind) for kind in LATE}
        """The same for what is served only once somebody has installed it."""
        self._doomed: set[str] = set()
        self._served = asyncio.Event()
        for informer in self.informers.values():
            informer.on_change(self._forget_doomed)
        self[CRD].on_change(lambda old, new: self._served.set())

    def __getitem__(self, kind: Kind) -> Informer:
        found = self.informers.get(kind)
        return found if found is not None else self.late[kind]

    async def follow_late(self) -> None:
        """Follow each late kind from when it is served until it is served no more, and so on for ever."""
        following: dict[Kind, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                await self._served.wait()
                self._served.clear()
                for kind, informer in self.late.items():
                    if kind in following and not following[kind].done():
                        continue
                    if f"{kind.plural}.{kind.group}" in {meta.name(one) for one in self[CRD].items.values()}:
                        following[kind] = group.create_task(self._while_served(informer))

    async def _while_served(self, informer: Informer) -> None:
        try:
            await informer.follow(await informer.fill())
        except ApiError as error:
            if error.code != 404:
                raise
            informer.clear()

    def _forget_doomed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            self._doomed.discard(meta.uid(old))

    def leaving(self, obj: Object) -> bool:
        """Whether the object is being deleted, or will be: this world has asked for it and the watch lags."""
        return meta.terminating(obj) or meta.uid(obj) in self._doomed

    def _keep(self, kind: Kind, obj: Object) -> Object:
        informer = self.informers.get(kind) or self.late.get(kind)
        if informer is not None:
            informer.put(obj)
        return obj

    async def find(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """Read one object from the server; None when it (or its resource) is not there."""
        try:
            return await self.client.get(kind, name, namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def create(self, kind: Kind, body: Object) -> Object | None:
        """Create; None when the name is taken, or the namespace or the resource is not there (any more)."""
        try:
            stored = await self.client.create(kind, body, body["metadata"].get("namespace"))
        except ApiError as error:
            if error.code in (403, 404, 409):
                return None
            raise
        return self._keep(kind, stored)

    async def patch(
        self,
        kind: Kind,
        obj: Object,
        body: Object | list[Object],
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
    ) -> Object | None:
        """Patch; with `metadata.resourceVersion` in the body None also means that the object has changed."""
        namespace = obj["metadata"].get("namespace")
        try:
            stored = await self.client.patch(
                kind, meta.name(obj), body, namespace, patch_type=patch_type, subresource=subresource
            )
        except ApiError as error:
            if error.code in (404, 409) or (error.code == 422 and "metadata.uid" in str(error)):
                return None
            raise
        return self._keep(kind, stored)

    async def patch_status(self, kind: Kind, obj: Object, status: Mapping[str, Any]) -> Object | None:
        """Merge into the status; lists in it are replaced. Never touches a successor of the same name."""
        body = {"metadata": {"uid": meta.uid(obj)}, "status": dict(status)}
        return await self.patch(kind, obj, body, subresource="status")

    async def delete(self, kind: Kind, obj: Object, grace: int | None = None) -> bool:
        """Delete exactly this object; False when it was gone or replaced."""
        namespace = obj["metadata"].get("namespace")
        if kind in self.informers:
            self._doomed.add(meta.uid(obj))
        try:
            await self.client.delete(kind, meta.name(obj), namespace, grace=grace, uid=meta.uid(obj))
        except ApiError as error:
            if error.code in (404, 409):
                return False
            raise
        return True
