"""What the core sees of a cluster: slim, frozen views of Kubernetes objects, and the snapshot that holds them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, Self

from cni_migrate.core.model.nodeconfig import NodeConfig


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """Names one object of the API."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Self:
        """The reference of a manifest."""
        meta = manifest["metadata"]
        return cls(manifest["apiVersion"], manifest["kind"], meta.get("namespace", ""), meta["name"])

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `apiVersion/Kind/namespace/name`, as the configuration and the record write it."""
        *version, kind, namespace, name = text.split("/")
        return cls("/".join(version), kind, namespace, name)

    @property
    def text(self) -> str:
        """What `parse` reads."""
        return f"{self.api_version}/{self.kind}/{self.namespace}/{self.name}"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Taint:
    """A node's taint; `key` and `effect` name it (the API server refuses the same pair twice)."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


@dataclass(frozen=True, slots=True)
class Toleration:
    """A pod's toleration (kubernetes.io: "Taints and Tolerations"): an empty key with Exists matches every taint."""

    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, taint: Taint) -> bool:
        """Whether this toleration covers the taint."""
        if self.effect and self.effect != taint.effect:
            return False
        if self.operator == "Exists":
            return not self.key or self.key == taint.key
        return self.key == taint.key and self.value == taint.value


@dataclass(frozen=True, slots=True)
class Amount:
    """What pods ask of a node, or what a node has for pods: thousandths of a processor, bytes, and their number."""

    cpu: int = 0
    memory: int = 0
    pods: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.cpu + other.cpu, self.memory + other.memory, self.pods + other.pods)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.cpu - other.cpu, self.memory - other.memory, self.pods - other.pods)

    def holds(self, other: "Amount") -> bool:
        """Whether there is so much of each; of what is not asked for there may be too little already."""
        return (
            (self.cpu >= other.cpu or not other.cpu)
            and (self.memory >= other.memory or not other.memory)
            and (self.pods >= other.pods or not other.pods)
        )

    def __str__(self) -> str:
        parts = [f"cpu {self.cpu / 1000:g}"] if self.cpu else []
        parts += [f"memory {self.memory / 2**20:.0f}Mi"] if self.memory else []
        return ", ".join(parts) or "no requests"


ONE_POD = Amount(pods=1)
"""What a pod without requests needs."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node; `more_addresses` are those besides `internal_ip`, external ones, too; `allocatable` may not be told."""

    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    taints: tuple[Taint, ...]
    unschedulable: bool
    ready: bool
    boot_id: str
    internal_ip: str
    pod_cidr: str
    pod_cidrs: tuple[str, ...] = ()
    os: str = "linux"
    arch: str = ""
    allocatable: Amount | None = None
    more_addresses: tuple[str, ...] = ()

    @property
    def control_plane(self) -> bool:
        """Whether the node carries the control plane's role label (kubernetes.io: "Well-Known Labels")."""
        return "node-role.kubernetes.io/control-plane" in self.labels or "node-role.kubernetes.io/master" in self.labels

    @property
    def zone(self) -> str:
        """The node's topology zone, or ''."""
        return self.labels.get("topology.kubernetes.io/zone", "")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement of a node affinity, on a label or, with `on_name`, on the node's name (`metadata.name`)."""

    key: str
    operator: str
    values: tuple[str, ...] = ()
    on_name: bool = False

    def met(self, node: Node) -> bool:
        """Whether the node meets it (kubernetes.io: "Assigning Pods to Nodes", operators); no unknown one is met."""
        value = node.name if self.on_name else node.labels.get(self.key)
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
        try:
            number, bound = int(value or ""), int(self.values[0])
        except (ValueError, IndexError):
            return False
        return (self.operator == "Gt" and number > bound) or (self.operator == "Lt" and number < bound)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as the API shows it.

    `controller` is the controlling owner as (kind, name, uid), `containers` the names of all its containers,
    `host_ports` whether a port of the host leads to the pod although it is not on the host's network, `revision`
    the label by which a DaemonSet's controller tells template versions apart, `trouble` the first waiting or failed
    container in words, `unready` what its Ready condition says while it is not True, `message` the termination
    message of its only container (host tasks), `due_gone` when a pod that is being deleted should have ended
    (metadata.deletionTimestamp), `created` when the API server has made it (RFC 3339, in seconds), `claims` the
    PersistentVolumeClaims of its volumes, `needs` what the scheduler sets aside for it.
    """

    namespace: str
    name: str
    uid: str
    node: str
    ip: str
    host_network: bool
    phase: str
    ready: bool
    deleting: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    controller: tuple[str, str, str] | None
    containers: tuple[str, ...]
    mirror: bool
    local_storage: bool
    revision: str
    trouble: str
    message: str
    tolerations: tuple[Toleration, ...] = ()
    host_ports: bool = False
    due_gone: datetime | None = None
    unready: str = ""
    finalizers: tuple[str, ...] = ()
    created: str = ""
    claims: tuple[str, ...] = ()
    needs: Amount = ONE_POD

    @property
    def finished(self) -> bool:
        """Whether the pod has run to its end: it holds no network any more."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def of_daemonset(self) -> bool:
        """Whether a DaemonSet controls the pod."""
        return self.controller is not None and self.controller[0] == "DaemonSet"


