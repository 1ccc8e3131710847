"""One simulated cluster: clock, store, API server and world, from a scenario."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import cast

from cni_migrate.sim.apiserver.app import ApiServer
from cni_migrate.sim.apiserver.kubernetes import Kubernetes
from cni_migrate.sim.apiserver.local import LocalClient
from cni_migrate.sim.apiserver.options import Write
from cni_migrate.sim.apiserver.podlogs import LogLine
from cni_migrate.sim.apiserver.store import Store
from cni_migrate.sim.client import Kind, Object
from cni_migrate.sim.clock import EPOCH, SimClock
from cni_migrate.sim.scenario import BadScenario, Scenario, check, load
from cni_migrate.sim.world import calicomanifests, meta, pages
from cni_migrate.sim.world.canalmanifests import daemon_sets
from cni_migrate.sim.world.ciliummanifests import cilium_objects
from cni_migrate.sim.world.faults import Faults
from cni_migrate.sim.world.owner import Owner
from cni_migrate.sim.world.settled import Builder, machines_of, node_mask
from cni_migrate.sim.world.world import World

_MANAGER = "kube-controller-manager"


class StoreSink:
    """Puts the objects of a settled cluster into a store, with the API server's defaults and without its answers."""

    def __init__(self, app: ApiServer) -> None:
        self._app = app

    def kind_of(self, manifest: Object) -> Kind:
        """What a manifest is.

        Raises:
            BadScenario: this API server serves no such thing.
        """
        for resource in self._app.catalog:
            if resource.kind.kind == manifest["kind"] and resource.kind.api_version == manifest["apiVersion"]:
                return resource.kind
        raise BadScenario(f"the simulator serves no {manifest['apiVersion']} {manifest['kind']}")

    def check(self, manifest: Object) -> None:
        """Make sure that a manifest of a DaemonSet could be stored, before anything is.

        Raises:
            BadScenario: this API server serves no such thing, or it has no pod template.
        """
        self.kind_of(manifest)
        spec = manifest.get("spec")
        template = spec.get("template") if isinstance(spec, dict) else None
        if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
            raise BadScenario(f"DaemonSet {manifest['metadata']['name']} has no spec.template.spec")

    def create(self, kind: Kind, obj: Object) -> Object:
        """Store an object; answers it as the server's own controllers have left it."""
        resource = self._app.catalog.of(kind)
        namespace = obj["metadata"].get("namespace", "")
        if not resource.namespaced:
            namespace, obj = "", {**obj, "metadata": {**obj["metadata"], "namespace": ""}}
        by = Write(calicomanifests.WRITER if kind.group == calicomanifests.GROUP else _MANAGER)
        made = self._app.machinery.create(resource, namespace, obj, by)
        return (self._app.store.get(resource, made.namespace, made.name) or made).object

    def set_status(self, kind: Kind, obj: Object, status: Object) -> None:
        """Set a status as its owner would have."""
        known = {**(obj.get("status") or {}), **status}
        changed = {**obj, "metadata": dict(obj["metadata"]), "status": known}
        self._app.store.put(self._app.catalog.of(kind), changed)


class Simulation:
    """A cluster that lives as long as its `async with` block.

    `nodes` and `seed` override the scenario's, `epoch` is the time on the cluster's clock when it begins. At the
    start the cluster is settled: nodes Ready, Canal and workloads running. An exception in any task of the world
    cancels the block and is raised at its end (in an ExceptionGroup); the block's own exceptions come out as they
    are.

    `app` is the API server (ASGI), `client` a client in process, `world`, `store` and `clock` are what they say.
    """

    app: ApiServer
    client: LocalClient
    world: World
    store: Store
    clock: SimClock

    def __init__(
        self,
        scenario: Scenario | str = "calm",
        *,
        nodes: int | None = None,
        seed: int | None = None,
        epoch: datetime = EPOCH,
    ) -> None:
        self.scenario = load(scenario) if isinstance(scenario, str) else scenario
        self._nodes = nodes
        self._epoch = epoch
        self.seed = self.scenario.seed if seed is None else seed
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Simulation":
        scenario = self.scenario
        self.clock = SimClock(self._epoch)
        self.store = Store(self.clock, seed=self.seed)
        self.app = ApiServer(self.store, kubernetes=Kubernetes(scenario.versions.kubernetes.removeprefix("v")))
        self.client = self.app.client(_MANAGER)
        machines = machines_of(scenario, self._nodes)
        sink = StoreSink(self.app)
        builder = Builder(scenario, machines, self.store.timestamp(), sink)
        builder.build()
        for manifest in (*(cilium_objects(scenario.cilium) if scenario.cilium else ()), *scenario.objects):
            sink.create(sink.kind_of(manifest), manifest)
        self.world = World(
            self.client,
            self.clock,
            seed=self.seed,
            timings=scenario.timings,
            pod_cidr=scenario.pod_cidr,
            node_mask=node_mask(scenario, len(machines)),
        )
        if scenario.canal.owner_restores_after is not None:
            places = [meta.key(one) for one in daemon_sets(scenario)]
            Owner(self.world.ctx, places, scenario.canal.owner_restores_after)
        self.app.logs = self._logs
        self.app.pages = self._pages
        await self._group.__aenter__()
        for work in await self.world.start(builder.planes):
            self._tasks.append(self._group.create_task(work))
        self.faults = Faults(self.world, self.app.hooks, scenario)
        self.faults.arm()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        if error is not None and not isinstance(error, asyncio.CancelledError):
            kind, error, trace = None, None, None
        await self._group.__aexit__(kind, error, trace)

    async def _pages(self, pod: Object, port: int, path: str, query: Mapping[str, str]) -> tuple[str, str] | None:
        return pages.page(self.world, pod, port, path, query)

    async def _logs(self, pod: Object, container: str, previous: bool) -> Sequence[LogLine]:
        return cast("Sequence[LogLine]", self.world.log(pod, container))


async def serve(
    scenario: Scenario | str = "calm",
    *,
    nodes: int | None = None,
    port: int = 0,
    kubeconfig: Path | None = None,
    seed: int | None = None,
) -> None:
    """Serve a simulated cluster on loopback until cancelled, in real time, and write a kubeconfig that leads there.

    Its clock shows the real time, as that of the clients does.

    Raises:
        BadScenario: the cluster cannot have these nodes, or the scenario speaks of others.
    """
    from cni_migrate.sim.apiserver import serving

    scenario = load(scenario) if isinstance(scenario, str) else scenario
    check(scenario, [machine.name for machine in machines_of(scenario, nodes)])
    async with (
        Simulation(scenario, nodes=nodes, seed=seed, epoch=datetime.now(UTC)) as simulation,
        serving.serving(simulation.app, port) as url,
    ):
        if kubeconfig is not None:
            serving.write_kubeconfig(kubeconfig, url)
        await asyncio.Event().wait()
