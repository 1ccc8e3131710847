"""What happened in a run, seen from outside: the driver's requests and every change of the API's objects, in order."""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cni_migrate.config import Config
from cni_migrate.core.model import names
from cni_migrate.core.model.goal import Final
from cni_migrate.sim.apiserver.hooks import Answer, Call
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.store import Event
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds
from tests.simulation.harness import Process

Object = dict[str, Any]
KEPT = ("nodes", "pods", "daemonsets", "ciliumendpoints", "configmaps", "networkpolicies")


@dataclass
class Now:
    """The objects at one moment, by plural and `namespace/name`, and the record's entries."""

    objects: dict[str, dict[str, Object]] = field(default_factory=lambda: {kind: {} for kind in KEPT})
    entries: dict[str, Object] = field(default_factory=dict)
    cluster: Object = field(default_factory=dict)

    def step(self, node: str) -> tuple[str, str]:
        """The event and step that the record has for a node."""
        entry = self.entries.get(node, {})
        return entry.get("event", ""), entry.get("step", "")

    def pods(self, node: str) -> list[Object]:
        """The pods on a node that use the pod network and have not finished."""
        return [
            pod
            for pod in self.objects["pods"].values()
            if pod["spec"].get("nodeName") == node
            and not pod["spec"].get("hostNetwork")
            and pod["status"].get("phase") not in ("Succeeded", "Failed")
        ]

    def of(self, daemonset: str, node: str) -> list[Object]:
        """The pods of a DaemonSet on a node."""
        return [
            pod
            for pod in self.objects["pods"].values()
            if pod["spec"].get("nodeName") == node
            and any(ref["name"] == daemonset for ref in pod["metadata"].get("ownerReferences", []))
        ]

    def dual(self, pod: Object) -> bool:
        """Whether a pod has a Canal address and a Cilium interface."""
        meta = pod["metadata"]
        endpoint = self.objects["ciliumendpoints"].get(f"{meta['namespace']}/{meta['name']}")
        owned = endpoint is not None and endpoint["metadata"]["ownerReferences"][0]["uid"] == meta["uid"]
        return owned and pod["status"].get("podIP", "").startswith("10.244.")


def ready(pod: Object) -> bool:
    """Whether a pod is Ready and not terminating."""
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


@dataclass
class Trace:
    """A recorded run."""

    config: Config
    items: list[tuple[str, Any]] = field(default_factory=list)
    asks: list[str] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)
    files: dict[int, dict[str, list[str]]] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)
    final: Final | None = None

    async def record(self, sim: Simulation, process: Process) -> None:
        """Run the process and keep what happens."""
        for plural in KEPT:
            group, version = ("cilium.io", "v2") if plural.startswith("cilium") else _GROUPS.get(plural, ("", "v1"))
            if not plural.startswith("cilium"):
                for stored in sim.store.select(sim.app.catalog.find(group, version, plural)):
                    self.items.append(("object", (plural, "ADDED", stored.key, stored.object)))

        def changed(resource: Resource, event: Event) -> None:
            if resource.kind.plural in KEPT:
                self.items.append(("object", (resource.kind.plural, event.change, event.after.key, event.after.object)))

        def called(call: Call, answer: Answer | None) -> None:
            if answer is None and call.user_agent.startswith("migrate/"):
                self.files[len(self.items)] = {n: sorted(h.plane.files) for n, h in sim.world.ctx.net.hosts.items()}
                if call.method != "GET":
                    self.cut += _unreachable(sim)
                self.items.append(("call", call))

        sim.store.listeners.append(changed)
        sim.app.hooks.observers.append(called)
        self.final = await process.run()
        for turn in process.turns:
            self.asks += [ask.key for ask in turn.asks]
            self.waits += [wait.on for wait in turn.waits]

    def moments(self) -> Iterator[tuple[Call, Now, dict[str, list[str]]]]:
        """Each request of the driver, with the objects and the hosts' CNI files as they were when it arrived."""
        now = Now()
        for index, (what, item) in enumerate(self.items):
            if what == "call":
                yield item, now, self.files[index]
                continue
            plural, change, key, obj = item
            if change == "DELETED":
                now.objects[plural].pop(key, None)
            else:
                now.objects[plural][key] = obj
            if plural == "configmaps" and obj["metadata"]["namespace"] == self.config.namespace:
                _note(now, obj)

    def last(self) -> Now:
        """The objects in the end."""
        *_, (_, now, _) = self.moments()
        return now

    def patches(self) -> Iterator[tuple[str, Object, Now, dict[str, list[str]]]]:
        """Each patch of a node by the driver: the node's name, the patch, and what was there."""
        for call, now, files in self.moments():
            if call.method == "PATCH" and call.path.startswith("/api/v1/nodes/"):
                yield call.path.rsplit("/", 1)[1], json.loads(call.body), now, files

    def labelled(self, key: str, *, removed: bool = False) -> dict[str, Now]:
        """By node: what was there when the driver set, or removed, a label of it (the first time)."""
        found: dict[str, Now] = {}
        for node, patch, now, _ in self.patches():
            labels = patch["metadata"].get("labels", {})
            if key in labels and (labels[key] is None) == removed and node not in found:
                found[node] = copy.deepcopy(now)
        return found


_GROUPS = {"daemonsets": ("apps", "v1"), "networkpolicies": ("networking.k8s.io", "v1")}


def _note(now: Now, obj: Object) -> None:
    name = obj["metadata"]["name"]
    if name == names.RECORD:
        now.cluster = json.loads(obj["data"]["cluster"])
    elif name.startswith(names.SHARD):
        now.entries |= {n: json.loads(text) for n, text in obj["data"].items() if not n.startswith("_")}


def _unreachable(sim: Simulation) -> list[str]:
    """The pairs of workload pods, Running and not terminating, of which one does not reach the other now."""
    table = sim.store.select(sim.app.catalog.of(kinds.POD), "shop")
    boxes = []
    for stored in table:
        pod = stored.object
        box = sim.world.sandbox("shop", pod["metadata"]["name"])
        if box is not None and ready(pod):
            boxes.append((stored.key, box, pod["status"]["podIP"]))
    found = []
    for source, box, _ in boxes:
        for target, _, address in boxes:
            if source != target and (why := sim.world.reach(box, address, "http", port=80)):
                found.append(f"{source} -> {target}: {why}")
    return found
