"""What must fit together in a configuration although each key alone is right.

Refused when the configuration is read: in the middle of a migration it would be found by a crash-looping agent.
"""

import ipaddress
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic_core import PydanticCustomError

from cni_migrate import cilium_versions, validation

if TYPE_CHECKING:
    from cni_migrate.config import Config

PROXY_ROUNDS: Final = 20
"""The longest gate that can be read by the API server's proxy: agents keep 24 rounds for it."""


class Problem(NamedTuple):
    """What contradicts, and the keys that are part of it, the likeliest first."""

    message: str
    keys: tuple[str, ...]


def check(config: "Config") -> None:
    """Refuse a configuration that contradicts itself.

    Raises:
        PydanticCustomError: of the type `contradiction`; its context has the `keys` that are part of it.
    """
    for found in problems(config):
        # The message is an argument, not the template: it may hold braces.
        raise PydanticCustomError("contradiction", "{message}", found._asdict())


def problems(config: "Config") -> Iterator[Problem]:
    """What contradicts, rule by rule. What was taken from a cluster is asked again by preflight."""
    for rule in _RULES:
        yield from rule(config)


def _networks(config: "Config") -> Iterator[Problem]:
    canal, cilium = ipaddress.ip_network(config.canal.pod_cidr), ipaddress.ip_network(config.cilium.pod_cidr)
    both = ("cilium.pod_cidr", "canal.pod_cidr")
    whole = ipaddress.ip_network(config.canal.whole)
    if canal.version != whole.version or not canal.subnet_of(whole):  # type: ignore[arg-type]
        yield Problem(
            f"canal.pod_cidr {canal} is no part of canal.network {whole}", ("canal.pod_cidr", "canal.network")
        )
    # A default is only a guess: the cluster's own network takes its place.
    if "pod_cidr" in config.canal.model_fields_set and canal.overlaps(cilium):
        yield Problem(f"cilium.pod_cidr {cilium} overlaps canal.pod_cidr {canal}: choose a free network", both)
    size = config.cilium.mask_size
    if size <= cilium.prefixlen:
        yield Problem(
            f"cilium.mask_size {size} leaves room for one node or none in cilium.pod_cidr {cilium}: it must be larger"
            f" than {cilium.prefixlen}",
            ("cilium.mask_size", "cilium.pod_cidr"),
        )
    if config.canal.tunnel_port == config.cilium.tunnel_port:
        yield Problem(
            f"cilium.tunnel_port and canal.tunnel_port are both {config.cilium.tunnel_port}: Cilium could not start",
            ("cilium.tunnel_port", "canal.tunnel_port"),
        )


def _version(config: "Config") -> Iterator[Problem]:
    """The version decides what the manifests contain: an image of another one would run with the wrong settings."""
    wanted = config.cilium.version.removeprefix("v")
    if not cilium_versions.supported(wanted):
        yield Problem(
            f"cilium.version {wanted} is not known to this program: {cilium_versions.known()} are, and 1.7 with profile"
            " seed",
            ("cilium.version", "cilium.source"),
        )
    for key in ("image", "operator_image"):
        image = getattr(config.cilium, key)
        found = re.match(r"v?(\d+\.\d+\.\d+)", validation.tag_of(image))
        if found and found[1] != wanted.partition("-")[0]:
            todo = "omit the image, it follows the version, or set cilium.version to " + found[1]
            if config.cilium.source in ("chart", "manifests"):
                todo = "agents and operator have to be of one version"
            yield Problem(
                f"cilium.{key} {image} is version {found[1]}, cilium.version is {wanted}: {todo}",
                (f"cilium.{key}", "cilium.version"),
            )


def _extra_config(config: "Config") -> Iterator[Problem]:
    for key, value in config.cilium.extra_config.items():
        reserved = RESERVED.get(key)
        if reserved is not None and not reserved.fits(value, config):
            why = f"cilium.extra_config sets {key} to {value!r}, but {reserved.why}"
            yield Problem(why, (f"cilium.extra_config.{key}",))


