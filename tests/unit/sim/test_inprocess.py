"""The in-process transport: streaming, closing, cancelling, time-outs, and kr8s on it."""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx
import kr8s
import kr8s.asyncio
import pytest
from kr8s.asyncio.objects import ConfigMap, Node

from cni_migrate.kube.inprocess import InProcessTransport, close_api, in_process_api
from tests.unit.sim.support import CONFIGMAP, configmap, http, now, server, virtual

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Endless:
    """An application that sends a chunk every minute and notes how it ended."""

    def __init__(self) -> None:
        self.ended = ""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise


def client(app: Any, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=InProcessTransport(app), base_url="http://sim", **options)


@virtual
async def test_chunks_arrive_as_they_are_sent() -> None:
    """Not when the body is complete, for it never is; leaving the block ends the application."""
    app = Endless()
    times = []
    async with client(app, timeout=None) as session, session.stream("GET", "/") as answer:
        async for _ in answer.aiter_lines():
            times.append(now())
            if len(times) == 3:
                break
    assert times == [0.0, 60.0, 120.0]
    assert app.ended == "cancelled"


@virtual
async def test_cancelling_the_caller() -> None:
    """It cancels the application too."""
    app = Endless()
    async with client(app, timeout=None) as session:
        task = asyncio.create_task(session.get("/"))
        await asyncio.sleep(90)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert app.ended == "cancelled"


@virtual
async def test_read_timeout() -> None:
    """Between chunks, in virtual time."""
    app = Endless()
    async with client(app, timeout=10) as session:
        with pytest.raises(httpx.ReadTimeout):
            await session.get("/")
    assert now() == 10
    assert app.ended == "cancelled"


@virtual
async def test_broken_answers() -> None:
    """An application that ends too early is a lost connection; its exceptions come out as they are."""

    async def silent(scope: Message, receive: Receive, send: Send) -> None:
        return None

    async def half(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})

    async def buggy(scope: Message, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    for app, expected in (
        (silent, httpx.RemoteProtocolError),
        (half, httpx.RemoteProtocolError),
        (buggy, ZeroDivisionError),
    ):
        async with client(app) as session:
            with pytest.raises(expected):
                await session.get("/")


@virtual
async def test_no_task_is_left() -> None:
    """Neither by requests nor by watches that were closed."""
    app = server()
    async with http(app) as session:
        for _ in range(3):
            await session.get("/api/v1/nodes")
        async with session.stream("GET", "/api/v1/nodes", params={"watch": "1"}):
            await asyncio.sleep(1)
        assert len(asyncio.all_tasks()) == 1
        assert app.store.table(app.catalog.find("", "v1", "nodes")).subscriptions == {}


@virtual
async def test_kr8s_reads_and_writes() -> None:
    """Objects by class, by name, in all namespaces; discovery; errors."""
    app = server()
    await app.client().create(CONFIGMAP, configmap("a", k="v"), "default")
    api = await in_process_api(app)
    node = await Node({"metadata": {"name": "n"}}, api=api)
    await node.create()
    await node.cordon()
    await node.refresh()
    assert node.unschedulable
    found = [item async for item in ConfigMap.list(api=api, namespace=kr8s.ALL)]
    assert "a" in {item["metadata"]["name"] for item in found}
    assert {"nodes", "pods", "daemonsets"} <= {item["name"] for item in await api.api_resources()}
    with pytest.raises(kr8s.ServerError) as caught:
        async with api.call_api("POST", url="nodes", content=json.dumps({"metadata": {"name": "n"}})):
            pass
    assert caught.value.response is not None
    assert caught.value.response.json()["reason"] == "AlreadyExists"
    await close_api(api)


@virtual
async def test_kr8s_watch_in_virtual_time() -> None:
    """Events minutes apart arrive in order, at their instants."""
    app = server()
    api = await in_process_api(app)
    version = str(app.store.version)

    async def later() -> None:
        for name in ("a", "b"):
            await asyncio.sleep(300)
            await app.client().create(CONFIGMAP, configmap(name), "default")

    task = asyncio.create_task(later())
    seen = []
    query = {"watch": "true", "resourceVersion": version}
    async with api.call_api("GET", url="configmaps", params=query, stream=True, timeout=None) as answer:
        async for line in answer.aiter_lines():
            seen.append((json.loads(line)["object"]["metadata"]["name"], now()))
            if len(seen) == 2:
                break
    assert seen == [("a", 300.0), ("b", 600.0)]
    await task
    await close_api(api)


@virtual
async def test_kr8s_token() -> None:
    """The client's token is what the server sees."""
    app = server(tokens={"secret": "me"})
    api = await in_process_api(app, token="secret")
    async with api.call_api("GET", url="nodes") as answer:
        assert answer.status_code == 200
    await close_api(api)


def test_the_private_seams_of_kr8s() -> None:
    """What the in-process client overrides and reads still is there, and still is used by kr8s."""
    source = inspect.getsource(kr8s.asyncio.Api.call_api)
    assert "await self._create_session()" in source
    assert "self._session" in source
    constructor = inspect.getsource(kr8s.asyncio.Api)
    for name in ("bypass_factory", "_session", "_timeout", "kubeconfig"):
        assert name in constructor
    assert inspect.iscoroutinefunction(kr8s.asyncio.Api._create_session)
