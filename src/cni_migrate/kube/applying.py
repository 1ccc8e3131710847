"""Makes objects of ours be as they should: created when missing, replaced when they differ."""

from collections.abc import Mapping
from typing import Any, Final

from cni_migrate.core.model.attempts import Result
from cni_migrate.core.model.effects import AS_IT_WAS, CHANGED, GONE, MADE_ONCE, KeepObject, PutObject
from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.kube.cache import Cache
from cni_migrate.kube.discovery import RESTMapper
from cni_migrate.kube.replacing import intact, replacement, same
from cni_migrate.kube.request import Client
from cni_migrate.kube.transport import Answer

_BRINGERS: Final = ("CustomResourceDefinition", "DaemonSet", "Deployment")
"""Kinds whose programs may register Cilium's kinds."""

Outcome = tuple[Result, str]


class Applier:
    """Writes whole objects, and has the cache know what the API server answered."""

    def __init__(self, client: Client, cache: Cache, mapper: RESTMapper) -> None:
        self._client = client
        self._cache = cache
        self._mapper = mapper

    async def put(self, effect: PutObject) -> Outcome:
        """Install an object: most are not there yet."""
        ref, manifest = effect.ref, effect.manifest
        collection = await self._mapper.collection(ref)
        if collection is None:
            return "blocked", f"{ref.api_version} {ref.kind} is not served yet"
        answer = await self._client.request("POST", collection, body=manifest)
        if ref.kind in _BRINGERS:
            self._cache.cilium.hurry()
        if answer.status == 404 and answer.object.get("details", {}).get("kind") != "namespaces":
            return "blocked", f"{ref.api_version} {ref.kind} is not served yet"
        if answer.status != 409 or answer.reason != "AlreadyExists":
            return self.written(answer)
        found = await self._client.request("GET", f"{collection}/{ref.name}")
        if found.status == 404:
            return "conflict", f"{ref} was deleted meanwhile"
        if ref.kind == "Job" and found.ok and not found.object["metadata"].get("deletionTimestamp"):
            return "applied", AS_IT_WAS  # it has begun, and a PUT is refused: selector and template are immutable
        return await self._replaced(manifest, found, f"{collection}/{ref.name}")

    async def keep(self, effect: KeepObject) -> Outcome:
        """See that an object is as it was installed: most are. `GONE` or `CHANGED` says which was not."""
        ref, manifest = effect.ref, effect.manifest
        collection = await self._mapper.collection(ref)
        if collection is None:
            return "blocked", f"{ref.api_version} {ref.kind} is not served"
        found = await self._client.request("GET", f"{collection}/{ref.name}")
        if found.status == 404:
            result, message = self.written(await self._client.request("POST", collection, body=manifest))
            return result, GONE if result == "applied" else message
        stays = found.ok and not found.object["metadata"].get("deletionTimestamp")
        if stays and (ref.kind in MADE_ONCE or intact(found.object, manifest)):
            return "applied", AS_IT_WAS
        return await self._replaced(manifest, found, f"{collection}/{ref.name}")

    async def _replaced(self, manifest: Mapping[str, Any], found: Answer, place: str) -> Outcome:
        if not found.ok:
            return refused(found)
        live = found.object
        if live["metadata"].get("deletionTimestamp"):
            return "blocked", f"{ObjectRef.of(manifest)} is being deleted: it can be made again once it is gone"
        body = replacement(manifest, live)
        if same(body, live):
            self._cache.fold(live)
            return "applied", AS_IT_WAS
        answer = await self._client.request("PUT", place, body=body)
        result, message = self.written(answer)
        if result != "applied":
            return result, message
        before, after = (one["metadata"].get("resourceVersion") for one in (live, answer.object))
        return "applied", CHANGED if before != after else AS_IT_WAS

    def written(self, answer: Answer) -> Outcome:
        """What the answer to a write of one object means."""
        if answer.ok:
            self._cache.fold(answer.object)
            return "applied", ""
        if answer.status == 409 and not answer.by_admission:
            return "conflict", answer.message
        return refused(answer)


def refused(answer: Answer) -> Outcome:
    """A refusal that has no meaning of its own for the effect.

    kubectl's drain repeats what a terminating namespace forbids (drain.go), and nothing else. A 404 without a reason is
    that of a proxy on the way, or of a kind that is not served yet.
    """
    if answer.status == 404 and not answer.reason and not answer.by_admission:
        return "blocked", answer.message
    if answer.status == 403 and answer.cause("NamespaceTerminating") is not None:
        return "blocked", answer.message
    return "failed", answer.message
