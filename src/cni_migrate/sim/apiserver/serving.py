"""The simulated API server on a loopback port, and a kubeconfig that leads there."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn

from cni_migrate.sim.apiserver.app import ApiServer

HOST = "127.0.0.1"


def listen(port: int = 0) -> socket.socket:
    """A listening socket on loopback; port 0 takes a free one."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: Ctrl-C belongs to the program."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def _server(app: ApiServer) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="critical",
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=3600,
    )
    return _Server(config)


async def serve(app: ApiServer, port: int = 0) -> None:
    """Serve until cancelled."""
    async with serving(app, port):
        await asyncio.Event().wait()


@asynccontextmanager
async def serving(app: ApiServer, port: int = 0) -> AsyncIterator[str]:
    """Serve while the block runs; gives the URL."""
    listener = listen(port)
    server = _server(app)
    task = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0.01)
        yield f"http://{HOST}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        app.store.end_watches()
        await task
        listener.close()


def write_kubeconfig(path: Path, url: str, *, token: str = "", context: str = "simulator") -> Path:
    """A kubeconfig for a served simulator; JSON, which is YAML."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {"server": url}}],
        "users": [{"name": context, "user": {"token": token} if token else {}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=2) + "\n")
    return path