def _identities(config: "Config") -> Iterator[Problem]:
    """Which labels make an identity is said by regular expressions; an agent of Cilium's does not start with others."""
    builtin = config.cilium.source == "builtin"
    key, said = ("extra_config", config.cilium.extra_config) if builtin else ("agreed", config.cilium.agreed)
    if wrong := validation.no_expression(said.get("labels", "")):
        yield Problem(f"labels has {wrong}: no agent of Cilium's would start", (f"cilium.{key}.labels",))


def _source(config: "Config") -> Iterator[Problem]:
    """Where Cilium comes from, and that alone, is described."""
    cilium = config.cilium
    for key in ("chart", "manifests"):
        named = getattr(cilium, key)
        if cilium.source == key and not named:
            yield Problem(
                f"cilium.source is {key}, and cilium.{key} is empty: say which", (f"cilium.{key}", "cilium.source")
            )
        if cilium.source != key and named:
            yield Problem(
                f"cilium.{key} is set, and cilium.source is {cilium.source}: set cilium.source to {key}",
                (f"cilium.{key}", "cilium.source"),
            )
    for key, usual in _CHARTS.items():
        if cilium.source != "chart" and getattr(cilium, key) != usual:
            yield Problem(
                f"cilium.{key} is about a chart, and cilium.source is {cilium.source}: set cilium.source to chart, or"
                f" omit cilium.{key}",
                (f"cilium.{key}", "cilium.source"),
            )
    if cilium.source == "existing" and config.traits.two_daemonsets:
        yield Problem(
            f"cilium.source existing does not work by strategy {config.strategy}, where"
            " each node has two agents of Cilium, which an installed one has not",
            ("strategy", "cilium.source"),
        )
    if cilium.source == "builtin" and cilium.agreed:
        yield Problem(
            "cilium.agreed is what a Cilium of your own is found to say; with cilium.source builtin, write"
            " cilium.extra_config",
            ("cilium.agreed", "cilium.source"),
        )
    if cilium.source != "builtin" and cilium.extra_config:
        yield Problem(
            f"cilium.extra_config is for cilium.source builtin; with {cilium.source}, write it where the rest is",
            ("cilium.extra_config", "cilium.source"),
        )


_CHARTS: Final[dict[str, object]] = {"chart_version": "", "chart_repository": "", "values": [], "release": "cilium"}
"""Keys that say nothing without a chart, and what they are then."""


def _labels(config: "Config") -> Iterator[Problem]:
    labels = {name: getattr(config.labels, name) for name in type(config.labels).model_fields}
    shared = validation.twice((f"labels.{name}.key", label.key) for name, label in labels.items())
    if shared:
        first, second, key = shared
        yield Problem(f"{first} and {second} are both {key}: each label needs a key of its own", (second, first))
    for name, label in labels.items():
        if label.key in validation.WELL_KNOWN or label.key.partition("/")[0] in validation.WELL_KNOWN_DOMAINS:
            yield Problem(
                f"labels.{name}.key is {label.key}, which Kubernetes or the network sets itself: choose another key",
                (f"labels.{name}.key",),
            )


def _cni_files(config: "Config") -> Iterator[Problem]:
    """The runtime reads the first file by name: their order decides which network a pod gets."""
    canal, cilium, multus = config.canal, config.cilium, config.multus
    if not cilium.primary_file < canal.cni_file:
        yield Problem(
            f"cilium.primary_file {cilium.primary_file} must sort before canal.cni_file {canal.cni_file}: the first"
            " file is the active CNI configuration",
            ("cilium.primary_file", "canal.cni_file"),
        )
    if not config.traits.multus:
        return
    if not multus.cni_file < min(canal.cni_file, cilium.extra_file):
        yield Problem(
            f"multus.cni_file {multus.cni_file} must sort before Canal's and Cilium's files ({canal.cni_file},"
            f" {cilium.extra_file})",
            ("multus.cni_file", "canal.cni_file", "cilium.extra_file"),
        )
    if not canal.cni_file < cilium.extra_file:
        yield Problem(
            f"cilium.extra_file {cilium.extra_file} must sort behind canal.cni_file {canal.cni_file}: the first Cilium"
            " would take over before Multus is there",
            ("cilium.extra_file", "canal.cni_file"),
        )
    names = [("cilium.extra_file", cilium.extra_file), ("cilium.primary_file", cilium.primary_file)]
    if shared := validation.twice([*names, ("multus.cni_file", multus.cni_file)]):
        yield Problem(f"{shared[0]} and {shared[1]} are both {shared[2]}: they must differ", (shared[1], shared[0]))


