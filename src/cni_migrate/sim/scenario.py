"""A scenario: the cluster a simulation starts with, and what happens to it. Users write it as YAML.

Every field has a default, so an empty file is a calm three-node cluster. Durations are numbers of seconds or texts such
as `500ms`, `30s`, `2m`. Unknown fields are refused.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from importlib import resources
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from cni_migrate import yamlfile
from cni_migrate.sim import manifestfiles
from cni_migrate.sim.scenariofaults import Fault as Fault
from cni_migrate.sim.scenariofaults import Model
from cni_migrate.sim.scenariofaults import NodeSpec as NodeSpec
from cni_migrate.sim.scenariofaults import When as When
from cni_migrate.sim.scenariotypes import (
    MOST_NODES,
    Cidr,
    Duration,
    Image,
    LabelKey,
    LabelValue,
    Manifest,
    Name,
    Named,
    Namespace,
    Port,
    Share,
    SomeCidr,
    SomeKey,
    SomeNode,
    WorkloadName,
)
from cni_migrate.sim.world.timings import Timings


class Versions(Model):
    """What runs on the cluster before the migration."""

    kubernetes: str = Field(
        default="v1.34.4", pattern=r"^v\d+\.\d+\.\d+\S*$", description="Version of the API server and of all kubelets."
    )
    flannel: Image = Field(default="ghcr.io/flannel-io/flannel:v0.26.7", description="Image of kube-flannel.")
    calico: Image = Field(default="docker.io/calico/node:v3.29.2", description="Image of calico-node, install-cni.")
    coredns: Image = Field(default="registry.k8s.io/coredns/coredns:v1.12.0", description="Image of the DNS pods.")


class CanalSpec(Model):
    """The Canal installation.

    By default one DaemonSet whose flannel shows its `/run/flannel` on the host. With `manifests` or `objects` it is
    somebody else's, installed as it stands; then the other fields, but for `owner_restores_after`, have no effect.
    """

    manifests: list[str] = Field(
        default_factory=list,
        description="Files with Canal's manifests, by paths from the scenario's own folder. `pod_cidr` stays what the "
        "controller manager gives nodes their parts from.",
    )
    objects: list[Manifest] = Field(default_factory=list, description="Canal's manifests, in place of files.")

    namespace: Namespace = Field(default="kube-system", description="Its namespace.")
    name: WorkloadName = Field(default="canal", description="Name of its DaemonSet.")
    config: Name = Field(default="canal-config", description="Name of its ConfigMap.")
    published: bool = Field(
        default=False,
        description="As Calico publishes it: a CNI file made from a template, routed pods, nothing of flannel's under "
        "/run on the host, and all its other objects. Without effect with `calico: false`.",
    )
    split: bool = Field(
        default=False, description="With `published`: two DaemonSets, `kube-flannel` and one for calico-node."
    )
    architectures: list[str] = Field(
        default_factory=list,
        description="One DaemonSet per architecture, NAME-ARCHITECTURE, instead of one for all.",
    )
    cni_file: str = Field(default="10-canal.conflist", description="Name of its CNI file, with `published`.")
    cni_name: str = Field(default="k8s-pod-network", description="The network's name there.")
    network: SomeCidr = Field(default="", description="Flannel's network, where it is wider than `pod_cidr`.")
    backend: str = Field(default="vxlan", description="Flannel's backend, such as vxlan and host-gw.")
    vni: int | None = Field(default=None, description="Number of flannel's VXLAN; flannel's default is 1.")
    port: Port | None = Field(default=None, description="UDP port of flannel's VXLAN; flannel's default is 8472.")
    node_selector: dict[LabelKey, LabelValue] = Field(
        default_factory=lambda: {"kubernetes.io/os": "linux"}, description="nodeSelector of its DaemonSet."
    )
    max_unavailable: Share = Field(default=1, description="maxUnavailable of its rolling update.")
    owner_restores_after: Duration | None = Field(
        default=None,
        description="Its DaemonSet has an owner, such as GitOps, that puts a changed spec back after so long.",
    )


class InstalledCilium(Model):
    """A Cilium that is there already, installed as Cilium's guide "Migrating a cluster to Cilium" has it."""

    namespace: Namespace = Field(default="kube-system", description="Its namespace.")
    version: str = Field(default="1.20.2", pattern=r"^\d+\.\d+\.\d+$", description="Its version.")
    pod_cidr: Cidr = Field(default="10.245.0.0/16", description="The network its pods have their addresses from.")
    tunnel_port: Port = Field(default=8473, description="UDP port of its VXLAN.")
    config: dict[str, str | None] = Field(
        default_factory=dict, description="Further keys of cilium-config; null takes one away that it would have."
    )


