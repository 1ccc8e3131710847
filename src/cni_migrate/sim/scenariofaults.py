"""What goes wrong in a scenario, and when."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cni_migrate.sim.scenariotypes import (
    Duration,
    LabelKey,
    LabelValue,
    NodeName,
    Pattern,
    Port,
    SomeCidr,
    SomeKey,
    SomeNode,
    Taint,
)

Network = Literal["all", "canal", "cilium"]


class Model(BaseModel):
    """A part of a scenario: frozen, unknown fields and numbers that are none refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NodeSpec(Model):
    """One node, when the scenario lists them."""

    name: NodeName = Field(description="The node's name.")
    zone: LabelValue = Field(default="", description="Value of the label topology.kubernetes.io/zone.")
    role: Literal["worker", "control-plane"] = Field(
        default="worker", description="`control-plane` has that role's label and taint."
    )
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, description="Further labels.")
    taints: list[Taint] = Field(default_factory=list, description="Taints: key, value, effect.")
    pod_cidr: SomeCidr = Field(
        default="",
        description="Its podCIDR, if somebody else has given it one.",
    )


class When(Model):
    """Something to wait for; all that is given must hold at once."""

    node: SomeNode = Field(default="", description="The node that the others are about.")
    label: str = Field(default="", description="The node has this label: `key` or `key=value`.")
    tainted: SomeKey = Field(default="", description="The node has a taint with this key.")
    cordoned: bool = Field(default=False, description="The node is unschedulable.")
    pod_ready: str = Field(default="", description="A pod whose namespace/name starts like this is Ready.")
    writes: int = Field(default=0, ge=0, description="Clients have made so many writes.")

    @model_validator(mode="after")
    def _something(self) -> "When":
        about_node = self.label or self.tainted or self.cordoned
        if about_node and not self.node:
            raise ValueError("`label`, `tainted` and `cordoned` need `node`")
        if not (about_node or self.pod_ready or self.writes):
            raise ValueError("say what to wait for: label, tainted, cordoned, pod_ready or writes")
        return self


class NeverReady(Model):
    """Pods that run but never become Ready."""

    name: str = Field(description="How the pods' names begin.")
    node: SomeNode = Field(default="", description="Only those on this node.")


class Crash(Model):
    """Containers that end again and again."""

    name: str = Field(description="How the pods' names begin.")
    node: SomeNode = Field(default="", description="Only those on this node.")
    message: str = Field(default="exit status 1", description="Why, as the pod's status shows it.")


class Deaf(Model):
    """Packets between pods that are lost at one node."""

    node: NodeName = Field(description="The node.")
    network: Network = Field(default="all", description="Only those in this network's tunnel.")
    direction: Literal["in", "out", "both"] = Field(default="both", description="As seen from the node.")


class Firewall(Model):
    """UDP packets to one port of nodes' own addresses that are lost."""

    port: Port = Field(description="The UDP port.")
    node: SomeNode = Field(default="", description="Only those from and to this node.")
    peer: SomeNode = Field(default="", description="Only those between `node` and this one.")
    direction: Literal["in", "out", "both"] = Field(default="both", description="As seen from the node.")


class PortTaken(Model):
    """A program that has a UDP port on a node."""

    node: NodeName = Field(description="The node.")
    port: Port = Field(description="The UDP port.")


class Clock(Model):
    """A node's clock that is wrong."""

    node: NodeName = Field(description="The node.")
    seconds: float = Field(description="It is so many seconds ahead; below 0: behind.")


class Lost(Model):
    """Packets of one sort that are lost between nodes."""

    node: SomeNode = Field(default="", description="Only those from and to this node.")
    network: Network = Field(default="all", description="Only those in this network's tunnel.")


class Slow(Model):
    """Pods that take long to start and to end."""

    node: SomeNode = Field(default="", description="Only on this node.")
    factor: float = Field(default=10.0, gt=0, description="So many times as long.")


