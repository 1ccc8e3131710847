"""Whether nodes can be moved to an operator's own Cilium one by one: what is in the way, and what to change."""

from collections.abc import Iterable, Iterator
from typing import Final

from cni_migrate import cilium_versions
from cni_migrate.config import Config
from cni_migrate.consistency import AGREED, BY_IPV4, DELETES_ENDPOINTS, ENDPOINT_GC, NEEDS_ROUTES, NO_CONNTRACK, lasts
from cni_migrate.core.model import names
from cni_migrate.core.model.canalroles import roles
from cni_migrate.core.render import cnifolders, endform
from cni_migrate.core.render.foreign import (
    ARGUED,
    OFF,
    POLICY_KEYS,
    TRANSIT,
    WRITTEN,
    Foreign,
    Manifest,
    is_on,
    on_host,
    pools_of,
    transit_data,
)  # fmt: skip
from cni_migrate.core.render.overrides import of_arguments, of_build, settings_of
from cni_migrate.core.render.settings import policy_keys

DECIDED: Final = frozenset(
    {
        *TRANSIT, *OFF, *WRITTEN, *POLICY_KEYS, "ipam", "routing-mode", "tunnel", "tunnel-protocol",
        "tunnel-port", "cluster-pool-ipv4-cidr", "cluster-pool-ipv4-mask-size", "auto-direct-node-routes",
        "enable-ipv4", "enable-ipv6", "identity-allocation-mode", "identity-management-mode", "datapath-mode",
        "underlay-protocol", "cni-chaining-mode", "label-prefix-file", "enable-k8s-networkpolicy",
        "enable-cilium-endpoint-slice", NO_CONNTRACK, *AGREED,
    }
)  # fmt: skip
"""Keys that no CiliumNodeConfig but the migration's may set."""


def problems(foreign: Foreign, config: Config) -> list[str]:
    """Why nodes cannot be moved to this Cilium one by one; each says what to change in the values."""
    return [
        *_addressing(foreign),
        *_policies(foreign),
        *_tunnel(foreign, config),
        *_agents_form(foreign, config),
        *_in_the_end(foreign),
        *_told(foreign, config),
        *_canals(foreign, config),
        *_node_configs(foreign.objects),
    ]


def _told(foreign: Foreign, config: Config) -> Iterator[str]:
    """What agents are started with outranks `cilium-config`, where the migration says what it needs."""
    cilium = config.cilium.model_copy(update=foreign.facts())
    whole = config.model_copy(update={"cilium": cilium})
    said = settings_of(foreign.daemonset["spec"]["template"]["spec"])
    data = transit_data(foreign.config, policy_keys(whole, cilium_versions.parsed(cilium.version)))
    # Where there are two agents, their own arguments say which CNI file is whose.
    on_the_way = {key: text for key, text in said.items() if config.traits.node_config or key not in ARGUED}
    found = [*of_arguments(on_the_way, data, whole, "transit")]
    found += of_build(said, data, whole) if config.traits.node_config else ()
    known = {one.partition(":")[0] for one in found}
    # What is wrong on the way and in the end is told once.
    found += [one for one in of_arguments(said, foreign.config, whole, "final") if one.partition(":")[0] not in known]
    for one in found:
        yield f"{one}{ELSEWHERE if one.startswith('container') else ''}"


def _in_the_end(foreign: Foreign) -> Iterator[str]:
    """Agents start with what the operator has written, which holds when the last node is migrated."""
    said = settings_of(foreign.daemonset["spec"]["template"]["spec"])
    yield from endform.problems({**foreign.config, **said}, cilium_versions.parsed(foreign.version))


def _canals(foreign: Foreign, config: Config) -> Iterator[str]:
    """Canal's own objects stand beside Cilium's where a folder has all that a cluster runs."""
    for one in foreign.objects:
        meta = one["metadata"]
        known = (meta.get("namespace", ""), meta["name"]) in config.canal.every_daemonset()
        if one["kind"] == "DaemonSet" and (known or roles(one)):
            yield (
                f"DaemonSet {meta.get('namespace', '')}/{meta['name']} is Canal's: with the last step it would be put"
                " again. Leave Canal's objects out"
            )


ELSEWHERE: Final = ", or what else says it there: extraArgs, extraEnv"


def _node_configs(objects: Iterable[Manifest]) -> Iterator[str]:
    """An operator's own CiliumNodeConfigs outrank `cilium-config` on the nodes that they select."""
    for one in objects:
        if one["kind"] != "CiliumNodeConfig":
            continue
        name = str(one["metadata"]["name"])
        if name == names.NODE_CONFIG:
            yield (
                f"CiliumNodeConfig {name} has the name of the migration's own, which goes in the end: give it another"
            )
        yield from decided(name, (one.get("spec") or {}).get("defaults") or {})


def decided(name: str, defaults: Iterable[str]) -> Iterator[str]:
    """What a CiliumNodeConfig of somebody else's sets that the migration decides for, in one sentence."""
    if said := sorted(str(key) for key in defaults if key in DECIDED):
        yield (
            f"CiliumNodeConfig {name} sets {', '.join(said)}, which the migration decides for all nodes alike: take it"
            " out until the migration is done"
        )


