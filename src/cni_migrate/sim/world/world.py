"""The world: everything that happens in a cluster beside its API server."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, cast, overload

from cni_migrate.sim.client import ApiError, Client, Object
from cni_migrate.sim.clock import SimClock
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.cache import Cluster
from cni_migrate.sim.world.canal import Canal
from cni_migrate.sim.world.cilium import CiliumAgent
from cni_migrate.sim.world.ciliumoperator import CiliumOperator
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.controllers.budget import Budgets
from cni_migrate.sim.world.controllers.daemonset import DaemonSets
from cni_migrate.sim.world.controllers.deployment import Deployments
from cni_migrate.sim.world.controllers.garbage import Garbage
from cni_migrate.sim.world.controllers.job import Jobs
from cni_migrate.sim.world.controllers.nodes import NodeAddresses, NodeLifecycle, TaintEviction
from cni_migrate.sim.world.controllers.replicaset import ReplicaSets
from cni_migrate.sim.world.controllers.scheduler import Binder, Scheduler
from cni_migrate.sim.world.controllers.statefulset import StatefulSets
from cni_migrate.sim.world.faultstate import FaultState
from cni_migrate.sim.world.host import Host, Plane
from cni_migrate.sim.world.hosttask import HostTask
from cni_migrate.sim.world.identities import IdentityAgent
from cni_migrate.sim.world.ipcache import IpCache
from cni_migrate.sim.world.kinds import NODE, POD
from cni_migrate.sim.world.knet import Agent, KnetAgent
from cni_migrate.sim.world.knetlog import KnetLog
from cni_migrate.sim.world.kubelet import Kubelets
from cni_migrate.sim.world.machines import Machines
from cni_migrate.sim.world.multus import Multus
from cni_migrate.sim.world.network import Network
from cni_migrate.sim.world.policy import Policies
from cni_migrate.sim.world.sandbox import Sandbox
from cni_migrate.sim.world.timings import Timings
from cni_migrate.sim.world.tunnelprobe import TunnelProbe
from cni_migrate.sim.world.work import Work

_MOMENT = 0.01


class World:
    """Nodes, networks and (unless a real control plane has its own) controllers of one cluster.

    `start` lists what is there and answers the tasks' coroutines, which the owner runs and cancels: an exception in any
    of them is a bug of the world and must end the simulation. Nodes that exist at the start run already, in the state
    given by `planes`; their Running pods are taken over as they are. `drives` says which nodes are this world's.
    """

    def __init__(
        self,
        client: Client,
        clock: SimClock,
        *,
        seed: int = 1,
        timings: Timings | None = None,
        pod_cidr: str = "10.244.0.0/16",
        node_mask: int = 24,
        controllers: bool = True,
        drives: Callable[[str], bool] | None = None,
    ) -> None:
        work = Work()
        self.ctx = Context(Cluster(client), clock, work, timings or Timings(), seed, FaultState())
        self.ctx.pod_network = pod_cidr
        ctx = self.ctx
        ctx.cluster[POD].index("node", meta.node_of)
        ctx.cluster[POD].index("owner", meta.controlled_by)
        ctx.cluster[POD].index("namespace", meta.namespace)
        self.policies = Policies(ctx)
        self.ipcache = IpCache(ctx)
        self.network = Network(ctx, self.policies, self.ipcache)
        self.agents = KnetAgent(ctx)
        programs = [
            Canal(ctx),
            CiliumAgent(ctx),
            CiliumOperator(ctx),
            Multus(ctx),
            HostTask(ctx),
            TunnelProbe(ctx),
            IdentityAgent(ctx),
            self.agents,
        ]
        self.kubelets = Kubelets(ctx, programs)
        self.machines = Machines(ctx, self.kubelets)
        self.knet = KnetLog(ctx, self.agents, self.network)
        self._drives = drives
        if controllers:
            self._control(client, pod_cidr, node_mask)
        ctx.work.handle("call", self._call)
        self._calls: dict[int, Callable[[], Awaitable[None]]] = {}

    def _control(self, client: Client, pod_cidr: str, node_mask: int) -> None:
        ctx = self.ctx
        NodeAddresses(ctx, pod_cidr, node_mask)
        NodeLifecycle(ctx)
        TaintEviction(ctx)
        DaemonSets(ctx)
        Deployments(ctx)
        ReplicaSets(ctx)
        StatefulSets(ctx)
        Jobs(ctx)
        Budgets(ctx)
        Garbage(ctx)
        Scheduler(ctx, cast("Binder", client))

    # -- life

    async def start(self, planes: dict[str, Plane] | None = None) -> list[Coroutine[Any, Any, None]]:
        """List everything, take over what runs, and answer what has to run from now on."""
        cluster, versions = self.ctx.cluster, []
        for kind, informer in cluster.informers.items():
            if kind is POD:
                self._adopt_hosts(planes or {})
                self.kubelets.adopting = True
            versions.append((informer, await informer.fill()))
        self.kubelets.adopting = False
        tasks: list[Coroutine[Any, Any, None]] = [informer.follow(version) for informer, version in versions]
        return [*tasks, cluster.follow_late(), self.ctx.work.run()]

    def _adopt_hosts(self, planes: dict[str, Plane]) -> None:
        for node in self.ctx.cluster[NODE].items.values():
            name = meta.name(node)
            if self._drives is not None and not self._drives(name):
                continue
            host = Host(name, meta.internal_ip(node))
            plane = planes.get(name, Plane())
            host.seed(plane)
            if plane.subnet:
                host.flannel_since = float("-inf")
            self.ctx.net.add_host(host)

    async def idle(self) -> None:
        """Wait until nothing is being done and nothing is due, apart from retries, faults and long tolerations."""
        quiet = 0
        while quiet < 2:
            await self.ctx.work.wait_quiet()
            before = self.ctx.work.done
            await asyncio.sleep(_MOMENT)
            quiet = quiet + 1 if self.ctx.work.quiet and self.ctx.work.done == before else 0

    settle = idle

    def later(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        """Do something in the world's own order after a while."""
        number = len(self._calls)
        self._calls[number] = action
        self.ctx.work.add_after(seconds, "call", number, background=True)

    async def _call(self, number: int) -> None:
        await self._calls[number]()

    # -- looking at it

    def host(self, node: str) -> Host:
        """The machine of a node."""
        return self.ctx.net.hosts[node]

    def plane_at(self, node: str, when: float) -> Plane:
        """A node's state `when` seconds after the clock was made."""
        return self.host(node).planes.at(self._loop_time(when))

    def _loop_time(self, when: float) -> float:
        return when + self.ctx.now() - self.ctx.clock.seconds()

    def sandbox(self, namespace: str, name: str) -> Sandbox | None:
        """The present sandbox of a pod."""
        pod = self.ctx.cluster[POD].get(name, namespace)
        return self.ctx.net.by_uid.get(meta.uid(pod)) if pod is not None else None

    def reach(
        self,
        source: Sandbox,
        address: str,
        kind: str = "http",
        when: float | None = None,
        port: int = 8080,
        *,
        service: bool = False,
    ) -> str:
        """The error a probe from a pod to an address meets, empty when it succeeds; now, or at an earlier time.

        With `service` the pod asks for a Service of which the address is the backend.
        """
        at = self.ctx.now() if when is None else self._loop_time(when)
        return self.network.reach(source, address, kind, at, port, service=service)

    # -- the kubelets' log port

    def log(self, pod: Object, container: str) -> Sequence["LazyLine"]:
        """The lines a container has written so far; `ApiError` when its kubelet does not answer."""
        host = self.ctx.net.hosts.get(meta.node_of(pod))
        if host is None or not host.plane.kubelet:
            where = host.address if host is not None else meta.node_of(pod)
            raise ApiError(
                500, "InternalError", f"Internal error occurred: dial tcp {where}:10250: connect: connection refused"
            )
        agent = self.agents.agents.get(meta.uid(pod))
        if agent is not None and agent.sandbox is not None and container == self.agents.container:
            return AgentLog(self, agent)
        if meta.uid(pod) not in self.ctx.net.by_uid:
            message = f'container "{container}" in pod "{meta.name(pod)}" is waiting to start: ContainerCreating'
            raise ApiError(400, "BadRequest", message)
        return []


