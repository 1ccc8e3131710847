"""Whether agents would start with an operator's own `cilium-config` as it is in the end.

On the way much of it is turned off (`foreign.TRANSIT`, `foreign.OFF`), so what contradicts itself would first be seen
in the last step, by agents that crash on every node. The rules are those by which agents end when they start: cilium,
the newest of 1.15 to 1.20, `daemon/cmd`, `pkg/kpr`, `pkg/egressgateway`, `pkg/datapath/linux/bandwidth` and `bigtcp`.
The tunnel is not asked for: no other routing is taken (`suitability`).
"""

from collections.abc import Iterator, Mapping
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


def problems(data: Mapping[str, str], version: Version) -> Iterator[str]:
    """Why agents would not start with this configuration, a sentence each that says which values to change."""

    def on(key: str, usual: str = "false") -> bool:
        return is_on(data.get(key) or usual)

    replaced = on("kube-proxy-replacement")
    node_ports = replaced or (on("enable-node-port") and version <= NODE_PORT)
    masquerading = on("enable-ipv4-masquerade", "true")
    by_bpf = masquerading and on("enable-bpf-masquerade")
    for key, value in BPF_MASQUERADE.items():
        if on(key) and not by_bpf:
            yield _said(key, f"without BPF masquerading. Values: {value} off, or bpf.masquerade: true")
    if by_bpf and not node_ports and version <= NODE_PORT:
        either = "kubeProxyReplacement: true, or bpf.masquerade: false"
        yield _said("enable-bpf-masquerade", f"beside kube-proxy. Values: {either}")
    mode = data.get("bpf-lb-mode") or "snat"
    geneve = data.get("bpf-lb-dsr-dispatch") == data.get("tunnel-protocol") == "geneve"
    if node_ports and mode in ("dsr", "hybrid") and not geneve:
        either = "loadBalancer.mode: snat, or loadBalancer.dsrDispatch and tunnelProtocol: geneve"
        yield _said("bpf-lb-mode", f"in this tunnel. Values: {either}", mode)
    legacy = on("enable-host-legacy-routing") or not replaced or (masquerading and not by_bpf)
    if on("enable-bbr") and legacy and not on("enable-bbr-hostns-only"):
        either = "bandwidthManager.bbr: false, or kubeProxyReplacement and bpf.masquerade on, bpf.hostLegacyRouting off"
        yield _said("enable-bbr", f"without BPF host routing. Values: {either}")
    for key, value in (("enable-ipv4-big-tcp", "enableIPv4BIGTCP"), ("enable-ipv6-big-tcp", "enableIPv6BIGTCP")):
        if on(key) and (legacy or version < BIG_TCP):
            yield _said(key, f"with {'the routes of hosts' if legacy else 'a tunnel'}. Values: {value}: false")
    if on("enable-ipsec") and on("enable-host-firewall"):
        yield _said("enable-ipsec", "with the host firewall. Values: hostFirewall.enabled: false")
    if on("enable-ipsec") and node_ports and version <= IPSEC:
        either = "encryption.type: wireguard, or kubeProxyReplacement: false"
        yield _said("enable-ipsec", f"without kube-proxy. Values: {either}")


def _said(key: str, why: str, found: str = "true") -> str:
    return f"{key} is {found}: in the last step no agent would start, as it does not go {why}"
