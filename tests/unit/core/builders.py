"""Hand-made nodes, pods and snapshots for tests of pure code: each builder's defaults are a healthy, quiet object."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from cni_migrate import resources
from cni_migrate.config import Config
from cni_migrate.core.decision.plan import TABLES, make_plan
from cni_migrate.core.model import names
from cni_migrate.core.model.attempts import Attempt, Result
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.nodeconfig import NodeConfig
from cni_migrate.core.model.objects import (
    Budget,
    CiliumConfig,
    CiliumNode,
    DaemonSet,
    Endpoint,
    Node,
    Pod,
    Requests,
    Taint,
    Toleration,
)
from cni_migrate.core.model.outcomes import Outcomes
from cni_migrate.core.model.record import ClusterRecord, NodeRecord, Record
from cni_migrate.core.model.rounds import GateReading
from cni_migrate.core.render.foreign import Foreign
from cni_migrate.core.render.manifests import TEMPLATES, Manifests, Payload
from cni_migrate.core.steps.view import ClusterView, NodeView, Plan

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
"""The instant at which hand-made views are looked at."""


def after(seconds: float) -> datetime:
    """So many seconds after `NOW`."""
    return NOW + timedelta(seconds=seconds)


@dataclass
class Seen:
    """A snapshot that is put together by hand."""

    nodes: dict[str, Node] = field(default_factory=dict)
    pods: list[Pod] = field(default_factory=list)
    daemonsets: dict[tuple[str, str], DaemonSet] = field(default_factory=dict)
    budgets: dict[tuple[str, str], Budget] = field(default_factory=dict)
    cilium_nodes: dict[str, CiliumNode] = field(default_factory=dict)
    endpoints: dict[tuple[str, str], Endpoint] = field(default_factory=dict)
    cilium_config: CiliumConfig | None = None
    node_configs: list[NodeConfig] = field(default_factory=list)
    served: Collection[str] = ()
    requests: Requests = field(default_factory=Requests)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    readings: dict[str, GateReading] = field(default_factory=dict)
    pod_events: dict[str, str] = field(default_factory=dict)

    @property
    def outcomes(self) -> Outcomes:
        """What came of what was done: kept with the snapshot, as tests put both together."""
        return Outcomes(self.attempts, self.readings)

    def pods_on(self, node: str) -> list[Pod]:
        """The pods bound to a node."""
        return [pod for pod in self.pods if pod.node == node]

    def pods_of(self, controller_uid: str) -> list[Pod]:
        """The pods that an owner controls."""
        return [pod for pod in self.pods if pod.controller is not None and pod.controller[2] == controller_uid]

    def unready_of(self, controller_uid: str) -> list[Pod]:
        """The pods of an owner that are neither Ready nor being deleted."""
        return [pod for pod in self.pods_of(controller_uid) if not pod.ready and not pod.deleting]

    def pod(self, namespace: str, name: str) -> Pod | None:
        """One pod by name."""
        return next((pod for pod in self.pods if (pod.namespace, pod.name) == (namespace, name)), None)

    @property
    def pending(self) -> list[Pod]:
        """The pods that are bound to no node yet."""
        return self.pods_on("")

    def tried(self, key: str, result: Result, message: str = "", at: datetime = NOW) -> None:
        """Note how the latest try of an effect ended."""
        self.attempts[key] = Attempt(result, message, at)


def a_node(name: str = "w1", **changes: Any) -> Node:
    """A Ready worker."""
    values: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "resource_version": "100",
        "labels": {},
        "annotations": {},
        "taints": (),
        "unschedulable": False,
        "ready": True,
        "boot_id": "boot-1",
        "internal_ip": "192.168.0.11",
        "pod_cidr": "10.244.1.0/24",
    }
    return Node(**{**values, **changes})


def a_control_plane(name: str = "cp1", **changes: Any) -> Node:
    """A node of the control plane."""
    return a_node(name, **{"labels": {"node-role.kubernetes.io/control-plane": ""}, **changes})


REPLICASET = ("ReplicaSet", "web-1", "uid-rs")
EVERYTHING = (Toleration("", "Exists", "", ""),)
"""Tolerates every taint, as node agents do."""


def a_pod(name: str = "web-1-a", **changes: Any) -> Pod:
    """A Ready pod of a ReplicaSet on w1, with a Canal address."""
    values: dict[str, Any] = {
        "namespace": "default",
        "name": name,
        "uid": f"uid-{name}",
        "node": "w1",
        "ip": "10.244.1.5",
        "host_network": False,
        "phase": "Running",
        "ready": True,
        "deleting": False,
        "labels": {},
        "annotations": {},
        "controller": REPLICASET,
        "containers": ("web",),
        "mirror": False,
        "local_storage": False,
        "revision": "",
        "trouble": "",
        "message": "",
        "tolerations": (),
        "host_ports": False,
    }
    return Pod(**{**values, **changes})


def an_agent(daemonset: str, node: str = "w1", namespace: str = "kube-system", **changes: Any) -> Pod:
    """A Ready pod of a network agent's DaemonSet: on the host's network, tolerating everything."""
    values: dict[str, Any] = {
        "namespace": namespace,
        "node": node,
        "ip": "192.168.0.11",
        "host_network": True,
        "controller": ("DaemonSet", daemonset, f"uid-ds-{daemonset}"),
        "tolerations": EVERYTHING,
    }
    return a_pod(f"{daemonset}-{node}", **{**values, **changes})


def a_daemonset(name: str, namespace: str = "kube-system", **changes: Any) -> DaemonSet:
    """A DaemonSet that its controller has looked at."""
    values: dict[str, Any] = {
        "namespace": namespace,
        "name": name,
        "uid": f"uid-ds-{name}",
        "resource_version": "50",
        "node_selector": {},
        "labels": {},
        "annotations": {},
        "containers": (name,),
        "images": (f"example.org/{name}:1",),
        "generation": 1,
        "observed_generation": 1,
        "update_strategy": "RollingUpdate",
        "desired": 1,
        "updated": 1,
        "available": 1,
    }
    return DaemonSet(**{**values, **changes})


def an_endpoint(pod: Pod, ip: str = "10.245.1.9") -> Endpoint:
    """The proof that this very pod has a Cilium interface."""
    return Endpoint(pod.namespace, pod.name, pod.uid, ip)


def seen(*objects: Node | Pod | DaemonSet | Endpoint | CiliumNode, **more: Any) -> Seen:
    """A snapshot of these objects."""
    found = Seen(**more)
    for thing in objects:
        match thing:
            case Node():
                found.nodes[thing.name] = thing
            case Pod():
                found.pods.append(thing)
            case DaemonSet():
                found.daemonsets[thing.namespace, thing.name] = thing
            case Endpoint():
                found.endpoints[thing.namespace, thing.name] = thing
            case CiliumNode():
                found.cilium_nodes[thing.name] = thing
    return found


@lru_cache(maxsize=8)
def _tables() -> Mapping[str, str]:
    return {name: resources.read("states", name) for name in TABLES}


@lru_cache(maxsize=8)
def _templates() -> Mapping[str, str]:
    return {name: resources.read("templates", name) for name in TEMPLATES}


def a_plan(strategy: str = "multus", **sections: Any) -> Plan:
    """The plan for a configuration, with the tables and templates that are shipped."""
    return _plan(Config.model_validate({"strategy": strategy, **sections}))


def a_plan_with(own: Foreign) -> Plan:
    """The plan for an operator's own Cilium."""
    return _plan(Config.model_validate({"cilium": {"source": "manifests", "manifests": "own.yaml"}}), own)


