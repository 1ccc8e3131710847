"""What an operator's own Cilium is in the end is judged when it is read: on the way it is off, and nobody sees it fail."""

import pytest

from cni_migrate.cilium_versions import parsed
from cni_migrate.core.render import endform

PROXY = {"kube-proxy-replacement": "true"}
BPF = {**PROXY, "enable-bpf-masquerade": "true", "enable-host-legacy-routing": "false"}
IPSEC = {"enable-ipsec": "true", "dnsproxy-enable-transparent-mode": "true"}
GENEVE = {"bpf-lb-dsr-dispatch": "geneve", "tunnel-protocol": "geneve"}


@pytest.mark.parametrize(
    ("version", "data", "said"),
    [
        ("1.20.2", {"enable-ipv4-egress-gateway": "true"}, "or bpf.masquerade: true"),
        ("1.15.19", {**PROXY, "enable-egress-gateway": "true"}, "egressGateway.enabled"),
        ("1.20.2", {"enable-ip-masq-agent": "True"}, "ipMasqAgent.enabled"),
        ("1.20.2", {**BPF, "enable-ip-masq-agent": "true", "enable-ipv4-masquerade": "false"}, "ipMasqAgent.enabled"),
        ("1.18.6", {"enable-bpf-masquerade": "true"}, "beside kube-proxy"),
        ("1.20.2", {**PROXY, "bpf-lb-mode": "dsr"}, "bpf-lb-mode is dsr"),
        ("1.15.19", {**PROXY, "bpf-lb-mode": "hybrid", "bpf-lb-dsr-dispatch": "geneve"}, "loadBalancer.mode: snat"),
        ("1.20.2", {"enable-bbr": "true"}, "without BPF host routing"),
        ("1.20.2", {**PROXY, "enable-bbr": "true"}, "kubeProxyReplacement and bpf.masquerade on"),
        ("1.20.2", {**BPF, "enable-bbr": "true", "enable-host-legacy-routing": "true"}, "bpf.hostLegacyRouting off"),
        ("1.18.6", {**BPF, "enable-ipv4-big-tcp": "true"}, "with a tunnel. Values: enableIPv4BIGTCP: false"),
        ("1.20.2", {"enable-ipv6-big-tcp": "true"}, "with the routes of hosts"),
        ("1.18.6", {**IPSEC, "enable-host-firewall": "true"}, "hostFirewall.enabled: false"),
        ("1.15.19", {**PROXY, **IPSEC}, "encryption.type: wireguard"),
        ("1.20.2", {**BPF, "enable-ipv4-masquerade": "false"}, "enableIPv4Masquerade: true"),
        ("1.20.2", {**BPF, "egress-masquerade-interfaces": "eth+"}, "egress-masquerade-interfaces is eth+"),
        ("1.16.19", {**BPF, "enable-masquerade-to-route-source": "true"}, "omit enableMasqueradeRouteSource"),
        ("1.20.2", {"enable-ipsec": "true"}, "dnsProxy.enableTransparentMode: true"),
        ("1.19.4", {**IPSEC, "enable-encryption-strict-mode-ingress": "true"}, "strictMode.ingress.enabled: false"),
        ("1.20.2", {**IPSEC, "enable-wireguard": "true"}, "with WireGuard"),
    ],
)
def test_what_no_agent_starts_with_is_named(version: str, data: dict[str, str], said: str) -> None:
    """One sentence, with the value to change."""
    (found,) = endform.problems(data, parsed(version))
    assert said in found
    assert "in the last step no agent would start" in found


@pytest.mark.parametrize(
    ("version", "data"),
    [
        ("1.20.2", {}),
        (
            "1.15.19",
            {**BPF, "enable-ipv4-egress-gateway": "true", "enable-bbr": "true", "enable-ip-masq-agent": "true"},
        ),
        ("1.19.4", {"enable-bpf-masquerade": "true"}),
        ("1.18.6", {"enable-bpf-masquerade": "true", "enable-node-port": "true"}),
        ("1.20.2", {"bpf-lb-mode": "dsr"}),
        ("1.20.2", {**PROXY, **GENEVE, "bpf-lb-mode": "hybrid"}),
        ("1.20.2", {**BPF, "enable-ipv4-big-tcp": "true"}),
        ("1.20.2", {"enable-bbr": "true", "enable-bbr-hostns-only": "true"}),
        ("1.20.2", {**PROXY, **IPSEC}),
        ("1.20.2", {**IPSEC, "enable-host-firewall": "false"}),
        ("1.20.2", {"enable-ipsec": "true", "enable-l7-proxy": "false"}),
        ("1.20.2", {"enable-ipv4-masquerade": "false"}),
        ("1.20.2", {"egress-masquerade-interfaces": "eth+", "enable-masquerade-to-route-source": "true"}),
        ("1.20.2", {**BPF, "egress-masquerade-interfaces": "", "enable-masquerade-to-route-source": "false"}),
    ],
)
def test_what_agents_start_with_is_left_alone(version: str, data: dict[str, str]) -> None:
    """What goes together, and what says nothing while what it belongs to is off."""
    assert list(endform.problems(data, parsed(version))) == []
