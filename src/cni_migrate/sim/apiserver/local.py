"""The simulated world's door: `sim.client.Client` straight on the machinery, without HTTP and without JSON.

The same validation, conflicts and events as over HTTP; no authorization, no faults, no counting.
"""

import asyncio
from collections.abc import AsyncIterator

from cni_migrate.sim.apiserver import binding, deletion, eviction, status
from cni_migrate.sim.apiserver.machinery import Machinery
from cni_migrate.sim.apiserver.options import Query, Write
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.store import Stored
from cni_migrate.sim.client import EventType, Kind, Object, Objects, PatchType


class LocalClient:
    """A client in the API server's own process, writing as `manager`.

    Every call lets other tasks run first, as a call over the network would.
    """

    def __init__(self, machinery: Machinery, manager: str = "simulator") -> None:
        self._machinery = machinery
        self._write = Write(manager)

    def _resource(self, kind: Kind) -> Resource:
        return self._machinery.catalog.of(kind)

    async def list(
        self, kind: Kind, *, namespace: str | None = None, label_selector: str = "", field_selector: str = ""
    ) -> tuple[list[Object], str]:
        """All matching objects and the list's resourceVersion."""
        await asyncio.sleep(0)
        page = self._machinery.list(self._resource(kind), namespace, Query(label_selector, field_selector))
        return [_read(item, kind) for item in page.items], str(page.version)

    async def watch(
        self, kind: Kind, *, resource_version: str, namespace: str | None = None
    ) -> AsyncIterator[tuple[EventType, Object]]:
        """Changes after `resource_version`, without end unless the resource goes away; 410 when too old."""
        subscription = self._machinery.store.subscribe(self._resource(kind), int(resource_version), namespace)
        try:
            while True:
                await subscription.wait(None)
                while subscription.pending:
                    event = subscription.pending.popleft()
                    yield event.change, _read(event.after, kind)
                if subscription.ended:
                    return
        finally:
            subscription.close()

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """One object."""
        await asyncio.sleep(0)
        return _read(self._machinery.get(self._resource(kind), namespace or "", name), kind)

    async def create(self, kind: Kind, body: Object, namespace: str | None = None) -> Object:
        """Create, answer what was stored."""
        await asyncio.sleep(0)
        resource = self._resource(kind)
        where = namespace or body.get("metadata", {}).get("namespace") or ""
        return _read(self._machinery.create(resource, where, body, self._write), kind)

    async def update(self, kind: Kind, body: Object, namespace: str | None = None, *, subresource: str = "") -> Object:
        """Replace (PUT)."""
        await asyncio.sleep(0)
        meta = body["metadata"]
        where = namespace or meta.get("namespace") or ""
        stored, _ = self._machinery.update(self._resource(kind), where, meta["name"], body, subresource, self._write)
        return _read(stored, kind)

    async def patch(
        self,
        kind: Kind,
        name: str,
        body: Object | Objects,
        namespace: str | None = None,
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
    ) -> Object:
        """Patch the object or its status."""
        await asyncio.sleep(0)
        stored = self._machinery.patch(
            self._resource(kind), namespace or "", name, body, patch_type, subresource, self._write
        )
        return _read(stored, kind)

    async def delete(
        self, kind: Kind, name: str, namespace: str | None = None, *, grace: int | None = None, uid: str = ""
    ) -> None:
        """Delete, with a grace period in seconds and a uid precondition when given."""
        await asyncio.sleep(0)
        options = deletion.Options(grace=grace, uid=uid)
        self._machinery.delete(self._resource(kind), namespace or "", name, options, self._write)

    async def create_subresource(self, kind: Kind, name: str, namespace: str, subresource: str, body: Object) -> Object:
        """POST to `pods/binding` or `pods/eviction`."""
        await asyncio.sleep(0)
        posts = {"binding": binding.bind, "eviction": eviction.evict}
        if kind.plural != "pods" or subresource not in posts:
            raise status.no_such_path()
        return posts[subresource](self._machinery, namespace, name, body, False)


def _read(stored: Stored, kind: Kind) -> Object:
    """The object in the version it is asked for; it is shared."""
    if stored.object["apiVersion"] == kind.api_version:
        return stored.object
    return {**stored.object, "apiVersion": kind.api_version}
