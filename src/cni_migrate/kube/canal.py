"""Finds a cluster's Canal: its DaemonSets by what their containers are, its settings through their volumes.

Names are not relied on: RKE2 calls them rke2-canal and rke2-canal-config, split installations kube-flannel and
calico-node. What is read is what the programs themselves read: flanneld's net-conf.json (github.com/flannel-io/flannel,
Documentation/configuration.md), the environment of Calico's installer (docs.tigera.io: "Install CNI plugin").
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cni_migrate.core.model.canal import FoundCanal, pods_part
from cni_migrate.core.model.canalroles import CALICO, FLANNEL, environment, pod_of, role, roles, words_of
from cni_migrate.core.model.objects import Toleration
from cni_migrate.kube import paths
from cni_migrate.kube.controlplane import cluster_cidr
from cni_migrate.kube.environment import ConfigMaps, all_values, value_of
from cni_migrate.kube.flannel import BadNetConf, NetConf, net_conf
from cni_migrate.kube.listing import listed
from cni_migrate.kube.mounts import config_keys, host_path
from cni_migrate.kube.request import Client
from cni_migrate.kube.services import services
from cni_migrate.kube.together import together

Json = Mapping[str, Any]

NET_CONF: Final = "net-conf.json"

_NET_FOLDERS: Final = ("/host/etc/cni/net.d", "/etc/cni/net.d")
_BIN_FOLDERS: Final = ("/host/opt/cni/bin", "/opt/cni/bin")
_TEMPLATE: Final = "CNI_NETWORK_CONFIG"
_DEFAULT_FILE: Final = "10-calico.conflist"
"""What Calico's installer calls its file where `CNI_CONF_NAME` is not given (cni-plugin/pkg/install)."""

_PLACEHOLDER: Final = re.compile(r"(?<![\"\w])__[A-Z0-9_]+__(?![\"\w])")
"""What Calico's installer replaces in its template and is no JSON before: `"mtu": __CNI_MTU__`."""


def name_of(raw: Json) -> tuple[str, str]:
    """Namespace and name."""
    return str(raw["metadata"].get("namespace", "")), str(raw["metadata"]["name"])


def canals(daemonsets: Iterable[Json]) -> list[Json]:
    """The DaemonSets that make a cluster's Canal: flannel's first, and Calico's where there is flannel.

    One that runs nowhere, such as a leftover or another architecture's, comes after those that do.
    """
    known = [(roles(raw), raw) for raw in daemonsets]
    flannels = [(what, raw) for what, raw in known if FLANNEL in what]
    if not flannels:
        return []
    flannels.sort(
        key=lambda one: (
            _runs_nowhere(one[1]),
            name_of(one[1]) != ("kube-system", "canal"),
            CALICO not in one[0],
            name_of(one[1]),
        )
    )
    calicos = sorted((raw for what, raw in known if what == {CALICO}), key=name_of)
    return [*(raw for _, raw in flannels), *calicos]


def _runs_nowhere(raw: Json) -> bool:
    status = raw.get("status") or {}
    return not status.get("desiredNumberScheduled", 1)