class Budget(Model):
    """A PodDisruptionBudget: exactly one of the two."""

    min_available: Share | None = Field(default=None, description="minAvailable: a number or a percentage.")
    max_unavailable: Share | None = Field(default=None, description="maxUnavailable: a number or a percentage.")

    @model_validator(mode="after")
    def _one(self) -> "Budget":
        if (self.min_available is None) == (self.max_unavailable is None):
            raise ValueError("give exactly one of min_available and max_unavailable")
        return self


class Workload(Model):
    """Something that runs on the cluster."""

    kind: Literal["deployment", "statefulset", "daemonset", "pod", "job"] = Field(
        default="deployment", description="What makes its pods; `pod` is a bare pod, nobody replaces it."
    )
    name: WorkloadName = Field(description="Its name, and the value of its pods' label app.")
    namespace: Namespace = Field(default="default", description="Its namespace, made if need be.")
    replicas: int = Field(default=2, ge=0, le=100000, description="How many pods (deployment, statefulset).")
    per_node: float | None = Field(
        default=None, ge=0, le=1000, description="Pods per worker node instead of `replicas`, rounded up."
    )
    every: int | None = Field(default=None, ge=1, description="One copy for every so many nodes, NAME-1, NAME-2, ...")
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, description="Further labels of its pods.")
    budget: Budget | None = Field(default=None, description="Its PodDisruptionBudget.")
    empty_dir: bool = Field(default=False, description="Its pods have an emptyDir volume.")
    grace: int = Field(default=30, ge=0, le=31536000, description="terminationGracePeriodSeconds.")
    host_network: bool = Field(default=False, description="Its pods use the node's network.")
    host_port: Port | None = Field(default=None, description="A port of the node that leads to its container.")
    node: SomeNode = Field(default="", description="Bind a bare pod to this node.")
    node_selector: dict[LabelKey, LabelValue] = Field(default_factory=dict, description="nodeSelector of its pods.")
    tolerations: list[dict[str, Any]] = Field(default_factory=list, description="Tolerations of its pods.")
    spread: SomeKey = Field(default="", description="Topology key of a required anti-affinity among its pods.")
    finalizers: list[LabelKey] = Field(
        default_factory=list, description="Finalizers nobody removes: its pods get stuck."
    )
    image: Image = Field(default="registry.example.com/shop:1", description="Image of its container.")
    probed: bool = Field(default=False, description="The kubelet probes it: readiness and liveness.")


class Scenario(Model):
    """The whole file."""

    name: str = Field(default="unnamed", description="A short name.")
    description: str = Field(default="", description="What a run will meet and how it should end.")
    seed: int = Field(default=1, description="All that is random follows from it.")
    nodes: Annotated[int, Field(ge=0, le=MOST_NODES)] | list[NodeSpec] = Field(
        default=3, description="How many (named cp1.. and w1..), or which."
    )
    control_planes: int = Field(default=0, ge=0, description="How many of them are control planes.")
    zones: list[LabelValue] = Field(default_factory=list, description="Zones over which they are spread in turn.")
    calico: bool = Field(default=True, description="Canal enforces NetworkPolicies with Calico.")
    versions: Versions = Field(default_factory=Versions, description="Versions and images.")
    pod_cidr: Cidr = Field(default="10.244.0.0/16", description="The pod network of Canal.")
    node_mask: int = Field(default=24, ge=16, le=28, description="Size of each node's share of it.")
    node_cidr: Cidr = Field(default="172.18.0.0/16", description="The nodes' own addresses.")
    canal: CanalSpec = Field(default_factory=CanalSpec, description="The Canal installation.")
    cilium: InstalledCilium | None = Field(default=None, description="A Cilium that is there already.")
    workloads: list[Workload] = Field(default_factory=list, description="What runs beside DNS and Canal.")
    network_policies: list[Named] = Field(
        default_factory=list, description="NetworkPolicy manifests (metadata and spec)."
    )
    objects: list[Manifest] = Field(
        default_factory=list, description="Any further manifests, such as webhook configurations."
    )
    timings: Timings = Field(default_factory=Timings, description="How long things take.")
    faults: list[Fault] = Field(default_factory=list, description="What goes wrong, and when.")

    @model_validator(mode="after")
    def _consistent(self) -> "Scenario":
        if IPv4Network(self.pod_cidr).overlaps(IPv4Network(self.node_cidr)):
            raise ValueError(f"pod_cidr {self.pod_cidr} overlaps node_cidr {self.node_cidr}")
        listed = [node.name for node in self.nodes] if isinstance(self.nodes, list) else []
        if twice := [name for name in listed if listed.count(name) > 1]:
            raise ValueError(f"there are two nodes {twice[0]}")
        made = [(one.kind, one.namespace, one.name) for one in self.workloads]
        if again := [one for one in made if made.count(one) > 1]:
            raise ValueError(f"there are two workloads {'/'.join(again[0])}")
        return self


