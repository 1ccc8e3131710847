"""What must hold after every request of the driver, whatever happens: checked from outside, on the API's contents.

The driver's own code is not asked: the record is parsed anew, nodes and pods are looked up in the simulated store.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from cni_migrate.config import Config
from cni_migrate.core.model import names
from cni_migrate.sim.apiserver.hooks import Answer, Call
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.store import Event
from cni_migrate.sim.simulation import Simulation

ORDER = ["canal", "dual", "draining", "cilium", "migrated"]

EVICTION = re.compile(r"^/api/v1/namespaces/([^/]+)/pods/([^/]+)/eviction$")
POD = re.compile(r"^/api/v1/namespaces/([^/]+)/pods/([^/]+)$")
NODE = re.compile(r"^/api/v1/nodes/([^/]+)$")

EVICTING = {"evict_host_ports", "label_multus", "evict_pods", "taint"}
"""Steps during which an eviction may be asked for: those after it because the record may be one write ahead of a retry."""


@dataclass
class Invariants:
    """Watches a simulation; `broken` collects what did not hold, in words."""

    sim: Simulation
    config: Config
    capacity: int
    broken: list[str] = field(default_factory=list)
    evicted: dict[str, int] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    cluster: dict[str, Any] = field(default_factory=dict)
    worst: int = 0
    _texts: dict[str, str] = field(default_factory=dict)
    _out: set[str] = field(default_factory=set)
    _nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    _pods: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sim.store.listeners.append(self._changed)
        self.sim.app.hooks.observers.append(self._requested)
        for resource in ("nodes", "pods"):
            for stored in self.sim.store.select(self.sim.app.catalog.find("", "v1", resource)):
                (self._nodes if resource == "nodes" else self._pods)[stored.key] = stored.object

    def check(self) -> None:
        """Raise when anything did not hold."""
        assert self.broken == []

    def _changed(self, resource: Resource, event: Event) -> None:
        plural = resource.kind.plural
        key, obj = event.after.key, event.after.object
        if plural == "nodes":
            if event.change == "DELETED":
                self._nodes.pop(key, None)
                self._out.discard(key)
                return
            self._nodes[key] = obj
            self._check_capacity(key, obj)
        elif plural == "pods":
            if event.change == "DELETED":
                self._pods.pop(key, None)
            else:
                self._pods[key] = obj
        elif plural == "configmaps" and obj["metadata"]["namespace"] == self.config.namespace:
            self._record(obj)

    # --- at most so many nodes out of service by our hand -------------------------------------------------------

    def _check_capacity(self, name: str, node: dict[str, Any]) -> None:
        ours = names.CORDONED_BY in node["metadata"].get("annotations", {})
        tainted = any(t["key"] == self.config.labels.cilium.key for t in node["spec"].get("taints", []))
        entry = self.entries.get(name, {})
        newcomer = entry.get("event") == "adopt" or ("adopt" in entry.get("took", {}) and entry["state"] != "migrated")
        (self._out.add if (ours or tainted) and not newcomer else self._out.discard)(name)
        self.worst = max(self.worst, len(self._out))
        if len(self._out) > self.capacity:
            self.broken.append(f"{len(self._out)} nodes out of service by our hand: {sorted(self._out)}")

    # --- the record ---------------------------------------------------------------------------------------------

    def _record(self, obj: dict[str, Any]) -> None:
        name = obj["metadata"]["name"]
        if name == names.RECORD:
            self.cluster = json.loads(obj["data"]["cluster"])
            return
        if not name.startswith(names.SHARD):
            return
        for node, text in obj["data"].items():
            if node.startswith("_") or self._texts.get(node) == text:
                continue
            self._texts[node] = text
            entry = {"state": "canal", **json.loads(text)}
            before = self.entries.get(node, {"state": "canal"})
            self.entries[node] = entry
            self._check_entry(node, before, entry)

    def _check_entry(self, node: str, before: dict[str, Any], entry: dict[str, Any]) -> None:
        if entry.get("uid") != before.get("uid"):
            return
        was, now = ORDER.index(before["state"]), ORDER.index(entry["state"])
        if now < was and before.get("event") not in ("restore", "detach"):
            self.broken.append(f"node {node} went back from {before['state']} to {entry['state']} without a rollback")
        if _draining(entry) and not _draining(before):
            self._check_dual_rule(node)
        joined_late = self.cluster.get("phase") in ("cleaning", "done")
        if entry["state"] == "migrated" and before["state"] != "migrated" and not joined_late:
            gate = entry.get("gate") or {}
            if not gate.get("sent"):
                self.broken.append(f"node {node} counts as migrated without a gate: {entry}")

    def _check_dual_rule(self, node: str) -> None:
        for other, obj in self._nodes.items():
            entry = self.entries.get(other)
            if entry is None:
                if self.sim.clock.now().timestamp() - _created(obj) > 2:
                    self.broken.append(f"node {node} is drained while {other} is not in the record")
            elif entry["state"] == "canal" and not entry.get("skipped") and not entry.get("gone"):
                self.broken.append(f"node {node} is drained while {other} is not dual")

    # --- requests -----------------------------------------------------------------------------------------------

    def _requested(self, call: Call, answer: Answer | None) -> None:
        if not call.user_agent.startswith("migrate/"):
            return
        if answer is None:
            if "dryRun" not in call.query:
                self._before(call)
        elif call.method == "POST" and EVICTION.match(call.path) and answer.code == 201:
            uid = json.loads(call.body)["deleteOptions"]["preconditions"]["uid"]
            self.evicted[uid] = self.evicted.get(uid, 0) + 1
            if self.evicted[uid] > 1:
                self.broken.append(f"pod uid {uid} was evicted {self.evicted[uid]} times ({call.path})")

    def _before(self, call: Call) -> None:
        if call.method == "POST" and (match := EVICTION.match(call.path)):
            pod = self._pods.get(f"{match[1]}/{match[2]}")
            if pod is not None:
                entry = self.entries.get(pod["spec"].get("nodeName", ""), {})
                if entry.get("step") not in EVICTING:
                    self.broken.append(f"{call.path}: evicted while the record says {entry.get('step')!r}")
        if call.method == "DELETE" and (match := POD.match(call.path)):
            self._check_delete(match[1], match[2], call)
        if call.method == "PATCH" and (match := NODE.match(call.path)):
            body = json.loads(call.body)
            node = self._nodes.get(match[1])
            if (
                node is not None
                and body.get("spec", {}).get("unschedulable") in (False, None)
                and "unschedulable" in body.get("spec", {})
            ):
                ours = names.CORDONED_BY in node["metadata"].get("annotations", {})
                if node["spec"].get("unschedulable") and not ours:
                    self.broken.append(f"node {match[1]} was uncordoned, and the cordon was not ours")

    def _check_delete(self, namespace: str, name: str, call: Call) -> None:
        pod = self._pods.get(f"{namespace}/{name}")
        if pod is None or pod["metadata"].get("labels", {}).get(names.COMPONENT) == names.HOST_TASK:
            return
        entry = self.entries.get(pod["spec"].get("nodeName", ""), {})
        # Steps of the cluster that restart agents: of a rollback out of clean-up, and of an installed Cilium's new values.
        restarting = self.cluster.get("step") in ("restart_finished_cilium", "restart_unaware_cilium")
        if not entry.get("event") and not restarting:
            self.broken.append(f"{call.path}: deleted while the record has no intent for its node")


def _draining(entry: dict[str, Any]) -> bool:
    """Whether the node is being taken out of service; the first steps of a drain only look."""
    looking = ("check_all_dual", "check_cilium_keys", "baseline_gate", "await_newcomers")
    return entry.get("event") == "drain" and entry.get("step") not in looking


def _created(obj: dict[str, Any]) -> float:
    from datetime import datetime

    return datetime.fromisoformat(obj["metadata"]["creationTimestamp"]).timestamp()
