"""Garbage collection: dependents of what is gone, pods of nodes that are gone, in the background or the foreground."""

from functools import partial

from cni_migrate.sim.client import Kind, Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.ipcache import owning_pod
from cni_migrate.sim.world.kinds import (
    CILIUM_ENDPOINT,
    CILIUM_NODE,
    DAEMON_SET,
    DEPLOYMENT,
    JOB,
    NODE,
    POD,
    REPLICA_SET,
    STATEFUL_SET,
)

_OWNERS: dict[str, Kind] = {kind.kind: kind for kind in (DAEMON_SET, DEPLOYMENT, JOB, REPLICA_SET, STATEFUL_SET)}
_DEPENDENTS = (REPLICA_SET, POD)
_LOOK_FOR_OWNER = 2.0
_FOREGROUND, _ORPHAN = "foregroundDeletion", "orphan"


class Garbage:
    """Owner references followed downwards."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        for name, handler in (
            ("garbage.dependents", self._dependents),
            ("garbage.finalize", self._finalize),
            ("garbage.pods", self._pods_of_node),
            ("garbage.endpoints", self._endpoints),
            ("garbage.absent", self._absent),
        ):
            ctx.work.handle(name, handler)
        for kind in _OWNERS.values():
            ctx.cluster[kind].on_change(partial(self._owner_changed, kind))
        ctx.cluster[NODE].on_change(self._node_changed)
        ctx.cluster[POD].on_change(self._pod_changed)
        ctx.cluster[CILIUM_ENDPOINT].on_change(self._endpoint_changed)

    def _owner_changed(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            self._ctx.work.add("garbage.dependents", meta.uid(old))
            self._waiting_above(old)
        elif new is not None and meta.terminating(new) and _waits(new):
            self._ctx.work.add("garbage.finalize", kind.kind, *meta.key(new))

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            self._ctx.work.add_after(self._ctx.timings.controller, "garbage.pods", meta.name(old))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            if self._ctx.cluster[CILIUM_ENDPOINT].count("owner", meta.uid(old)):
                self._ctx.work.add("garbage.endpoints", meta.uid(old))
            self._waiting_above(old)
        elif old is None and new is not None:
            owner = meta.controller(new)
            if owner is not None and owner["kind"] in _OWNERS and self._gone(new, owner):
                self._ctx.work.add("garbage.dependents", owner["uid"])

    def _gone(self, dependent: Object, owner: Object) -> bool:
        found = self._ctx.cluster[_OWNERS[owner["kind"]]].get(owner["name"], meta.namespace(dependent))
        return found is None or meta.uid(found) != owner["uid"]

    def _waiting_above(self, dependent: Object) -> None:
        """A foreground deletion may have waited for this one."""
        owner = meta.controller(dependent)
        if owner is not None and owner["kind"] in _OWNERS:
            self._ctx.work.add("garbage.finalize", owner["kind"], meta.namespace(dependent), owner["name"])

    async def _dependents(self, uid: str) -> None:
        """Background: the owner is gone, so its dependents go."""
        for kind in _DEPENDENTS:
            for obj in list(self._ctx.cluster[kind].by("owner", uid)):
                owner = meta.controller(obj)
                if owner is not None and self._gone(obj, owner) and not self._ctx.cluster.leaving(obj):
                    await self._ctx.cluster.delete(kind, obj)

    async def _finalize(self, kind_name: str, namespace: str, name: str) -> None:
        """Foreground: dependents first. Orphan: dependents lose their reference. Then the finalizer goes."""
        cluster, kind = self._ctx.cluster, _OWNERS[kind_name]
        owner = cluster[kind].get(name, namespace)
        if owner is None or not meta.terminating(owner):
            return
        finalizers = owner["metadata"].get("finalizers") or []
        if _FOREGROUND in finalizers:
            left = [(k, obj) for k in _DEPENDENTS for obj in list(cluster[k].by("owner", meta.uid(owner)))]
            for dependent_kind, obj in left:
                if not cluster.leaving(obj):
                    await cluster.delete(dependent_kind, obj)
            if left:
                return
        elif _ORPHAN in finalizers:
            for dependent_kind in _DEPENDENTS:
                for obj in list(cluster[dependent_kind].by("owner", meta.uid(owner))):
                    kept = [r for r in obj["metadata"]["ownerReferences"] if r["uid"] != meta.uid(owner)]
                    await cluster.patch(dependent_kind, obj, {"metadata": {"ownerReferences": kept or None}})
        else:
            return
        rest = [one for one in finalizers if one not in (_FOREGROUND, _ORPHAN)]
        await cluster.patch(kind, owner, {"metadata": {"finalizers": rest or None}})

    async def _pods_of_node(self, node: str) -> None:
        """Pod garbage collection: a node that is gone takes its pods with it, and its CiliumNode."""
        cluster = self._ctx.cluster
        if cluster[NODE].get(node) is not None:
            return
        for pod in list(cluster[POD].by("node", node)):
            await cluster.delete(POD, pod, grace=0)
        known = await cluster.find(CILIUM_NODE, node)
        if known is not None:
            await cluster.delete(CILIUM_NODE, known)

    def _endpoint_changed(self, old: Object | None, new: Object | None) -> None:
        """An endpoint whose pod is gone already when it appears goes as well, some moments later."""
        owner = owning_pod(new) if old is None and new is not None else ""
        if owner and new is not None:
            self._ctx.work.add_after(_LOOK_FOR_OWNER, "garbage.absent", owner, background=True)

    async def _absent(self, owner: str) -> None:
        if all(meta.uid(pod) != owner for pod in self._ctx.cluster[POD].items.values()):
            await self._endpoints(owner)

    async def _endpoints(self, owner: str) -> None:
        """The CiliumEndpoints of a pod that is gone, whoever made them."""
        for found in list(self._ctx.cluster[CILIUM_ENDPOINT].by("owner", owner)):
            await self._ctx.cluster.delete(CILIUM_ENDPOINT, found)


def _waits(owner: Object) -> bool:
    """Whether the owner's deletion is the garbage collector's to finish."""
    return bool({_FOREGROUND, _ORPHAN} & set(owner["metadata"].get("finalizers") or ()))