class AgentLog(Sequence["LazyLine"]):
    """The log of an agent, of which only what is read is worked out."""

    def __init__(self, world: World, agent: Agent) -> None:
        self._world = world
        self._agent = agent
        self._rounds = world.knet.rounds(agent)

    def __len__(self) -> int:
        return len(self._rounds)

    @overload
    def __getitem__(self, index: int) -> "LazyLine": ...
    @overload
    def __getitem__(self, index: slice) -> list["LazyLine"]: ...
    def __getitem__(self, index: int | slice) -> "LazyLine | list[LazyLine]":
        if isinstance(index, slice):
            return [LazyLine(self._world, self._agent, number) for number in self._rounds[index]]
        return LazyLine(self._world, self._agent, self._rounds[index])


class LazyLine:
    """A line of an agent's log, worked out when it is read."""

    __slots__ = ("_agent", "_number", "_world")

    def __init__(self, world: World, agent: Any, number: int) -> None:
        self._world = world
        self._agent = agent
        self._number = number

    @property
    def time(self) -> Any:
        """When it was written."""
        return meta.moment(
            self._world.knet.text_time(self._world.knet.time_of(self._agent, self._number), self._agent.node)
        )

    @property
    def text(self) -> str:
        """The line without its end."""
        return self._world.knet.line(self._agent, self._number)
