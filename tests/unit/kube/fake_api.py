"""A scripted API server: each route has a list of answers, the last of which repeats."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
from kr8s.asyncio import Api

from cni_migrate.sim.clock import EPOCH


class LoopClock:
    """The clock port on the loop's time."""

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Feed(httpx.AsyncByteStream):
    """The body of a watch: events can be put in at any time, and the end, or a cut."""

    def __init__(self, *events: tuple[str, Mapping[str, Any]]) -> None:
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        for event in events:
            self.send(*event)

    def send(self, kind: str, obj: Mapping[str, Any]) -> None:
        self._queue.put_nowait(json.dumps({"type": kind, "object": obj}).encode() + b"\n")

    def raw(self, data: bytes) -> None:
        self._queue.put_nowait(data)

    def end(self) -> None:
        self._queue.put_nowait(None)

    def cut(self) -> None:
        self._queue.put_nowait(httpx.RemoteProtocolError("peer closed connection"))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            item = await self._queue.get()
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item


Reply = tuple[int, Any] | tuple[int, Any, Mapping[str, str]] | Exception | Feed
Scripted = Reply | Callable[[httpx.Request], Reply] | Callable[[httpx.Request], Coroutine[Any, Any, Reply]]


@dataclass
class Seen:
    """A request that arrived, and when."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: Mapping[str, str]
    at: float


@dataclass
class FakeServer:
    """The script, and what was asked."""

    routes: dict[tuple[str, str], list[Scripted]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def on(self, method: str, path: str, *replies: Scripted) -> None:
        self.routes[(method, path)] = list(replies)

    def asked(self, method: str, path: str) -> list[Seen]:
        return [one for one in self.seen if (one.method, one.path) == (method, path)]

    async def handle(self, request: httpx.Request) -> httpx.Response:
        content = request.content
        query = dict(request.url.params)
        watch = "?watch" if "watch" in query else ""
        path = request.url.path.rstrip("/") + watch
        body = json.loads(content) if content else None
        now = asyncio.get_running_loop().time()
        self.seen.append(Seen(request.method, path, query, body, request.headers, now))
        replies = self.routes.get((request.method, path))
        if not replies:
            return httpx.Response(404, json=status(404, "NotFound", f"no route {request.method} {path}"))
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if callable(reply):
            made = reply(request)
            reply = await made if asyncio.iscoroutine(made) else made
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, Feed):
            return httpx.Response(200, stream=reply, headers={"content-type": "application/json"})
        assert isinstance(reply, tuple)
        code, content_, headers = reply if len(reply) == 3 else (*reply, {})
        if isinstance(content_, str):
            return httpx.Response(code, text=content_, headers=headers)
        return httpx.Response(code, json=content_, headers=headers)


def status(
    code: int, reason: str, message: str = "", *, causes: tuple[tuple[str, str], ...] = (), kind: str = ""
) -> dict[str, Any]:
    """A failure `Status`."""
    details: dict[str, Any] = {"kind": kind} if kind else {}
    if causes:
        details["causes"] = [{"reason": one, "message": text} for one, text in causes]
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message or reason,
        "reason": reason, "code": code, **({"details": details} if details else {}),
    }  # fmt: skip


class FakeApi(Api):
    """kr8s on the scripted server."""

    def __init__(self, server: FakeServer, token: str = "") -> None:
        config = {
            "clusters": [{"name": "c", "cluster": {"server": "https://fake:6443"}}],
            "users": [{"name": "u", "user": {"token": token} if token else {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        super().__init__(bypass_factory=True, kubeconfig=config, namespace="default")
        self.server = server
        self.sessions = 0
        self.renewals = 0
        self.auth.server = "https://fake:6443"
        self.auth.token = token or None

    async def renew(self) -> None:
        self.renewals += 1
        self.auth.token = f"token-{self.renewals}"

    async def _create_session(self) -> None:
        self.sessions += 1
        self._session = httpx.AsyncClient(
            base_url="https://fake:6443", transport=httpx.MockTransport(self.server.handle), timeout=None
        )


def listed(*items: Mapping[str, Any], version: str = "10", more: str = "") -> tuple[int, dict[str, Any]]:
    """A list as the answer to a GET."""
    meta = {"resourceVersion": version, **({"continue": more} if more else {})}
    return 200, {"kind": "List", "apiVersion": "v1", "metadata": meta, "items": list(items)}