def _plan(config: Config, own: Foreign | None = None) -> Plan:
    facts = Payload(canal_image="example.org/canal:1", agent={"__main__.py": "print('agent')\n"})
    return make_plan(config, Manifests(_templates(), config, facts, foreign=own), _tables())


def a_record(plan: Plan, nodes: Mapping[str, NodeRecord] | Iterable[str] = (), **changes: Any) -> Record:
    """A record as this plan's driver would have made it; nodes given by name alone are in state canal."""
    entries = dict(nodes) if isinstance(nodes, Mapping) else {name: an_entry(name) for name in nodes}
    values: dict[str, Any] = {
        "strategy": plan.config.strategy,
        "identity": plan.config.digest(),
        "identity_values": plan.config.identity(),
        "phase": Phase.MIGRATING,
        "epoch": 1,
        "since": NOW,
        "started": NOW,
        "tool": "migrate 0.0.0",
    }
    return Record(cluster=ClusterRecord(**{**values, **changes}), nodes=entries)


def an_entry(name: str = "w1", state: NodeState = NodeState.CANAL, **changes: Any) -> NodeRecord:
    """A node's entry that belongs to `a_node(name)`."""
    return NodeRecord(uid=f"uid-{name}", state=state, **changes)


def under_way(name: str, state: NodeState, event: NodeEvent, step: str, **changes: Any) -> NodeRecord:
    """An entry whose event is at a step since `NOW`."""
    values: dict[str, Any] = {"event": event, "step": step, "since": NOW, "started": NOW, "attempt": 1}
    return an_entry(name, state, **{**values, **changes})


def a_view(
    found: Seen, entry: NodeRecord | None = None, *, plan: Plan | None = None, name: str = "w1", now: datetime = NOW
) -> NodeView:
    """What a node step is given for node `name`."""
    chosen = plan or a_plan()
    found.nodes.setdefault(name, a_node(name))
    own = entry or an_entry(name)
    others = {other: an_entry(other) for other in found.nodes if other != name}
    record = a_record(chosen, {**others, name: own})
    return NodeView(chosen, found, record, now, own.since or NOW, found.nodes[name], own, outcomes=found.outcomes)


def a_cluster_view(
    found: Seen, *, plan: Plan | None = None, entries: Mapping[str, NodeRecord] | None = None, **cluster: Any
) -> ClusterView:
    """What a cluster step is given; every node that is seen takes part."""
    chosen = plan or a_plan()
    record = a_record(chosen, entries if entries is not None else list(found.nodes), **cluster)
    return ClusterView(chosen, found, record, NOW, NOW, outcomes=found.outcomes)


OUR_TAINT = Taint("node-role.kubernetes/cilium", "cilium", "NoExecute")
"""The taint with the default labels."""

OURS = {names.CORDONED_BY: "true"}
"""The annotation that says that a cordon is ours."""
