"""A real control plane whose nodes are played by the simulator's world: three of them on Canal, with workloads.

    async with staged() as stage:
        process = await stage.migrate("run", "--yes", ...)

The world runs in real time and has no controllers of its own: pods are made, bound and collected by the real ones.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cni_migrate.config import Config
from cni_migrate.core.model import names
from cni_migrate.kube.transport import USER_AGENT
from cni_migrate.sim.client import Kind, Object
from cni_migrate.sim.clock import SimClock
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.world import kinds, meta
from cni_migrate.sim.world.canalmanifests import canal_objects
from cni_migrate.sim.world.kubelet_port import serve_kubelet
from cni_migrate.sim.world.machines import CONTROL_PLANE, Machine
from cni_migrate.sim.world.manifests import dns_objects, workload_objects
from cni_migrate.sim.world.timings import Timings
from cni_migrate.sim.world.world import World
from tests.controlplane.client import RealClient
from tests.controlplane.cluster import RealCluster

QUICK = Timings(
    pod_start=0.2,
    pod_stop=0.2,
    image_pull=0.05,
    flannel_start=0.1,
    cilium_start=0.4,
    multus_start=0.1,
    operator_start=0.2,
    host_task=0.1,
    sandbox_retry=0.5,
    crash_backoff=1.0,
    exclusive=0.1,
)
CONFIG = """\
knet: {interval: 0.1}
gate: {seconds: 0.5}
drain: {retry_seconds: 0.5}
"""
"""What the processes are configured with: agents that report ten times a second, so that gates take less time."""

SCENARIO = Scenario.model_validate(
    {
        "workloads": [
            {"kind": "deployment", "name": "web", "namespace": "shop", "replicas": 3, "budget": {"min_available": 2}},
            {"kind": "statefulset", "name": "db", "namespace": "shop", "replicas": 1},
            {"kind": "daemonset", "name": "logs", "namespace": "shop", "tolerations": [{"operator": "Exists"}]},
        ],
    }
)
MACHINES = (
    Machine("cp1", "127.0.0.1", {CONTROL_PLANE: ""}, ({"key": CONTROL_PLANE, "effect": "NoSchedule"},)),
    Machine("w1", "127.0.0.1", {"team": "blue"}, ({"key": "team", "value": "blue", "effect": "PreferNoSchedule"},)),
    Machine("w2", "127.0.0.1", {"team": "green"}),
)
KINDS = {
    kind.kind: kind
    for kind in (
        *(kinds.NAMESPACE, kinds.SERVICE_ACCOUNT, kinds.CONFIG_MAP, kinds.SERVICE, kinds.BUDGET),
        *(kinds.DAEMON_SET, kinds.DEPLOYMENT, kinds.STATEFUL_SET),
    )
}
PROGRAM = (sys.executable, "-m", "cni_migrate.cli.main")
COMMAND_SECONDS = 240.0
MANAGED = re.compile(r"[?&]fieldManager=migrate(&|$)")
_CHANGES = {"create", "update", "patch", "delete", "deletecollection"}


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    output: str


@dataclass
class Trail:
    """The audit log, read as it grows."""

    path: Path
    events: list[dict[str, Any]] = field(default_factory=list)
    kills: list[tuple[datetime, datetime]] = field(default_factory=list)
    """From when to when each process was killed."""
    _read: int = 0

    def ours(self) -> list[dict[str, Any]]:
        """Every request of `migrate` so far."""
        with self.path.open("rb") as log:
            log.seek(self._read)
            whole, _, _ = log.read().rpartition(b"\n")
        if whole:
            self._read += len(whole) + 1
            for line in whole.splitlines():
                if b'"userAgent":"migrate/' in line:
                    self.events.append(json.loads(line))
        return self.events

    def writes(self) -> list[dict[str, Any]]:
        """Those that are meant to change something; asking for one's rights is a POST and changes nothing."""
        return [
            event
            for event in self.ours()
            if event["verb"] in _CHANGES
            and event.get("objectRef", {}).get("apiGroup") != "authorization.k8s.io"
            and "dryRun" not in event["requestURI"]
        ]

    def problems(self) -> list[str]:
        """What must not be found in it."""
        found = []
        for event in self.ours():
            what = f"{event['verb']} {event['requestURI']}"
            code = event["responseStatus"]["code"]
            if event["userAgent"] != USER_AGENT:
                found.append(f"{what}: User-Agent {event['userAgent']}")
            said = event["responseStatus"].get("message", "")
            # A server that is too late answers so to a client that waits no longer; the request is made anew.
            late = code == 504 and "did not complete within requested timeout" in said
            if code == 403 or (code >= 500 and not late and not self._cut(event)):
                found.append(f"{what}: answered {code} {said}")
        found += [
            f"{event['verb']} {event['requestURI']}: no field manager"
            for event in self.writes()
            # A DELETE sets no field and so has no manager.
            if not event["verb"].startswith("delete") and not MANAGED.search(event["requestURI"])
        ]
        found += [f"pod {uid} was evicted {count} times" for uid, count in self.evicted().items() if count > 1]
        return found

    def _cut(self, event: dict[str, Any]) -> bool:
        """Whether the sender of a request was killed meanwhile: half a body is answered 500, "unexpected EOF"."""
        began, ended = (datetime.fromisoformat(event[f"{key}Timestamp"]) for key in ("requestReceived", "stage"))
        return any(began <= over and since <= ended for since, over in self.kills)

    def evicted(self) -> Counter[str]:
        """How often each pod was evicted, by uid."""
        return Counter(
            event["requestObject"]["deleteOptions"]["preconditions"]["uid"]
            for event in self.ours()
            if event.get("objectRef", {}).get("subresource") == "eviction" and event["responseStatus"]["code"] == 201
        )


