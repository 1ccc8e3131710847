"""`ports.Documents`: the driver's own ConfigMaps and its Lease, read past the cache and compared by resourceVersion."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kr8s.asyncio import Api

from cni_migrate.core.model import names
from cni_migrate.errors import Conflict
from cni_migrate.kube import paths
from cni_migrate.kube.replacing import holds
from cni_migrate.kube.request import Client
from cni_migrate.kube.transport import Answer
from cni_migrate.ports import Clock

_VERSIONS: Final = {"ConfigMap": "v1", "Lease": "coordination.k8s.io/v1"}


class KubeDocuments:
    """Documents on the API server.

    A write whose answer was lost is sent again and may then meet its own success as a 409: the object is read back, and
    if it is what was sent, that is the answer.

    A PUT carries the uid of the object that was read. Without it, a real API server answers the PUT of a Lease that was
    deleted meanwhile by creating it anew, whatever resourceVersion is sent (seen on v1.34).
    """

    def __init__(self, api: Client | Api, clock: Clock, *, deadline: float | None = None) -> None:
        """Documents behind `api`.

        Args:
            api: what `connect` gives, or `KubeCluster.client`.
            clock: the time.
            deadline: seconds for one call, retries included; default: the client's patience.
        """
        self._client = api if isinstance(api, Client) else Client(api, clock)
        self._deadline = deadline
        self._uids: dict[str, str] = {}

    async def get(self, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        """A `ConfigMap` or `Lease` straight from the API server, or None."""
        answer = await self._request("GET", _path(kind, namespace, name))
        if answer.status == 404:
            return None
        return self._known(answer, f"reading {kind} {namespace}/{name}")

    async def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create it.

        Raises:
            Conflict: it exists.
        """
        kind, namespace, name = _named(manifest)
        answer = await self._request("POST", _path(kind, namespace), manifest)
        if answer.status == 409:
            return await self._own_or_conflict(answer, manifest)
        return self._known(answer, f"creating {kind} {namespace}/{name}")

    async def replace(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replace the version that `manifest` carries.

        Raises:
            Conflict: the object has another version now, or is gone.
        """
        kind, namespace, name = _named(manifest)
        path = _path(kind, namespace, name)
        meta = {"uid": self._uids[path], **manifest["metadata"]} if path in self._uids else manifest["metadata"]
        answer = await self._request("PUT", path, {**manifest, "metadata": meta}, self._patience(manifest))
        if answer.status in (404, 409):
            return await self._own_or_conflict(answer, manifest)
        return self._known(answer, f"writing {kind} {namespace}/{name}")

    async def delete(self, read: Mapping[str, Any]) -> None:
        """Delete an object in the version that was read; one that is not there counts as deleted.

        Raises:
            Conflict: the object has another version now.
        """
        kind, namespace, name = _named(read)
        only = {"uid": read["metadata"]["uid"], "resourceVersion": read["metadata"]["resourceVersion"]}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": only}
        answer = await self._request("DELETE", _path(kind, namespace, name), options)
        if answer.status == 409:
            raise _not_as_read(kind, namespace, name, answer)
        if answer.status != 404:
            _accepted(answer, f"deleting {kind} {namespace}/{name}")

    async def list(self, kind: str, namespace: str, component: str) -> Sequence[Mapping[str, Any]]:
        """The objects of a kind that the tool has labelled as a component."""
        labels = f"{names.MANAGED_BY}={names.TOOL},{names.COMPONENT}={component}"
        answer = await self._client.request(
            "GET", _path(kind, namespace), params={"labelSelector": labels}, deadline=self._deadline, served=True
        )
        _accepted(answer, f"listing {kind}s of {namespace}")
        own = {"apiVersion": _VERSIONS[kind], "kind": kind}
        return [{**own, **item} for item in answer.object.get("items") or ()]

    async def _own_or_conflict(self, answer: Answer, sent: Mapping[str, Any]) -> Mapping[str, Any]:
        kind, namespace, name = _named(sent)
        if answer.unsure and answer.status == 409:
            live = await self.get(kind, namespace, name)
            if live is not None and holds(live, sent):
                return live
        raise _not_as_read(kind, namespace, name, answer)

    def _patience(self, manifest: Mapping[str, Any]) -> float | None:
        """A lock's renewal must fail while there is time left to notice: it gets a third of the lock's duration."""
        duration = manifest["spec"].get("leaseDurationSeconds") if manifest["kind"] == "Lease" else None
        return self._deadline if not duration else min(duration / 3, self._deadline or duration)

    async def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, deadline: float | None = None
    ) -> Answer:
        return await self._client.request(method, path, body=body, deadline=deadline or self._deadline, served=True)

    def _known(self, answer: Answer, doing: str) -> Mapping[str, Any]:
        """The object of an answer, whose uid is remembered."""
        _accepted(answer, doing)
        kind, namespace, name = _named(answer.object)
        self._uids[_path(kind, namespace, name)] = str(answer.object["metadata"].get("uid", ""))
        return answer.object


def _not_as_read(kind: str, namespace: str, name: str, answer: Answer) -> Conflict:
    return Conflict(
        f"{kind} {namespace}/{name} is not what was read: {answer.message}",
        next="another `migrate` may be at work: `migrate status` shows who holds the lock",
    )


def _accepted(answer: Answer, doing: str) -> None:
    if not answer.ok:
        raise answer.refusal(f"{doing}: the API server refuses")


def _named(manifest: Mapping[str, Any]) -> tuple[str, str, str]:
    meta = manifest["metadata"]
    return str(manifest["kind"]), str(meta["namespace"]), str(meta["name"])


def _path(kind: str, namespace: str, name: str = "") -> str:
    return paths.path(_VERSIONS[kind], paths.PLACES[kind].plural, namespace=namespace, name=name)
