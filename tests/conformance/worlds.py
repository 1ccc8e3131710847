"""The simulated world on both control planes: on the simulated one with its own controllers, on a real one without."""

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cni_migrate.sim.client import Kind, Object
from cni_migrate.sim.clock import SimClock, run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds, meta
from cni_migrate.sim.world.host import Plane
from cni_migrate.sim.world.machines import Machine
from cni_migrate.sim.world.timings import Timings
from cni_migrate.sim.world.world import World
from tests.conformance.harness import Cluster, unique
from tests.controlplane.client import RealClient

PLANE = Plane(files={"10-canal.conflist": '{"name": "n", "plugins": [{"type": "flannel"}]}'}, subnet="10.244.9.0/24")
SLOW = Timings(pod_stop=2.0, pod_start=0.2, image_pull=0.0, node_monitor_grace=8.0)


@dataclass
class Stage:
    """A world with three nodes of the test's own, in a namespace of its own."""

    client: Any
    world: World
    namespace: str
    nodes: list[str]
    label: dict[str, str]

    async def eventually(self, holds: Callable[[], Awaitable[Any]], what: str, seconds: float = 40) -> Any:
        """Wait until something holds; what it answered."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            found = await holds()
            if found:
                return found
            assert loop.time() < end, f"waited {seconds} s for: {what}"
            await asyncio.sleep(0.1)

    async def pods(self) -> list[Object]:
        """The pods of the namespace."""
        found, _ = await self.client.list(kinds.POD, namespace=self.namespace)
        return list(found)

    def template(self, labels: dict[str, str], **spec: Any) -> Object:
        """A pod template that stays on this test's nodes."""
        body: Object = {
            "nodeSelector": self.label,
            "hostNetwork": True,
            "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "main", "image": "example.com/app:1"}],
        }
        return {"metadata": {"labels": labels}, "spec": body | spec}

    async def apply(self, kind: Kind, name: str, spec: Object) -> Object:
        """Create an object in the namespace."""
        found: Object = await self.client.create(kind, {"metadata": {"name": name}, "spec": spec}, self.namespace)
        return found

    async def get(self, kind: Kind, name: str) -> Object:
        """Read an object of the namespace."""
        found: Object = await self.client.get(kind, name, self.namespace if kind.namespaced else None)
        return found


Test = Callable[[Stage], Awaitable[None]]


def on_both(cluster: Cluster, test: Test) -> None:
    """Run a test on the control plane of the fixture: the simulated one on virtual time, a real one in real time."""
    if cluster.simulator is not None:
        run_virtual(_simulated(test))
    else:
        asyncio.run(_real(cluster, test))


async def _simulated(test: Test) -> None:
    async with Simulation(Scenario(nodes=[], timings=SLOW)) as sim:
        await test(await _stage(sim.client, sim.world))


async def _real(cluster: Cluster, test: Test) -> None:
    async with RealClient(cluster.url, _context(cluster)) as client:
        await _clear(client)
        mine = unique("w")
        clock = SimClock(datetime.now(UTC))
        world = World(client, clock, timings=SLOW, controllers=False, drives=lambda name: name.startswith(f"{mine}-"))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in await world.start()]
            world.machines.heartbeat(2.0)
            try:
                await test(await _stage(client, world, mine))
            finally:
                for task in tasks:
                    task.cancel()
        await _clear(client, mine)


async def _clear(client: RealClient, prefix: str = "") -> None:
    """Delete the nodes of earlier tests: a real cluster that is mostly unhealthy taints no node with NoExecute."""
    nodes, _ = await client.list(kinds.NODE)
    for node in nodes:
        if not meta.ready(node) or (prefix and meta.name(node).startswith(f"{prefix}-")):
            await client.delete(kinds.NODE, meta.name(node))


async def _stage(client: Any, world: World, prefix: str = "w") -> Stage:
    label = {"stage": prefix}
    nodes = [f"{prefix}-{number}" for number in (1, 2, 3)]
    for number, name in enumerate(nodes):
        await world.machines.join(Machine(name, f"172.18.9.{number + 1}", dict(label)), PLANE)
    namespace = unique("world")
    await client.create(kinds.NAMESPACE, {"metadata": {"name": namespace}})
    stage = Stage(client, world, namespace, nodes, label)

    async def usable() -> bool:
        found = [await client.get(kinds.NODE, name) for name in nodes]
        accounts, _ = await client.list(kinds.SERVICE_ACCOUNT, namespace=namespace)
        return bool(accounts) and not any(node["spec"].get("taints") for node in found)

    await stage.eventually(usable, "nodes without taints")
    return stage


def _context(cluster: Cluster) -> ssl.SSLContext:
    """The administrator's TLS settings, from the cluster's kubeconfig."""
    config = json.loads(cluster.kubeconfig.read_text())
    entry, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(entry["certificate-authority-data"]).decode())
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name in ("client-certificate-data", "client-key-data"):
            paths.append(Path(folder) / name)
            paths[-1].touch(mode=0o600)
            paths[-1].write_bytes(base64.b64decode(user[name]))
        context.load_cert_chain(paths[0], paths[1])
    return context
