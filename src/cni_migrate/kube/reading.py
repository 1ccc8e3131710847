"""One object, straight from the API server."""

from collections.abc import Mapping
from typing import Any

from cni_migrate.kube.request import Client


async def read(client: Client, path: str, what: object) -> Mapping[str, Any] | None:
    """The object at a path, `what` in words; None when it is not there.

    Raises:
        ClusterError: the API server does not answer, or does not give it.
    """
    answer = await client.request("GET", path)
    if answer.status == 404:
        return None
    if not answer.ok:
        raise answer.refusal(f"{what} cannot be read")
    return answer.object