def _addressing(foreign: Foreign) -> Iterator[str]:
    """Pods on Cilium need addresses that Canal gives to nobody."""
    data = foreign.config
    ipam, pools = data.get("ipam", "cluster-pool"), pools_of(data)
    if ipam == "kubernetes":
        yield (
            "ipam is kubernetes: Cilium would give out addresses of the nodes' podCIDRs, which Canal gives out on the"
            " same nodes, too. Values: ipam.mode: cluster-pool, with a network of its own"
        )
    elif ipam != "cluster-pool":
        yield f"ipam is {ipam}; values: ipam.mode: cluster-pool"
    elif len(pools) != 1:
        said = f"has {len(pools)} networks: {', '.join(pools)}" if pools else "is not there"
        yield f"cluster-pool-ipv4-cidr {said}; values: ipam.operator.clusterPoolIPv4PodCIDRList with one network"
    if (mask := data.get("cluster-pool-ipv4-mask-size") or "24") and not mask.isdecimal():
        yield f"cluster-pool-ipv4-mask-size is {mask}; values: ipam.operator.clusterPoolIPv4MaskSize: 24"
    if data.get("enable-ipv4", "true") != "true":
        yield "enable-ipv4 is not true: Canal's pods have IPv4 addresses"
    if is_on(data.get("enable-ipv6", "")):
        yield "enable-ipv6 is true: IPv6 is not migrated. Values: ipv6.enabled: false; it can follow afterwards"
    if (mode := data.get("datapath-mode", "veth")) != "veth":
        yield (
            f"datapath-mode is {mode}: it takes Cilium's own kube-proxy, and pods keep the one they were made with."
            " Values: bpf.datapathMode: veth"
        )
    if (mode := data.get("cni-chaining-mode") or "none") not in ("none", "portmap"):
        yield (
            f"cni-chaining-mode is {mode}: pods would get their addresses from another plugin. Values:"
            " cni.chainingMode: none, or portmap for host ports"
        )
    if data.get("identity-allocation-mode", "crd") != "crd":
        yield f"identity-allocation-mode is {data['identity-allocation-mode']}; values: identityAllocationMode: crd"
    if (mode := data.get("identity-management-mode") or "agent") != "agent":
        yield (
            f"identity-management-mode is {mode}, which was not tried beside the agents by which Canal's pods have"
            " identities. Values: identityManagementMode: agent; another mode can follow when the migration is done"
        )


def _policies(foreign: Foreign) -> Iterator[str]:
    """Policies hold, and Canal's pods have the identities that Cilium would give them."""
    data = foreign.config
    if data.get("enable-k8s-networkpolicy", "true") != "true":
        yield (
            "enable-k8s-networkpolicy is not true: NetworkPolicies would be open on each node once it is migrated."
            " Values: k8sNetworkPolicy.enabled: true"
        )
    if not lasts(interval := data.get(ENDPOINT_GC, "5m0s")):
        yield f"{ENDPOINT_GC} is {interval}: {DELETES_ENDPOINTS}. Values: operator.endpointGCInterval: 5m0s"
    if is_on(data.get("enable-cilium-endpoint-slice", "")):
        yield (
            "enable-cilium-endpoint-slice is true: slices were not tried with the endpoints by which Canal's pods are"
            " known. Values: ciliumEndpointSlice.enabled: false; they can follow when the migration is done"
        )
    if file := data.get("label-prefix-file"):
        yield (
            f"label-prefix-file is {file}: which labels make an identity is in that file, where the identities of"
            " Canal's pods cannot be made by it. Values: labels"
        )


def _tunnel(foreign: Foreign, config: Config) -> Iterator[str]:
    """Nodes reach each other's pods on Cilium by a tunnel, beside flannel's."""
    data = foreign.config
    if data.get("routing-mode", "tunnel") != "tunnel" or data.get("tunnel") == "disabled":
        yield (
            "routing-mode is native: nodes reach each other's pods by a tunnel while there are two networks."
            " Values: routingMode: tunnel; another mode can follow when the migration is done"
        )
    if is_on(data.get("auto-direct-node-routes", "")):
        yield "auto-direct-node-routes is true: it excludes the tunnel. Values: autoDirectNodeRoutes: false"
    if is_on(data.get(NO_CONNTRACK, "")):
        yield f"{NO_CONNTRACK} is true: {NEEDS_ROUTES}. Values: installNoConntrackIptablesRules: false"
    if data.get("underlay-protocol") == "ipv6":
        yield f"underlay-protocol is ipv6: {BY_IPV4}. Values: underlayProtocol: auto"
    if foreign.facts()["tunnel_port"] == config.canal.tunnel_port:
        yield (
            f"Cilium's tunnel port is {config.canal.tunnel_port}, which is flannel's: Cilium could not start beside it."
            " Values: tunnelPort: 8473"
        )


def _agents_form(foreign: Foreign, config: Config) -> Iterator[str]:
    """Agents must be found, must get their final form by themselves, and write the CNI file that is looked for."""
    daemonset = foreign.daemonset
    if daemonset["metadata"]["name"] != names.CILIUM:
        yield f"the agents' DaemonSet is called {daemonset['metadata']['name']}, not {names.CILIUM}"
    if not foreign.version:
        yield f"the image {foreign.image} does not tell Cilium's version: its tag has to be one, as in v1.18.2"
    if foreign.config.get("custom-cni-conf") == "true":
        yield "custom-cni-conf is true: no CNI file would be written in the end. Values: cni.customConf: false"
    if (daemonset["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        yield "the agents' DaemonSet has updateStrategy OnDelete: agents would never get their final form"
    for one, values in ((daemonset, "those of the chart"), (foreign.operator, "operator.hostNetwork: true")):
        if not on_host(one):
            yield (
                f"the pods of {one['kind']} {one['metadata']['name']} are not on the hosts' network: they would wait"
                f" for the network that they are to make. Values: {values}"
            )
    if foreign.operator["spec"].get("replicas") == 0:
        yield "Cilium's operator has no replicas: nodes would have no networks for pods. Values: operator.replicas: 1"
    yield from cnifolders.problems(foreign, config)