class OnDisk(Model):
    """Something on a node that disappears."""

    node: NodeName = Field(description="The node.")
    name: str = Field(description="The link, the file in /etc/cni/net.d, the peer node of the route, or the address.")


class ApiFault(Model):
    """Requests of clients that go wrong; the world's own do not."""

    method: Pattern = Field(default=".*", description="A regular expression.")
    path: Pattern = Field(default=".*", description="A regular expression, searched in path and query.")
    times: int | None = Field(default=1, ge=0, description="How often it strikes; null for ever.")
    every: int = Field(default=1, ge=1, description="It strikes at every n-th match.")
    skip: int = Field(default=0, ge=0, description="It spares the first n matches.")
    delay: Duration = Field(default=0.0, description="Answer late.")
    code: int = Field(default=0, ge=0, le=599, description="Answer with this HTTP status.")
    retry_after: int | None = Field(default=None, ge=0, description="Header Retry-After, in seconds.")
    cut: Literal["", "before", "after"] = Field(
        default="", description="Cut the connection before or after it is carried out."
    )
    watch: Literal["", "cut", "close", "expire"] = Field(default="", description="How a watch ends early.")
    events: int | None = Field(default=None, ge=0, description="A watch ends after so many events.")
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
    "firewall",
    "port_taken",
    "clock",
    "dns_down",
    "slow",
    "delete_link",
    "delete_route",
    "delete_lease",
    "delete_file",
    "flush_rules",
    "helm_upgrade",
    "api",
)


class Fault(Model):
    """One thing that happens: when (`at` or `when`), how long (`lasts`), and exactly one action."""

    at: Duration | None = Field(default=None, description="So long after the start; 0 when neither is given.")
    when: When | None = Field(default=None, description="As soon as this holds, once.")
    after: Duration = Field(default=0.0, description="So long after `when` has come true.")
    lasts: Duration | None = Field(default=None, description="Undo it after so long; without, it stays.")

    kubelet_down: NodeName | None = Field(default=None, description="Stop this node's kubelet; its pods go on.")
    power_off: NodeName | None = Field(default=None, description="Cut this node's power; undone, it boots.")
    reboot: NodeName | None = Field(default=None, description="Reboot this node.")
    join: NodeSpec | None = Field(default=None, description="A new node joins.")
    leave: NodeName | None = Field(default=None, description="This node is deleted and its machine is gone.")
    never_ready: NeverReady | None = Field(default=None, description="Pods never become Ready.")
    crash: Crash | None = Field(default=None, description="Pods are in CrashLoopBackOff.")
    deaf: Deaf | None = Field(default=None, description="A node's packets are lost.")
    large_lost: Lost | None = Field(default=None, description="Large packets are lost (an MTU that is wrong).")
    udp_lost: Lost | None = Field(default=None, description="UDP packets are lost.")
    firewall: Firewall | None = Field(default=None, description="A UDP port is closed between nodes.")
    port_taken: PortTaken | None = Field(default=None, description="A program has a UDP port on a node.")
    clock: Clock | None = Field(default=None, description="A node's clock is wrong: its agents' reports show it.")
    dns_down: bool = Field(default=False, description="The cluster's DNS does not answer.")
    slow: Slow | None = Field(default=None, description="Pods are slow.")
    delete_link: OnDisk | None = Field(default=None, description="A link disappears, such as flannel.1.")
    delete_route: OnDisk | None = Field(default=None, description="Flannel's route to another node disappears.")
    delete_lease: OnDisk | None = Field(default=None, description="A lease file disappears: an address is given twice.")
    delete_file: OnDisk | None = Field(default=None, description="A CNI file disappears.")
    flush_rules: NodeName | None = Field(
        default=None,
        description="A firewall that is loaded anew takes away the rules by which callers stay known; while it"
        " lasts, again and again.",
    )
    helm_upgrade: dict[str, str | None] | None = Field(
        default=None, description="An installed Cilium's owner sets these keys of cilium-config; null removes one."
    )
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
