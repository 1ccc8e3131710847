"""An operator's own Cilium: objects that a chart or a file gives, read, checked, and changed for the transit alone.

What comes in goes out again at the end, unchanged. In between only that is changed which has to be while Canal is
there, too: some keys of `cilium-config`, when pods of the agents' DaemonSet are replaced, which nodes they keep off,
and a mark on the pods that read that configuration, by which they are made anew in the end.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cni_migrate.config import Config
from cni_migrate.consistency import NEEDY, NODE_TAINTS, PARTS, agreed
from cni_migrate.core.model import names
from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.core.render.coexistence import TUNNEL_PORTS
from cni_migrate.core.render.wellformed import WORKLOADS, hooks_in, objects_in

Manifest = dict[str, Any]

CONFIG: Final = names.CILIUM_CONFIG

AGENT: Final = "cilium-agent"
"""The agent's container in Cilium's DaemonSet, by which it is recognised."""

PORTMAP: Final = "portmap"
"""The plugin, and the chaining mode of Cilium's in which it serves host ports."""

TRANSIT: Final = {
    # As Cilium's guide "Migrating a cluster to Cilium" has it: no CNI file until a CiliumNodeConfig says so, nobody
    # else's file is renamed, Canal's pods are not restarted and are reached by the node's own routes.
    "custom-cni-conf": "true",
    "cni-exclusive": "false",
    "cni-uninstall": "false",
    "unmanaged-pod-watcher-interval": "0",
    "enable-host-legacy-routing": "true",
    # kube-proxy serves both networks' pods until Canal is gone.
    "kube-proxy-replacement": "false",
    "bpf-lb-sock": "false",
    # Canal's pods take no part in it.
    "enable-wireguard": "false",
    "enable-ipsec": "false",
    "enable-endpoint-health-checking": "false",
}
"""Keys of `cilium-config` while nodes are in between, whatever the operator's values say."""

OFF: Final = {
    **NEEDY,
    **PARTS,
    "encrypt-node": "Canal's nodes take no part in it",
    "enable-ztunnel": "Canal's pods take no part in it",
    "enable-envoy-config": "in 1.15 it turns on what kube-proxy does by itself",
    "policy-audit-mode": "policies hold in transit",
    "disable-endpoint-crd": "Canal's pods are known to Cilium by CiliumEndpoints",
    NODE_TAINTS: "a node whose agent is sent away would stay closed to pods",
}
"""Keys that are turned off in between where the operator has them on: an agent refuses to start with them beside
`TRANSIT`, policies would not hold, or there would be no clean way back."""

WRITTEN: Final = ("write-cni-conf-when-ready", "read-cni-conf")
"""Keys that are left out in between. The first alone makes an agent write its CNI file, `custom-cni-conf` or not: that
one is for the chart, which then leaves this one away (seen with 1.20.2: every node had Cilium's file at once)."""

ARGUED: Final = ("write-cni-conf-when-ready", "cni-exclusive")
"""Keys that are arguments of the agents where each node has two, and outrank all else."""

POLICY_KEYS: Final = ("enable-policy", "prepend-iptables-chains", "enable-stale-cilium-endpoint-cleanup")
"""Keys by which policies hold in transit: the same for every Cilium, whoever brings it."""

API_SERVER: Final = ("k8s-api-server", "k8s-api-server-urls", "k8s-kubeconfig-path")
"""Keys of the agent that say where the API server is, beside its environment (1.15 to 1.20: cilium-agent --help)."""

_VERSION: Final = re.compile(r":v?(\d+\.\d+\.\d+(?:-[0-9A-Za-z.]+)?)(?:@|$)")