async def found_canal(
    client: Client, node_cidrs: Iterable[str], node_addresses: Iterable[str], others: Iterable[str] = ()
) -> FoundCanal:
    """The cluster's Canal; one without DaemonSets when there is none.

    `others` are networks that are known to be something else's than Canal's.

    Raises:
        ClusterError: the API server does not answer, or does not allow DaemonSets to be listed.
    """
    own = canals([raw async for raw in listed(client, paths.path("apps/v1", "daemonsets"))])
    if not own:
        return FoundCanal()
    maps = ConfigMaps(client)
    async with together() as group:
        reading = group.create_task(_settings(maps, own))
        naming = group.create_task(cluster_cidr(client))
        serving = group.create_task(services(client))
    settings = reading.result()
    net = settings.net
    pods, pods_from = "", ""
    if net.network:
        taken = [*node_addresses, *[ip for one in serving.result() for ip in one.addresses]]
        pods, pods_from = pods_part(net.network, naming.result(), node_cidrs, taken, others)
    file = await _cni_file(maps, own) or await _beside(maps, settings.config_map)
    return FoundCanal(
        daemonsets=tuple(name_of(raw) for raw in own),
        flannels=tuple(name_of(raw) for raw in own if FLANNEL in roles(raw)),
        config_map=settings.config_map,
        network=net.network,
        network6=net.network6,
        ipv4=net.ipv4,
        pods=pods,
        pods_from=pods_from,
        backend=net.backend,
        vni=net.vni,
        port=net.port,
        mtu=file.mtu or net.mtu,
        nftables=net.nftables,
        cni_file=file.name,
        network_name=file.network,
        plugin=file.plugin,
        ipam=file.ipam,
        chained=file.chained,
        cni_folder=_folder(own, _NET_FOLDERS),
        bin_folder=_folder(own, _BIN_FOLDERS),
        calico=tuple(_by_calico(own, file)),
        unread=(*settings.unread, *file.unread),
        broken=settings.broken,
        differing=settings.differing,
        calico_routes=await _routes_of_calico(maps, own),
        flannel_etcd=any(_flannel_of_etcd(container) for container in _every(own, FLANNEL)),
        calico_etcd=await _calico_of_etcd(maps, own),
        tolerations=tuple(_tolerations(pod_of(raw)) for raw in own),
        felix=await _felix(maps, own),
    )


def _tolerations(pod: Json) -> tuple[Toleration, ...]:
    return tuple(
        Toleration(*(str(one.get(key) or default) for key, default in _TOLERATION))
        for one in pod.get("tolerations") or ()
    )


_TOLERATION: Final = (("key", ""), ("operator", "Equal"), ("value", ""), ("effect", ""))


def _every(own: Iterable[Json], wanted: str) -> Iterator[Json]:
    """Canal's containers with this role."""
    for raw in own:
        yield from (one for one in pod_of(raw).get("containers") or () if role(one) == wanted)


def _flannel_of_etcd(container: Json) -> bool:
    """Whether flanneld has its networks from etcd: it asks Kubernetes only with `--kube-subnet-mgr`.

    A command of a shell or of an image's own is judged only where it names an etcd: what is behind a variable is not
    seen. With both, as kubespray's has them for Calico's sake, it asks Kubernetes.
    """
    words = words_of(container)
    asks = any(re.fullmatch(r"--?kube-subnet-mgr(=(true|1|t))?", word, re.IGNORECASE) for word in words)
    given = environment(container)
    told = str(given.get("FLANNELD_KUBE_SUBNET_MGR", {}).get("value") or "").lower() in ("true", "1", "t")
    plain = bool(words) and words[0].rpartition("/")[2] == "flanneld"
    named = "FLANNELD_ETCD_ENDPOINTS" in given or any(re.match(r"--?etcd-(prefix|endpoints)", word) for word in words)
    return (plain or named) and not asks and not told


async def _calico_of_etcd(maps: ConfigMaps, own: Iterable[Json]) -> bool:
    """Whether calico-node keeps its own objects in etcd (docs.tigera.io: "Configuring calico/node", DATASTORE_TYPE)."""
    for raw in own:
        namespace, _ = name_of(raw)
        for container in (one for one in pod_of(raw).get("containers") or () if role(one) == CALICO):
            env = environment(container)
            kind = await value_of(maps, namespace, container, "DATASTORE_TYPE")
            if kind.startswith("etcd") or (not kind and "ETCD_ENDPOINTS" in env):
                return True
    return False


async def _routes_of_calico(maps: ConfigMaps, own: Iterable[Json]) -> tuple[str, ...]:
    """The DaemonSets whose calico-node is told to carry pods' traffic itself, with what it is told.

    docs.tigera.io, "Configuring calico/node", CALICO_NETWORKING_BACKEND: `bird`, `vxlan`, or `none` as in Canal.
    """
    found = []
    for raw in own:
        for container in (one for one in pod_of(raw).get("containers") or () if role(one) == CALICO):
            kind = await value_of(maps, name_of(raw)[0], container, "CALICO_NETWORKING_BACKEND")
            if kind.lower() in ("bird", "vxlan"):
                found.append(f"DaemonSet {'/'.join(name_of(raw))}: CALICO_NETWORKING_BACKEND {kind}")
    return tuple(found)


