"""What an installed Cilium's `cilium-config` has to say while Canal is there, too, and in the end: key by key.

Each row names the helm value by which the chart writes its key, so that who reads a finding knows what to change.
The first rows are Cilium's guide "Migrating a cluster to Cilium"; the last are those by which policies hold in transit.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from cni_migrate.config import Config
from cni_migrate.consistency import (
    AGREED,
    BY_IPV4,
    DELETES_ENDPOINTS,
    ENDPOINT_GC,
    NEEDS_ROUTES,
    NO_CONNTRACK,
    agreed,
    lasts,
)  # fmt: skip

Stage = Literal["transit", "final"]

EXTRA: Final = "extraConfig"
"""The chart's value for keys of `cilium-config` that it has no value for (values.yaml of 1.15 to 1.20)."""


@dataclass(frozen=True)
class Row:
    """One key: what it is when nothing is written (the programs' default), what it has to be, and the helm value.

    `wanted` gives the texts that will do, '' for a key that is to be omitted; the first one is what a values file
    asks for. `value` is the path of the helm value, `given` what it has to be; the text of `wanted` unless it is set.
    """

    key: str
    default: str
    wanted: Callable[[Config], tuple[str, ...]]
    value: tuple[str, ...]
    why: str
    given: Any = None

    def found(self, data: Mapping[str, str]) -> str:
        """What holds of the key."""
        return str(data.get(self.key, self.default))

    def setting(self, config: Config) -> Any:
        """What the helm value has to be."""
        return self.given if self.given is not None else self.wanted(config)[0]


@dataclass(frozen=True, slots=True)
class Wrong:
    """A key that is not as it has to be."""

    key: str
    found: str
    wanted: str
    value: str
    why: str

    def __str__(self) -> str:
        found = f"is {self.found}" if self.found else "is not there"
        return f"{self.key} {found}: {self.why}; helm value {self.value}: {self.wanted}"


def _row(key: str, default: str, wanted: str | tuple[str, ...], value: str, why: str, given: Any = None) -> Row:
    texts = (wanted,) if isinstance(wanted, str) else wanted
    return Row(key, default, lambda _: texts, tuple(value.split("|")), why, given)


def _extra(key: str, default: str, wanted: str, why: str) -> Row:
    return _row(key, default, wanted, f"{EXTRA}|{key}", why)


_NETWORK: Final = (
    Row("tunnel-protocol", "vxlan", lambda c: (c.cilium.tunnel_protocol,), ("tunnelProtocol",),
        "it cannot change while nodes are in between"),
    Row("tunnel-port", "", lambda c: (str(c.cilium.tunnel_port),), ("tunnelPort",),
        "it cannot change while nodes are in between"),
    Row("cluster-pool-ipv4-cidr", "10.0.0.0/8", lambda c: (c.cilium.pod_cidr,),
        ("ipam", "operator", "clusterPoolIPv4PodCIDRList"), "it cannot change while nodes are in between"),
    Row("cluster-pool-ipv4-mask-size", "24", lambda c: (str(c.cilium.mask_size),),
        ("ipam", "operator", "clusterPoolIPv4MaskSize"), "it cannot change while nodes are in between"),
)  # fmt: skip
"""What nodes agree on. The values are the cluster's own, as it was when the migration began."""

_ALWAYS: Final = (
    _row("ipam", "cluster-pool", "cluster-pool", "ipam|mode", "Cilium's pods need a network of their own"),
    _row("routing-mode", "tunnel", "tunnel", "routingMode", "nodes reach each other's pods by a tunnel"),
    _row("enable-ipv4", "true", "true", "ipv4|enabled", "Canal's pods have IPv4 addresses", True),
    _row("underlay-protocol", "auto", ("auto", "ipv4", ""), "underlayProtocol", BY_IPV4),
    _row("identity-allocation-mode", "kvstore", "crd", "identityAllocationMode", "identities are read from the API"),
    _row("datapath-mode", "veth", "veth", "bpf|datapathMode", "no other was tried beside Canal"),
    _row("cni-chaining-mode", "none", ("none", "portmap", ""), "cni|chainingMode",
         "its pods would get their addresses from another plugin"),
    _row("cni-uninstall", "false", ("false", ""), "cni|uninstall",
         "an agent that restarts would leave its node without a network", False),
)  # fmt: skip

