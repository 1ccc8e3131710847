"""The port: what only a real socket shows."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from cni_migrate.sim.apiserver.hooks import Fault
from cni_migrate.sim.apiserver.serving import serve, serving, write_kubeconfig
from tests.unit.sim.support import CONFIGMAP, NODE, configmap, server


def test_requests_and_watches() -> None:
    """A watch streams over the socket; leaving it ends its subscription; the end of serving ends all others."""

    async def main() -> None:
        app = server()
        async with httpx.AsyncClient(timeout=10) as client:
            async with serving(app) as url:
                assert (await client.get(f"{url}/readyz")).text == "ok"
                path = f"{url}/api/v1/nodes?watch=1&resourceVersion=1"
                async with client.stream("GET", path) as answer:
                    await app.client().create(NODE, {"metadata": {"name": "n"}})
                    line = await anext(answer.aiter_lines())
                    assert json.loads(line)["object"]["metadata"]["name"] == "n"
                table = app.store.table(app.catalog.of(NODE))
                for _ in range(100):
                    if not table.subscriptions:
                        break
                    await asyncio.sleep(0.05)
                assert not table.subscriptions
                left = asyncio.create_task(client.get(f"{url}/api/v1/nodes?watch=1&resourceVersion=100"))
                await asyncio.sleep(0.2)
            assert (await left).content == b""

    asyncio.run(main())


@pytest.mark.parametrize(("cut", "applied"), [("before", False), ("after", True)])
def test_cut_connection(cut: str, applied: bool) -> None:
    """On a socket, too, the client is left without an answer."""

    async def main() -> None:
        app = server()
        app.hooks.faults.append(Fault("POST", cut="before" if cut == "before" else "after"))
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=10) as client:
            path = "/api/v1/namespaces/default/configmaps"
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(path, json=configmap("a"))
            assert (await client.get(f"{path}/a")).is_success is applied

    asyncio.run(main())


def test_cut_watch() -> None:
    """It breaks in the middle, after the events that were to come through."""

    async def main() -> None:
        app = server()
        app.hooks.faults.append(Fault("GET", "watch=1", watch="cut", events=1))
        version = str(app.store.version)
        for name in ("a", "b"):
            await app.client().create(CONFIGMAP, configmap(name), "default")
        seen: list[str] = []
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=10) as client:
            query = {"watch": "1", "resourceVersion": version}

            async def read() -> None:
                async with client.stream("GET", "/api/v1/configmaps", params=query) as answer:
                    async for line in answer.aiter_lines():
                        seen.append(line)  # noqa: PERF401 - those before the cut count

            with pytest.raises(httpx.RemoteProtocolError):
                await read()
        assert len(seen) == 1

    asyncio.run(main())


def test_serve_until_cancelled(tmp_path: Path) -> None:
    """On a port that is given; the kubeconfig leads there."""

    async def main() -> None:
        app = server(tokens={"secret": "me"})
        async with serving(app) as url:
            port = int(url.rpartition(":")[2])
        task = asyncio.create_task(serve(app, port))
        await asyncio.sleep(0.3)
        config = json.loads(write_kubeconfig(tmp_path / "config", url, token="secret").read_text())
        assert config["clusters"][0]["cluster"]["server"] == url
        headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
        async with httpx.AsyncClient(base_url=url, headers=headers) as client:
            assert (await client.get("/api/v1/nodes")).status_code == 200
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
