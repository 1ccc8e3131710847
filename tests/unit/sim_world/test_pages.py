"""The agents' `/report` through the API server's proxy."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds, meta
from tests.unit.sim_world.install import apply, knet_objects, lines, pods_on

Test = Callable[[Simulation, httpx.AsyncClient], Awaitable[None]]


def with_agents(test: Test) -> None:
    """Run a test on three nodes whose agents have reported thirty rounds and more."""

    async def main() -> None:
        async with Simulation(Scenario(nodes=3)) as sim:
            await apply(sim, *knet_objects())
            await asyncio.sleep(30)
            transport = httpx.ASGITransport(sim.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://sim") as client:
                await test(sim, client)

    run_virtual(main())


async def place(sim: Simulation, node: str) -> str:
    """The path of an agent's proxy."""
    (pod,) = await pods_on(sim, node, "knet-stress-a")
    return f"/api/v1/namespaces/{meta.namespace(pod)}/pods/{meta.name(pod)}:8080/proxy"


def test_the_same_lines_as_the_log() -> None:
    """The newest last; as many as are asked for, and no more than an agent keeps."""

    async def test(sim: Simulation, client: httpx.AsyncClient) -> None:
        path = await place(sim, "w1")
        answer = await client.get(f"{path}/report?lines=3")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert [json.loads(line) for line in answer.text.splitlines()] == await lines(sim, "w1", "a", 3)
        counts: dict[str, int] = {}
        for query in ("", "?lines=0", "?lines=1000", "?lines=x"):
            counts[query] = len((await client.get(f"{path}/report{query}")).text.splitlines())
        assert counts == {"": 12, "?lines=0": 1, "?lines=1000": 24, "?lines=x": 12}

    with_agents(test)


def test_an_agent_without_power_does_not_answer() -> None:
    """503, as from an API server that waits in vain."""

    async def test(sim: Simulation, client: httpx.AsyncClient) -> None:
        path = await place(sim, "w2")
        await sim.world.machines.power_off("w2")
        answer = await client.get(f"{path}/report")
        body: dict[str, Any] = answer.json()
        assert (answer.status_code, body["reason"]) == (503, "ServiceUnavailable")
        assert "error trying to reach service: dial tcp 10.244." in body["message"]

    with_agents(test)


def test_nothing_else_is_made_up() -> None:
    """501 for other pages, ports and methods, and for pods that are no agents."""

    async def test(sim: Simulation, client: httpx.AsyncClient) -> None:
        path = await place(sim, "w1")
        pods, _ = await sim.client.list(kinds.POD)
        dns = next(pod for pod in pods if meta.labels(pod).get("k8s-app") == "kube-dns")
        other = f"/api/v1/namespaces/kube-system/pods/{meta.name(dns)}:8080/proxy/report"
        for wanted in (f"{path}/metrics", path, f"{path.replace(':8080', ':9')}/report", other):
            assert (await client.get(wanted)).status_code == 501, wanted
        assert (await client.post(f"{path}/report")).status_code == 501

    with_agents(test)