_OFF: Final = tuple(
    _row(key, "false", ("false", ""), value, why, "false" if value.startswith(EXTRA) else False)
    for key, value, why in (
        ("enable-ipv4-egress-gateway", "egressGateway|enabled", "it takes BPF masquerading"),
        ("enable-egress-gateway", "egressGateway|enabled", "it takes BPF masquerading"),
        ("enable-remote-node-masquerade", f"{EXTRA}|enable-remote-node-masquerade", "it takes BPF masquerading"),
        ("only-masquerade-default-pool", f"{EXTRA}|only-masquerade-default-pool", "it takes BPF masquerading"),
        ("enable-ip-masq-agent", "ipMasqAgent|enabled", "it takes BPF masquerading"),
        ("enable-ipv4-big-tcp", "enableIPv4BIGTCP", "it takes BPF host routing"),
        ("enable-ipv6-big-tcp", "enableIPv6BIGTCP", "it takes BPF host routing"),
        (NO_CONNTRACK, "installNoConntrackIptablesRules", NEEDS_ROUTES),
        ("enable-bbr", "bandwidthManager|bbr", "it takes BPF host routing"),
        ("enable-bbr-hostns-only", "bandwidthManager|bbrHostNamespaceOnly", "it takes BPF host routing"),
        ("encrypt-node", "encryption|nodeEncryption", "Canal's nodes take no part in it"),
        ("enable-ztunnel", "encryption|enabled", "Canal's pods take no part in it"),
        ("enable-node-port", "nodePort|enabled", "it is part of Cilium's own kube-proxy"),
        ("enable-external-ips", "externalIPs|enabled", "it is part of Cilium's own kube-proxy"),
        ("enable-host-port", "hostPort|enabled", "it is part of Cilium's own kube-proxy"),
    )
)
"""Features that an agent beside Canal does not start with, or that kube-proxy has; all off in the chart's values."""

_TRANSIT: Final = (
    _row("write-cni-conf-when-ready", "", "", "cni|customConf",
         "an agent would write its CNI file on a node whose turn it is not", True),
    _row("read-cni-conf", "", "", "cni|readCniConf", "an agent would write its CNI file on a node whose turn it is not",
         ""),
    _row("unmanaged-pod-watcher-interval", "15", ("0", "0s"), "operator|unmanagedPodWatcher|restart",
         "the operator would restart Canal's pods", False),
    _row("enable-host-legacy-routing", "false", "true", "bpf|hostLegacyRouting",
         "Canal's pods are reached by the node's own routes", True),
    _row("kube-proxy-replacement", "false", ("false", "disabled", ""), "kubeProxyReplacement",
         "kube-proxy serves both networks' pods until Canal is gone; turn it on with the last `helm upgrade`, or later",
         "false"),
    _row("enable-bpf-masquerade", "false", ("false", ""), "bpf|masquerade",
         "it takes Cilium's own kube-proxy, and lays no rule for Canal's pods; turn it on with the last `helm upgrade`",
         False),
    _row("bpf-lb-sock", "false", ("false", ""), "socketLB|enabled",
         "it is part of Cilium's own kube-proxy, and would serve Canal's pods, too", False),
    _row("enable-wireguard", "false", ("false", ""), "encryption|enabled",
         "Canal's pods take no part in it; turn it on with the last `helm upgrade`, or later", False),
    _row("enable-ipsec", "false", ("false", ""), "encryption|enabled",
         "Canal's pods take no part in it; turn it on with the last `helm upgrade`, or later", False),
    _row("enable-policy", "default", ("default", ""), "policyEnforcementMode",
         "policies stay in force in transit: Canal's pods are known to Cilium by identities of ours", "default"),
    _row("policy-audit-mode", "false", ("false", ""), "policyAuditMode",
         "policies would only be logged; turn it on with the last `helm upgrade`, or later", False),
    _row("enable-ipv6", "true", ("false", ""), "ipv6|enabled", "IPv6 is not migrated; it may follow", False),
    _row("auto-direct-node-routes", "false", ("false", ""), "autoDirectNodeRoutes", "it excludes the tunnel", False),
    _row("disable-endpoint-crd", "false", ("false", ""), "disableEndpointCRD",
         "Canal's pods are known to Cilium by CiliumEndpoints", False),
    _row(ENDPOINT_GC, "5m0s", "5m0s", "operator|endpointGCInterval", DELETES_ENDPOINTS),
    _row("enable-cilium-endpoint-slice", "false", ("false", ""), "ciliumEndpointSlice|enabled",
         "slices were not tried with the endpoints by which Canal's pods are known; they may follow", False),
    _row("enable-k8s-networkpolicy", "true", "true", "k8sNetworkPolicy|enabled", "NetworkPolicies would be open", True),
    _extra("label-prefix-file", "", "", "Canal's pods have identities with the labels that Cilium takes by default"),
    _row("identity-management-mode", "agent", ("agent", ""), "identityManagementMode",
         "Canal's pods have identities by agents of ours, beside which no other mode was tried; it may follow"),
    _extra("prepend-iptables-chains", "true", "false",
           "an agent that starts would put its chains before Calico's, and policies be open until felix has looked"),
    _extra("enable-stale-cilium-endpoint-cleanup", "true", "false",
           "an agent that starts would delete the endpoints by which Canal's pods are known"),
    *_OFF,
)  # fmt: skip