class ForeignError(ValueError):
    """The objects are not a Cilium that a cluster can be migrated to; `problems` says why, a sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Foreign:
    """A Cilium of the operator's: all its objects in their order, and the three that matter here.

    `config`: the data of `cilium-config`; `daemonset`: the agents'; `operator`: the Deployment of Cilium's operator.
    `hooks` is what Helm runs once around the last step, where it is asked for one.
    """

    objects: tuple[Manifest, ...]
    config: Mapping[str, str]
    daemonset: Manifest
    operator: Manifest
    hooks: tuple[Manifest, ...] = ()

    @property
    def namespace(self) -> str:
        """Where Cilium is installed."""
        return str(self.daemonset["metadata"].get("namespace", ""))

    @property
    def image(self) -> str:
        """The agent's image."""
        return next(str(c["image"]) for c in containers(self.daemonset) if c.get("name") == AGENT)

    @property
    def operator_image(self) -> str:
        """The operator's image: that of its container, whatever else is put beside it."""
        images = {str(one.get("name", "")): str(one["image"]) for one in containers(self.operator)}
        return images.get(names.CILIUM_OPERATOR, next(iter(images.values()), ""))

    @property
    def version(self) -> str:
        """Cilium's version by its agent's image; empty when its tag is none."""
        return version_of(self.image)

    @property
    def lost_without_kube_proxy(self) -> bool:
        """Whether Cilium is to replace kube-proxy, and its agents reach the API server by the Service that it serves.

        Cilium's documentation, "Kubernetes Without kube-proxy": the agents have to be given the API server's address.
        """
        agent = next(c for c in containers(self.daemonset) if c.get("name") == AGENT)
        named = any(one.get("name") == "KUBERNETES_SERVICE_HOST" for one in agent.get("env") or [])
        argued = any(str(one).startswith(f"--{key}=") for one in agent.get("args") or [] for key in API_SERVER)
        known = named or argued or any(self.config.get(key) for key in API_SERVER)
        return is_on(self.config.get("kube-proxy-replacement", "")) and not known

    def facts(self) -> dict[str, Any]:
        """What these objects say of the configuration's section `cilium`, by its keys; what is left open is absent."""
        found: dict[str, Any] = {
            "namespace": self.namespace,
            "version": self.version,
            "image": self.image,
            "operator_image": self.operator_image,
            **facts_of(self.config),
            "policy_enforcement": self.config.get("enable-policy", "default"),
            "primary_file": (self.config.get("write-cni-conf-when-ready") or "").rpartition("/")[2],
        }
        return {key: value for key, value in found.items() if value != ""}


def facts_of(data: Mapping[str, str]) -> dict[str, Any]:
    """What a `cilium-config` says of the network, by the keys of the configuration's section `cilium`."""
    protocol = data.get("tunnel-protocol") or data.get("tunnel") or "vxlan"
    pools, port = pools_of(data), data.get("tunnel-port", "")
    mask = data.get("cluster-pool-ipv4-mask-size", "")
    return {
        "tunnel_protocol": protocol,
        "tunnel_port": int(port) if port.isdecimal() and int(port) else int(TUNNEL_PORTS.get(protocol, "0")),
        "pod_cidr": pools[0] if len(pools) == 1 else "",
        "mask_size": int(mask) if mask.isdecimal() else 24,
        "agreed": agreed(data),
    }


def version_of(image: str) -> str:
    """Cilium's version by its agent's image; empty when its tag is none."""
    found = _VERSION.search(image)
    return found.group(1) if found else ""


def read(objects: Iterable[Any], places: Iterable[str] = ()) -> Foreign:
    """The Cilium among these objects. Lists are taken apart, and what runs once around an installation is left out.

    `places` say where each stands, for people; without them they are counted.

    Raises:
        ForeignError: something of Cilium is missing or is there twice, or an object is none.
    """
    counted = (f"document {number}" for number in itertools.count(1))
    documents = list(zip(itertools.chain(places, counted), objects, strict=False))
    flat, problems = objects_in(documents)
    agents = [m for m in flat if m["kind"] == "DaemonSet" and any(c.get("name") == AGENT for c in containers(m))]
    configs = [m for m in flat if m["kind"] == "ConfigMap" and m["metadata"]["name"] == CONFIG]
    operators = [m for m in flat if m["kind"] == "Deployment" and m["metadata"]["name"] == names.CILIUM_OPERATOR]
    for what, found_ones in (
        (f"DaemonSet with a container {AGENT}", agents),
        (f"ConfigMap {CONFIG}", configs),
        (f"Deployment {names.CILIUM_OPERATOR}", operators),
    ):
        if len(found_ones) != 1:
            problems.append(f"there is {'no' if not found_ones else 'more than one'} {what}")
    twice = _twice(flat)
    problems += [f"{one} is there twice" for one in twice]
    if not problems:
        problems += _apart(agents[0], configs[0], operators[0])
    if problems:
        raise ForeignError(problems)
    data = {str(key): str(value) for key, value in (configs[0].get("data") or {}).items()}
    where = str(agents[0]["metadata"]["namespace"])
    return Foreign(tuple(flat), data, agents[0], operators[0], tuple(hooks_in(documents, where)))


