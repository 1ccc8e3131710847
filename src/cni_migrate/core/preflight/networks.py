"""Checks of addresses and ports: Canal's own, and whether Cilium's are free."""

import ipaddress
import json
from collections.abc import Iterator
from typing import Any

from cni_migrate.core.model import names
from cni_migrate.core.preflight.registry import Facts, Finding, blocker, check, warning


@check
def canal_network(facts: Facts) -> Iterator[Finding]:
    """Canal's network and tunnel are what the configuration says."""
    if facts.canal is None:
        return
    net = _net_conf(facts)
    if net is None:
        yield warning(
            "CANAL_CONFIG",
            "Canal's ConfigMap with net-conf.json was not found or cannot be read: its network could not be compared",
            "make sure that canal.pod_cidr and canal.tunnel_port are right",
        )
        return
    wanted = facts.config.canal
    network = str(net.get("Network", ""))
    if network and not _same(network, wanted.pod_cidr):
        yield blocker(
            "CANAL_POD_CIDR",
            f"Canal's pods are in {network}, the configuration says {wanted.pod_cidr}",
            f"set canal.pod_cidr to {network}",
        )
    backend = net.get("Backend") or {}
    kind = str(backend.get("Type", "udp"))
    if kind != "vxlan":
        what = f"flannel's backend is {kind}: only vxlan was tried"
        yield warning("CANAL_BACKEND", what, "rehearse on a copy of the cluster first")
        return
    port = int(backend.get("Port") or 8472)
    if port == facts.config.cilium.tunnel_port:
        yield blocker(
            "TUNNEL_PORT",
            f"flannel and Cilium would both use UDP port {port}: Cilium could not start",
            "choose another cilium.tunnel_port, and open it between the nodes",
        )
    elif port != wanted.tunnel_port:
        yield warning(
            "TUNNEL_PORT", f"flannel uses UDP port {port}, the configuration says {wanted.tunnel_port}",
            f"set canal.tunnel_port to {port}",
        )  # fmt: skip


def _net_conf(facts: Facts) -> dict[str, Any] | None:
    try:
        net = json.loads((facts.canal_config or {})["net-conf.json"])
    except (KeyError, ValueError):
        return None
    return net if isinstance(net, dict) else None


def _same(one: str, other: str) -> bool:
    try:
        return ipaddress.ip_network(one, strict=False) == ipaddress.ip_network(other, strict=False)
    except ValueError:
        return one == other


@check
def cidr_overlap(facts: Facts) -> Iterator[Finding]:
    """Cilium's new network is free: no node, Service or pod is in it; nor is a node in Canal's."""
    cilium = ipaddress.ip_network(facts.config.cilium.pod_cidr)
    ours = any(one.labels.get(names.MANAGED_BY) == names.TOOL for one in facts.seen.daemonsets.values())
    inside: list[str] = []
    for node in facts.seen.nodes.values():
        if _within(node.internal_ip, cilium):
            inside.append(f"node {node.name} ({node.internal_ip})")
        if node.pod_cidr and _overlap(node.pod_cidr, cilium):
            inside.append(f"pod CIDR of node {node.name} ({node.pod_cidr})")
        if not ours:
            pods = facts.seen.pods_on(node.name)
            inside += [f"pod {p.key} ({p.ip})" for p in pods if not p.host_network and _within(p.ip, cilium)]
    inside += [f"Service address {ip}" for ip in facts.service_ips if _within(ip, cilium)]
    if inside:
        yield blocker(
            "CIDR_OVERLAP",
            f"cilium.pod_cidr {cilium} is in use: {', '.join(inside[:3])}{' ...' if len(inside) > 3 else ''}",
            "choose a free network for cilium.pod_cidr: neither pods, Services nor nodes may be in it",
            inside,
        )
    canal = ipaddress.ip_network(facts.config.canal.pod_cidr)
    if covered := [node.name for node in facts.seen.nodes.values() if _within(node.internal_ip, canal)]:
        yield blocker(
            "CIDR_OVERLAP", f"nodes have addresses inside canal.pod_cidr {canal}", "correct canal.pod_cidr", covered
        )


def _within(address: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(address) in network
    except ValueError:
        return False


def _overlap(text: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        other = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return other.version == network.version and other.overlaps(network)


@check
def cilium_pool(facts: Facts) -> Iterator[Finding]:
    """Cilium's pod network is large enough for a part for every node."""
    cilium = facts.config.cilium
    network = ipaddress.ip_network(cilium.pod_cidr)
    parts = 2 ** max(0, cilium.mask_size - network.prefixlen)
    nodes = len(facts.seen.nodes)
    if cilium.mask_size < network.prefixlen or parts < nodes:
        yield blocker(
            "CILIUM_POOL",
            f"cilium.pod_cidr {cilium.pod_cidr} has {parts} parts of size /{cilium.mask_size}, "
            f"the cluster has {nodes} nodes",
            "choose a larger cilium.pod_cidr, or a larger cilium.mask_size (smaller parts)",
        )
