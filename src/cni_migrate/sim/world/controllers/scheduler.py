"""The scheduler: binds pods to nodes that fit, one pod at a time, always the same choice from the same state.

Filters: unschedulable, taints, nodeSelector and required node affinity, required pod anti-affinity. Score: fewest pods
of the same owner, then fewest pods, then the name.
"""

import json
from typing import Any, Protocol

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta, podevents
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.controllers.daemonset import wanted_node
from cni_migrate.sim.world.kinds import NODE, POD

_UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


class Binder(Protocol):
    """The one write that is no plain verb."""

    async def create_subresource(self, kind: Any, name: str, namespace: str, subresource: str, body: Object) -> Object:
        """POST to a subresource."""
        ...


def fits(spec: Object, node: Object) -> bool:
    """Whether a node may take a pod of this spec, apart from what runs on it already."""
    tolerations = spec.get("tolerations") or ()
    if node["spec"].get("unschedulable") and meta.untolerated([_UNSCHEDULABLE], tolerations, ("NoSchedule",)):
        return False
    if meta.untolerated(meta.taints(node), tolerations, ("NoSchedule", "NoExecute")):
        return False
    return meta.node_selected(spec, node)


class Scheduler:
    """All pods without a node."""

    def __init__(self, ctx: Context, binder: Binder) -> None:
        self._ctx = ctx
        self._binder = binder
        self._placed: dict[str, str] = {}
        """Pod uid to node, including bindings whose event is still on its way."""
        self._load: dict[str, int] = {}
        self._fitting: dict[str, dict[str, bool]] = {}
        """What a pod asks of nodes, and which nodes meet it: most pods ask the same."""
        self._pending: dict[str, meta.Key] = {}
        ctx.work.handle("schedule", self._schedule)
        ctx.work.handle("schedule.retry", self._retry)
        ctx.cluster[POD].on_change(self._pod_changed)
        ctx.cluster[NODE].on_change(self._node_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            uid = meta.uid(old or {"metadata": {}})
            self._pending.pop(uid, None)
            self._place(uid, "")
            self._wake()
            return
        uid, node = meta.uid(new), meta.node_of(new)
        if node:
            self._pending.pop(uid, None)
            self._place(uid, "" if meta.finished(new) else node)
        elif old is None and not meta.terminating(new):
            self._pending[uid] = meta.key(new)
            self._ctx.work.add("schedule", uid)

    def _place(self, uid: str, node: str) -> None:
        before = self._placed.get(uid, "")
        if before == node:
            return
        if before:
            self._load[before] -= 1
            del self._placed[uid]
        if node:
            self._placed[uid] = node
            self._load[node] = self._load.get(node, 0) + 1

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and _asked(old) == _asked(new):
            return
        node = new or old
        if node is not None:
            name = meta.name(node)
            for known in self._fitting.values():
                known.pop(name, None)
            self._wake()

    def _wake(self) -> None:
        if self._pending:
            self._ctx.work.add_after(self._ctx.timings.controller, "schedule.retry")

    async def _retry(self) -> None:
        """Something changed: look again at all that found no node."""
        for uid in list(self._pending):
            await self._schedule(uid)

    async def _schedule(self, uid: str) -> None:
        namespace, name = self._pending.get(uid, ("", ""))
        pod = self._ctx.cluster[POD].get(name, namespace) if name else None
        if pod is None or meta.terminating(pod) or uid in self._placed:
            return
        node = self._choose(pod)
        if not node:
            await self._refuse(pod)
            return
        self._place(uid, node)
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self._binder.create_subresource(POD, name, namespace, "binding", body)

    def _choose(self, pod: Object) -> str:
        """The best node, empty when none fits."""
        spec = pod["spec"]
        named = wanted_node(spec)
        if named:
            node = self._ctx.cluster[NODE].get(named)
            return named if node is not None and fits(spec, node) else ""
        candidates = self._candidates(spec)
        excluded = self._repelled(pod)
        if excluded:
            candidates = [name for name in candidates if name not in excluded]
        if not candidates:
            return ""
        siblings: dict[str, int] = {}
        owner = meta.controlled_by(pod)
        if owner:
            for sibling in self._ctx.cluster[POD].by("owner", owner):
                place = self._placed.get(meta.uid(sibling), "")
                if not meta.terminating(sibling):
                    siblings[place] = siblings.get(place, 0) + 1
        load = self._load
        return min(candidates, key=lambda name: (siblings.get(name, 0), load.get(name, 0), name))

    def _candidates(self, spec: Object) -> list[str]:
        affinity = (spec.get("affinity") or {}).get("nodeAffinity")
        asked = json.dumps([spec.get("nodeSelector"), affinity, spec.get("tolerations")], sort_keys=True)
        known = self._fitting.setdefault(asked, {})
        nodes = self._ctx.cluster[NODE].items
        if len(known) != len(nodes):
            for (_, name), node in nodes.items():
                if name not in known:
                    known[name] = fits(spec, node)
        return [name for name, fit in known.items() if fit and ("", name) in nodes]

    def _repelled(self, pod: Object) -> set[str]:
        """The nodes that the pod's required anti-affinity excludes."""
        rules = ((pod["spec"].get("affinity") or {}).get("podAntiAffinity") or {}).get(
            "requiredDuringSchedulingIgnoredDuringExecution"
        ) or ()
        nodes = self._ctx.cluster[NODE]
        excluded: set[str] = set()
        for rule in rules:
            topology, taken = rule["topologyKey"], set()
            for other in self._ctx.cluster[POD].by("namespace", meta.namespace(pod)):
                place = nodes.get(self._placed.get(meta.uid(other), ""))
                if place is not None and meta.matches(rule.get("labelSelector"), meta.labels(other)):
                    taken.add(meta.labels(place).get(topology, meta.name(place)))
            if taken:
                excluded |= {
                    meta.name(node)
                    for node in nodes.items.values()
                    if meta.labels(node).get(topology, meta.name(node)) in taken
                }
        return excluded

    async def _refuse(self, pod: Object) -> None:
        """Say once that no node fits."""
        known = meta.condition(pod, "PodScheduled")
        if known.get("status") == "False":
            return
        message = f"0/{len(self._ctx.cluster[NODE].items)} nodes are available"
        entry = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": self._ctx.stamp(),
        }
        await self._ctx.cluster.patch_status(POD, pod, {"conditions": [entry]})
        await podevents.tell(self._ctx, pod, "FailedScheduling", message, "default-scheduler")


def _asked(node: Object) -> tuple[object, object, object]:
    """What of a node scheduling depends on."""
    return node["metadata"].get("labels"), node["spec"].get("taints"), node["spec"].get("unschedulable")
