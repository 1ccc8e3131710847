"""The ReplicaSet controller (`pkg/controller/replicaset`): replaces pods as soon as they are being deleted."""

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.controllers.template import pod_from
from cni_migrate.sim.world.kinds import POD, REPLICA_SET


def worth(pod: Object) -> tuple[bool, bool, bool, str]:
    """What scaling down keeps longest (`ActivePods`): bound, running, ready, old."""
    phase = (pod.get("status") or {}).get("phase")
    return bool(meta.node_of(pod)), phase == "Running", meta.ready(pod), meta.name(pod)


class ReplicaSets:
    """All ReplicaSets."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._sets: dict[str, meta.Key] = {}
        ctx.work.handle("replicaset", self._sync)
        ctx.cluster[REPLICA_SET].on_change(self._set_changed)
        ctx.cluster[POD].on_change(self._pod_changed)

    def _set_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._sets[meta.uid(new)] = meta.key(new)
            if old is None or old["metadata"].get("generation") != new["metadata"].get("generation"):
                self._ctx.work.add("replicaset", meta.uid(new))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        owner = meta.controlled_by(pod) if pod is not None else ""
        if owner in self._sets:
            self._ctx.work.add("replicaset", owner)

    async def _sync(self, uid: str) -> None:
        """As many active pods as asked for, and the status that says so."""
        namespace, name = self._sets[uid]
        cluster = self._ctx.cluster
        replica_set = cluster[REPLICA_SET].get(name, namespace)
        if replica_set is None or meta.uid(replica_set) != uid:
            del self._sets[uid]
            return
        active = [p for p in cluster[POD].by("owner", uid) if not cluster.leaving(p) and not meta.finished(p)]
        wanted = int(replica_set["spec"].get("replicas", 1))
        if not meta.terminating(replica_set):
            for _ in range(wanted - len(active)):
                made = await cluster.create(POD, pod_from(replica_set["spec"]["template"], replica_set))
                if made is None:
                    self._ctx.work.add_after(self._ctx.timings.create_retry, "replicaset", uid, background=True)
                    break
                active.append(made)
            surplus = sorted(active, key=worth)[: max(0, len(active) - wanted)]
            for pod in surplus:
                await cluster.delete(POD, pod)
                active.remove(pod)
        await self._status(replica_set, active)

    async def _status(self, replica_set: Object, active: list[Object]) -> None:
        ready = sum(meta.ready(pod) for pod in active)
        status = {
            "replicas": len(active),
            "fullyLabeledReplicas": len(active) or None,
            "readyReplicas": ready or None,
            "availableReplicas": ready or None,
            "observedGeneration": replica_set["metadata"].get("generation", 1),
        }
        known = replica_set.get("status") or {}
        if any(known.get(name) != value for name, value in status.items()):
            await self._ctx.cluster.patch_status(REPLICA_SET, replica_set, status)