_FINAL: Final = (
    Row("write-cni-conf-when-ready", "", lambda c: (f"/host/etc/cni/net.d/{c.cilium.primary_file}",),
        ("cni", "customConf"), "nodes that join would have no CNI file", False),
    Row("enable-policy", "default", lambda c: (c.cilium.policy_enforcement,), ("policyEnforcementMode",),
        "that is what cilium.policy_enforcement says"),
)  # fmt: skip

_AGAIN: Final[Mapping[tuple[str, ...], Any]] = {
    ("operator", "unmanagedPodWatcher", "restart"): True,
    (EXTRA, "prepend-iptables-chains"): "true",
    (EXTRA, "enable-stale-cilium-endpoint-cleanup"): "true",
}
"""What the transit has changed and nothing depends on in the end: the programs' own defaults again."""

RESTARTS: Final[Mapping[tuple[str, ...], Any]] = {("operator", "rollOutPods"): True}
"""The operator reads its configuration when it starts, and no other program restarts it."""


def rows(stage: Stage) -> tuple[Row, ...]:
    """The keys that matter at a stage."""
    return (*_NETWORK, *_ALWAYS, *(_TRANSIT if stage == "transit" else _FINAL))


def wrong(data: Mapping[str, str], config: Config, stage: Stage) -> list[Wrong]:
    """Which keys are not as they have to be."""
    return list(_wrong(data, config, stage))


def _wrong(data: Mapping[str, str], config: Config, stage: Stage) -> Iterator[Wrong]:
    normal = _with_old_names(data)
    named = set()
    for row in rows(stage):
        found, wanted = row.found(normal), row.wanted(config)
        if found.strip() not in wanted:
            named.add(row.key)
            setting = row.setting(config)
            said = str(setting).lower() if isinstance(setting, bool) else str(setting) or '""'
            yield Wrong(row.key, found, said, ".".join(row.value), row.why)
    for key, now in agreed(normal).items():
        usual, value = AGREED[key]
        if key not in named and now != (before := config.cilium.agreed.get(key, usual)):
            yield Wrong(key, now, before or '""', value, "it cannot change while nodes are in between")
    if normal.get("tunnel-port", "") == str(config.canal.tunnel_port):
        yield Wrong("tunnel-port", str(config.canal.tunnel_port), "8473", "tunnelPort", "it is flannel's port")


def _with_old_names(data: Mapping[str, str]) -> dict[str, str]:
    """The configuration with what is implied or said in another way: `tunnel` until 1.14, default ports."""
    found = dict(data)
    if found.get("tunnel") in ("vxlan", "geneve"):
        found.setdefault("tunnel-protocol", found["tunnel"])
    if lasts(found.get(ENDPOINT_GC, "")):
        del found[ENDPOINT_GC]  # any interval is as good as the default
    protocol = found.get("tunnel-protocol") or "vxlan"
    if found.get("tunnel-port", "0") in ("", "0"):
        found["tunnel-port"] = TUNNEL_PORTS.get(protocol, "0")
    found["cluster-pool-ipv4-cidr"] = " ".join(
        found.get("cluster-pool-ipv4-cidr", "10.0.0.0/8").replace(",", " ").split()
    )
    return found


TUNNEL_PORTS: Final = {"vxlan": "8472", "geneve": "6081"}
"""Cilium's port when `tunnel-port` says nothing (docs.cilium.io: "System Requirements", firewall rules)."""


def values(config: Config, stage: Stage) -> dict[str, Any]:
    """The helm values that a stage needs, as the tree of a values file."""
    tree: dict[str, Any] = {}
    for row in rows(stage):
        setting: Any = row.setting(config)
        if row.key == "cluster-pool-ipv4-cidr":
            setting = [setting]
        elif row.key in ("tunnel-port", "cluster-pool-ipv4-mask-size"):
            setting = int(setting)
        elif row.key in _CHARTS_DEFAULT:
            continue
        _put(tree, row.value, setting)
    for path, setting in {**(_AGAIN if stage == "final" else {}), **RESTARTS}.items():
        _put(tree, path, setting)
    return tree


_CHARTS_DEFAULT: Final = {
    "cni-chaining-mode", "read-cni-conf", "datapath-mode", "enable-ipv4", "disable-endpoint-crd", "bpf-lb-sock",
    "identity-management-mode", "policy-audit-mode", "enable-k8s-networkpolicy", "label-prefix-file",
    ENDPOINT_GC, "enable-cilium-endpoint-slice", "enable-ipv6", "auto-direct-node-routes", *(row.key for row in _OFF),
}  # fmt: skip
"""Keys that are right unless somebody has set them; a values file would say them for nothing."""


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value
