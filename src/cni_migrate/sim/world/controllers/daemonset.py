"""The DaemonSet controller (`pkg/controller/daemon`): one pod per node that wants one.

It works node by node: a change of one pod or node costs the same in a cluster of any size, and the status is a running
sum.
"""

from dataclasses import dataclass, field

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.controllers.template import amount, fingerprint, pod_from
from cni_migrate.sim.world.kinds import DAEMON_SET, NODE, POD

HASH_LABEL = "controller-revision-hash"
_NAME_FIELD = "metadata.name"


@dataclass(frozen=True, slots=True)
class OnNode:
    """One node's part of a DaemonSet's status; `available` is about a pod that is not being deleted."""

    desired: bool = False
    current: bool = False
    misplaced: bool = False
    ready: bool = False
    updated: bool = False
    available: bool = False


_NOWHERE = OnNode()


@dataclass(slots=True)
class State:
    """What the controller knows of one DaemonSet."""

    generation: int
    hash: str
    nodes: dict[str, OnNode] = field(default_factory=dict)
    outdated: set[str] = field(default_factory=set)
    totals: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("desired", "current", "misplaced", "ready", "updated", "available"), 0)
    )

    def set(self, node: str, value: OnNode) -> bool:
        """Take over one node's part; False when nothing changed."""
        old = self.nodes.get(node, _NOWHERE)
        if old == value:
            return False
        self.nodes[node] = value
        for name in self.totals:
            self.totals[name] += getattr(value, name) - getattr(old, name)
        return True


def standard_tolerations(*, host_network: bool) -> list[Object]:
    """What every DaemonSet pod tolerates (`AddOrUpdateDaemonPodTolerations`)."""
    found: list[Object] = [
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
    ]
    names = ["disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"]
    if host_network:
        names.append("network-unavailable")
    found += [{"key": f"node.kubernetes.io/{n}", "operator": "Exists", "effect": "NoSchedule"} for n in names]
    return found


def daemon_pod(daemon_set: Object, node: str, revision: str) -> Object:
    """The pod for one node: bound to it by a node affinity on its name, for the scheduler to follow."""
    template = daemon_set["spec"]["template"]
    pod = pod_from(template, daemon_set, labels={HASH_LABEL: revision})
    spec = pod["spec"]
    tolerations = list(spec.get("tolerations") or ())
    tolerations += [t for t in standard_tolerations(host_network=bool(spec.get("hostNetwork"))) if t not in tolerations]
    spec["tolerations"] = tolerations
    affinity = dict(spec.get("affinity") or {})
    term = {"matchFields": [{"key": _NAME_FIELD, "operator": "In", "values": [node]}]}
    affinity["nodeAffinity"] = {
        **(affinity.get("nodeAffinity") or {}),
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]},
    }
    spec["affinity"] = affinity
    return pod


def target(pod: Object) -> str:
    """The node a DaemonSet pod is meant for, bound or not."""
    bound = meta.node_of(pod)
    return bound or wanted_node(pod["spec"])


def wanted_node(spec: Object) -> str:
    """The node that a pod's affinity names, if it names one."""
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in required.get("nodeSelectorTerms") or ():
        for entry in term.get("matchFields") or ():
            if entry["key"] == _NAME_FIELD and entry["operator"] == "In" and len(entry["values"]) == 1:
                return str(entry["values"][0])
    return ""


def placement(daemon_set: Object, node: Object) -> tuple[bool, bool]:
    """Whether a pod should run on the node, and whether one that is there may stay (`NodeShouldRunDaemonPod`).

    NoSchedule taints keep new pods away but let old ones stay; NoExecute taints do neither.
    """
    spec = daemon_set["spec"]["template"]["spec"]
    if not meta.node_selected(spec, node):
        return False, False
    tolerations = [
        *(spec.get("tolerations") or ()),
        *standard_tolerations(host_network=bool(spec.get("hostNetwork"))),
    ]
    taints = meta.taints(node)
    if meta.untolerated(taints, tolerations, ("NoExecute",)):
        return False, False
    return not meta.untolerated(taints, tolerations, ("NoSchedule",)), True