def _probes(config: "Config") -> Iterator[Problem]:
    knet, gate = config.knet, config.gate
    if knet.degree % 2:
        yield Problem(f"knet.degree is {knet.degree}: it must be even", ("knet.degree",))
    rounds = max(gate.rounds, math.ceil(gate.seconds / knet.interval) + 1)
    least = max(gate.seconds, (gate.rounds - 1) * knet.interval)
    keys = ("gate.seconds", "gate.rounds", "knet.interval", "deadlines.gate", "knet.reader")
    if least >= config.deadlines.gate:
        yield Problem(
            f"a gate takes at least {least:g} s (gate.seconds, or gate.rounds at knet.interval), but deadlines.gate is"
            f" {config.deadlines.gate:g} s: no node would ever pass",
            keys,
        )
    if knet.reader == "proxy" and rounds > PROXY_ROUNDS:
        yield Problem(
            f"knet.reader proxy: a gate of {rounds} rounds (gate.rounds, or gate.seconds at knet.interval) is more"
            f" than the {PROXY_ROUNDS} that can be read by it; use knet.reader log",
            keys,
        )


def _agents(config: "Config") -> Iterator[Problem]:
    """The agents' namespace is their own: what others run in it may be refused, and goes with them in the end."""
    kept = dict.fromkeys(("default", "kube-system", "kube-public", "kube-node-lease"), "Kubernetes' own")
    used = {getattr(config, one).namespace: f"{one}.namespace, too" for one in ("canal", "cilium", "multus")}
    if why := {**used, **kept, config.namespace: "namespace, too"}.get(config.knet.namespace):
        yield Problem(
            f"knet.namespace is {config.knet.namespace}, which is {why}: choose one of the agents' own, it is deleted"
            " with them",
            ("knet.namespace",),
        )


_RULES: Final[tuple[Callable[["Config"], Iterator[Problem]], ...]] = (
    _networks, _version, _source, _extra_config, _identities, _labels, _cni_files, _probes, _agents,
)  # fmt: skip


class _Reserved:
    """A key of `cilium-config` that is not free: why, and the values that contradict nothing."""

    def __init__(self, why: str, allowed: Callable[["Config"], object] | None = None) -> None:
        self.why = why
        self._allowed = allowed

    def fits(self, value: str, config: "Config") -> bool:
        """Whether it may be written nevertheless: it is what the tool sets itself."""
        if self._allowed is None:
            return False
        found = self._allowed(config)
        return value in found if isinstance(found, tuple) else value == str(found)


class _Interval(_Reserved):
    """Any interval will do, but not never."""

    def fits(self, value: str, config: "Config") -> bool:
        """Whether it is longer than nothing."""
        return lasts(value)


def lasts(interval: str) -> bool:
    """Whether a duration of Go's (`5m0s`) is longer than nothing, however it is written (`0`, `0h0s`)."""
    return re.search("[1-9]", interval) is not None


def _own(key: str, allowed: Callable[["Config"], object]) -> _Reserved:
    return _Reserved(f"that is what {key} is for: set it there", allowed)


_BETWEEN: Final = "it cannot change while nodes are in between: the migration needs "

_KNOWN: Final = "Canal's pods are known to Cilium by "

_ENCRYPTED: Final = (
    "Canal's pods take no part in it: turn it on when the migration is done, or use cilium.source chart, which does"
)

ENDPOINT_GC: Final = "cilium-endpoint-gc-interval"

DELETES_ENDPOINTS: Final = "the operator would delete the endpoints by which Canal's pods are known, or not start"
"""What it does with 0 (1.15 to 1.20: `operator/cmd`, `operator/endpointgc`)."""

