"""Checks of addresses and ports: Canal's own, and whether Cilium's are free."""

import ipaddress
from collections.abc import Iterator

from cni_migrate.consistency import problems
from cni_migrate.core.model import names
from cni_migrate.core.model.canal import FoundCanal, contradictions
from cni_migrate.core.model.cidr import inside, overlap, within
from cni_migrate.core.model.words import many
from cni_migrate.core.preflight.registry import Facts, Finding, blocker, check, info, warning
from cni_migrate.core.steps.agents import foreign_parts

FINDING_OF = {
    "canal.pod_cidr": "CANAL_POD_CIDR",
    "canal.network": "CANAL_POD_CIDR",
    "canal.tunnel_port": "TUNNEL_PORT",
    "canal.vni": "CANAL_VNI",
    "canal.cni_file": "CANAL_CNI_FILE",
    "canal.network_name": "CANAL_NETWORK_NAME",
    "host_task.cni_folder": "CNI_FOLDER",
    "host_task.bin_folder": "CNI_FOLDER",
    "cilium.tunnel_port": "TUNNEL_PORT",
    "cilium.pod_cidr": "CIDR_OVERLAP",
    "knet.namespace": "KNET_NAMESPACE",
}
"""Under which id a contradiction of a key is found."""


@check
def canal_found(facts: Facts) -> Iterator[Finding]:
    """Configuration and cluster agree about Canal, and the configuration with itself, the cluster's values in it."""
    found, config = facts.found, facts.config
    if not found.daemonsets:
        return
    where = f"ConfigMap {found.config_map}" if found.config_map else "the cluster"
    for key, wanted, there in contradictions(config, found):
        yield blocker(
            FINDING_OF[key],
            f"{key} is {wanted} in the configuration, the cluster ({where}) says {there}",
            f"set {key} to {there}, or omit it: it is found",
            [f"configuration: {wanted}", f"cluster: {there}"],
        )
    for message, keys in problems(config):
        if keys[0] in FINDING_OF or keys[0].startswith(("multus.", "cilium.extra_file", "cilium.primary_file")):
            yield blocker(FINDING_OF.get(keys[0], "CNI_FILES"), message, f"change {' or '.join(keys)}", keys)
    if found.unread:
        yield warning(
            "CANAL_CONFIG",
            f"not found in the cluster, so it could not be compared: {'; '.join(found.unread)}",
            "make sure that the canal section of the configuration is right",
            found.unread,
        )
    yield info("CANAL_FOUND", "Canal as the cluster tells of it", "nothing to do", list(_told(found)))


def _told(found: FoundCanal) -> Iterator[str]:
    yield f"DaemonSets: {', '.join('/'.join(one) for one in found.daemonsets)}"
    if found.network:
        yield f"network {found.network}, pods in {found.pods} (by {found.pods_from}), ConfigMap {found.config_map}"
    if found.backend:
        details = f", VNI {found.vni}, UDP port {found.port}" if found.backend == "vxlan" else ""
        yield f"backend {found.backend}{details}{f', MTU {found.mtu}' if found.mtu else ''}"
    if found.cni_file or found.network_name:
        plugin = f", plugin {found.plugin}" if found.plugin else ""
        yield f"CNI file {found.cni_file or 'not named'}, network {found.network_name or 'not named'}{plugin}"
    if found.cni_folder or found.bin_folder:
        yield f"CNI folders {found.cni_folder or 'not named'} and {found.bin_folder or 'not named'}"


@check
def node_networks(facts: Facts) -> Iterator[Finding]:
    """The nodes' parts of the pod network lie in the network that flannel and the configuration name."""
    for what, network in (("flannel's Network", facts.found.network), ("canal.pod_cidr", facts.config.canal.pod_cidr)):
        if not network:
            continue
        nodes = [node for node in facts.seen.nodes.values() if node.pod_cidr and ":" not in node.pod_cidr]
        outside = [f"{node.name}: {node.pod_cidr}" for node in nodes if not within(node.pod_cidr, network)]
        if outside:
            yield blocker(
                "CANAL_POD_CIDR",
                f"{what} is {network}, but nodes have their podCIDRs elsewhere: {', '.join(outside[:3])}",
                "correct canal.pod_cidr; or flannel's ConfigMap, whose flanneld cannot serve these nodes",
                outside,
            )
            return


@check
def wide_network(facts: Facts) -> Iterator[Finding]:
    """Where flannel's Network is wider than the pods' part, what the part is taken to be is said."""
    canal = facts.config.canal
    if not canal.network or canal.network == canal.pod_cidr:
        return
    guessed = facts.found.pods == canal.pod_cidr and "podCIDRs" in facts.found.pods_from
    text = f"flannel's Network {canal.network} is wider than the pods' part, which is taken to be {canal.pod_cidr}"
    if guessed:
        text += f" (by {facts.found.pods_from}: a new node's part may lie outside)"
        to_do = "set canal.pod_cidr to the controller manager's --cluster-cidr; keep cilium.pod_cidr out of it"
        yield warning("CANAL_POD_PART", text, to_do)
    else:
        yield info("CANAL_POD_PART", text, "nothing to do")


@check
def backend(facts: Facts) -> Iterator[Finding]:
    """Flannel's backend is one that this was tried with."""
    kind = facts.found.backend
    if kind and kind != "vxlan":
        yield blocker(
            "CANAL_BACKEND",
            f"flannel's backend is {kind}: only vxlan was tried",
            "change Backend.Type to vxlan and restart Canal first; or rehearse on a copy of the cluster,"
            " then --waive CANAL_BACKEND",
            [kind],
        )