class DaemonSets:
    """All DaemonSets."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._states: dict[str, State] = {}
        self._sets: dict[str, meta.Key] = {}
        for name, handler in (
            ("daemonset", self._spread),
            ("daemonset.node", self._on_node),
            ("daemonset.roll", self._roll),
            ("daemonset.status", self._status),
        ):
            ctx.work.handle(name, handler)
        ctx.cluster[DAEMON_SET].on_change(self._set_changed)
        ctx.cluster[NODE].on_change(self._node_changed)
        ctx.cluster[POD].on_change(self._pod_changed)
        ctx.cluster[POD].index("daemon", self._daemon_of)

    @staticmethod
    def _daemon_of(pod: Object) -> str:
        owner = meta.controller(pod)
        return f"{owner['uid']}/{target(pod)}" if owner is not None and owner["kind"] == "DaemonSet" else ""

    def _get(self, uid: str) -> Object | None:
        namespace, name = self._sets.get(uid, ("", ""))
        return self._ctx.cluster[DAEMON_SET].get(name, namespace)

    def _set_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            self._states.pop(meta.uid(old or {"metadata": {}}), None)
            return
        uid = meta.uid(new)
        self._sets[uid] = meta.key(new)
        state = self._states.get(uid)
        generation = int(new["metadata"].get("generation", 1))
        if meta.terminating(new) or (state is not None and state.generation == generation):
            return
        if state is None:
            state = self._states[uid] = State(generation, "")
        state.generation, state.hash = generation, fingerprint(new["spec"]["template"])
        self._ctx.work.add("daemonset", uid)

    async def _spread(self, uid: str) -> None:
        for node in list(self._ctx.cluster[NODE].items.values()):
            self._ctx.work.add("daemonset.node", uid, meta.name(node))
        self._ctx.work.add_after(self._ctx.timings.controller, "daemonset.status", uid)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and _asked(old) == _asked(new):
            return
        node = new or old
        if node is not None:
            for uid in self._states:
                self._ctx.work.add("daemonset.node", uid, meta.name(node))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        if pod is not None:
            place = self._daemon_of(pod)
            if place:
                uid, _, node = place.partition("/")
                self._ctx.work.add("daemonset.node", uid, node)

    async def _on_node(self, uid: str, node_name: str) -> None:
        """Bring one node to what the DaemonSet says about it."""
        state, daemon_set = self._states.get(uid), self._get(uid)
        if state is None or daemon_set is None:
            return
        cluster = self._ctx.cluster
        node = cluster[NODE].get(node_name)
        should_run, may_stay = placement(daemon_set, node) if node is not None else (False, False)
        pods = sorted(cluster[POD].by("daemon", f"{uid}/{node_name}"), key=_age)
        live = [pod for pod in pods if not cluster.leaving(pod)]
        if not meta.terminating(daemon_set):
            if should_run and not pods:
                made = await cluster.create(POD, daemon_pod(daemon_set, node_name, state.hash))
                pods = live = [made] if made is not None else []
                if made is None:
                    again = self._ctx.timings.create_retry
                    self._ctx.work.add_after(again, "daemonset.node", uid, node_name, background=True)
            else:
                live = await self._prune(live, may_stay=may_stay)
        current = [pod for pod in live if meta.labels(pod).get(HASH_LABEL) == state.hash]
        value = OnNode(
            desired=should_run,
            current=should_run and bool(pods),
            misplaced=not should_run and bool(pods),
            ready=should_run and bool(pods) and meta.ready(pods[0]),
            updated=should_run and bool(current),
            available=should_run and any(meta.ready(pod) for pod in live),
        )
        if len(current) < len(live):
            state.outdated.add(node_name)
        else:
            state.outdated.discard(node_name)
        if state.set(node_name, value):
            self._ctx.work.add_after(self._ctx.timings.controller, "daemonset.status", uid)
        if state.outdated:
            self._ctx.work.add_after(self._ctx.timings.controller, "daemonset.roll", uid)

    async def _prune(self, live: list[Object], *, may_stay: bool) -> list[Object]:
        """Delete the pods that should not be there: all on a node that does not match, failed ones, all but one."""
        unwanted = live if not may_stay else [pod for pod in live if meta.finished(pod)]
        kept = [pod for pod in live if pod not in unwanted]
        for pod in [*unwanted, *kept[1:]]:
            await self._ctx.cluster.delete(POD, pod)
        return kept[:1]

    async def _roll(self, uid: str) -> None:
        """RollingUpdate: old pods go, those that do not serve first, no more than `maxUnavailable` missing."""
        state, daemon_set = self._states.get(uid), self._get(uid)
        if state is None or daemon_set is None:
            return
        strategy = daemon_set["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        limit = (strategy.get("rollingUpdate") or {}).get("maxUnavailable")
        desired = state.totals["desired"]
        room = max(1, amount(limit, desired, 1, up=True)) - (desired - state.totals["available"])
        for node in sorted(state.outdated):
            serves = state.nodes.get(node, _NOWHERE).available
            if serves and room <= 0:
                continue
            for pod in list(self._ctx.cluster[POD].by("daemon", f"{uid}/{node}")):
                if not self._ctx.cluster.leaving(pod):
                    await self._ctx.cluster.delete(POD, pod)
            room -= serves

    async def _status(self, uid: str) -> None:
        state, daemon_set = self._states.get(uid), self._get(uid)
        if state is None or daemon_set is None:
            return
        totals = state.totals
        missing = totals["desired"] - totals["available"]
        status = {
            "currentNumberScheduled": totals["current"],
            "desiredNumberScheduled": totals["desired"],
            "numberMisscheduled": totals["misplaced"],
            "numberReady": totals["ready"],
            "updatedNumberScheduled": totals["updated"] or None,
            "numberAvailable": totals["available"] or None,
            "numberUnavailable": missing or None,
            "observedGeneration": state.generation,
        }
        known = daemon_set.get("status") or {}
        if any(known.get(name) != value for name, value in status.items()):
            await self._ctx.cluster.patch_status(DAEMON_SET, daemon_set, status)


def _age(pod: Object) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp", ""), meta.name(pod)


def _asked(node: Object) -> tuple[object, object]:
    """What of a node a DaemonSet depends on."""
    return node["metadata"].get("labels"), node["spec"].get("taints")
