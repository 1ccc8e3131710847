"""A whole collection of the API, page by page."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from cni_migrate.kube.request import Client


async def listed(
    client: Client, path: str, params: Mapping[str, str] | None = None, accept: str = "application/json"
) -> AsyncGenerator[Mapping[str, Any]]:
    """The items of a collection; one that is not served has none.

    Raises:
        ClusterError: it may not be listed, or the API server does not answer.
    """
    query = {**(params or {}), "limit": "500"}
    while True:
        answer = await client.request("GET", path, params=query, accept=accept)
        if answer.status == 404:
            return
        if answer.status == 410 and (rest := (answer.object.get("metadata") or {}).get("continue")):
            # The first page is too old by now: the rest as it is today (kubernetes.io: "API Concepts", 410 Gone).
            query["continue"] = rest
            continue
        if not answer.ok:
            raise answer.refusal(f"listing {path}")
        for item in answer.object.get("items") or ():
            yield item
        more = (answer.object.get("metadata") or {}).get("continue")
        if not more:
            return
        query["continue"] = more