def transit(foreign: Foreign, config: Config, keys: Mapping[str, str]) -> list[Manifest]:
    """The objects as they are while Canal is there, too. `keys` go on top of `TRANSIT`.

    Agents are replaced when the migration says so (OnDelete), and keep off nodes that have gone back to Canal. What has
    pods of its own on the pod network (Hubble's relay, its UI) comes in the end: it would have to move with each node.
    """
    made: list[Manifest] = []
    for found in foreign.objects:
        if found["kind"] in WORKLOADS and not on_host(found):
            continue
        if found["kind"] == "ConfigMap" and found["metadata"]["name"] == CONFIG:
            made.append({**found, "data": transit_data(found.get("data") or {}, keys)})
        elif found is foreign.daemonset:
            made += _agents(found, config)
        elif found is foreign.operator:
            made.append(_in_transit(_said(found)))
        else:
            made.append(found)
    return made


def transit_data(data: Mapping[str, str], keys: Mapping[str, str]) -> dict[str, str]:
    """The data of `cilium-config` while Canal is there, too. `keys` go on top of `TRANSIT`."""
    kept = {key: value for key, value in data.items() if key not in WRITTEN}
    off = {key: "false" for key in OFF if is_on(kept.get(key, ""))}
    return {**kept, **off, **TRANSIT, **keys}


def later(data: Mapping[str, str]) -> list[str]:
    """What of a `cilium-config` comes with the last step only, as `key: text`."""
    ours = ("custom-cni-conf", "cni-exclusive", "cni-uninstall", NODE_TAINTS)
    keys = [key for key in (*TRANSIT, *OFF) if key not in ours]
    asked = [key for key in keys if is_on(data.get(key, "")) and TRANSIT.get(key, "false") == "false"]
    if not is_on(data.get("enable-host-legacy-routing", "true")):
        asked.append("enable-host-legacy-routing")
    return [f"{key}: {data[key]}" for key in asked]


def host_ports(data: Mapping[str, str]) -> str:
    """Who serves host ports by this `cilium-config`: `portmap`, `kube-proxy-replacement`, or nobody ('')."""
    if data.get("cni-chaining-mode") == PORTMAP:
        return PORTMAP
    return "kube-proxy-replacement" if is_on(data.get("kube-proxy-replacement", "")) else ""


def is_on(text: str) -> bool:
    """Whether a key's text turns something on, in any spelling that the programs take (Go: strconv.ParseBool)."""
    return text in ("true", "True", "TRUE", "t", "T", "1", "strict", "partial", "probe")


def _agents(daemonset: Manifest, config: Config) -> list[Manifest]:
    if not config.traits.two_daemonsets:
        made = _ours(daemonset)
        keep_off = {"key": config.labels.detached.key, "operator": "NotIn", "values": [config.labels.detached.value]}
        affinity = made["spec"]["template"]["spec"].setdefault("affinity", {}).setdefault("nodeAffinity", {})
        required = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
        # Terms are alternatives, so each of them has to say it.
        for term in required.setdefault("nodeSelectorTerms", [{}]):
            term.setdefault("matchExpressions", []).append(keep_off)
        return [made]
    first = _ours(daemonset)
    first["metadata"]["name"] = names.FIRST_CILIUM
    apart = {"k8s-app": names.FIRST_CILIUM}
    first["spec"]["selector"] = {"matchLabels": apart}
    first["spec"]["template"]["metadata"]["labels"] |= apart
    _select(first, config.labels.canal_cilium.key, config.labels.canal_cilium.value)
    _argue(first, config.cilium.extra_file, exclusive=False)
    second = _ours(daemonset)
    _select(second, config.labels.cilium.key, config.labels.cilium.value)
    _argue(second, config.cilium.primary_file, exclusive=True)
    return [first, second]


def _ours(daemonset: Manifest) -> Manifest:
    made: Manifest = _said(daemonset)
    made["metadata"].setdefault("labels", {})[names.MANAGED_BY] = names.TOOL
    made["spec"]["updateStrategy"] = {"type": "OnDelete"}
    return _in_transit(made)