@dataclass(frozen=True, slots=True)
class Writer:
    """Who wrote an object's spec, when, and which of the fields that matter here (metadata.managedFields)."""

    manager: str
    at: str
    fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DaemonSet:
    """A DaemonSet; `images` are its containers', init containers included; `owner` is what controls it, in words.

    `node_terms` are the alternatives of its pods' required node affinity, None without one. `uses` are the objects of
    its namespace that its pods name. `settings` are what its `cilium-agent` is told, `folders` the hosts' by volume.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    node_selector: Mapping[str, str]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    containers: tuple[str, ...]
    images: tuple[str, ...]
    generation: int
    observed_generation: int
    update_strategy: str
    desired: int
    updated: int
    available: int
    writers: tuple[Writer, ...] = ()
    node_terms: tuple[tuple[Requirement, ...], ...] | None = None
    created: datetime | None = None
    deleting: bool = False
    owner: str = ""
    uses: tuple[ObjectRef, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)

    def meant_for(self, node: Node, but: str = "") -> bool:
        """Whether its node selector and affinity take the node; the selector's label `but` does not count.

        An alternative without requirements takes nothing (k8s.io/component-helpers, scheduling/corev1/nodeaffinity).
        """
        if any(node.labels.get(key) != value for key, value in self.node_selector.items() if key != but):
            return False
        terms = self.node_terms
        return terms is None or any(term and all(one.met(node) for one in term) for term in terms)


@dataclass(frozen=True, slots=True)
class Budget:
    """A PodDisruptionBudget. A selector of None selects nothing; `never` says what keeps it closed whatever happens."""

    namespace: str
    name: str
    selector: Mapping[str, Any] | None
    disruptions_allowed: int
    unhealthy_always_allowed: bool
    current_healthy: int
    desired_healthy: int
    resource_version: str = ""
    never: str = ""


@dataclass(frozen=True, slots=True)
class CiliumNode:
    """What Cilium's operator gave a node: its pod CIDRs."""

    name: str
    pod_cidrs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CiliumConfig:
    """The ConfigMap `cilium-config` of a Cilium that is there already.

    `changed` is when it was written last (metadata.managedFields), by the API server's clock and as `Pod.created` has
    it: agents read it when they start, so an older pod runs by what it said before.
    """

    namespace: str
    data: Mapping[str, str]
    changed: str

    def unread_by(self, pod: Pod) -> bool:
        """Whether the pod was made before the ConfigMap was written last, and so may not have read it.

        Both are told in whole seconds. Within one, the pod counts as later: it reads when its containers start, and
        `helm install` makes both at once.
        """
        return pod.created < self.changed


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A CiliumEndpoint: by one with its own name a pod has a Cilium interface. `pod_uid` is its owner's.

    `identity` is the number of the identity by which policies know the pod, 0 while it has none. `ours` tells those
    that our agents have made for pods on Canal.
    """

    namespace: str
    name: str
    pod_uid: str
    ip: str
    uid: str = ""
    identity: int = 0
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Requests:
    """What operators asked for, in the ConfigMap that only they write."""

    paused_since: str = ""
    retry: Mapping[str, str] = field(default_factory=dict)
    skip: Mapping[str, str] = field(default_factory=dict)


class Snapshot(Protocol):
    """One consistent look at the cluster. Maps are read-only and may be live: do not keep them."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """All nodes by name."""

    def pods_on(self, node: str) -> Collection[Pod]:
        """The pods bound to a node."""

    def pods_of(self, controller_uid: str) -> Collection[Pod]:
        """The pods that an owner controls."""

    def unready_of(self, controller_uid: str) -> Collection[Pod]:
        """Those of an owner's pods that are neither Ready nor being deleted: few, however many it has."""

    def pod(self, namespace: str, name: str) -> Pod | None:
        """One pod by name."""

    @property
    def pending(self) -> Collection[Pod]:
        """The pods that are bound to no node yet."""

    @property
    def daemonsets(self) -> Mapping[tuple[str, str], DaemonSet]:
        """All DaemonSets by (namespace, name)."""

    @property
    def budgets(self) -> Mapping[tuple[str, str], Budget]:
        """All PodDisruptionBudgets by (namespace, name)."""

    @property
    def cilium_nodes(self) -> Mapping[str, CiliumNode]:
        """CiliumNodes by name; empty while their CRD is not served."""

    @property
    def endpoints(self) -> Mapping[tuple[str, str], Endpoint]:
        """CiliumEndpoints by (namespace, name); empty while their CRD is not served."""

    @property
    def cilium_config(self) -> CiliumConfig | None:
        """The configuration of the Cilium that is there already; looked at with `cilium.source: existing` alone."""

    @property
    def node_configs(self) -> Collection[NodeConfig]:
        """The CiliumNodeConfigs of that Cilium; looked at with `cilium.source: existing` alone."""

    @property
    def served(self) -> Collection[str]:
        """`group/version/plural` of what Cilium's CRDs serve, for example `cilium.io/v2/ciliumnodes`."""

    @property
    def requests(self) -> Requests:
        """What operators asked for."""

    @property
    def pod_events(self) -> Mapping[str, str]:
        """The last Event of pods that were looked up, by the pod's uid, as `Reason: message`; of this process only."""
