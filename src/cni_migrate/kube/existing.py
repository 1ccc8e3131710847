"""What of a list of objects is there: asked one by one, so that nothing needs the right to list."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.kube.discovery import RESTMapper
from cni_migrate.kube.reading import read
from cni_migrate.kube.request import Client
from cni_migrate.kube.together import together


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is there."""

    uid: str
    labels: Mapping[str, str]
    deleting: bool


async def existing(client: Client, refs: Iterable[ObjectRef]) -> dict[ObjectRef, Found]:
    """Those of the objects that are there, straight from the API server.

    Raises:
        ClusterError: the API server does not answer, or does not allow it.
    """
    mapper = RESTMapper(client)

    async def one(ref: ObjectRef) -> Found | None:
        collection = await mapper.collection(ref)
        if collection is None:
            return None
        found = await read(client, f"{collection}/{ref.name}", ref)
        if found is None:
            return None
        meta = found["metadata"]
        return Found(str(meta["uid"]), dict(meta.get("labels") or {}), bool(meta.get("deletionTimestamp")))

    async with together() as group:
        asked = {ref: group.create_task(one(ref)) for ref in refs}
    return {ref: there for ref, task in asked.items() if (there := task.result()) is not None}
