"""Kubernetes Events on Nodes: what `kubectl describe node` shows of a migration. They come late rather than in the way.

What happens to a node within some seconds is one Event, and an API server that does not take them is left alone.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import structlog

from cni_migrate.core.model import names
from cni_migrate.core.model.news import News
from cni_migrate.errors import ClusterError
from cni_migrate.kube.request import Client
from cni_migrate.ports import Clock

GATHER: Final = 20.0
"""Seconds for which a node's news are gathered into one Event; what is wrong is told at once."""

PAUSE: Final = 0.2
"""Seconds between two Events: five a second at most."""

STOPPED: Final = 5.0
"""Seconds after which a process that was not at work counts as stopped, and maybe replaced: what it gathered is old."""

LONGEST: Final = 1024
"""Characters of a message that the API server takes (kubernetes: pkg/apis/core/validation/events.go)."""

NAMESPACE: Final = "default"
"""Where Events on objects without a namespace are kept, so that kubectl finds them."""

log = structlog.get_logger(__name__)


@dataclass
class _Gathered:
    news: list[News]
    due: float


class NodeEvents:
    """Sends Events while its block runs. `tell` returns at once."""

    def __init__(self, client: Client, clock: Clock, instance: str) -> None:
        """Events in the name of `instance`, which tells whose they are."""
        self._client = client
        self._clock = clock
        self._instance = instance
        self._waiting: dict[str, _Gathered] = {}
        self._more = asyncio.Event()
        self._refused = False
        self._ticked = 0.0

    def tell(self, news: News) -> None:
        """Take news in, to be sent soon."""
        if self._refused:
            return
        now = self._clock.now().timestamp()
        if not self._waiting:
            self._ticked = now
        gathered = self._waiting.setdefault(news.node, _Gathered([], now + GATHER))
        gathered.news.append(news)
        if news.warning:
            gathered.due = now
        self._more.set()

    @contextlib.asynccontextmanager
    async def sending(self, *, at_the_end: float = 2.0) -> AsyncIterator[None]:
        """Send while the block runs; what is left then is sent within so many seconds, or not."""
        task = asyncio.create_task(self._send(), name="events")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for gathered in self._waiting.values():
                gathered.due = 0.0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._send_due(), at_the_end)

    async def _send(self) -> None:
        while not self._refused:
            await self._send_due()
            self._more.clear()
            due = min((one.due for one in self._waiting.values()), default=None)
            if due is None:
                await self._more.wait()
            else:
                await self._clock.sleep(min(1.0, max(0.05, due - self._clock.now().timestamp())))

    async def _send_due(self) -> None:
        now = self._clock.now().timestamp()
        if self._waiting and now - self._ticked > STOPPED:
            self._waiting.clear()
        self._ticked = now
        for node in [node for node, one in self._waiting.items() if one.due <= now]:
            if self._refused:
                return
            await self._post(self._waiting.pop(node).news)
            await self._clock.sleep(PAUSE)
            self._ticked = self._clock.now().timestamp()

    async def _post(self, news: list[News]) -> None:
        try:
            answer = await self._client.request(
                "POST", f"/api/v1/namespaces/{NAMESPACE}/events", body=self._event(news), deadline=0
            )
        except ClusterError as error:
            log.debug("no Event was written", node=news[0].node, why=error.message)
            return
        if answer.status in (401, 403, 404):
            self._refused = True
            log.info("Events are not written on nodes: the API server refuses them", why=answer.message)

    def _event(self, news: list[News]) -> dict[str, Any]:
        last = next((one for one in reversed(news) if one.warning), news[-1])
        now = self._clock.now()
        message = "; ".join(dict.fromkeys(one.message for one in news))
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{last.node}.{int(now.timestamp() * 1e9):x}",
                "namespace": NAMESPACE,
                "labels": {names.MANAGED_BY: names.TOOL},
            },
            "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": last.node, "uid": last.uid},
            "reason": last.reason,
            "message": message if len(message) <= LONGEST else f"{message[: LONGEST - 3]}...",
            "type": "Warning" if last.warning else "Normal",
            "source": {"component": names.TOOL},
            "reportingComponent": names.TOOL,
            "reportingInstance": self._instance,
            "firstTimestamp": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "lastTimestamp": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "count": 1,
        }
