"""One ASGI exchange: reading the request, writing the answer, and knowing when the client has gone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager, suppress
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = "application/json"
_CUT_LENGTH = 1 << 20


class Gone(Exception):
    """The connection is cut on purpose; nothing more can be sent."""


class Wire:
    """The answer's side of an exchange."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope.get("headers", ())}
        self.code = 0
        self.size = 0

    async def body(self) -> bytes:
        """The whole body of the request."""
        chunks: list[bytes] = []
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise Gone
            chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                return b"".join(chunks)

    async def start(self, code: int, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Send the head of the answer."""
        self.code = code
        fields = {"content-type": content_type, **(headers or {})}
        encoded = [(key.lower().encode(), value.encode()) for key, value in fields.items()]
        await self._send({"type": "http.response.start", "status": code, "headers": encoded})

    async def chunk(self, data: bytes, *, more: bool = True) -> None:
        """Send a part of the body."""
        self.size += len(data)
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(
        self, code: int, data: bytes, content_type: str = JSON, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole answer."""
        await self.start(code, content_type, {"content-length": str(len(data)), **(headers or {})})
        await self.chunk(data, more=False)

    async def cut(self) -> None:
        """Break the connection: the client sees it end in the middle.

        An ASGI application cannot close a socket, but ending without the promised body makes any server do so. In
        process, where there is no socket, simply nothing more is sent.
        """
        if not self.code and "in-process" not in self._scope.get("extensions", {}):
            await self.start(200, JSON, {"content-length": str(_CUT_LENGTH)})
            await self.chunk(b"{")
        self.code = 0
        raise Gone

    @asynccontextmanager
    async def when_client_leaves(self, stop: Callable[[], None]) -> AsyncIterator[None]:
        """Call `stop` when the client disconnects while the block runs."""

        async def listen() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass
            stop()

        listener = asyncio.create_task(listen())
        try:
            yield
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener
