"""An API served by an ASGI application in this process: an httpx transport without sockets, and kr8s on it.

Bodies stream: a watch event reaches the client when the application sends it. No threads, no sockets, so it works on a
virtual clock. Closing a response, or cancelling the caller, cancels the application's task.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

import httpx
import kr8s.asyncio

Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_NO_ANSWER = "Server disconnected without sending a response."
_BROKEN = "peer closed connection without sending complete message body (incomplete chunked read)"


class InProcessTransport(httpx.AsyncBaseTransport):
    """Sends every request to an ASGI application. httpx's own `ASGITransport` waits for the whole body."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Run the application until its answer has begun."""
        exchange = _Exchange(request.url, await request.aread())
        exchange.start(self._app, _scope(request))
        timeout = request.extensions.get("timeout", {}).get("read")
        try:
            code, headers = await exchange.head(timeout)
        except BaseException:
            await exchange.aclose()
            raise
        return httpx.Response(code, headers=headers, stream=_Body(exchange, timeout), request=request)


def _scope(request: httpx.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(key.lower(), value) for key, value in request.headers.raw],
        "server": (request.url.host, request.url.port or 80),
        "client": ("127.0.0.1", 0),
        "extensions": {"in-process": {}},
    }


class _Exchange:
    """One run of the application, and the bytes it has sent that nobody has read yet."""

    def __init__(self, url: httpx.URL, body: bytes) -> None:
        self._url = url
        self._body: bytes | None = body
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._chunks: deque[bytes] = deque()
        self._complete = False
        self._news = asyncio.Event()
        self._left = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, app: AsgiApp, scope: dict[str, Any]) -> None:
        async def run() -> None:
            await app(scope, self._receive, self._send)

        self._task = asyncio.create_task(run(), name=f"in-process {scope['method']} {scope['path']}")
        self._task.add_done_callback(lambda _: self._news.set())

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._head = (message["status"], list(message.get("headers", ())))
        else:
            if data := message.get("body", b""):
                self._chunks.append(data)
            self._complete = not message.get("more_body", False)
        self._news.set()

    async def _wait(self, timeout: float | None) -> None:  # noqa: ASYNC109 - httpx hands it over as a number
        try:
            await asyncio.wait_for(self._news.wait(), timeout)
        except TimeoutError:
            raise httpx.ReadTimeout(f"no answer from {self._url} within {timeout:g} s") from None
        self._news.clear()

    async def _failed(self, why: str) -> None:
        """The application has ended too early: raise its own exception, or say that the connection is gone."""
        assert self._task is not None
        await self._task
        raise httpx.RemoteProtocolError(why)

    async def head(self, timeout: float | None) -> tuple[int, list[tuple[bytes, bytes]]]:  # noqa: ASYNC109
        """Wait for the status and the headers."""
        assert self._task is not None
        while self._head is None:
            if self._task.done():
                await self._failed(_NO_ANSWER)
            await self._wait(timeout)
        return self._head

    async def chunks(self, timeout: float | None) -> AsyncIterator[bytes]:  # noqa: ASYNC109
        """The body as it is sent."""
        assert self._task is not None
        while True:
            while self._chunks:
                yield self._chunks.popleft()
            if self._complete:
                await self._task
                return
            if self._task.done():
                await self._failed(_BROKEN)
            await self._wait(timeout)

    async def aclose(self) -> None:
        """The client has gone: end the application."""
        self._left.set()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task


class _Body(httpx.AsyncByteStream):
    """A response's body as httpx wants it."""

    def __init__(self, exchange: _Exchange, timeout: float | None) -> None:
        self._exchange = exchange
        self._timeout = timeout

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._exchange.chunks(self._timeout):
            yield data

    async def aclose(self) -> None:
        await self._exchange.aclose()


class _InProcessApi(kr8s.asyncio.Api):
    """kr8s with its session on another transport. `_create_session` is private to kr8s: see the test that guards it."""

    def __init__(self, app: AsgiApp, **options: Any) -> None:
        super().__init__(bypass_factory=True, **options)
        self._app = app

    async def _create_session(self) -> None:
        if self._session is not None:
            await self._session.aclose()
        headers = {"User-Agent": self.__version__, "content-type": "application/json"}
        if self.auth.token:
            headers["Authorization"] = f"Bearer {self.auth.token}"
        self._session = httpx.AsyncClient(
            transport=InProcessTransport(self._app), base_url="http://simulator", headers=headers, timeout=self._timeout
        )


async def in_process_api(
    app: AsgiApp,
    *,
    token: str = "",
    timeout: float | None = None,  # noqa: ASYNC109 - becomes the client's own
) -> kr8s.asyncio.Api:
    """A kr8s client of an ASGI application in this process. Close it with `close_api`."""
    user = {"token": token} if token else {}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "simulator", "cluster": {"server": "http://simulator"}}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "simulator", "context": {"cluster": "simulator", "user": "user"}}],
        "current-context": "simulator",
    }
    api = _InProcessApi(app, kubeconfig=kubeconfig)
    api.timeout = timeout
    await api
    return api


async def close_api(api: kr8s.asyncio.Api) -> None:
    """Close the client's connections; kr8s has no call for it."""
    if api._session is not None:  # noqa: SLF001 - kr8s has no public way
        await api._session.aclose()  # noqa: SLF001
