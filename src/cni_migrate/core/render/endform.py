"""Whether agents would start with an operator's own `cilium-config` as it is in the end.

On the way much of it is turned off (`foreign.TRANSIT`, `foreign.OFF`), so what contradicts itself would first be seen
in the last step, by agents that crash on every node. The rules are those by which agents end when they start: cilium,
the newest of 1.15 to 1.20, `daemon/cmd`, `pkg/kpr`, `pkg/egressgateway`, `pkg/datapath/linux/bandwidth` and `bigtcp`.
The tunnel is not asked for: no other routing is taken (`suitability`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cni_migrate.cilium_versions import Version
from cni_migrate.core.render.foreign import is_on

NODE_PORT: Final[Version] = (1, 18)
"""Until which version BPF masquerading takes Cilium's own NodePorts."""

IPSEC: Final[Version] = (1, 15)
"""Until which version IPsec excludes Cilium's own NodePorts."""

BIG_TCP: Final[Version] = (1, 19)
"""Since when the kernel decides whether there is BIG TCP in a tunnel."""

BPF_MASQUERADE: Final = {
    "enable-ipv4-egress-gateway": "egressGateway.enabled",
    "enable-egress-gateway": "egressGateway.enabled",
    "enable-ip-masq-agent": "ipMasqAgent.enabled",
    "enable-remote-node-masquerade": "extraConfig",
    "only-masquerade-default-pool": "extraConfig",
}
"""Keys that take BPF masquerading, and the values that write them."""


BY_IPTABLES: Final = {
    "egress-masquerade-interfaces": "egressMasqueradeInterfaces",
    "enable-masquerade-to-route-source": "enableMasqueradeRouteSource",
}
"""Keys that tell iptables how to masquerade, beside which none by BPF starts, and the values that write them."""


IPSEC_EXCLUDES: Final = (
    ("enable-host-firewall", "the host firewall", "hostFirewall.enabled: false"),
    ("enable-encryption-strict-mode-ingress", "strict ingress", "encryption.strictMode.ingress.enabled: false"),
    ("enable-wireguard", "WireGuard", "one encryption.type"),
)
"""Keys that IPsec does not go with, what they are, and the values that write them."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a configuration asks for, as a version reads it."""

    data: Mapping[str, str]
    version: Version

    def on(self, key: str, usual: str = "false") -> bool:
        return is_on(self.data.get(key) or usual)

    @property
    def replaced(self) -> bool:
        return self.on("kube-proxy-replacement")

    @property
    def node_ports(self) -> bool:
        return self.replaced or (self.on("enable-node-port") and self.version <= NODE_PORT)

    @property
    def masquerading(self) -> bool:
        return self.on("enable-ipv4-masquerade", "true")

    @property
    def by_bpf(self) -> bool:
        return self.masquerading and self.on("enable-bpf-masquerade")

    @property
    def legacy(self) -> bool:
        """Whether pods are reached by the routes of hosts, asked for or fallen back to."""
        return self.on("enable-host-legacy-routing") or not self.replaced or (self.masquerading and not self.by_bpf)


def problems(data: Mapping[str, str], version: Version) -> Iterator[str]:
    """Why agents would not start with this configuration, a sentence each that says which values to change."""
    asked = _Asked(data, version)
    yield from _masquerading(asked)
    yield from _routing(asked)
    yield from _encryption(asked)


def _masquerading(asked: _Asked) -> Iterator[str]:
    needy = [(key, value) for key, value in BPF_MASQUERADE.items() if asked.on(key) and not asked.by_bpf]
    for key, value in needy:
        yield _said(key, f"without BPF masquerading. Values: {value} off, or bpf.masquerade: true")
    if asked.on("enable-bpf-masquerade") and not asked.masquerading and not needy:
        either = "bpf.masquerade: false, or enableIPv4Masquerade: true"
        yield _said("enable-bpf-masquerade", f"without masquerading. Values: {either}")
    for key, value in BY_IPTABLES.items():
        if asked.by_bpf and (found := asked.data.get(key, "")) not in ("", "false"):
            yield _said(key, f"with BPF masquerading. Values: omit {value}, or bpf.masquerade: false", found)
    if asked.by_bpf and not asked.node_ports and asked.version <= NODE_PORT:
        either = "kubeProxyReplacement: true, or bpf.masquerade: false"
        yield _said("enable-bpf-masquerade", f"beside kube-proxy. Values: {either}")


def _routing(asked: _Asked) -> Iterator[str]:
    data, legacy = asked.data, asked.legacy
    mode = data.get("bpf-lb-mode") or "snat"
    geneve = data.get("bpf-lb-dsr-dispatch") == data.get("tunnel-protocol") == "geneve"
    if asked.node_ports and mode in ("dsr", "hybrid") and not geneve:
        either = "loadBalancer.mode: snat, or loadBalancer.dsrDispatch and tunnelProtocol: geneve"
        yield _said("bpf-lb-mode", f"in this tunnel. Values: {either}", mode)
    if asked.on("enable-bbr") and legacy and not asked.on("enable-bbr-hostns-only"):
        either = "bandwidthManager.bbr: false, or kubeProxyReplacement and bpf.masquerade on, bpf.hostLegacyRouting off"
        yield _said("enable-bbr", f"without BPF host routing. Values: {either}")
    for key, value in (("enable-ipv4-big-tcp", "enableIPv4BIGTCP"), ("enable-ipv6-big-tcp", "enableIPv6BIGTCP")):
        if asked.on(key) and (legacy or asked.version < BIG_TCP):
            yield _said(key, f"with {'the routes of hosts' if legacy else 'a tunnel'}. Values: {value}: false")


def _encryption(asked: _Asked) -> Iterator[str]:
    if not asked.on("enable-ipsec"):
        return
    for key, what, values in IPSEC_EXCLUDES:
        if asked.on(key):
            yield _said("enable-ipsec", f"with {what}. Values: {values}")
    seen = asked.on("enable-l7-proxy", "true") and not asked.on("dnsproxy-enable-transparent-mode")
    if seen and not asked.on("dnsproxy-insecure-skip-transparent-mode-check"):
        yield _said("enable-ipsec", "with a DNS proxy that is seen. Values: dnsProxy.enableTransparentMode: true")
    if asked.node_ports and asked.version <= IPSEC:
        either = "encryption.type: wireguard, or kubeProxyReplacement: false"
        yield _said("enable-ipsec", f"without kube-proxy. Values: {either}")


def _said(key: str, why: str, found: str = "true") -> str:
    return f"{key} is {found}: in the last step no agent would start, as it does not go {why}"
