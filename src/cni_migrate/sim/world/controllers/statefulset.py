"""The StatefulSet controller: names by ordinal, in order, each again only after its former pod is gone. No volumes."""

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.controllers.daemonset import HASH_LABEL
from cni_migrate.sim.world.controllers.template import fingerprint, pod_from
from cni_migrate.sim.world.kinds import POD, STATEFUL_SET

ORDINAL_LABEL = "apps.kubernetes.io/pod-index"
NAME_LABEL = "statefulset.kubernetes.io/pod-name"


def stateful_pod(stateful_set: Object, ordinal: int) -> Object:
    """The pod of one ordinal."""
    name = f"{meta.name(stateful_set)}-{ordinal}"
    revision = fingerprint(stateful_set["spec"]["template"])
    labels = {HASH_LABEL: revision, NAME_LABEL: name, ORDINAL_LABEL: str(ordinal)}
    pod = pod_from(stateful_set["spec"]["template"], stateful_set, name=name, labels=labels)
    pod["spec"]["hostname"] = name
    return pod


class StatefulSets:
    """All StatefulSets, with the pod management policies OrderedReady and Parallel."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._sets: dict[str, meta.Key] = {}
        ctx.work.handle("statefulset", self._sync)
        ctx.cluster[STATEFUL_SET].on_change(self._set_changed)
        ctx.cluster[POD].on_change(self._pod_changed)

    def _set_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._sets[meta.uid(new)] = meta.key(new)
            if old is None or old["metadata"].get("generation") != new["metadata"].get("generation"):
                self._ctx.work.add("statefulset", meta.uid(new))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        owner = meta.controlled_by(pod) if pod is not None else ""
        if owner in self._sets:
            self._ctx.work.add("statefulset", owner)

    async def _sync(self, uid: str) -> None:
        cluster = self._ctx.cluster
        namespace, name = self._sets[uid]
        stateful_set = cluster[STATEFUL_SET].get(name, namespace)
        if stateful_set is None or meta.uid(stateful_set) != uid or meta.terminating(stateful_set):
            return
        wanted = int(stateful_set["spec"].get("replicas", 1))
        parallel = stateful_set["spec"].get("podManagementPolicy") == "Parallel"
        pods = {meta.name(pod): pod for pod in cluster[POD].by("owner", uid)}
        await self._fill(stateful_set, pods, wanted, parallel=parallel)
        surplus = sorted(
            (p for n, p in pods.items() if int(n.rpartition("-")[2]) >= wanted and not cluster.leaving(p)),
            key=lambda pod: -int(meta.name(pod).rpartition("-")[2]),
        )
        for pod in surplus if parallel else surplus[:1]:
            await cluster.delete(POD, pod)
        await self._status(stateful_set, uid)

    async def _fill(self, stateful_set: Object, pods: dict[str, Object], wanted: int, *, parallel: bool) -> None:
        """Make what is missing; in order, the first pod that is not ready stops the rest."""
        for ordinal in range(wanted):
            pod = pods.get(f"{meta.name(stateful_set)}-{ordinal}")
            if pod is None:
                pod = await self._ctx.cluster.create(POD, stateful_pod(stateful_set, ordinal))
                if pod is None:
                    again = self._ctx.timings.create_retry
                    self._ctx.work.add_after(again, "statefulset", meta.uid(stateful_set), background=True)
            elif meta.finished(pod) and not self._ctx.cluster.leaving(pod):
                await self._ctx.cluster.delete(POD, pod)
            if not parallel and (pod is None or self._ctx.cluster.leaving(pod) or not meta.ready(pod)):
                return

    async def _status(self, stateful_set: Object, uid: str) -> None:
        pods = list(self._ctx.cluster[POD].by("owner", uid))
        revision = fingerprint(stateful_set["spec"]["template"])
        ready = sum(meta.ready(pod) and not meta.terminating(pod) for pod in pods)
        current = sum(meta.labels(pod).get(HASH_LABEL) == revision for pod in pods)
        status = {
            "observedGeneration": stateful_set["metadata"].get("generation", 1),
            "replicas": len(pods),
            "readyReplicas": ready or None,
            "availableReplicas": ready,
            "currentReplicas": current or None,
            "updatedReplicas": current or None,
            "currentRevision": f"{meta.name(stateful_set)}-{revision}",
            "updateRevision": f"{meta.name(stateful_set)}-{revision}",
        }
        known = stateful_set.get("status") or {}
        if any(known.get(name) != value for name, value in status.items()):
            await self._ctx.cluster.patch_status(STATEFUL_SET, stateful_set, status)