async def _felix(maps: ConfigMaps, own: Iterable[Json]) -> dict[str, dict[str, str]]:
    """What felix is told by calico-node's environment, by DaemonSet; its names for settings have no case there."""
    return {
        "/".join(name_of(raw)): await all_values(maps, name_of(raw)[0], container, "FELIX_")
        for raw in own
        for container in pod_of(raw).get("containers") or ()
        if role(container) == CALICO
    }


def _by_calico(own: Iterable[Json], file: "_CniFile") -> Iterator[str]:
    """By what it is known that Calico is part of this Canal, in words."""
    for raw in own:
        if CALICO in roles(raw):
            yield f"DaemonSet {'/'.join(name_of(raw))} runs calico-node"
    if file.plugin == CALICO:
        yield f"CNI file {file.name or 'of network ' + file.network} has the plugin calico"


# --- flannel's settings --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Settings:
    """Where flannel's settings are, what they say; what was looked for in vain; why flanneld would not start.

    `differing` are those of each DaemonSet in words, where they are not the same.
    """

    config_map: str = ""
    net: NetConf = field(default_factory=NetConf)
    unread: tuple[str, ...] = ()
    broken: str = ""
    differing: tuple[str, ...] = ()


async def _settings(maps: ConfigMaps, own: Iterable[Json]) -> _Settings:
    """Those of the first DaemonSet that has any; where those of others that run are not the same, it is told."""
    flannels = [raw for raw in own if FLANNEL in roles(raw)]
    looked: list[str] = []
    read = [(raw, found) for raw in flannels if (found := await _settings_of(maps, raw, looked)) is not None]
    if not read:
        places = ", ".join(dict.fromkeys(looked)) or "no ConfigMap among its volumes"
        return _Settings(unread=(f"{NET_CONF} among the volumes of Canal's DaemonSet ({places})",))
    first = read[0][1]
    running = {found.config_map: found for raw, found in read if not _runs_nowhere(raw)}
    if any((one.net, one.broken) != (first.net, first.broken) for one in running.values()):
        differing = tuple(f"ConfigMap {where}: {one.broken or one.net}" for where, one in running.items())
        return replace(first, differing=differing)
    return first


async def _settings_of(maps: ConfigMaps, raw: Json, looked: list[str]) -> _Settings | None:
    """Those of one DaemonSet; None where there are none. Where was looked is added to `looked`."""
    namespace, pod = name_of(raw)[0], pod_of(raw)
    flannel = next(one for one in pod["containers"] if role(one) == FLANNEL)
    path = await _net_conf_path(maps, namespace, flannel)
    shown = (*config_keys(pod, flannel, path), *_mounted(pod, path.rpartition("/")[2]))
    for name, key in dict.fromkeys(shown):
        where = f"{namespace}/{name}"
        looked.append(where)
        text = (await maps.data(namespace, name)).get(key)
        if text is None:
            continue
        try:
            return _Settings(where, net_conf(text))
        except BadNetConf as error:
            return _Settings(where, broken=f"{key} in ConfigMap {where}: {error}")
    return None


async def _net_conf_path(maps: ConfigMaps, namespace: str, flannel: Json) -> str:
    """Where flanneld reads its settings: its flag goes before its environment (flannel, main.go)."""
    words = words_of(flannel)
    for word, following in zip(words, [*words[1:], ""], strict=False):
        flag, is_said, value = word.partition("=")
        if flag in ("--net-config-path", "-net-config-path"):
            return value if is_said else following
    return await value_of(maps, namespace, flannel, "FLANNELD_NET_CONFIG_PATH") or f"/etc/kube-flannel/{NET_CONF}"


def _mounted(pod: Json, file: str) -> Iterator[tuple[str, str]]:
    """(ConfigMap, key) of the volumes that may show a file of this name, flannel's mounts first."""
    flannel: Json = next((one for one in pod.get("containers") or () if role(one) == FLANNEL), {})
    mounted = {mount.get("name") for mount in flannel.get("volumeMounts") or ()}
    for volume in sorted(pod.get("volumes") or (), key=lambda one: one.get("name") not in mounted):
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for source in sources:
            config = source.get("configMap")
            if config and config.get("name"):
                keys = [str(item["key"]) for item in config.get("items") or () if item.get("path") == file]
                yield str(config["name"]), keys[0] if keys else file


