"""The Canal that was found in a cluster, and what the configuration becomes by it.

Where the configuration is silent the cluster's value is used; where both speak and differ, preflight names both values.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cni_migrate.config import Config
from cni_migrate.configsections import Drain, Label, Labels
from cni_migrate.core.model.cidr import Network, common, holds, inside, meet, parsed, same, within
from cni_migrate.core.model.objects import Taint, Toleration


@dataclass(frozen=True, slots=True)
class FoundCanal:
    """What the cluster tells about its Canal; '' and 0 stand for what it does not tell.

    `daemonsets` are (namespace, name), the one with flannel first; `config_map` is `namespace/name` of the
    ConfigMap with flannel's settings. `network` is flannel's Network, `pods` the part of it that pods have, by what
    is told in `pods_from`. `nftables`: flannel masquerades by nftables. `plugin` is the type of the CNI file's
    first plugin, `ipam` of its address management, `chained` those of the plugins behind it. `calico` says in words
    by what Calico was recognised. `unread` says in words what of flannel's settings was looked for in vain,
    `broken` why flanneld would not start with them. `flannels` are the DaemonSets with flanneld. `flannel_etcd`:
    its networks are in etcd, not the nodes' podCIDRs; `calico_etcd`: Calico's own objects are there, where nobody
    sees them through the API. `tolerations` are those of each DaemonSet. `felix` is what felix is told by the
    environment, by DaemonSet: settings by name in lower case. `differing` are the settings of each of flannel's
    DaemonSets in words, where they are not the same; `calico_routes` says which calico-node carries traffic itself.
    """

    daemonsets: tuple[tuple[str, str], ...] = ()
    config_map: str = ""
    network: str = ""
    network6: str = ""
    ipv4: bool = True
    pods: str = ""
    pods_from: str = ""
    backend: str = ""
    vni: int = 0
    port: int = 0
    mtu: int = 0
    nftables: bool = False
    cni_file: str = ""
    network_name: str = ""
    plugin: str = ""
    ipam: str = ""
    chained: tuple[str, ...] = ()
    cni_folder: str = ""
    bin_folder: str = ""
    calico: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    broken: str = ""
    differing: tuple[str, ...] = ()
    calico_routes: tuple[str, ...] = ()
    flannels: tuple[tuple[str, str], ...] = ()
    flannel_etcd: bool = False
    calico_etcd: bool = False
    tolerations: tuple[tuple[Toleration, ...], ...] = ()
    felix: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def configuration_of(found: FoundCanal) -> dict[str, Any]:
    """Dotted key to value, of all that the cluster tells about keys of the configuration."""
    values: dict[str, Any] = {}
    if found.daemonsets:
        (namespace, name), *others = found.daemonsets
        values |= {"canal.namespace": namespace, "canal.daemonset": name}
        values["canal.more_daemonsets"] = [f"{where}/{what}" for where, what in others]
    values |= {
        "canal.cni_file": found.cni_file,
        "canal.network_name": found.network_name,
        "canal.pod_cidr": found.pods,
        "canal.network": found.network if found.network != found.pods else "",
        "canal.tunnel_port": found.port,
        "canal.vni": found.vni,
        "host_task.cni_folder": found.cni_folder,
        "host_task.bin_folder": found.bin_folder,
    }
    if (effect := taint_effect(found, Labels().cilium)) != Drain().taint_effect:
        values["drain.taint_effect"] = effect
    return {key: value for key, value in values.items() if value}


def taint_effect(found: FoundCanal, label: Label) -> str:
    """The strongest effect of a taint with this key and value that all of Canal's pods tolerate; '' when there is none.

    Flannel's own manifest tolerates NoSchedule alone: a taint that evicts would keep it off the node, and with it the
    way back.
    """
    for effect in ("NoExecute", "NoSchedule"):
        taint = Taint(label.key, label.value, effect)
        if all(any(one.tolerates(taint) for one in every) for every in found.tolerations):
            return effect
    return ""


def settled(config: Config, said: Collection[str], found: FoundCanal) -> Config:
    """The configuration with the cluster's values where nothing was said.

    `said` are the dotted keys that the operator has set. A part of the pods' network that was set leaves flannel's
    whole network to be taken from the cluster.
    """
    values = configuration_of(found)
    values["drain.taint_effect"] = taint_effect(found, config.labels.cilium) or config.drain.taint_effect
    if "canal.pod_cidr" in said and "canal.network" not in said and found.network:
        part = str(config.canal.pod_cidr)
        values["canal.network"] = found.network if found.network != part and within(part, found.network) else ""
    if {"canal.daemonset", "canal.namespace"} & set(said):
        own = (config.canal.namespace, config.canal.daemonset)
        if own in found.daemonsets:
            others = [f"{where}/{what}" for where, what in found.daemonsets if (where, what) != own]
            values["canal.more_daemonsets"] = others
            values |= {"canal.namespace": own[0], "canal.daemonset": own[1]}
        elif same := [one for one in found.daemonsets if _names(config, said, one)]:
            # Half of it was said, and fits.
            values |= {"canal.namespace": same[0][0], "canal.daemonset": same[0][1]}
            values["canal.more_daemonsets"] = [f"{w}/{n}" for w, n in found.daemonsets if (w, n) != same[0]]
    return with_values(config, {key: value for key, value in values.items() if key not in said})


def _names(config: Config, said: Collection[str], one: tuple[str, str]) -> bool:
    fits = {"canal.namespace": config.canal.namespace == one[0], "canal.daemonset": config.canal.daemonset == one[1]}
    return all(fits[key] for key in fits if key in said)


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with some keys replaced. Nothing is validated: preflight checks what came from a cluster."""
    sections: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    changes = {name: getattr(config, name).model_copy(update=update) for name, update in sections.items()}
    return config.model_copy(update=changes)