class BadScenario(ValueError):
    """A scenario that cannot be: the file and the line, where they are known, the key, and what is wrong."""


def load(source: Path | str) -> Scenario:
    """Read a scenario: a path, or the name of one that is shipped.

    Raises:
        BadScenario: there is none, or it is wrong.
    """
    path = Path(source)
    if str(source) in names() and not path.exists():
        return parse((_shipped() / f"{source}.yaml").read_text(encoding="utf-8"), str(source))
    try:
        text = yamlfile.text_of(path)
    except yamlfile.BadFile as error:
        raise BadScenario(f"{source}: it cannot be read: {error.why}") from None
    scenario = parse(text, str(source))
    return with_canal(scenario, [path.parent / one for one in scenario.canal.manifests])


def with_canal(scenario: Scenario, files: Sequence[Path]) -> Scenario:
    """The scenario with the Canal that these files hold; the same one when there are none.

    Raises:
        BadScenario: they hold no DaemonSet, or cannot be read.
    """
    if not files:
        return scenario
    try:
        objects = manifestfiles.read(files)
    except yamlfile.BadFile as error:
        raise BadScenario(f"canal.manifests: {error.why}") from None
    if not any(one["kind"] == "DaemonSet" for one in objects):
        raise BadScenario(f"canal.manifests: no DaemonSet in {', '.join(map(str, files))}")
    return scenario.model_copy(update={"canal": scenario.canal.model_copy(update={"objects": objects})})


def parse(text: str, source: str = "") -> Scenario:
    """Read a scenario's YAML; `source` is named in errors.

    Raises:
        BadScenario: it is wrong.
    """
    try:
        written = yamlfile.parse(text)
    except yamlfile.BadFile as error:
        raise BadScenario(f"{_where(source, error.line)}{error.why}") from None
    try:
        return Scenario.model_validate({} if written.content is None else written.content)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # Of the alternatives of a field (a number or a list) the one that went deepest is the one that was meant.
        first = max((one for one in found if one["loc"][:1] == found[0]["loc"][:1]), key=lambda one: len(one["loc"]))
        path = tuple(str(part) for part in first["loc"] if str(part) != "[key]" and not _KIND.match(str(part)))
        what = first["msg"].removeprefix("Value error, ")
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        key = f"key `{'.'.join(path)}`: " if path else ""
        raise BadScenario(f"{_where(source, written.line(path))}{key}{what}{more}") from None


_KIND = re.compile(r"(list|dict|function-\w+|constrained-\w+)\[|(int|str|float)$|(function-|constrained-)")
"""What pydantic puts into a field's path for the alternative that it tried."""


def _where(source: str, line: int | None) -> str:
    return f"{source}:{line}: " if source and line is not None else f"line {line}: " if line is not None else ""


def check(scenario: Scenario, machines: Collection[str]) -> None:
    """Make sure that a scenario's cluster can have these machines, and that it speaks of no others.

    Raises:
        BadScenario: it cannot.
    """
    room = IPv4Network(scenario.node_cidr).num_addresses - 20
    if len(machines) > room:
        raise BadScenario(f"node_cidr {scenario.node_cidr} has no room for {len(machines)} nodes")
    if 2 ** (30 - IPv4Network(scenario.pod_cidr).prefixlen) < len(machines) + 2:
        raise BadScenario(f"pod_cidr {scenario.pod_cidr} has no room for {len(machines)} nodes")
    known = {*machines, *(fault.join.name for fault in scenario.faults if fault.join is not None)}
    for what, node in _spoken_of(scenario):
        if node not in known:
            there = ", ".join(sorted(known)[:10])
            raise BadScenario(f"{what} names the node {node}, which is not there; there are: {there or 'none'}")


def _spoken_of(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Every node that is named, and where."""
    for number, workload in enumerate(scenario.workloads):
        if workload.node:
            yield f"workloads.{number}.node", workload.node
    for number, fault in enumerate(scenario.faults):
        what = getattr(fault, fault.action)
        named = what if isinstance(what, str) else getattr(what, "node", "")
        if named:
            yield f"faults.{number}.{fault.action}", named
        if fault.when is not None and fault.when.node:
            yield f"faults.{number}.when.node", fault.when.node


def names() -> list[str]:
    """The names of the scenarios that are shipped."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _shipped().iterdir() if entry.name.endswith(".yaml"))


def schema() -> dict[str, Any]:
    """The JSON Schema of a scenario file."""
    return Scenario.model_json_schema()


def _shipped() -> Any:
    return resources.files("cni_migrate.sim") / "scenarios"
