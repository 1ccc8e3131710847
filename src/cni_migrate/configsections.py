"""The sections of the configuration: keys, what they may be, what they mean, their defaults.

Unknown keys are refused everywhere.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from cni_migrate import labelselector, validation

Cidr = Annotated[str, AfterValidator(validation.network)]
NoCidr = Annotated[str, AfterValidator(validation.optional(validation.network))]
Namespace = Annotated[str, AfterValidator(validation.dns_label)]
NamespacedName = Annotated[str, AfterValidator(validation.namespaced_name)]
Name = Annotated[str, AfterValidator(validation.dns_subdomain)]
NodeName = Annotated[str, AfterValidator(validation.optional(validation.dns_subdomain))]
LabelKey = Annotated[str, AfterValidator(validation.label_key)]
LabelValue = Annotated[str, AfterValidator(validation.label_value)]
CniFile = Annotated[str, AfterValidator(validation.cni_file)]
Conflist = Annotated[str, AfterValidator(validation.conflist)]
Folder = Annotated[str, AfterValidator(validation.folder)]
Image = Annotated[str, AfterValidator(validation.image)]
NoImage = Annotated[str, AfterValidator(validation.optional(validation.image))]
Registry = Annotated[str, AfterValidator(validation.optional(validation.registry))]
Release = Annotated[str, AfterValidator(validation.release)]
ConfigKey = Annotated[str, AfterValidator(validation.config_key)]
PodSelector = Annotated[str, AfterValidator(validation.optional(labelselector.checked))]
ObjectReference = Annotated[str, AfterValidator(validation.object_reference)]
Word = Annotated[str, AfterValidator(validation.word)]
Seconds = Annotated[float, Field(le=604800)]
"""At most a week: more is a slip, and what is added to a date must stay one."""


class Section(BaseModel):
    """A part of the configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, allow_inf_nan=False)


class Label(Section):
    """A node label."""

    key: LabelKey = Field(description="label key")
    value: LabelValue = Field(default="", description="label value")


class Canal(Section):
    """The Canal that is there."""

    namespace: Namespace = Field(default="kube-system", description="namespace of the Canal DaemonSet")
    daemonset: Name = Field(default="canal", description="name of the Canal DaemonSet")
    more_daemonsets: list[NamespacedName] = Field(
        default_factory=list,
        description="Canal's other DaemonSets as namespace/name, where flannel and Calico, or architectures, have their"
        " own",
    )
    cni_file: CniFile = Field(default="10-canal.conflist", description="Canal's file in the CNI configuration folder")
    network_name: Word = Field(default="k8s-pod-network", description="the network's name in that file")
    pod_cidr: Cidr = Field(default="10.244.0.0/16", description="the network Canal's pods have their addresses from")
    network: NoCidr = Field(
        default="", description="flannel's Network where it is wider than the pods' part; default: the same"
    )
    tunnel_port: int = Field(default=8472, ge=1, le=65535, description="UDP port of flannel's VXLAN")
    vni: int = Field(default=1, ge=1, le=16777215, description="VXLAN network identifier of flannel: its link's number")
    extra_objects: list[ObjectReference] = Field(
        default_factory=list,
        description="more objects to delete at clean-up, as apiVersion/Kind/namespace/name",
    )
    remove_leftovers: bool = Field(
        default=False,
        description="at the end, also delete what Canal left in the API: accounts, roles, definitions, settings",
    )

    @property
    def whole(self) -> str:
        """The network that flannel takes for its own: what it does not masquerade among itself."""
        return self.network or self.pod_cidr

    def every_daemonset(self) -> tuple[tuple[str, str], ...]:
        """(namespace, name) of all of Canal's DaemonSets, the named one first."""
        others = [text.partition("/") for text in self.more_daemonsets]
        return ((self.namespace, self.daemonset), *((namespace, name) for namespace, _, name in others))