LIKELY: Final = (
    "canal.cni_file", "canal.network_name", "canal.tunnel_port", "canal.vni", "host_task.cni_folder",
    "host_task.bin_folder",
)  # fmt: skip
"""Keys whose value in the cluster must be the configuration's, to the letter."""


def contradictions(config: Config, found: FoundCanal) -> Iterator[tuple[str, str, str]]:
    """Where configuration and cluster differ: (key, the configuration's value, the cluster's)."""
    values = configuration_of(found)
    for key in LIKELY:
        section, _, name = key.partition(".")
        wanted = getattr(getattr(config, section), name)
        if key in values and values[key] != wanted:
            yield key, str(wanted), str(values[key])
    if found.network:
        network = config.canal.network or config.canal.pod_cidr
        if not within(config.canal.pod_cidr, found.network):
            yield "canal.pod_cidr", config.canal.pod_cidr, found.network
        elif config.canal.network and not same(network, found.network):
            yield "canal.network", network, found.network


def pods_part(
    network: str, cluster_cidr: str, node_cidrs: Iterable[str], addresses: Iterable[str], others: Iterable[str] = ()
) -> tuple[str, str]:
    """Which part of flannel's network pods have their addresses from, and by what that is known.

    Flannel's Network may be wider: kops writes its whole non-masqueraded range there, with Services and the pods' part
    in it. What the controller manager hands to nodes is the part; where it is not seen, it is the whole network unless
    nodes or Services (`addresses`) are in it, else what the nodes' own parts have in common: with room for nodes that
    join, as far as neither `addresses` nor `others`, networks of something else, are in it.
    """
    nodes = [one for one in (parsed(text) for text in node_cidrs) if one is not None]
    whole, cluster = parsed(network), parsed(cluster_cidr)
    if cluster is not None and all(holds(cluster, one) for one in nodes) and (whole is None or holds(whole, cluster)):
        return str(cluster), "the controller manager's or kube-proxy's cluster CIDR"
    if whole is None or any(not holds(whole, one) for one in nodes):
        return network, "flannel's Network"
    addresses = tuple(addresses)
    if not nodes or not any(inside(one, network) for one in addresses):
        return network, "flannel's Network"
    foreign = [one for one in (parsed(text) for text in (*addresses, *others)) if one is not None]
    return str(_roomy(nodes, whole, foreign)), "what the nodes' podCIDRs have in common"


ROOM: Final = 8
"""Bits: a part that is guessed has room for 256 nodes, where there is so much room."""


def _roomy(nodes: list[Network], whole: Network, foreign: list[Network]) -> Network:
    """The network of the nodes' parts, with room for more of them in `whole`, none of it `foreign`."""
    found = common(nodes)
    least = max(whole.prefixlen, max(one.prefixlen for one in nodes) - ROOM)
    while found.prefixlen > least:
        wider = found.supernet()
        if any(meet(wider, one) for one in foreign):
            break
        found = wider
    return found