def _in_transit(workload: Manifest) -> Manifest:
    """The same, its pods marked: without the mark, in the end, they are made anew, and read their final configuration.

    Neither agents nor the operator read it again while they run, and a chart does not make them anew by itself.
    """
    workload["spec"]["template"].setdefault("metadata", {}).setdefault("labels", {})[names.STAGE] = "transit"
    return workload


def _said(value: Any) -> Any:
    """A copy without what is null: to Kubernetes that is not said at all."""
    if isinstance(value, Mapping):
        return {key: _said(part) for key, part in value.items() if part is not None}
    return [_said(part) for part in value] if isinstance(value, list) else value


def _select(daemonset: Manifest, key: str, value: str) -> None:
    daemonset["spec"]["template"]["spec"].setdefault("nodeSelector", {})[key] = value


def _argue(daemonset: Manifest, file: str, *, exclusive: bool) -> None:
    for container in daemonset["spec"]["template"]["spec"]["containers"]:
        if container.get("name") == AGENT:
            container["args"] = [
                *container.get("args", []),
                f"--write-cni-conf-when-ready=/host/etc/cni/net.d/{file}",
                f"--cni-exclusive={'true' if exclusive else 'false'}",
            ]


def workloads(objects: Iterable[Manifest]) -> list[tuple[str, str]]:
    """Every image that these objects run, with the name of what runs it, each once."""
    found: dict[str, str] = {}
    for one in objects:
        for container in containers(one, init=True):
            if image := str(container.get("image", "")):
                found.setdefault(image, f"{one['metadata']['name']}/{container.get('name', '')}")
    return [(name, image) for image, name in found.items()]


def without_secrets(objects: Sequence[Manifest], secrets: Sequence[str]) -> list[str]:
    """The workloads whose pods are pulled with none of these secrets: neither they name one, nor their account does."""
    accounts = {
        (one["metadata"].get("namespace", ""), one["metadata"]["name"]): _secrets(one)
        for one in objects
        if one["kind"] == "ServiceAccount"
    }
    found = []
    for one in objects:
        if not (spec := _pod(one)):
            continue
        account = (one["metadata"].get("namespace", ""), spec.get("serviceAccountName") or "default")
        if not (_secrets(spec) | accounts.get(account, set())) & set(secrets):
            found.append(f"{one['kind']} {account[0]}/{one['metadata']['name']}")
    return found


def _secrets(spec: Mapping[str, Any]) -> set[str]:
    return {str(one.get("name", "")) for one in spec.get("imagePullSecrets") or ()}


def on_host(manifest: Manifest) -> bool:
    """Whether an object's pods are on the hosts' own network."""
    pod = ((manifest.get("spec") or {}).get("template") or {}).get("spec") or {}
    return bool(pod.get("hostNetwork"))


def _pod(manifest: Manifest) -> dict[str, Any]:
    """The spec of the pods that an object makes; {} where it makes none."""
    if manifest["kind"] not in WORKLOADS:
        return {}
    spec = manifest.get("spec") or {}
    if manifest.get("kind") == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    return (spec.get("template") or {}).get("spec") or {}


def containers(manifest: Manifest, *, init: bool = False) -> list[dict[str, Any]]:
    """The containers of the pods that an object makes."""
    pod = _pod(manifest)
    return [*(pod.get("initContainers") or [] if init else []), *(pod.get("containers") or [])]


def pools_of(data: Mapping[str, str]) -> list[str]:
    """The networks that pods get their addresses from."""
    return [part for part in re.split(r"[\s,]+", data.get("cluster-pool-ipv4-cidr", "")) if part]


def _apart(agents: Manifest, *others: Manifest) -> list[str]:
    """What of Cilium's is in another namespace than its agents, who would look for it in their own."""
    home = agents["metadata"]["namespace"]
    return [
        f"{one['kind']} {one['metadata']['name']} is in namespace {where}, the agents' DaemonSet in {home}"
        for one in others
        if (where := one["metadata"]["namespace"]) != home
    ]


def _twice(objects: Iterable[Manifest]) -> list[str]:
    """The objects that have the name of one before, whatever version of their group they are written in."""
    seen: set[tuple[str, ObjectRef]] = set()
    twice = []
    for one in objects:
        ref = ObjectRef.of(one)
        key = (ref.api_version.rpartition("/")[0], replace(ref, api_version=""))
        if key in seen:
            twice.append(str(ref))
        seen.add(key)
    return twice