@check
def nftables(facts: Facts) -> Iterator[Finding]:
    """Flannel masquerades by iptables, where the rule that keeps callers known can come before it.

    With EnableNFTables it has a table `flannel-ipv4` of its own at the same hook (flannel, pkg/trafficmngr/nftables):
    what one table accepts the other still masquerades.
    """
    if facts.found.nftables:
        yield blocker(
            "CANAL_NFTABLES",
            "flannel masquerades by nftables (EnableNFTables): calls from Canal's pods to Cilium's lose their source"
            " there, so policies block callers that are allowed; and clean-up leaves its tables on hosts",
            "set EnableNFTables to false in flannel's settings and restart Canal first; --waive CANAL_NFTABLES where"
            " there are no NetworkPolicies, and remove the tables flannel-ipv4 and flannel-ipv6 afterwards",
            [f"ConfigMap {facts.found.config_map}"],
        )


@check
def dual_stack(facts: Facts) -> Iterator[Finding]:
    """Pods and Services have IPv4 addresses only: Cilium is installed without IPv6."""
    found: list[str] = []
    if facts.found.network6:
        found.append(f"flannel: IPv6Network {facts.found.network6}")
    if facts.found.daemonsets and not facts.found.ipv4:
        found.append("flannel: EnableIPv4 is false")
    nodes = facts.seen.nodes.values()
    found += [f"node {node.name}: podCIDR {cidr}" for node in nodes for cidr in node.pod_cidrs if ":" in cidr]
    found += [f"Service {name}" for name in facts.ipv6_services]
    if found:
        yield blocker(
            "DUAL_STACK",
            "IPv6 is in use, and pods would lose it: Cilium is installed for IPv4 only",
            "make the Services single stack (ipFamilyPolicy: SingleStack) and turn EnableIPv6 off first; or"
            " --waive DUAL_STACK when nothing needs IPv6",
            found,
        )


@check
def first_family(facts: Facts) -> Iterator[Finding]:
    """Pods are known by IPv4 addresses: where IPv6 is the cluster's first family, `status.podIP` is of that.

    Services are of the first family, too, that of the API server among them: a pod with IPv4 alone reaches none.
    """
    pods = (pod for node in facts.seen.nodes for pod in facts.seen.pods_on(node))
    if known := sorted(f"{pod.key}: {pod.ip}" for pod in pods if ":" in pod.ip and not pod.finished):
        yield blocker(
            "IPV6_FIRST",
            f"IPv6 is the cluster's first family: {many(len(known), 'pod')} known by addresses of it, which Cilium, as"
            " it is installed for IPv4 only, gives to none",
            "build a cluster whose first family is IPv4: it cannot be exchanged; this one cannot be migrated",
            known,
        )


@check
def cidr_overlap(facts: Facts) -> Iterator[Finding]:
    """Cilium's new network is free: no node, Service, pod or API server is in it; nor is a node in Canal's."""
    cilium = facts.config.cilium.pod_cidr
    ours = any(one.labels.get(names.MANAGED_BY) == names.TOOL for one in facts.seen.daemonsets.values())
    users: list[str] = []
    for node in facts.seen.nodes.values():
        # Some clouds tell addresses of pods' networks as the node's own: once Cilium is there, the first one counts.
        told = (node.internal_ip, *(() if ours else node.more_addresses))
        users += [f"node {node.name} ({address})" for address in told if inside(address, cilium)]
        if overlap(node.pod_cidr, cilium):
            users.append(f"pod CIDR of node {node.name} ({node.pod_cidr})")
        if not ours:
            pods = facts.seen.pods_on(node.name)
            users += [f"pod {p.key} ({p.ip})" for p in pods if not p.host_network and inside(p.ip, cilium)]
    users += [f"Service address {ip}" for ip in facts.service_ips if inside(ip, cilium)]
    users += [f"the Services' network {one}" for one in dict.fromkeys(facts.service_networks) if overlap(one, cilium)]
    users += [f"the API server ({ip})" for ip in facts.api_servers if inside(ip, cilium)]
    if users:
        yield blocker(
            "CIDR_OVERLAP",
            f"cilium.pod_cidr {cilium} is in use: {', '.join(users[:3])}{' ...' if len(users) > 3 else ''}",
            "choose a free network for cilium.pod_cidr: neither pods, Services nor nodes may be in it",
            users,
        )
    canal = facts.config.canal.pod_cidr
    if covered := [node.name for node in facts.seen.nodes.values() if inside(node.internal_ip, canal)]:
        yield blocker(
            "CIDR_OVERLAP", f"nodes have addresses inside canal.pod_cidr {canal}", "correct canal.pod_cidr", covered
        )


@check
def cilium_nodes(facts: Facts) -> Iterator[Finding]:
    """No node has a part of another network from an earlier Cilium, or from before a rollback: nobody changes it.

    The operator reports that it cannot give it out (1.15 to 1.20: ipam/allocator/podcidr), and the agent gives pods
    their addresses from it all the same.
    """
    cilium = facts.config.cilium
    if cilium.source == "existing":
        return
    if left := [
        f"{one.name}: {', '.join(one.pod_cidrs)}"
        for one in foreign_parts(facts.seen.cilium_nodes.values(), cilium.pod_cidr)
    ]:
        yield blocker(
            "CILIUM_NODES",
            f"{many(len(left), 'CiliumNode')} of an earlier Cilium with pod CIDRs outside of cilium.pod_cidr"
            f" {cilium.pod_cidr}: these nodes would keep them",
            "kubectl delete ciliumnodes --all, while no Cilium runs; or set cilium.pod_cidr to the network they are in",
            sorted(left),
        )


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
