"""The port of the world's kubelets, for a real API server: container logs over HTTPS, and nothing else.

A real API server reads `pods/log` from the node's InternalIP and `status.daemonEndpoints.kubeletEndpoint.Port`; all the
world's nodes may share one port.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit

from cni_migrate.sim.apiserver import podlogs
from cni_migrate.sim.client import ApiError
from cni_migrate.sim.world.kinds import POD
from cni_migrate.sim.world.world import World

_LONGEST = 64 * 1024


def answer(world: World, target: str) -> tuple[int, bytes]:
    """What `GET target` answers: 200 with the log, or an error and why."""
    parts = urlsplit(target)
    words = [unquote(word) for word in parts.path.split("/") if word]
    if len(words) != 4 or words[0] != "containerLogs":
        return 404, b"404 page not found\n"
    _, namespace, name, container = words
    pod = world.ctx.cluster[POD].get(name, namespace)
    if pod is None:
        return 404, f'pod "{name}" not found\n'.encode()
    try:
        options = podlogs.options_of(dict(parse_qsl(parts.query)), world.ctx.clock.now(), name)
        lines = cast("Sequence[podlogs.LogLine]", world.log(pod, container))
    except ApiError as error:
        return error.code, f"{error}\n".encode()
    return 200, podlogs.rendered(lines, options)


@asynccontextmanager
async def serve_kubelet(world: World, certificate: Path, key: Path, port: int = 0) -> AsyncIterator[int]:
    """Serve on loopback while the block runs; gives the port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError, asyncio.LimitOverrunError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, *_ = head.split(" ", 2)
            code, body = answer(world, target) if method == "GET" else (405, b"")
            writer.write(
                f"HTTP/1.1 {code} Kubelet\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", port, ssl=context, limit=_LONGEST)
    async with server:
        yield int(server.sockets[0].getsockname()[1])
