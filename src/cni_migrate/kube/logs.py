"""What pods print: the prober reads the agents' reports this way, which needs neither exec nor a way to the pod."""

import asyncio
from typing import Final

from kr8s.asyncio import Api

from cni_migrate.errors import ClusterError
from cni_migrate.kube import paths
from cni_migrate.kube.request import Client
from cni_migrate.ports import Clock

PARALLEL: Final = 16
"""How many logs are read at once: the API server holds a connection to a kubelet for each."""


class LogUnavailable(ClusterError):
    """A pod's log cannot be read now; the message says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class KubeLogs:
    """Reads the tail of logs, one try each: whoever reads reports will come again anyway."""

    def __init__(self, api: Client | Api, clock: Clock, *, parallel: int = PARALLEL) -> None:
        self._client = api if isinstance(api, Client) else Client(api, clock)
        self._slots = asyncio.Semaphore(parallel)

    async def tail(self, namespace: str, pod: str, lines: int, since_seconds: int | None = None) -> str:
        """The last lines of a pod's only container.

        Raises:
            LogUnavailable: the pod, its node, or the API server does not give it.
        """
        params = {"tailLines": str(lines)}
        if since_seconds is not None:
            params["sinceSeconds"] = str(max(1, since_seconds))
        path = paths.path("v1", "pods", namespace=namespace, name=pod, sub="log")
        async with self._slots:
            try:
                answer = await self._client.request("GET", path, params=params, accept="*/*", deadline=0)
            except ClusterError as error:
                raise LogUnavailable(str(error.__cause__ or error)) from error
        if not answer.ok:
            raise LogUnavailable(answer.message)
        return answer.text
