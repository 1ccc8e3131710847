"""The Deployment controller: one ReplicaSet per template, the newest in force, others scaled down as it comes up."""

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.controllers.template import amount, fingerprint
from cni_migrate.sim.world.kinds import DEPLOYMENT, REPLICA_SET

HASH_LABEL = "pod-template-hash"


def replica_set_for(deployment: Object, revision: str, replicas: int) -> Object:
    """A Deployment's ReplicaSet of one template."""
    template = deployment["spec"]["template"]
    described = template.get("metadata") or {}
    labels = {**(described.get("labels") or {}), HASH_LABEL: revision}
    selector = deployment["spec"]["selector"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{meta.name(deployment)}-{revision}",
            "namespace": meta.namespace(deployment),
            "labels": labels,
            "ownerReferences": [meta.owner_reference(deployment)],
        },
        "spec": {
            "replicas": replicas,
            "selector": {
                **selector,
                "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: revision},
            },
            "template": {**template, "metadata": {**described, "labels": labels}},
        },
    }


class Deployments:
    """All Deployments."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._uids: dict[str, meta.Key] = {}
        ctx.work.handle("deployment", self._sync)
        ctx.cluster[DEPLOYMENT].on_change(self._changed)
        ctx.cluster[REPLICA_SET].on_change(self._set_changed)
        ctx.cluster[REPLICA_SET].index("owner", meta.controlled_by)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._uids[meta.uid(new)] = meta.key(new)
            if old is None or old["metadata"].get("generation") != new["metadata"].get("generation"):
                self._ctx.work.add("deployment", meta.uid(new))

    def _set_changed(self, old: Object | None, new: Object | None) -> None:
        replica_set = new or old
        owner = meta.controlled_by(replica_set) if replica_set is not None else ""
        if owner in self._uids:
            self._ctx.work.add_after(self._ctx.timings.controller, "deployment", owner)

    async def _sync(self, uid: str) -> None:
        cluster = self._ctx.cluster
        namespace, name = self._uids[uid]
        deployment = cluster[DEPLOYMENT].get(name, namespace)
        if deployment is None or meta.uid(deployment) != uid or meta.terminating(deployment):
            return
        wanted = int(deployment["spec"].get("replicas", 1))
        revision = fingerprint(deployment["spec"]["template"])
        sets = list(cluster[REPLICA_SET].by("owner", uid))
        current = next((s for s in sets if meta.labels(s).get(HASH_LABEL) == revision), None)
        others = [s for s in sets if s is not current and s["spec"].get("replicas", 0)]
        if current is None:
            first = wanted if not others else 0
            current = await cluster.create(REPLICA_SET, replica_set_for(deployment, revision, first))
            if current is None:
                return
        if others or int(current["spec"].get("replicas", 0)) != wanted:
            await self._shift(deployment, current, others, wanted)
        await self._status(deployment, revision, uid)

    async def _shift(self, deployment: Object, current: Object, others: list[Object], wanted: int) -> None:
        """One step of a rollout: old pods away as far as availability allows, new ones up to the surge."""
        strategy = deployment["spec"].get("strategy") or {}
        recreate = strategy.get("type") == "Recreate"
        rolling = strategy.get("rollingUpdate") or {}
        surge = 0 if recreate else amount(rolling.get("maxSurge"), wanted, "25%", up=True)
        missing = wanted if recreate else amount(rolling.get("maxUnavailable"), wanted, "25%", up=False)
        available = sum(_number(s, "availableReplicas") for s in [current, *others])
        spare = available - (wanted - missing)
        total = int(current["spec"].get("replicas", 0))
        for old in others:
            replicas = int(old["spec"]["replicas"])
            unready = replicas - _number(old, "availableReplicas")
            less = min(replicas, max(0, spare) + max(0, unready))
            spare -= max(0, less - unready)
            total += replicas - less
            if less:
                await self._scale(old, replicas - less)
        pods_left = sum(_number(s, "replicas") for s in others) if recreate else 0
        now = int(current["spec"].get("replicas", 0))
        goal = now if pods_left else min(wanted, now + max(0, wanted + surge - total)) if others else wanted
        if goal != now:
            await self._scale(current, goal)

    async def _scale(self, replica_set: Object, replicas: int) -> None:
        await self._ctx.cluster.patch(REPLICA_SET, replica_set, {"spec": {"replicas": replicas}})

    async def _status(self, deployment: Object, revision: str, uid: str) -> None:
        sets = list(self._ctx.cluster[REPLICA_SET].by("owner", uid))
        current = [s for s in sets if meta.labels(s).get(HASH_LABEL) == revision]
        wanted = int(deployment["spec"].get("replicas", 1))
        available = sum(_number(s, "availableReplicas") for s in sets)
        status = {
            "observedGeneration": deployment["metadata"].get("generation", 1),
            "replicas": sum(_number(s, "replicas") for s in sets) or None,
            "updatedReplicas": sum(_number(s, "replicas") for s in current) or None,
            "readyReplicas": sum(_number(s, "readyReplicas") for s in sets) or None,
            "availableReplicas": available or None,
            "unavailableReplicas": max(0, wanted - available) or None,
        }
        known = deployment.get("status") or {}
        if all(known.get(name) == value for name, value in status.items()):
            return
        status["conditions"] = self._conditions(deployment, available >= wanted)
        await self._ctx.cluster.patch_status(DEPLOYMENT, deployment, status)

    def _conditions(self, deployment: Object, available: bool) -> list[Object]:
        now, old = self._ctx.stamp(), meta.condition(deployment, "Available")
        status = "True" if available else "False"
        since = old.get("lastTransitionTime", now) if old.get("status") == status else now
        reason = "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable"
        entry = {"type": "Available", "status": status, "reason": reason, "lastUpdateTime": now}
        return [{**entry, "lastTransitionTime": since}]


def _number(obj: Object, name: str) -> int:
    return int((obj.get("status") or {}).get(name) or 0)
