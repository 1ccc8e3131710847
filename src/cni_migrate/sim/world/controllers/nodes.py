"""The controllers of nodes: pod CIDRs, silence, NoExecute taints and the evictions they cause."""

from datetime import timedelta
from ipaddress import IPv4Network

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta, podstatus
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.host import Host, Plane
from cni_migrate.sim.world.kinds import NODE, POD
from cni_migrate.sim.world.nodestatus import change_taints, set_condition

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"


class NodeAddresses:
    """Node IPAM: every node gets the next free share of the pod network."""

    def __init__(self, ctx: Context, pod_cidr: str, mask: int) -> None:
        self._ctx = ctx
        self._shares = IPv4Network(pod_cidr).subnets(new_prefix=mask)
        self._taken: set[str] = set()
        ctx.work.handle("node.cidr", self._assign)
        ctx.cluster[NODE].on_change(self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        share = new["spec"].get("podCIDR")
        if share:
            self._taken.add(share)
        elif old is None:
            self._ctx.work.add("node.cidr", meta.name(new))

    async def _assign(self, name: str) -> None:
        node = self._ctx.cluster[NODE].get(name)
        if node is None or node["spec"].get("podCIDR"):
            return
        share = next(text for text in map(str, self._shares) if text not in self._taken)
        self._taken.add(share)
        await self._ctx.cluster.patch(NODE, node, {"spec": {"podCIDR": share, "podCIDRs": [share]}})


class NodeLifecycle:
    """`pkg/controller/nodelifecycle`: no kubelet for `node_monitor_grace` makes a node Unknown; taints follow Ready."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        ctx.work.handle("node.silent", self._silent)
        ctx.work.handle("node.taints", self._taints)
        ctx.net.on_host(lambda host: host.on_change(self._host_changed))
        ctx.cluster[NODE].on_change(self._node_changed)

    def _host_changed(self, host: Host, before: Plane, after: Plane) -> None:
        if before.kubelet and not after.kubelet:
            grace = self._ctx.timings.node_monitor_grace
            self._ctx.work.add_after(grace, "node.silent", host.name, background=True)
        elif after.kubelet and not before.kubelet:
            self._ctx.work.cancel("node.silent", host.name)

    async def _silent(self, name: str) -> None:
        """Ready becomes Unknown, and the node's pods are no longer Ready."""
        host = self._ctx.host(name)
        if host is None or host.plane.kubelet:
            return
        await set_condition(
            self._ctx, name, "Ready", "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."
        )
        for pod in list(self._ctx.cluster[POD].by("node", name)):
            if meta.ready(pod):
                conditions = podstatus.lost(pod, self._ctx.stamp())
                await self._ctx.cluster.patch_status(POD, pod, {"conditions": conditions})

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            before = meta.condition(old, "Ready").get("status") if old is not None else None
            if meta.condition(new, "Ready").get("status") != before or old is None:
                self._ctx.work.add("node.taints", meta.name(new))

    async def _taints(self, name: str) -> None:
        """not-ready and unreachable with NoExecute; their NoSchedule twins are the API server's part here."""
        node = self._ctx.cluster[NODE].get(name)
        if node is None:
            return
        status = meta.condition(node, "Ready").get("status")
        wanted = {"False": NOT_READY, "Unknown": UNREACHABLE}.get(str(status), "")
        drop = {(key, "NoExecute") for key in (NOT_READY, UNREACHABLE) if key != wanted}
        add: list[Object] = []
        if wanted:
            add = [{"key": wanted, "effect": "NoExecute", "timeAdded": self._ctx.stamp()}]
        await change_taints(self._ctx, name, add, drop)


class TaintEviction:
    """`pkg/controller/tainteviction`: pods that do not tolerate a NoExecute taint are deleted, budgets or not."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        ctx.work.handle("evict.node", self._node)
        ctx.work.handle("evict.pod", self._pod)
        ctx.work.handle("evict.late", self._late)
        ctx.cluster[NODE].on_change(self._node_changed)
        ctx.cluster[POD].on_change(self._pod_changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (_executing(old) if old is not None else []) != _executing(new):
            self._ctx.work.add("evict.node", meta.name(new))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None or not meta.node_of(new) or (old is not None and meta.node_of(old)):
            return
        node = self._ctx.cluster[NODE].get(meta.node_of(new))
        if node is not None and _executing(node):
            self._ctx.work.add("evict.pod", meta.uid(new), *meta.key(new))

    async def _node(self, name: str) -> None:
        for pod in list(self._ctx.cluster[POD].by("node", name)):
            await self._pod(meta.uid(pod), *meta.key(pod))

    async def _pod(self, uid: str, namespace: str, name: str) -> None:
        """Delete the pod now or when its shortest toleration is over; forget it when the taints are gone."""
        pod = self._ctx.cluster[POD].get(name, namespace)
        if pod is None or meta.uid(pod) != uid or self._ctx.cluster.leaving(pod) or meta.finished(pod):
            return
        node = self._ctx.cluster[NODE].get(meta.node_of(pod))
        seconds = self._patience(pod, node) if node is not None else None
        job = ("evict.late", uid, namespace, name)
        if seconds is None:
            self._ctx.work.cancel(*job)
        elif seconds <= 0:
            await self._ctx.cluster.delete(POD, pod)
        else:
            self._ctx.work.add_after(seconds, *job, background=True)

    async def _late(self, uid: str, namespace: str, name: str) -> None:
        """The pod's patience is over."""
        pod = self._ctx.cluster[POD].get(name, namespace)
        if pod is not None and meta.uid(pod) == uid and not self._ctx.cluster.leaving(pod):
            await self._ctx.cluster.delete(POD, pod)

    def _patience(self, pod: Object, node: Object) -> float | None:
        """How long the pod may stay: None for ever. The clock runs from the taint's `timeAdded`, or from now."""
        tolerations = pod["spec"].get("tolerations") or ()
        now = self._ctx.clock.now()
        limits: list[float] = []
        for taint in _executing(node):
            matching = [t for t in tolerations if meta.tolerates(t, taint)]
            if not matching:
                return 0.0
            seconds = [t["tolerationSeconds"] for t in matching if t.get("tolerationSeconds") is not None]
            if seconds:
                since = meta.moment(taint["timeAdded"]) if taint.get("timeAdded") else now
                until = since + timedelta(seconds=max(0, min(seconds)))
                limits.append((until - now).total_seconds())
        return min(limits) if limits else None


def _executing(node: Object) -> list[Object]:
    return [taint for taint in meta.taints(node) if taint.get("effect") == "NoExecute"]
