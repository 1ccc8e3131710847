"""The agents' reports by the API server's proxy: for clusters where logs cannot be read and pods can be reached."""

import asyncio
import json
from typing import Final

from cni_migrate.errors import ClusterError
from cni_migrate.kube import paths
from cni_migrate.kube.request import Client

PARALLEL: Final = 16
"""How many pods are asked at once: the API server opens a connection to each."""

PORT: Final = 8080
"""Where the agents answer HTTP."""


class PageUnavailable(ClusterError):
    """A pod's page cannot be read now; the message says why."""


class KubePages:
    """Reads the agents' `/report`, one try each: whoever reads reports will come again anyway."""

    def __init__(self, client: Client, *, parallel: int = PARALLEL) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(parallel)

    async def tail(self, namespace: str, pod: str, lines: int) -> str:
        """The last lines that an agent has reported, the newest last.

        Raises:
            PageUnavailable: the pod, or the API server, does not give it.
        """
        path = paths.path("v1", "pods", namespace=namespace, name=f"{pod}:{PORT}", sub="proxy/report")
        async with self._slots:
            try:
                answer = await self._client.request("GET", path, params={"lines": str(lines)}, accept="*/*", deadline=0)
            except ClusterError as error:
                raise PageUnavailable(str(error.__cause__ or error)) from error
        if not answer.ok:
            raise PageUnavailable(answer.message)
        # A single line that is declared as some kind of JSON has been decoded on the way.
        return answer.json if isinstance(answer.json, str) else json.dumps(answer.json)
