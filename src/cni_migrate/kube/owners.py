"""Which Helm release has what the migration is to put: Helm writes it into the objects' annotations (helm.sh)."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.errors import RightsMissing
from cni_migrate.kube.discovery import RESTMapper
from cni_migrate.kube.request import Client
from cni_migrate.kube.together import together

RELEASE, NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"
_PARALLEL: Final = 10


async def released(client: Client, manifests: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """By release (`namespace/name`), which of these objects are there already and are its.

    Raises:
        ClusterError: the API server does not answer.
    """
    mapper, slots = RESTMapper(client), asyncio.Semaphore(_PARALLEL)

    async def one(ref: ObjectRef) -> str:
        async with slots:
            try:
                collection = await mapper.collection(ref)
                answer = await client.request("GET", f"{collection}/{ref.name}") if collection else None
            except RightsMissing:
                return ""  # that is another finding
        if answer is None or not answer.ok:
            return ""
        annotations = answer.object["metadata"].get("annotations") or {}
        return f"{annotations.get(NAMESPACE, '')}/{annotations[RELEASE]}" if annotations.get(RELEASE) else ""

    refs = list(dict.fromkeys(map(ObjectRef.of, manifests)))
    async with together() as group:
        tasks = [group.create_task(one(ref)) for ref in refs]
    found: dict[str, tuple[str, ...]] = {}
    for ref, task in zip(refs, tasks, strict=True):
        if release := task.result():
            found[release] = (*found.get(release, ()), str(ref))
    return found
