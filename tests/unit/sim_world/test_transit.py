"""Simulated agents look at nodes in transit as real ones do."""

import asyncio
from datetime import timedelta

import pytest

from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds
from cni_migrate.sim.world.transit import NAME
from tests.unit.sim_world.install import apply, knet_objects, lines

SEVEN = Scenario.model_validate({"nodes": 7, "calico": False})
PLACE = {"name": NAME, "namespace": "knet-stress"}


async def _peers(sim: Simulation, node: str) -> set[str]:
    (line,) = await lines(sim, node, "a")
    assert not line["bad"], line
    return {peer.split("/")[0] for peer in line["peers"]}


@pytest.mark.parametrize("full", [True, False])
def test_agents_follow_the_config_map_until_its_time_is_over(full: bool) -> None:
    """Where not everybody is everybody's peer anyway."""

    async def main() -> None:
        async with Simulation(SEVEN) as sim:
            await apply(sim, *knet_objects(full_mesh_max=7 if full else 2, degree=2))
            await sim.world.idle()
            await asyncio.sleep(5)
            nodes = [f"w{n}" for n in range(1, 8)]
            before = {node: await _peers(sim, node) for node in nodes}
            until = (sim.clock.now() + timedelta(seconds=60)).isoformat()
            await apply(sim, (kinds.CONFIG_MAP, {"metadata": PLACE, "data": {"until": until, "transit": "w3\nw9"}}))
            await asyncio.sleep(2)
            for node in nodes:
                assert await _peers(sim, node) == before[node] | ({"w3"} if not full else set())
            host = sim.world.ctx.net.hosts["w3"]
            links = host.plane.links
            host.change(links=links - {"flannel.1"})
            await asyncio.sleep(2)
            for node in set(nodes) - {"w3"}:
                (line,) = await lines(sim, node, "a")
                kinds_of_w3 = {bad["kind"] for bad in line["bad"] if bad["peer"] == "w3/b"}
                assert "http" in kinds_of_w3
                assert ("tcp" in kinds_of_w3) is ("w3" in before[node])
            host.change(links=links)
            await asyncio.sleep(60)
            assert {node: await _peers(sim, node) for node in nodes} == before

    run_virtual(main())