@dataclass
class Stage:
    """The cluster, and processes of `migrate` on it."""

    cluster: RealCluster
    client: RealClient
    world: World
    trail: Trail
    kubeconfig: Path | None = None
    """Who `migrate` is; default: the administrator."""

    async def eventually(self, holds: Callable[[], Awaitable[Any]], what: str, seconds: float = 60) -> None:
        """Wait until something holds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not await holds():
            assert loop.time() < end, f"waited {seconds} s for: {what}; pods: {await self.shown()}"
            await asyncio.sleep(0.2)

    async def pods(self) -> list[Object]:
        """All pods that have not ended."""
        found, _ = await self.client.list(kinds.POD)
        return [pod for pod in found if pod["status"].get("phase") not in ("Succeeded", "Failed")]

    async def shown(self) -> list[str]:
        """The pods, for a message."""
        return [
            f"{meta.namespace(p)}/{meta.name(p)} on {meta.node_of(p)} {p['status'].get('phase')} "
            f"{p['status'].get('podIP', '')} {'Ready' if meta.ready(p) else 'not Ready'}"
            for p in await self.pods()
        ]

    async def settled(self) -> bool:
        """Whether every workload has all its pods, Ready."""
        for kind, wanted in ((kinds.DEPLOYMENT, "replicas"), (kinds.STATEFUL_SET, "replicas"), (kinds.DAEMON_SET, "")):
            for one in (await self.client.list(kind))[0]:
                status = one.get("status") or {}
                if status.get("observedGeneration", 0) < one["metadata"]["generation"]:
                    return False
                count = one["spec"][wanted] if wanted else status.get("desiredNumberScheduled")
                ready = status.get("readyReplicas" if wanted else "numberReady", 0)
                if not count or ready != count:
                    return False
        return all(meta.ready(pod) for pod in await self.pods())

    # --- processes ----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def process(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A process of `migrate`, killed when the block ends before it; its output goes to `output`."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("MIGRATE_", "KUBECONFIG"))}
        config = self.cluster.folder / "migrate.yaml"
        config.write_text(CONFIG, encoding="utf-8")
        kubeconfig = self.kubeconfig or self.cluster.kubeconfig
        argv = [*PROGRAM, *arguments, "--kubeconfig", str(kubeconfig), "--config", str(config)]
        with self.output.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *argv, env=clean, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    @property
    def output(self) -> Path:
        """What the last process has printed."""
        return self.cluster.folder / "migrate.out"

    async def migrate(self, *arguments: str) -> Ended:
        """Run `migrate` to its end."""
        async with self.process(*arguments) as process:
            code = await asyncio.wait_for(process.wait(), COMMAND_SECONDS)
        return Ended(code, self.output.read_text(encoding="utf-8", errors="replace"))

    async def status(self) -> dict[str, dict[str, Any]]:
        """What `migrate status` tells of each node."""
        ended = await self.migrate("status", "-o", "json")
        assert ended.code == 0, ended.output
        return {node["name"]: node for node in json.loads(ended.output)["nodes"]}

    async def kill_at(self, write: int, *arguments: str) -> None:
        """Run `migrate` and kill it with SIGKILL once the log holds that many writes of it and its predecessors."""
        async with self.process(*arguments) as process:
            loop = asyncio.get_running_loop()
            end = loop.time() + COMMAND_SECONDS
            while len(self.trail.writes()) < write:
                assert process.returncode is None, f"ended before write {write}: {self.output.read_text()[-3000:]}"
                assert loop.time() < end, f"no write {write} yet: {self.output.read_text()[-3000:]}"
                await asyncio.sleep(0.003)
            assert process.returncode is None, f"ended before it could be killed at write {write}"
            since = datetime.now(UTC)
            process.kill()
            assert await process.wait() == -9
            self.trail.kills.append((since, datetime.now(UTC)))

    # --- what a migration must end with -------------------------------------------------------------------------

    async def left(self) -> list[str]:
        """What is not as it has to be after the migration."""
        config = Config()
        found = [f"pod {line} is not on Cilium" for line in await self._strangers(config)]
        for daemon_set in (await self.client.list(kinds.DAEMON_SET))[0]:
            programs = {one["name"] for one in daemon_set["spec"]["template"]["spec"]["containers"]}
            if programs & {"kube-flannel", "kube-multus"}:
                found.append(f"DaemonSet {meta.name(daemon_set)} is still there")
        for node in (await self.client.list(kinds.NODE))[0]:
            found += _marks(node, config)
        return found

    async def _strangers(self, config: Config) -> list[str]:
        network = ipaddress.ip_network(config.cilium.pod_cidr)
        return [
            f"{meta.namespace(pod)}/{meta.name(pod)} ({pod['status'].get('podIP', 'no address')})"
            for pod in await self.pods()
            if not meta.host_network(pod)
            and (not (ip := pod["status"].get("podIP")) or ipaddress.ip_address(ip) not in network)
        ]


def _marks(node: Object, config: Config) -> list[str]:
    """Marks of the migration's on a node, and marks of its operator's that it has lost."""
    labels = config.labels
    ours = [labels.canal_cilium, labels.cilium, labels.migrated, labels.multus, labels.switched, labels.detached]
    name, spec = meta.name(node), node["spec"]
    found = [f"node {name} has the label {one.key}" for one in ours if one.key in meta.labels(node)]
    found += [f"node {name} has {key}" for key in node["metadata"].get("annotations", {}) if key == names.CORDONED_BY]
    if spec.get("unschedulable"):
        found.append(f"node {name} is cordoned")
    (machine,) = [one for one in MACHINES if one.name == name]
    taints = {(one["key"], one["effect"]) for one in spec.get("taints", [])}
    if taints != {(one["key"], one["effect"]) for one in machine.taints}:
        found.append(f"node {name} has the taints {sorted(taints)}")
    if not machine.labels.items() <= meta.labels(node).items():
        found.append(f"node {name} has the labels {meta.labels(node)}")
    return found


@contextlib.asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """A settled cluster of three nodes, as long as the block runs."""
    with RealCluster() as cluster:
        certificate, key = cluster.issue_serving("kubelet")
        async with RealClient(cluster.url, cluster.ssl_context()) as client:
            world = World(client, SimClock(datetime.now(UTC)), timings=QUICK, controllers=False)
            async with asyncio.TaskGroup() as group, serve_kubelet(world, certificate, key) as port:
                tasks = [group.create_task(work) for work in await world.start()]
                world.machines.heartbeat(2.0)
                try:
                    stage = Stage(cluster, client, world, Trail(cluster.folder / "audit.log"))
                    await _furnish(stage, port)
                    yield stage
                finally:
                    for task in tasks:
                        task.cancel()


async def _furnish(stage: Stage, port: int) -> None:
    """Nodes, Canal, DNS and workloads, until everything runs."""
    for machine in MACHINES:
        await stage.world.machines.join(
            Machine(machine.name, machine.address, machine.labels, machine.taints, kubelet_port=port)
        )
    await _create(stage, kinds.NAMESPACE, {"metadata": {"name": "shop"}})

    async def accounts() -> bool:
        found = (await stage.client.list(kinds.SERVICE_ACCOUNT))[0]
        return {"kube-system", "shop"} <= {meta.namespace(one) for one in found if meta.name(one) == "default"}

    await stage.eventually(accounts, "service accounts")
    manifests = [*canal_objects(SCENARIO), *dns_objects(SCENARIO), *workload_objects(SCENARIO, len(MACHINES))]
    for manifest in manifests:
        await _create(stage, KINDS[manifest["kind"]], manifest)
    await stage.eventually(stage.settled, "Canal, DNS and the workloads to run")


async def _create(stage: Stage, kind: Kind, manifest: Object) -> None:
    await stage.client.create(kind, manifest)
