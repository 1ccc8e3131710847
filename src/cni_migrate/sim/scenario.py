"""A scenario: the cluster a simulation starts with, and what happens to it. Users write it as YAML.

Every field has a default, so an empty file is a calm three-node cluster. Durations are numbers of seconds or texts such
as `500ms`, `30s`, `2m`. Unknown fields are refused.
"""

import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from ruamel.yaml import YAML

from cni_migrate.sim.world.timings import Timings

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(value: object) -> object:
    """A duration in seconds: a number, or a text such as `1m30s`; anything else is left for pydantic to refuse."""
    if not isinstance(value, str):
        return value
    parts = _DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        return value
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


Duration = Annotated[float, BeforeValidator(seconds), Field(ge=0)]
Network = Literal["all", "canal", "cilium"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeSpec(_Model):
    """One node, when the scenario lists them."""

    name: str = Field(description="The node's name.")
    zone: str = Field(default="", description="Value of the label topology.kubernetes.io/zone.")
    role: Literal["worker", "control-plane"] = Field(
        default="worker", description="A control-plane node has the role's label and its NoSchedule taint."
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Further labels.")
    taints: list[dict[str, str]] = Field(default_factory=list, description="Taints: key, value, effect.")


class Versions(_Model):
    """What runs on the cluster before the migration."""

    kubernetes: str = Field(default="v1.34.4", description="Version of the API server and of all kubelets.")
    flannel: str = Field(default="ghcr.io/flannel-io/flannel:v0.26.7", description="Image of kube-flannel.")
    calico: str = Field(default="docker.io/calico/node:v3.29.2", description="Image of calico-node, install-cni.")
    coredns: str = Field(default="registry.k8s.io/coredns/coredns:v1.12.0", description="Image of the DNS pods.")


class CanalSpec(_Model):
    """The Canal installation.

    By default it is Canal as this simulator has had it from the beginning: one DaemonSet whose flannel shows its
    `/run/flannel` on the host. With `published` it is what Calico publishes as `canal.yaml`.
    """

    namespace: str = Field(default="kube-system", description="Its namespace.")
    name: str = Field(default="canal", description="Name of its DaemonSet.")
    config: str = Field(default="canal-config", description="Name of its ConfigMap.")
    published: bool = Field(
        default=False,
        description="As Calico publishes it: a CNI file made from a template, routed pods, nothing of flannel's under "
        "/run on the host, calico-kube-controllers, and Calico's resources, accounts and roles in the API. With "
        "`calico: false` there is no Calico to publish, and this has no effect.",
    )
    split: bool = Field(
        default=False, description="With `published`: two DaemonSets, `kube-flannel` and one for calico-node."
    )
    architectures: list[str] = Field(
        default_factory=list,
        description="One DaemonSet per architecture, NAME-ARCHITECTURE, instead of one for all.",
    )
    cni_file: str = Field(default="10-canal.conflist", description="Name of its CNI file, with `published`.")
    cni_name: str = Field(default="k8s-pod-network", description="The network's name in its CNI file.")
    network: str = Field(
        default="", description="Flannel's network; the pods' (`pod_cidr`) unless given, which is a part of it."
    )
    backend: str = Field(default="vxlan", description="Flannel's backend, such as vxlan and host-gw.")
    vni: int | None = Field(default=None, description="Number of flannel's VXLAN; flannel's default is 1.")
    port: int | None = Field(default=None, description="UDP port of flannel's VXLAN; flannel's default is 8472.")
    node_selector: dict[str, str] = Field(
        default_factory=lambda: {"kubernetes.io/os": "linux"}, description="nodeSelector of its DaemonSet."
    )
    max_unavailable: int | str = Field(default=1, description="maxUnavailable of its rolling update.")
    owner_restores_after: Duration | None = Field(
        default=None,
        description="Its DaemonSet has an owner, such as a Helm controller, an addon manager or GitOps, that puts its "
        "spec back so long after somebody has changed it.",
    )


class Budget(_Model):
    """A PodDisruptionBudget for a workload's pods; exactly one of the two."""

    min_available: int | str | None = Field(default=None, description="minAvailable: a number or a percentage.")
    max_unavailable: int | str | None = Field(default=None, description="maxUnavailable: a number or a percentage.")

    @model_validator(mode="after")
    def _one(self) -> "Budget":
        if (self.min_available is None) == (self.max_unavailable is None):
            raise ValueError("give exactly one of min_available and max_unavailable")
        return self


class Workload(_Model):
    """Something that runs on the cluster."""

    kind: Literal["deployment", "statefulset", "daemonset", "pod", "job"] = Field(
        default="deployment", description="What makes its pods; `pod` is a bare pod, nobody replaces it."
    )
    name: str = Field(description="Its name, and the value of its pods' label app.")
    namespace: str = Field(default="default", description="Its namespace, made when it does not exist.")
    replicas: int = Field(default=2, ge=0, description="How many pods (deployment, statefulset).")
    per_node: float | None = Field(
        default=None, ge=0, description="Pods per worker node instead of `replicas`, rounded up."
    )
    every: int | None = Field(
        default=None, ge=1, description="One copy of the workload for every so many nodes, NAME-1, NAME-2, ..."
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Further labels of its pods.")
    budget: Budget | None = Field(default=None, description="Its PodDisruptionBudget.")
    empty_dir: bool = Field(default=False, description="Whether its pods have an emptyDir volume.")
    grace: int = Field(default=30, ge=0, description="terminationGracePeriodSeconds.")
    host_network: bool = Field(default=False, description="Whether its pods use the node's network.")
    node: str = Field(default="", description="Bind a bare pod to this node.")
    node_selector: dict[str, str] = Field(default_factory=dict, description="nodeSelector of its pods.")
    tolerations: list[dict[str, Any]] = Field(default_factory=list, description="Tolerations of its pods.")
    spread: str = Field(default="", description="Topology key of a required anti-affinity among its pods.")
    finalizers: list[str] = Field(default_factory=list, description="Finalizers nobody removes: its pods get stuck.")
    image: str = Field(default="registry.example.com/shop:1", description="Image of its container.")


class When(_Model):
    """Something to wait for; all fields that are given must hold at once."""

    node: str = Field(default="", description="The node that `label`, `tainted`, `cordoned`, `pod_ready` are about.")
    label: str = Field(default="", description="The node has this label: `key` or `key=value`.")
    tainted: str = Field(default="", description="The node has a taint with this key.")
    cordoned: bool = Field(default=False, description="The node is unschedulable.")
    pod_ready: str = Field(
        default="", description="A pod whose namespace/name starts like this is Ready (on `node`, when that is given)."
    )
    writes: int = Field(default=0, ge=0, description="Clients have made so many writes.")

    @model_validator(mode="after")
    def _something(self) -> "When":
        about_node = self.label or self.tainted or self.cordoned
        if about_node and not self.node:
            raise ValueError("`label`, `tainted` and `cordoned` need `node`")
        if not (about_node or self.pod_ready or self.writes):
            raise ValueError("say what to wait for: label, tainted, cordoned, pod_ready or writes")
        return self


class NeverReady(_Model):
    """Pods that run but never become Ready."""

    name: str = Field(description="The pods whose name starts like this.")
    node: str = Field(default="", description="Only those on this node.")


class Crash(_Model):
    """Containers that end again and again."""

    name: str = Field(description="The pods whose name starts like this.")
    node: str = Field(default="", description="Only those on this node.")
    message: str = Field(default="exit status 1", description="Why, as the pod's status shows it.")


class Deaf(_Model):
    """Packets between pods that are lost at one node."""

    node: str = Field(description="The node.")
    network: Network = Field(default="all", description="Only those in this network's tunnel.")
    direction: Literal["in", "out", "both"] = Field(default="both", description="As seen from the node.")


class Lost(_Model):
    """Packets of one sort that are lost between nodes."""

    node: str = Field(default="", description="Only those from and to this node.")
    network: Network = Field(default="all", description="Only those in this network's tunnel.")


class Slow(_Model):
    """Pods that take long to start and to end."""

    node: str = Field(default="", description="Only on this node.")
    factor: float = Field(default=10.0, gt=0, description="So many times as long.")


class OnDisk(_Model):
    """Something on a node that disappears."""

    node: str = Field(description="The node.")
    name: str = Field(description="The link, the file in /etc/cni/net.d, the peer node of the route, or the address.")


class ApiFault(_Model):
    """Requests of clients that go wrong; the world's own do not."""

    method: str = Field(default=".*", description="Regular expression for the whole method.")
    path: str = Field(default=".*", description="Regular expression found in the path with its query.")
    times: int | None = Field(default=1, description="How often it strikes; null for ever.")
    every: int = Field(default=1, ge=1, description="It strikes at every n-th match.")
    skip: int = Field(default=0, ge=0, description="It spares the first n matches.")
    delay: Duration = Field(default=0.0, description="Answer late.")
    code: int = Field(default=0, description="Answer with this HTTP status.")
    retry_after: int | None = Field(default=None, description="Header Retry-After, in seconds.")
    cut: Literal["", "before", "after"] = Field(
        default="", description="Cut the connection before or after the request is carried out."
    )
    watch: Literal["", "cut", "close", "expire"] = Field(default="", description="How a watch ends early.")
    events: int | None = Field(default=None, description="A watch ends after so many events.")
    seconds: Duration | None = Field(default=None, description="A watch ends after so long.")


ACTIONS = (
    "kubelet_down",
    "power_off",
    "reboot",
    "join",
    "leave",
    "never_ready",
    "crash",
    "deaf",
    "large_lost",
    "udp_lost",
    "dns_down",
    "slow",
    "delete_link",
    "delete_route",
    "delete_lease",
    "delete_file",
    "api",
)


class Fault(_Model):
    """One thing that happens: when (`at` or `when`), how long (`lasts`), and exactly one action."""

    at: Duration | None = Field(default=None, description="So long after the start; 0 when neither is given.")
    when: When | None = Field(default=None, description="As soon as this holds, once.")
    after: Duration = Field(default=0.0, description="So long after `when` has come true.")
    lasts: Duration | None = Field(default=None, description="Undo it after so long; without, it stays.")

    kubelet_down: str | None = Field(default=None, description="Stop this node's kubelet; its pods go on.")
    power_off: str | None = Field(default=None, description="Cut this node's power; undone, it boots.")
    reboot: str | None = Field(default=None, description="Reboot this node.")
    join: NodeSpec | None = Field(default=None, description="A new node joins.")
    leave: str | None = Field(default=None, description="This node is deleted and its machine is gone.")
    never_ready: NeverReady | None = Field(default=None, description="Pods never become Ready.")
    crash: Crash | None = Field(default=None, description="Pods are in CrashLoopBackOff.")
    deaf: Deaf | None = Field(default=None, description="A node's packets are lost.")
    large_lost: Lost | None = Field(default=None, description="Large packets are lost (an MTU that is wrong).")
    udp_lost: Lost | None = Field(default=None, description="UDP packets are lost.")
    dns_down: bool = Field(default=False, description="The cluster's DNS does not answer.")
    slow: Slow | None = Field(default=None, description="Pods are slow.")
    delete_link: OnDisk | None = Field(default=None, description="A link disappears, such as flannel.1.")
    delete_route: OnDisk | None = Field(default=None, description="Flannel's route to another node disappears.")
    delete_lease: OnDisk | None = Field(default=None, description="A lease file disappears: an address is given twice.")
    delete_file: OnDisk | None = Field(default=None, description="A CNI file disappears.")
    api: ApiFault | None = Field(default=None, description="The API server fails clients.")

    @model_validator(mode="after")
    def _one_action(self) -> "Fault":
        given = [name for name in ACTIONS if getattr(self, name) not in (None, False)]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(ACTIONS)}; found {', '.join(given) or 'none'}")
        if self.at is not None and self.when is not None:
            raise ValueError("give `at` or `when`, not both")
        return self

    @property
    def action(self) -> str:
        """The name of the action."""
        return next(name for name in ACTIONS if getattr(self, name) not in (None, False))


class Scenario(_Model):
    """The whole file."""

    name: str = Field(default="unnamed", description="A short name.")
    description: str = Field(default="", description="What a run will meet and how it should end.")
    seed: int = Field(default=1, description="All that is random follows from it.")
    nodes: int | list[NodeSpec] = Field(
        default=3, description="How many nodes (named cp1.. and w1..), or a list of them."
    )
    control_planes: int = Field(default=0, ge=0, description="How many of a number of nodes are control planes.")
    zones: list[str] = Field(default_factory=list, description="Zones over which a number of nodes is spread in turn.")
    calico: bool = Field(default=True, description="Whether Canal enforces NetworkPolicies with Calico.")
    versions: Versions = Field(default_factory=Versions, description="Versions and images.")
    pod_cidr: str = Field(default="10.244.0.0/16", description="The pod network of Canal.")
    node_mask: int = Field(default=24, ge=16, le=28, description="Size of each node's share of it.")
    node_cidr: str = Field(default="172.18.0.0/16", description="The nodes' own addresses.")
    canal: CanalSpec = Field(default_factory=CanalSpec, description="The Canal installation.")
    workloads: list[Workload] = Field(default_factory=list, description="What runs beside DNS and Canal.")
    network_policies: list[dict[str, Any]] = Field(
        default_factory=list, description="NetworkPolicy manifests (metadata and spec)."
    )
    objects: list[dict[str, Any]] = Field(
        default_factory=list, description="Any further manifests, such as webhook configurations."
    )
    timings: Timings = Field(default_factory=Timings, description="How long things take.")
    faults: list[Fault] = Field(default_factory=list, description="What goes wrong, and when.")


def load(source: Path | str) -> Scenario:
    """Read a scenario: a path, or the name of one that is shipped. Errors are pydantic's, or FileNotFoundError."""
    path = Path(source)
    if not path.exists() and path.suffix == "" and str(source) in names():
        text = (_shipped() / f"{source}.yaml").read_text(encoding="utf-8")
    else:
        text = path.read_text(encoding="utf-8")
    return parse(text)


def parse(text: str) -> Scenario:
    """Read a scenario's YAML."""
    content = YAML(typ="safe", pure=True).load(text)
    return Scenario.model_validate(content or {})


def names() -> list[str]:
    """The names of the scenarios that are shipped."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _shipped().iterdir() if entry.name.endswith(".yaml"))


def schema() -> dict[str, Any]:
    """The JSON Schema of a scenario file."""
    return Scenario.model_json_schema()


def _shipped() -> Any:
    return resources.files("cni_migrate.sim") / "scenarios"