class Cilium(Section):
    """The Cilium to install."""

    source: Literal["builtin", "chart", "manifests", "existing"] = Field(
        default="builtin",
        description="whose Cilium the cluster ends with: the tool's own, a chart that `helm` renders and comes to own,"
        " manifests that something else has rendered, or one that is installed already (overlay)",
    )
    chart: str = Field(default="", description="a folder, an archive, oci://…, or a repository's name for it")
    chart_version: str = Field(default="", description="its version, where there are several")
    chart_repository: str = Field(default="", description="the repository's address, as `helm --repo` has it")
    values: list[str] = Field(default_factory=list, description="values files, later ones outrank earlier")
    release: Name = Field(default="cilium", description="the name of the release")
    kubernetes: str = Field(
        default="1.34.0",
        pattern=r"^1\.\d{1,3}(\.\d{1,3})?$",
        description="the Kubernetes a chart is rendered for; unless set, the cluster's",
    )
    manifests: str = Field(default="", description="source manifests: a file, or a folder of YAML files")
    namespace: Namespace = Field(default="kube-system", description="namespace of Cilium")
    version: Release = Field(default="1.20.2", description="decides the manifests and the images")
    image: Image = Field(
        default="quay.io/cilium/cilium:v1.20.2", description="agent image; default: the one of `cilium.version`"
    )
    operator_image: Image = Field(
        default="quay.io/cilium/operator-generic:v1.20.2",
        description="operator image; default: the one of `cilium.version`",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(default="IfNotPresent")
    pod_cidr: Cidr = Field(default="10.245.0.0/16", description="the network Cilium's pods get their addresses from")
    mask_size: int = Field(default=24, ge=8, le=30, description="size of each node's part of it")
    tunnel_protocol: Literal["vxlan", "geneve"] = Field(default="vxlan")
    tunnel_port: int = Field(default=8473, ge=1, le=65535, description="UDP port of Cilium's tunnel")
    policy_enforcement: Literal["default", "never", "always"] = Field(
        default="default", description="Cilium's policy enforcement mode once the migration is done"
    )
    primary_file: Conflist = Field(default="05-cilium.conflist", description="Cilium's CNI file on a migrated node")
    extra_file: Conflist = Field(default="99-cilium.conflist", description="the first Cilium's CNI file (multus)")
    operator_replicas: int = Field(default=1, ge=1, le=2)
    extra_config: dict[ConfigKey, str] = Field(
        default_factory=dict,
        description="more keys of the ConfigMap cilium-config; those that the migration depends on are refused",
    )
    agreed: dict[ConfigKey, str] = Field(
        default_factory=dict,
        description="keys of cilium-config that must not change during the migration, as a Cilium of your own has"
        " them: found, need not be written",
    )


class Multus(Section):
    """Multus, used by the strategy of that name."""

    namespace: Namespace = Field(default="kube-system", description="namespace of Multus")
    image: Image = Field(default="ghcr.io/k8snetworkplumbingwg/multus-cni:v4.2.2", description="Multus image")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(default="IfNotPresent")
    cni_file: Conflist = Field(default="00-multus.conflist", description="Multus's CNI file: sorted before all others")


class Labels(Section):
    """The node labels that drive the migration."""

    canal_cilium: Label = Field(
        default=Label(key="node-role.kubernetes/cilium-canal", value="cilium-canal"),
        description="nodes that run Canal and the first Cilium",
    )
    cilium: Label = Field(
        default=Label(key="node-role.kubernetes/cilium", value="cilium"),
        description="nodes that run Cilium alone; also the key and value of the taint",
    )
    migrated: Label = Field(
        default=Label(key="node-role.kubernetes/migrated", value="migrated"), description="nodes that are migrated"
    )
    multus: Label = Field(
        default=Label(key="cni-migrate.io/multus", value="true"), description="nodes on which Multus may run"
    )
    switched: Label = Field(
        default=Label(key="io.cilium.migration/cilium-default", value="true"),
        description="nodes that a CiliumNodeConfig makes use Cilium (overlay)",
    )
    detached: Label = Field(
        default=Label(key="cni-migrate.io/detached", value="true"), description="nodes Cilium keeps off (overlay)"
    )

    def every(self) -> tuple[Label, ...]:
        """Every label that the migration puts on nodes."""
        return (self.canal_cilium, self.cilium, self.migrated, self.multus, self.switched, self.detached)


class Knet(Section):
    """The knet-stress agents."""

    namespace: Namespace = Field(default="knet-stress", description="namespace of the agents")
    image: Image = Field(
        default="docker.io/library/python:3.12-alpine", description="any image with Python 3.9 or newer"
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(default="IfNotPresent")
    interval: float = Field(default=0.5, ge=0.05, le=60, description="seconds between an agent's rounds")
    idle_interval: float = Field(
        default=5.0,
        ge=0.05,
        le=600,
        description="the same while no driver is at work and nothing changes near an agent",
    )
    timeout: float = Field(default=1.0, ge=0.001, le=60, description="seconds a probe may take")
    full_mesh_max: int = Field(
        default=12, ge=2, le=5000, description="up to this many nodes, every agent probes every other"
    )
    degree: int = Field(default=4, ge=2, le=5000, description="above that, an agent probes this many nodes (even)")
    node_port: bool = Field(default=True, description="probe a node port, too; false: the agents' Service has none")
    keep: bool = Field(default=False, description="leave the agents in place after clean-up")
    reader: Literal["log", "proxy"] = Field(
        default="log",
        description="how reports are read: from the pods' logs, or through the API server (proxy)",
    )


class Gate(Section):
    """When connectivity counts as proven."""

    rounds: int = Field(default=3, ge=1, le=10000, description="clean rounds in a row that each agent must report")
    seconds: Seconds = Field(default=2.0, ge=0, description="the least time they must span")
    sweep_every: int = Field(
        default=0,
        ge=0,
        le=100000,
        description="a full sweep after this many migrated nodes; 0: a quarter of all, at least 10",
    )


class Drain(Section):
    """How nodes are drained: kubectl's semantics, its overrides as explicit settings."""

    taint_effect: Literal["NoExecute", "NoSchedule"] = Field(
        default="NoExecute",
        description="effect of the taint that keeps pods off a node in transit; Canal's own pods have to tolerate it",
    )
    delete_emptydir_data: bool = Field(default=False, description="evict pods even though their emptyDir data is lost")
    force: bool = Field(default=False, description="evict pods that nothing will recreate")
    disable_eviction: PodSelector = Field(
        default="",
        description="labels of the pods that are deleted instead of evicted, ignoring their budgets, such as app=db",
    )
    pod_selector: PodSelector = Field(
        default="",
        description="labels of the pods that are evicted; the others on the pod network go last, when the node is"
        " tainted, and their budgets are not asked",
    )
    grace_period: int = Field(
        default=-1,
        ge=-1,
        le=604800,
        description="seconds that a pod gets to terminate; -1: its own grace period; 0 counts as 1",
    )
    skip_wait_for_delete_timeout: int = Field(
        default=0,
        ge=0,
        le=604800,
        description="pods that are overdue by more seconds than this are not waited for; 0: all are",
    )
    retry_seconds: Seconds = Field(
        default=5.0,
        gt=0,
        description="pause before a blocked eviction is tried again while its budget allows no disruption;"
        " as soon as it allows some, that many are tried at once",
    )

    @field_validator("disable_eviction", mode="before")
    @classmethod
    def _was_a_switch(cls, given: object) -> object:
        """It was true for all pods or false for none; as a selector, `true` would silently select nothing."""
        if given is False or given == "false":
            return ""
        if given is True or given == "true":
            raise ValueError(
                "it takes the labels of the pods to delete instead of evicting them, for example app=db; it is not true"
                " for all pods any more"
            )
        return given


class Safety(Section):
    """What keeps an operator from the wrong cluster."""

    expect_context: str = Field(
        default="", description="the only context of the kubeconfig on which commands may work; empty: any"
    )


class Preflight(Section):
    """The checks before the first change."""

    waive: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list,
        description="findings that stop nothing, as ID or ID:object (`preflight.md` lists every id); what was waived is"
        " recorded with who and when",
    )


class Deadlines(Section):
    """How long each kind of step may take, in seconds, before its node is held."""

    drain: Seconds = Field(
        default=900, ge=0, description="evictions, and the time that pods take to leave; 0: as long as it takes"
    )
    pods: Seconds = Field(default=300, gt=0, description="pods to go or to become Ready")
    agent: Seconds = Field(default=300, gt=0, description="a network agent to become Ready")
    host: Seconds = Field(default=120, gt=0, description="a task on a host")
    gate: Seconds = Field(default=120, gt=0, description="a connectivity gate")
    upgrade: Seconds = Field(
        default=3600, gt=0, description="the `helm upgrade` of Cilium's owner (`cilium.source: existing`)"
    )
    request: Seconds = Field(default=10, gt=0, description="one API request")


class HostTask(Section):
    """The one-shot pods that work on a node's files."""

    image: NoImage = Field(default="", description="an image that is on every node already; default: Canal's own")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(default="IfNotPresent")
    cni_folder: Folder = Field(default="/etc/cni/net.d", description="the CNI configuration folder on the nodes")
    bin_folder: Folder = Field(default="/opt/cni/bin", description="the CNI plugins' folder on the nodes")


class Job(Section):
    """The Job that runs `migrate` in the cluster (`migrate manifests job`)."""

    image: NoImage = Field(
        default="", description="an image with `migrate` in it, as the project's Dockerfile makes it"
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(default="IfNotPresent")
    pull_secrets: list[Name] = Field(
        default_factory=list, description="secrets in the tool's namespace with which the image is pulled"
    )
    command: list[Word] = Field(
        default=["migrate"], min_length=1, description="what starts `migrate` in the image; its arguments follow"
    )
    host_folders: list[Folder] = Field(
        default_factory=list,
        description="folders of the node that the container sees, read-only and under the same path: for a `migrate`"
        " that is installed on the nodes instead of in the image",
    )
    node_selector: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, description="labels of the nodes it may run on"
    )
