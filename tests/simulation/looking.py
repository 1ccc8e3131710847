"""What `migrate preflight` sees of a simulated cluster of whose Canal nobody says anything."""

import random

from cni_migrate.config import Config
from cni_migrate.core.model.canal import FoundCanal, settled
from cni_migrate.core.preflight.findings import Finding, findings
from cni_migrate.kube.canal import found_canal
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.gathering import gathered
from cni_migrate.kube.inprocess import close_api, in_process_api
from cni_migrate.sim.simulation import Simulation
from cni_migrate.wiring import plan_for
from tests.simulation.harness import Mortal, SimulatedClock, config_for


async def looked_at(sim: Simulation) -> tuple[FoundCanal, Config, list[Finding]]:
    """What is found of Canal, the configuration that this makes, and what preflight says of both."""
    silent = config_for("overlay")
    api = await in_process_api(Mortal(sim), timeout=30)
    try:
        async with KubeCluster(api, silent, SimulatedClock(sim), random.Random(1)) as cluster:
            nodes = list(cluster.snapshot().nodes.values())
            parts, addresses = [one.pod_cidr for one in nodes], [one.internal_ip for one in nodes]
            canal = await found_canal(cluster.client, parts, addresses, [silent.cilium.pod_cidr])
            config = settled(silent, {"strategy"}, canal)
            plan = plan_for(config, cluster.snapshot())
            return canal, config, findings(await gathered(cluster.client, plan, cluster, canal))
    finally:
        await close_api(api)
