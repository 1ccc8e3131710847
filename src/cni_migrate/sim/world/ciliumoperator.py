"""The Cilium operator: makes the CRDs, gives nodes their pod CIDR, may restart unmanaged DNS pods and taint nodes."""

from cni_migrate.sim.client import ApiError, Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.addresses import dotted, span
from cni_migrate.sim.world.ciliumconfig import go_duration, pool
from cni_migrate.sim.world.ciliumgarbage import CiliumGarbage
from cni_migrate.sim.world.ciliumobjects import definitions
from cni_migrate.sim.world.context import Context, number_of
from cni_migrate.sim.world.kinds import CILIUM_NODE, CONFIG_MAP, CRD, POD
from cni_migrate.sim.world.nodestatus import AGENT_TAINT, change_taints
from cni_migrate.sim.world.programs import Health, Program, Run

_INTERVALS = {
    "endpoints": ("cilium-endpoint-gc-interval", "5m0s"),
    "identities": ("identity-gc-interval", "15m0s"),
}
"""How often the operator collects, by which key of its configuration, and its default (Cilium 1.15)."""

_LOOK_AGAIN = 0.5
"""Seconds between two looks whether a new resource is served."""


def served_v2(image: str) -> bool:
    """Whether this Cilium serves CiliumNodeConfig v2 (from 1.16 on); an unreadable tag counts as old."""
    tag = image.partition("@")[0].rpartition(":")[2].lstrip("v").split(".")
    try:
        return (int(tag[0]), int(tag[1])) >= (1, 16)
    except (IndexError, ValueError):
        return False


class CiliumOperator(Program):
    """The pod of the cilium-operator Deployment; of several replicas the first to start leads."""

    container = "cilium-operator"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._leader: Run | None = None
        self._taken: set[str] = set()
        self._garbage = CiliumGarbage(ctx)
        ctx.work.handle("cilium.allocate", self._allocate)
        ctx.work.handle("cilium.taint", self._taint)

    async def begin(self, run: Run) -> Health | None:
        """CRDs first; the rest when it is ready. Its configuration is read now, and never again."""
        await self._config(run)
        image = next(c.get("image", "") for c in run.pod["spec"]["containers"] if c["name"] == self.container)
        for definition in definitions(node_config_v2=served_v2(image)):
            if await self.ctx.cluster.find(CRD, meta.name(definition)) is None:
                await self.ctx.cluster.create(CRD, definition)
        for node in self.ctx.net.hosts:
            self.ctx.work.add("cilium.resume", node)
        self.after(run, "lead", self.ctx.about(self.ctx.timings.operator_start, "operator", run.uid))
        return None

    async def step(self, run: Run, name: str) -> Health | None:
        """It leads: allocate what agents wait for, look for unmanaged pods."""
        if name == "unmanaged":
            await self._restart_unmanaged(run)
            return None
        if name in ("endpoints", "identities"):
            await self._collect(run, name)
            return None
        if not await self._served():
            self.after(run, "lead", _LOOK_AGAIN)
            return None
        self._leader = run
        for node in list(self.ctx.net.hosts):
            self.ctx.work.add("cilium.resume", node)
            self.ctx.work.add("cilium.allocate", node)
            self.ctx.work.add("cilium.taint", node)
        await self._restart_unmanaged(run)
        for what in _INTERVALS:
            await self._collect(run, what)
        return Health(ready=True)

    async def _collect(self, run: Run, what: str) -> None:
        """Collect what is of no use any more, now and again in a while; an interval of 0 turns it off."""
        if self._leader is not run:
            return
        key, default = _INTERVALS[what]
        values = await self._config(run)
        interval = go_duration(values.get(key, default))
        if not interval:
            return
        if what == "endpoints":
            await self._garbage.endpoints()
        else:
            await self._garbage.identities(go_duration(values.get("identity-heartbeat-timeout", "30m")))
        self.after(run, what, interval, background=True)

    async def _served(self) -> bool:
        """Whether CiliumNodes can be made: a real API server takes a moment after the CRD."""
        try:
            await self.ctx.cluster.client.list(CILIUM_NODE)
        except ApiError as error:
            if error.code != 404:
                raise
            return False
        return True

    async def end(self, run: Run, *, graceful: bool) -> None:
        """Nothing is allocated until another one leads."""
        if self._leader is run:
            self._leader = None

    def adopt(self, run: Run) -> None:
        """It led before the world began."""
        self._leader = run

    async def _config(self, run: Run) -> dict[str, str]:
        if "config" not in run.memory:
            found = await self.ctx.cluster.find(CONFIG_MAP, "cilium-config", meta.namespace(run.pod))
            run.memory["config"] = dict((found or {}).get("data") or {})
        config: dict[str, str] = run.memory["config"]
        return config

    async def _taint(self, node: str) -> None:
        """`set-cilium-node-taints`: a node whose agent is not Ready is closed to pods, until one is.

        Also one whose agent was sent away for good (seen with 1.20.2; operator/watchers/node_taint.go has forgotten
        by then that its pod is being deleted).
        """
        host, run = self.ctx.host(node), self._leader
        if host is None or run is None or host.plane.agent:
            return
        scheduled = any("cilium-agent" in meta.containers(pod) for pod in self.ctx.cluster[POD].by("node", node))
        if scheduled and (await self._config(run)).get("set-cilium-node-taints") == "true":
            await change_taints(self.ctx, node, [{"key": AGENT_TAINT, "effect": "NoSchedule"}], set())

    async def _allocate(self, node: str) -> None:
        """Give a CiliumNode without pod CIDR the next free share of the cluster pool; the agent goes on."""
        host, run = self.ctx.host(node), self._leader
        if host is None or run is None or host.plane.cidr:
            return
        known = await self.ctx.cluster.find(CILIUM_NODE, node)
        if known is None:
            return
        given = ((known.get("spec") or {}).get("ipam") or {}).get("podCIDRs") or []
        if not given:
            share = self._next(*pool(await self._config(run)))
            if not share:
                return
            given = [share]
            await self.ctx.cluster.patch(CILIUM_NODE, known, {"spec": {"ipam": {"podCIDRs": given}}})
        self._taken.add(given[0])
        host.change(cidr=given[0])
        self.ctx.work.add("cilium.resume", node)

    def _next(self, cidrs: list[str], mask: int) -> str:
        for cidr in cidrs:
            first, size = span(cidr)
            step = 2 ** (32 - mask)
            for number in range(size // step):
                share = f"{dotted(first + number * step)}/{mask}"
                if share not in self._taken:
                    return share
        return ""

    async def _restart_unmanaged(self, run: Run) -> None:
        """`unmanaged-pod-watcher-interval` other than 0: DNS pods without an endpoint are deleted, one per turn."""
        interval = number_of((await self._config(run)).get("unmanaged-pod-watcher-interval", "15").rstrip("s"), 15)
        if not interval:
            return
        for pod in self.ctx.cluster[POD].by("namespace", "kube-system"):
            if meta.labels(pod).get("k8s-app") == "kube-dns" and self._unmanaged(pod):
                await self.ctx.cluster.delete(POD, pod)
                break
        self.after(run, "unmanaged", float(interval), background=True)

    def _unmanaged(self, pod: Object) -> bool:
        sandbox = self.ctx.net.by_uid.get(meta.uid(pod))
        host = self.ctx.host(meta.node_of(pod))
        return bool(
            sandbox is not None
            and sandbox.primary != "host"
            and not sandbox.cilium
            and host is not None
            and host.plane.agent
            and not meta.terminating(pod)
        )