NEEDY: Final = {
    "enable-bpf-masquerade": "it takes Cilium's own kube-proxy",
    "enable-remote-node-masquerade": "it takes BPF masquerading",
    "only-masquerade-default-pool": "it takes BPF masquerading",
    "enable-ipv4-egress-gateway": "it takes BPF masquerading",
    "enable-egress-gateway": "it takes BPF masquerading",
    "enable-ip-masq-agent": "it takes BPF masquerading",
    "enable-ipv4-big-tcp": "it takes BPF host routing",
    "enable-ipv6-big-tcp": "it takes BPF host routing",
    "enable-bbr": "it takes BPF host routing",
    "enable-bbr-hostns-only": "it takes BPF host routing",
}
"""Keys with which an agent refuses to start while kube-proxy serves and the node's own routes are used (1.15 to 1.20:
daemon/cmd, pkg/egressgateway, pkg/datapath/linux/bandwidth, pkg/datapath/linux/bigtcp)."""

PARTS: Final = dict.fromkeys(
    ("enable-node-port", "enable-external-ips", "enable-host-port"), "it is part of Cilium's own kube-proxy"
)
"""Keys by which some of what kube-proxy does is done by Cilium, too (until 1.18: `daemon/cmd`, `pkg/kpr`)."""

AGENT_TAINT: Final = "node.cilium.io/agent-not-ready"
"""Cilium's taint of nodes whose agent is not Ready, where `agent-not-ready-taint-key` names no other."""

NODE_TAINTS: Final = "set-cilium-node-taints"
"""Cilium's operator taints a node whose agent's pod is not Ready, also one that is being deleted, and takes the taint
away when an agent is Ready there again (operator/watchers/node_taint.go, 1.15 to 1.20; seen with 1.20.2)."""

NO_CONNTRACK: Final = "install-no-conntrack-iptables-rules"

NEEDS_ROUTES: Final = "agents do not start with it where there is a tunnel"
"""1.15 to 1.20: `daemon/cmd/daemon_main.go`."""

BY_IPV4: Final = "nodes know Canal's pods by their own nodes' IPv4 addresses"
"""1.18 to 1.20: where the underlay is IPv6, agents tunnel to no other addresses (pkg/datapath/ipcache/listener.go)."""

AGREED: Final[dict[str, tuple[str, str]]] = {
    "cluster-id": ("0", "cluster.id"),
    "cluster-name": ("default", "cluster.name"),
    "labels": ("", "labels"),
    "enable-ipv4-masquerade": ("true", "enableIPv4Masquerade"),
    "ipv4-native-routing-cidr": ("", "ipv4NativeRoutingCIDR"),
    "max-connected-clusters": ("255", "clustermesh.maxConnectedClusters"),
    "cni-chaining-mode": ("none", "cni.chainingMode"),
}
"""Keys of `cilium-config` that all nodes have to agree on: what holds where nothing is said, and the helm value.

By the first three pods have their identities, those on Canal as well, whose numbers `max-connected-clusters` divides
among clusters; by the others nodes reach each other's pods. By the last, host ports are open on the nodes that are
migrated: who has seen a run begin with them must not lose them on the nodes that follow. What else they have to agree
on has a key of its own in the configuration (`pod_cidr`, `tunnel_port`, …), or one value only.
`mtu` and `enable-endpoint-routes` are not among them: each agent makes its own node's pods by them.
"""


def agreed(data: Mapping[str, str]) -> dict[str, str]:
    """What a `cilium-config` says of what all nodes have to agree on; nothing said is the programs' default."""
    return {key: str(data.get(key) or usual) for key, (usual, _) in AGREED.items()}


