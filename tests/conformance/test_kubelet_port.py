"""A real API server reads the logs of the world's agents from the world's kubelet port."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from cni_migrate.sim.clock import SimClock
from cni_migrate.sim.world import kinds, meta
from cni_migrate.sim.world.host import ALWAYS, FLANNEL_BINARY, Plane
from cni_migrate.sim.world.kubelet_port import serve_kubelet
from cni_migrate.sim.world.machines import Machine
from cni_migrate.sim.world.world import World
from tests.conformance import harness
from tests.conformance.worlds import SLOW, Stage
from tests.controlplane.client import RealClient
from tests.controlplane.cluster import RealCluster

CNI = json.dumps({"name": "n", "plugins": [{"type": "flannel"}]})


def _agents(mesh: str) -> dict[str, Any]:
    labels = {"mesh": mesh}
    container = {
        "name": "knet-stress",
        "image": "example.com/knet:1",
        "env": [{"name": "KNET_MESH", "value": mesh}],
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {
        "metadata": {"name": f"knet-stress-{mesh}"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


async def _read(cluster: RealCluster, certificate: Path, key: Path) -> None:
    context = cluster.ssl_context()
    async with (
        httpx.AsyncClient(base_url=cluster.url, verify=context, timeout=30) as http,
        RealClient(cluster.url, context) as client,
    ):
        world = World(client, SimClock(datetime.now(UTC)), timings=SLOW, controllers=False)
        async with asyncio.TaskGroup() as group, serve_kubelet(world, certificate, key) as port:
            tasks = [group.create_task(work) for work in await world.start()]
            world.machines.heartbeat(2.0)
            try:
                for number in (1, 2):
                    plane = Plane(
                        files={"10-canal.conflist": CNI},
                        subnet=f"10.244.{number}.0/24",
                        links=frozenset({"flannel.1", "cni0"}),
                        left=frozenset({FLANNEL_BINARY}),
                        flannel_seen=ALWAYS,
                    )
                    await world.machines.join(Machine(f"w{number}", "127.0.0.1", kubelet_port=port), plane)
                    world.host(f"w{number}").flannel_since = 0.0
                stage = Stage(client, world, "default", ["w1", "w2"], {})
                for mesh in "ab":
                    await client.create(kinds.DAEMON_SET, _agents(mesh), "default")
                await stage.eventually(lambda: _all_ready(stage), "the agents to be Ready")
                await asyncio.sleep(2)
                (pod,) = [p for p in await stage.pods() if meta.node_of(p) == "w1" and meta.labels(p)["mesh"] == "a"]
                path = f"/api/v1/namespaces/default/pods/{meta.name(pod)}/log?tailLines=2"
                answer = await http.get(path)
                assert answer.status_code == 200, answer.text
                lines = [json.loads(line) for line in answer.text.splitlines()]
                assert [line["peers"] for line in lines] == [["w1/b", "w2/a", "w2/b"]] * 2
                assert lines[1]["round"] == lines[0]["round"] + 1
                assert lines[1]["uid"] == meta.uid(pod)
                assert {one["kind"] for one in lines[1]["bad"]} <= {"dns", "policy_deny"}
                world.machines.kubelet_down("w1")
                assert (await http.get(path)).status_code == 500
            finally:
                for task in tasks:
                    task.cancel()


async def _all_ready(stage: Stage) -> bool:
    pods = await stage.pods()
    return len(pods) == 4 and all(meta.ready(pod) for pod in pods)


def test_logs_come_from_the_world() -> None:
    with RealCluster(version=harness.KUBERNETES) as cluster:
        certificate, key = cluster.issue_serving("kubelet")
        asyncio.run(_read(cluster, certificate, key))