# --- the CNI file --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _CniFile:
    name: str = ""
    network: str = ""
    plugin: str = ""
    ipam: str = ""
    mtu: int = 0
    unread: tuple[str, ...] = ()
    chained: tuple[str, ...] = ()


async def _beside(maps: ConfigMaps, where: str) -> _CniFile:
    """What the ConfigMap of flannel's settings holds under the keys of Canal's and flannel's own manifests."""
    namespace, _, name = where.partition("/")
    data = await maps.data(namespace, name) if name else {}
    return _described("", data.get("cni_network_config") or data.get("cni-conf.json") or "", "")


async def _cni_file(maps: ConfigMaps, own: Iterable[Json]) -> _CniFile | None:
    """Canal's CNI file: from the environment of Calico's installer, else from what flannel's copies."""
    copied: _CniFile | None = None
    for raw in own:
        namespace, _ = name_of(raw)
        pod = pod_of(raw)
        for container in (*(pod.get("initContainers") or ()), *(pod.get("containers") or ())):
            text = await value_of(maps, namespace, container, _TEMPLATE)
            name = await value_of(maps, namespace, container, "CNI_CONF_NAME")
            if not text and (file := await value_of(maps, namespace, container, f"{_TEMPLATE}_FILE")):
                text = await _first(maps, namespace, config_keys(pod, container, file))
                name = name or _DEFAULT_FILE
            if name or text or _TEMPLATE in environment(container):
                mtu = await value_of(maps, namespace, container, "CNI_MTU")
                return _described(name or _DEFAULT_FILE, text, mtu)
            if copied is None and (words := _copied(container)):
                source, target = words
                shown = (*config_keys(pod, container, source), *_mounted(pod, source.rpartition("/")[2]))
                copied = _described(target, await _first(maps, namespace, shown), "")
    return copied


async def _first(maps: ConfigMaps, namespace: str, shown: Iterable[tuple[str, str]]) -> str:
    """The text of the first of these (ConfigMap, key) that there is."""
    for config_map, key in shown:
        if text := (await maps.data(namespace, config_map)).get(key, ""):
            return text
    return ""


def _copied(container: Json) -> tuple[str, str] | None:
    """What flannel's installer copies, and under which name: `cp -f …/cni-conf.json /etc/cni/net.d/NAME`.

    Older ones do it in a shell, by a name of their own in between.
    """
    words = [word.strip("\"';&") for word in words_of(container)]
    if not any(word.rpartition("/")[2] == "cp" for word in words):
        return None
    files = [word.rpartition("/") for word in words if word.endswith((".json", ".conf", ".conflist"))]
    targets = [name for folder, _, name in files if folder in _NET_FOLDERS]
    sources = [f"{folder}/{name}" for folder, _, name in files if folder and folder not in _NET_FOLDERS]
    return (sources[0] if sources else "", targets[-1]) if targets else None


def _described(name: str, text: str, mtu: str) -> _CniFile:
    network, plugin, ipam, found = "", "", "", 0
    unread: tuple[str, ...] = ()
    chained: tuple[str, ...] = ()
    try:
        content = json.loads(_PLACEHOLDER.sub("0", text)) if text else {}
        plugins = content.get("plugins") or [content]
        network, plugin = str(content.get("name", "")), str(plugins[0].get("type", ""))
        chained = tuple(str(one.get("type", "")) for one in plugins[1:])
        ipam = str((plugins[0].get("ipam") or {}).get("type", ""))
        found = int(mtu or plugins[0].get("mtu") or 0)
    except (ValueError, AttributeError, IndexError, TypeError):
        if not plugin:
            unread = (f"the network's name in Canal's CNI file {name or 'of no name'}: it is no CNI configuration",)
    return _CniFile(name, network, plugin, ipam, found, unread, chained)


def _folder(own: Iterable[Json], mounts: tuple[str, ...]) -> str:
    """The host's folder behind one of these paths in any of Canal's containers."""
    for raw in own:
        pod = pod_of(raw)
        for container in (*(pod.get("initContainers") or ()), *(pod.get("containers") or ())):
            for at in mounts:
                if found := host_path(pod, container, at):
                    return found
    return ""
