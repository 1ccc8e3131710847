"""Documents and time for the engine's tests: an API server's rules for two kinds, and a clock on a virtual loop."""

import asyncio
import copy
import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cni_migrate.core.model import names
from cni_migrate.errors import ClusterUnreachable, Conflict
from cni_migrate.sim.clock import SimClock

Key = tuple[str, str, str]


class VirtualClock:
    """`ports.Clock` on the running (virtual) loop."""

    def __init__(self) -> None:
        self._clock = SimClock()

    def now(self) -> datetime:
        """The present instant."""
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time."""
        await asyncio.sleep(seconds)


class FakeDocuments:
    """ConfigMaps and Leases with uid and resourceVersion.

    `down` makes every request fail, `slow` seconds after it was sent; `dies_after` makes all writes after so many fail;
    `writes` lists the names that were written.
    """

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.down = False
        self.slow = 0.0
        self.dies_after: int | None = None
        self.writes: list[str] = []
        self._versions = itertools.count(1)

    def data(self, name: str) -> dict[str, str]:
        """A ConfigMap's data."""
        return dict(self.objects["ConfigMap", "cni-migrate", name]["data"])

    def edit(self, name: str, **data: str) -> None:
        """Change a ConfigMap behind everyone's back, as `kubectl edit` does."""
        found = copy.deepcopy(self.objects["ConfigMap", "cni-migrate", name])
        found["data"].update(data)
        self._put(("ConfigMap", "cni-migrate", name), found, found["metadata"]["uid"])

    async def get(self, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The object, or None."""
        await self._answer()
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    async def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create it, or Conflict."""
        await self._answer()
        key = _key(manifest)
        if key in self.objects:
            raise Conflict(f"{key[2]} exists")
        return self._put(key, manifest, f"uid-{next(self._versions)}")

    async def replace(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replace the version that was read, or Conflict."""
        await self._answer()
        key = _key(manifest)
        found = self.objects.get(key)
        if found is None or found["metadata"]["resourceVersion"] != manifest["metadata"]["resourceVersion"]:
            raise Conflict(f"{key[2]} has changed")
        return self._put(key, manifest, found["metadata"]["uid"])

    async def delete(self, read: Mapping[str, Any]) -> None:
        """Delete the version that was read, or Conflict."""
        await self._answer()
        key = _key(read)
        found = self.objects.get(key)
        if found is not None and found["metadata"]["resourceVersion"] != read["metadata"]["resourceVersion"]:
            raise Conflict(f"{key[2]} has changed")
        if self.dies_after is not None and len(self.writes) >= self.dies_after:
            raise ClusterUnreachable("the process was killed here")
        self.objects.pop(key, None)
        self.writes.append(f"-{key[2]}")

    async def list(self, kind: str, namespace: str, component: str) -> Sequence[Mapping[str, Any]]:
        """The objects with the label of a component."""
        await self._answer()
        return [
            copy.deepcopy(one)
            for (of, where, _), one in self.objects.items()
            if (of, where) == (kind, namespace) and one["metadata"].get("labels", {}).get(names.COMPONENT) == component
        ]

    def remove(self, name: str, kind: str = "ConfigMap") -> None:
        """Delete an object behind everyone's back, as `kubectl delete` does."""
        self.objects.pop((kind, "cni-migrate", name), None)

    async def _answer(self) -> None:
        await asyncio.sleep(self.slow)
        if self.down:
            raise ClusterUnreachable("connection refused")

    def _put(self, key: Key, manifest: Mapping[str, Any], uid: str) -> dict[str, Any]:
        if self.dies_after is not None and len(self.writes) >= self.dies_after:
            raise ClusterUnreachable("the process was killed here")
        stored = copy.deepcopy(dict(manifest))
        stored["metadata"] = {**stored["metadata"], "uid": uid, "resourceVersion": str(next(self._versions))}
        self.objects[key] = stored
        self.writes.append(key[2])
        return copy.deepcopy(stored)


def _key(manifest: Mapping[str, Any]) -> Key:
    return manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]