RESERVED: Final[dict[str, _Reserved]] = {
    "tunnel": _own("cilium.tunnel_protocol", lambda c: c.cilium.tunnel_protocol),
    "tunnel-protocol": _own("cilium.tunnel_protocol", lambda c: c.cilium.tunnel_protocol),
    "tunnel-port": _own("cilium.tunnel_port", lambda c: c.cilium.tunnel_port),
    "cluster-pool-ipv4-cidr": _own("cilium.pod_cidr", lambda c: c.cilium.pod_cidr),
    "cluster-pool-ipv4-mask-size": _own("cilium.mask_size", lambda c: c.cilium.mask_size),
    "enable-policy": _own("cilium.policy_enforcement", lambda c: c.cilium.policy_enforcement),
    "routing-mode": _Reserved(_BETWEEN + "`tunnel`", lambda _: "tunnel"),
    "ipam": _Reserved(_BETWEEN + "`cluster-pool`", lambda _: "cluster-pool"),
    "cluster-pool-ipv6-cidr": _Reserved("IPv6 is not migrated"),
    "cluster-pool-ipv6-mask-size": _Reserved("IPv6 is not migrated"),
    "enable-ipv4": _Reserved("Canal's pods have IPv4 addresses: it has to be true", lambda _: "true"),
    "enable-ipv6": _Reserved("IPv6 is not migrated: it has to be false", lambda _: "false"),
    "kube-proxy-replacement": _Reserved(
        "kube-proxy serves Canal's pods until the last node is migrated: it has to be off, and may be turned on"
        " afterwards",
        lambda _: ("false", "disabled"),
    ),
    "identity-allocation-mode": _Reserved(_BETWEEN + "`crd`", lambda _: "crd"),
    "underlay-protocol": _Reserved(f"{BY_IPV4}: it has to be auto or ipv4", lambda _: ("auto", "ipv4")),
    "datapath-mode": _Reserved(_BETWEEN + "`veth`", lambda _: "veth"),
    "cni-chaining-mode": _Reserved(
        "its pods would get their addresses from another plugin: it has to be none or portmap",
        lambda _: ("none", "portmap"),
    ),
    "identity-management-mode": _Reserved(_BETWEEN + "`agent`", lambda _: "agent"),
    "custom-cni-conf": _Reserved("it decides which network a node's pods get: the migration sets it"),
    "write-cni-conf-when-ready": _own("cilium.primary_file", lambda c: f"/host/etc/cni/net.d/{c.cilium.primary_file}"),
    "read-cni-conf": _Reserved("it decides which network a node's pods get: the migration sets it"),
    "cni-uninstall": _Reserved(
        "an agent that restarts would leave its node without a network: it has to be false", lambda _: "false"
    ),
    "auto-direct-node-routes": _Reserved(
        "the migration needs the tunnel: it has to be false", lambda _: "false"
    ),
    NO_CONNTRACK: _Reserved(f"{NEEDS_ROUTES}: it has to be false", lambda _: "false"),
    "cilium-pod-labels": _Reserved(
        "the operator would not know the agents any more", lambda _: "app.kubernetes.io/name=cilium-agent"
    ),
    "agent-health-port": _Reserved("the agents' own probes ask port 9879", lambda _: "9879"),
    "policy-audit-mode": _Reserved("NetworkPolicies would be open: it may be turned on afterwards", lambda _: "false"),
    "enable-k8s-networkpolicy": _Reserved("NetworkPolicies would be open: it has to be true", lambda _: "true"),
    "disable-endpoint-crd": _Reserved(_KNOWN + "CiliumEndpoints: it has to be false", lambda _: "false"),
    ENDPOINT_GC: _Interval(f"{DELETES_ENDPOINTS}: it has to be an interval, as 5m0s"),
    "enable-cilium-endpoint-slice": _Reserved(_BETWEEN + "`false`", lambda _: "false"),
    "label-prefix-file": _Reserved(_KNOWN + "identities with the labels that Cilium takes by default: see `labels`"),
    **{key: _Reserved(f"{why}, and it is off here", lambda _: "false") for key, why in (NEEDY | PARTS).items()},
    "enable-wireguard": _Reserved(_ENCRYPTED, lambda _: "false"),
    "enable-ipsec": _Reserved(_ENCRYPTED, lambda _: "false"),
    "encrypt-node": _Reserved(_ENCRYPTED, lambda _: "false"),
    "enable-ztunnel": _Reserved(_ENCRYPTED, lambda _: "false"),
    "agent-not-ready-taint-key": _Reserved(
        "preflight and the way back know it by its name", lambda _: AGENT_TAINT
    ),
}  # fmt: skip
"""Keys of `cilium-config` that the migration sets itself, or that agents refuse to find changed: an agent restarts in
each form of the configuration, so a key that differs would first show when every node is on Cilium.

Free although the migration sets them: `cni-exclusive`, `unmanaged-pod-watcher-interval` and
`enable-host-legacy-routing` are needed on the way only, and what is written here holds in the end."""
