"""Prints what a large world costs; nothing is asserted. `python -m tests.unit.sim_world.measure 1000`."""

import asyncio
import sys
import time

from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds
from tests.unit.sim_world.install import (
    FIRST,
    apply,
    cilium_config,
    first_cilium,
    knet_objects,
    label,
    lines,
    multus,
    operator,
    pods_on,
    restart,
)


class Laps:
    """CPU seconds, virtual seconds, store versions and jobs, at each step."""

    def __init__(self) -> None:
        self._began = time.process_time()

    def print(self, sim: Simulation, what: str) -> None:
        """One line."""
        cpu = time.process_time() - self._began
        work = sim.world.ctx.work.done
        sys.stdout.write(
            f"{what:36} cpu {cpu:7.2f} s  cluster {sim.clock.seconds():7.1f} s  versions {sim.store.version:7}  "
            f"jobs {work:7}\n"
        )
        sys.stdout.flush()


async def measure(count: int, dual: int = 20) -> None:
    """Start, agents, both networks, some nodes dual, all agents' logs read once."""
    laps = Laps()
    async with Simulation("calm", nodes=count) as sim:
        laps.print(sim, f"{count} nodes, settled")
        await sim.world.idle()
        laps.print(sim, "quiet")
        await apply(sim, *knet_objects())
        await sim.world.idle()
        laps.print(sim, "two agents on each node")
        config = cilium_config(cluster_pool_ipv4_cidr="10.128.0.0/12", custom_cni_conf="false")
        await apply(sim, (kinds.CONFIG_MAP, config), (kinds.DEPLOYMENT, operator()))
        await apply(sim, (kinds.DAEMON_SET, first_cilium()), (kinds.DAEMON_SET, multus()))
        nodes = list(sim.world.ctx.net.hosts)
        for node in nodes:
            await label(sim, node, dict(FIRST))
        await sim.world.idle()
        laps.print(sim, "Cilium and Multus on each node")
        for node in nodes[:dual]:
            for pod in await pods_on(sim, node):
                if not pod["spec"].get("hostNetwork"):
                    await restart(sim, node, pod["metadata"]["name"])
        laps.print(sim, f"{len(nodes[:dual])} nodes dual, pod by pod")
        await asyncio.sleep(10)
        for node in nodes:
            for mesh in "ab":
                await lines(sim, node, mesh, 3)
        laps.print(sim, "three rounds of all agents read")
        await asyncio.sleep(24 * 3600)
        laps.print(sim, "a day later")


if __name__ == "__main__":
    run_virtual(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
