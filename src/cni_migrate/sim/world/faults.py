"""Carrying out a scenario's faults: at a time, or as soon as something has come true."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import addresses, meta
from cni_migrate.sim.world.faultstate import Loss
from cni_migrate.sim.world.kinds import CONFIG_MAP, NODE, POD
from cni_migrate.sim.world.masquerade import Keep
from cni_migrate.sim.world.programs import Run
from cni_migrate.sim.world.settled import machine_of

if TYPE_CHECKING:
    from cni_migrate.sim.scenario import Fault, NodeSpec, Scenario, When
    from cni_migrate.sim.world.world import World

Action = Callable[[], Awaitable[None]]


class ApiFaults(Protocol):
    """The part of the API server's hooks that faults need."""

    faults: list[Any]
    observers: list[Callable[[Any, Any], None]]
    writes: int


class Faults:
    """A scenario's faults, waiting for their moment."""

    def __init__(self, world: "World", hooks: ApiFaults, scenario: "Scenario") -> None:
        self._world = world
        self._hooks = hooks
        self._scenario = scenario
        self._joined = 0
        self.struck: list[str] = []
        """The actions that were carried out so far, in order."""

    def arm(self) -> None:
        """Let the faults wait for their moments; those at 0 strike with the first tick."""
        for fault in self._scenario.faults:
            if fault.when is not None:
                self._wait_for(fault)
            else:
                self._strike_in(fault.at or 0.0, fault)

    def _strike_in(self, seconds: float, fault: "Fault") -> None:
        async def strike() -> None:
            await self.strike(fault)

        self._world.later(seconds, strike)

    async def strike(self, fault: "Fault") -> None:
        """Carry a fault out now, and undo it when it lasts only for a time."""
        self.struck.append(fault.action)
        undo = await getattr(self, f"_{fault.action}")(getattr(fault, fault.action))
        self._world.ctx.net.everywhere.note(self._world.ctx.now())
        if fault.lasts is not None and undo is not None:

            async def end() -> None:
                await undo()
                self._world.ctx.net.everywhere.note(self._world.ctx.now())

            self._world.later(fault.lasts, end)

    # -- triggers

    def _wait_for(self, fault: "Fault") -> None:
        """Look at every change that may make it come true; strike once."""
        done = False

        def look(*_: object) -> None:
            nonlocal done
            if not done and fault.when is not None and self.holds(fault.when):
                done = True
                self._strike_in(fault.after, fault)

        self._world.ctx.cluster[NODE].on_change(look)
        if fault.when is not None and fault.when.pod_ready:
            self._world.ctx.cluster[POD].on_change(look)
        if fault.when is not None and fault.when.writes:
            self._hooks.observers.append(look)
        look()

    def holds(self, when: "When") -> bool:
        """Whether all that is waited for is true."""
        if when.writes and self._hooks.writes < when.writes:
            return False
        node = self._world.ctx.cluster[NODE].get(when.node) if when.node else None
        if (when.label or when.tainted or when.cordoned) and (node is None or not _node_is(node, when)):
            return False
        return not when.pod_ready or self._pod_ready(when)

    def _pod_ready(self, when: "When") -> bool:
        pods = self._world.ctx.cluster[POD]
        found = pods.by("node", when.node) if when.node else pods.items.values()
        return any("/".join(meta.key(pod)).startswith(when.pod_ready) and meta.ready(pod) for pod in found)

    # -- nodes

    async def _kubelet_down(self, node: str) -> Action:
        self._world.machines.kubelet_down(node)
        return lambda: self._world.machines.kubelet_up(node)

    async def _power_off(self, node: str) -> Action:
        await self._world.machines.power_off(node)

        async def on() -> None:
            self._world.machines.power_on(node)

        return on

    async def _reboot(self, node: str) -> None:
        await self._world.machines.reboot(node)

    async def _join(self, spec: "NodeSpec") -> Action:
        self._joined += 1
        nodes = self._scenario.node_cidr
        address = addresses.nth(nodes, addresses.span(nodes)[1] - 8 - self._joined)
        await self._world.machines.join(machine_of(spec, address, self._scenario.versions.kubernetes))
        return lambda: self._world.machines.leave(spec.name)

    async def _leave(self, node: str) -> None:
        await self._world.machines.leave(node)

    # -- pods

    async def _never_ready(self, what: Any) -> Action:
        stuck = self._world.ctx.faults.stuck
        stuck[what] = lambda run: _is(run, what.name, what.node)
        await self._recheck(what)

        async def end() -> None:
            stuck.pop(what, None)
            await self._recheck(what)

        return end

    async def _crash(self, what: Any) -> Action:
        crashing = self._world.ctx.faults.crashing
        crashing[what] = (lambda run: _is(run, what.name, what.node)), what.message
        await self._recheck(what)

        async def end() -> None:
            crashing.pop(what, None)
            await self._recheck(what)

        return end

    async def _recheck(self, what: Any) -> None:
        for run in list(self._world.kubelets.runs.values()):
            if _is(run, what.name, what.node):
                await self._world.kubelets.recheck(run)

    async def _slow(self, what: Any) -> Action:
        slow = self._world.ctx.faults.slow
        slow[what] = (what.node, what.factor)

        async def end() -> None:
            slow.pop(what, None)

        return end

    # -- packets

    def _lose(self, loss: Loss, losses: list[Loss]) -> Action:
        loss.since = self._world.ctx.now()
        losses.append(loss)

        async def end() -> None:
            loss.until = self._world.ctx.now()

        return end

    async def _deaf(self, what: Any) -> Action:
        loss = Loss(what.node, what.network, what.direction)
        return self._lose(loss, self._world.ctx.faults.losses)

    async def _large_lost(self, what: Any) -> Action:
        loss = Loss(what.node, what.network, kinds=frozenset({"http_large"}))
        return self._lose(loss, self._world.ctx.faults.losses)

    async def _udp_lost(self, what: Any) -> Action:
        loss = Loss(what.node, what.network, kinds=frozenset({"udp"}))
        return self._lose(loss, self._world.ctx.faults.losses)

    async def _firewall(self, what: Any) -> Action:
        for host in self._world.ctx.net.hosts.values():
            self._world.ctx.faults.ports.setdefault("canal", host.plane.vtep_port)
        loss = Loss(what.node, direction=what.direction, peer=what.peer, port=what.port)
        return self._lose(loss, self._world.ctx.faults.losses)

    async def _port_taken(self, what: Any) -> Action:
        udp = self._world.host(what.node).udp
        udp[what.port] = "a program"

        async def end() -> None:
            udp.pop(what.port, None)

        return end

    async def _clock(self, what: Any) -> Action:
        clocks = self._world.ctx.faults.clocks
        clocks[what.node] = what.seconds

        async def end() -> None:
            clocks.pop(what.node, None)

        return end

    async def _dns_down(self, _: bool) -> Action:
        return self._lose(Loss(), self._world.ctx.faults.dns_down)

    # -- disks and kernels

    async def _delete_link(self, what: Any) -> None:
        host = self._world.host(what.node)
        host.change(links=host.plane.links - {what.name})

    async def _delete_route(self, what: Any) -> None:
        host = self._world.host(what.node)
        host.change(lost_routes=host.plane.lost_routes | {what.name})

    async def _delete_lease(self, what: Any) -> None:
        host = self._world.host(what.node)
        host.leases.pop(what.name, None)
        host.last_lease = addresses.place(host.plane.subnet, what.name) - 1

    async def _delete_file(self, what: Any) -> None:
        self._world.host(what.node).remove_files(what.name)

    async def _flush_rules(self, node: str) -> Action:
        flushed = self._world.ctx.faults.flushed
        flushed.append(node)
        host = self._world.host(node)
        host.change(postrouting=tuple(rule for rule in host.plane.postrouting if not isinstance(rule, Keep)))

        async def end() -> None:
            flushed.remove(node)

        return end

    # -- the owner of an installed Cilium

    async def _helm_upgrade(self, keys: dict[str, str | None]) -> None:
        """What `helm upgrade` does to the ConfigMap; the operator is restarted by it (`operator.rollOutPods`)."""
        cluster = self._world.ctx.cluster
        namespace = self._scenario.cilium.namespace if self._scenario.cilium is not None else "kube-system"
        if (found := await cluster.find(CONFIG_MAP, "cilium-config", namespace)) is not None:
            await cluster.patch(CONFIG_MAP, found, {"data": keys})
        for pod in list(cluster[POD].by("namespace", namespace)):
            if "cilium-operator" in meta.containers(pod):
                await cluster.delete(POD, pod)

    # -- the API server

    async def _api(self, what: Any) -> Action:
        from cni_migrate.sim.apiserver.hooks import Fault as Rule

        headers = {"Retry-After": str(what.retry_after)} if what.retry_after is not None else {}
        given = what.model_dump(exclude={"retry_after"})
        rule = Rule(**given, headers=headers)
        self._hooks.faults.append(rule)

        async def end() -> None:
            self._hooks.faults.remove(rule)

        return end


def _is(run: Run, name: str, node: str) -> bool:
    return meta.name(run.pod).startswith(name) and node in ("", run.host.name)


def _node_is(node: Object, when: "When") -> bool:
    key, equals, value = when.label.partition("=")
    labels = meta.labels(node)
    if when.label and (key not in labels or (equals and labels[key] != value)):
        return False
    if when.tainted and all(taint["key"] != when.tainted for taint in meta.taints(node)):
        return False
    return not when.cordoned or bool(node["spec"].get("unschedulable"))
