"""The disruption controller (`pkg/controller/disruption`): what a PodDisruptionBudget allows at this moment."""

from datetime import timedelta

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.controllers.template import amount
from cni_migrate.sim.world.kinds import BUDGET, DEPLOYMENT, POD, REPLICA_SET, STATEFUL_SET

_FORGET = timedelta(minutes=2)
"""An evicted pod that is not gone after this time counts again (`DeletionTimeout`)."""


class Budgets:
    """All PodDisruptionBudgets."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        ctx.work.handle("budget", self._sync)
        ctx.cluster[BUDGET].index("namespace", meta.namespace)
        ctx.cluster[BUDGET].on_change(self._changed)
        ctx.cluster[POD].on_change(self._pod_changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            known = new.get("status") or {}
            before = (old or {}).get("status") or {}
            same = old is not None and old["metadata"].get("generation") == new["metadata"].get("generation")
            if not same or known.get("disruptedPods") != before.get("disruptedPods"):
                self._ctx.work.add("budget", *meta.key(new))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and _seen(old) == _seen(new):
            return
        pod = new or old
        if pod is None:
            return
        for budget in self._ctx.cluster[BUDGET].by("namespace", meta.namespace(pod)):
            selector = budget["spec"].get("selector")
            if any(meta.matches(selector, meta.labels(one)) for one in (old, new) if one is not None):
                self._ctx.work.add("budget", *meta.key(budget))

    async def _sync(self, namespace: str, name: str) -> None:
        cluster = self._ctx.cluster
        budget = cluster[BUDGET].get(name, namespace)
        if budget is None:
            return
        selector = budget["spec"].get("selector")
        pods = [pod for pod in cluster[POD].by("namespace", namespace) if meta.matches(selector, meta.labels(pod))]
        known = budget.get("status") or {}
        disrupted = self._still_disrupted(known.get("disruptedPods") or {}, pods)
        expected, desired = self._numbers(budget, pods)
        healthy = sum(meta.ready(pod) and not meta.terminating(pod) and meta.name(pod) not in disrupted for pod in pods)
        allowed = max(0, healthy - desired) if expected > 0 else 0
        status: Object = {
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "disruptionsAllowed": allowed,
            "observedGeneration": budget["metadata"].get("generation", 1),
        }
        gone = set(known.get("disruptedPods") or {}) - set(disrupted)
        if gone:
            status["disruptedPods"] = dict.fromkeys(sorted(gone))
        if all(known.get(field) == value for field, value in status.items()):
            return
        status["conditions"] = [self._condition(budget, allowed)]
        body = {"metadata": {"resourceVersion": budget["metadata"]["resourceVersion"]}, "status": status}
        if await cluster.patch(BUDGET, budget, body, subresource="status") is None:
            self._ctx.work.add_after(self._ctx.timings.controller, "budget", namespace, name)

    def _still_disrupted(self, recorded: dict[str, str], pods: list[Object]) -> dict[str, str]:
        """Evictions under way: the pod is there, is not being deleted yet, and the eviction is not long ago."""
        here = {meta.name(pod) for pod in pods if not meta.terminating(pod)}
        oldest = self._ctx.clock.now() - _FORGET
        return {name: when for name, when in recorded.items() if name in here and meta.moment(when) > oldest}

    def _numbers(self, budget: Object, pods: list[Object]) -> tuple[int, int]:
        """Expected pods and desired healthy ones: a number in minAvailable counts pods, all else the scale."""
        spec = budget["spec"]
        least = spec.get("minAvailable")
        if isinstance(least, int):
            return len(pods), least
        scale = self._scale(pods)
        if "maxUnavailable" in spec:
            return scale, max(0, scale - amount(spec["maxUnavailable"], scale, 0, up=True))
        return scale, amount(least, scale, 0, up=True)

    def _scale(self, pods: list[Object]) -> int:
        """The sum of the replicas of the pods' controllers; a pod without a scalable one makes it 0 (SyncFailed)."""
        cluster = self._ctx.cluster
        found: dict[str, int] = {}
        for pod in pods:
            owner = meta.controller(pod)
            if owner is None or owner["kind"] not in ("ReplicaSet", "StatefulSet"):
                return 0
            kind = REPLICA_SET if owner["kind"] == "ReplicaSet" else STATEFUL_SET
            scaled = cluster[kind].get(owner["name"], meta.namespace(pod))
            above = meta.controller(scaled) if scaled is not None else None
            if above is not None and above["kind"] == "Deployment":
                scaled = cluster[DEPLOYMENT].get(above["name"], meta.namespace(pod)) or scaled
            if scaled is not None:
                found[meta.uid(scaled)] = int(scaled["spec"].get("replicas", 1))
        return sum(found.values())

    def _condition(self, budget: Object, allowed: int) -> Object:
        now, old = self._ctx.stamp(), meta.condition(budget, "DisruptionAllowed")
        status = "True" if allowed else "False"
        return {
            "type": "DisruptionAllowed",
            "status": status,
            "reason": "SufficientPods" if allowed else "InsufficientPods",
            "message": "",
            "observedGeneration": budget["metadata"].get("generation", 1),
            "lastTransitionTime": old.get("lastTransitionTime", now) if old.get("status") == status else now,
        }


def _seen(pod: Object) -> tuple[bool, bool, object]:
    """What of a pod a budget depends on."""
    return meta.ready(pod), meta.terminating(pod), pod["metadata"].get("labels")
