"""What flannel is told and what it says on its node: its network configuration and its annotations. Pure functions."""

import json
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from cni_migrate.sim.client import Object
from cni_migrate.sim.world.environment import ConfigMaps, every_container, mounted
from cni_migrate.sim.world.host import FLANNEL_PORT, Host

CONTAINER = "kube-flannel"
ANNOTATIONS = "flannel.alpha.coreos.com/"
RUN_FOLDER = "/run/flannel"


@dataclass(frozen=True, slots=True)
class NetConf:
    """`net-conf.json`: the network that is flannel's, and how it gets from node to node."""

    network: str = ""
    backend: str = "vxlan"
    vni: int = 1
    port: int = FLANNEL_PORT

    @property
    def link(self) -> str:
        """The name of its link; empty when it routes plainly (`host-gw`)."""
        return {"vxlan": f"flannel.{self.vni}", "udp": "flannel0"}.get(self.backend, "")


class BadNetConf(ValueError):
    """Flanneld does not start with this `net-conf.json`."""


def net_conf_of(maps: ConfigMaps, pod: Object) -> NetConf:
    """`net-conf.json` of the ConfigMap that the pod has as a volume, whatever it is called.

    Raises:
        BadNetConf: flanneld would not start with it.
    """
    return net_conf(mounted(maps, pod, "net-conf.json") or "")


def net_conf(text: str) -> NetConf:
    """Read `net-conf.json`; defaults as flannel's (`Documentation/backends.md`).

    Keys are found in any case, as Go's decoder finds them.

    Raises:
        BadNetConf: it is not JSON, or has no object in it.
    """
    try:
        content = _any_case(json.loads(text or "{}"))
    except ValueError as error:
        raise BadNetConf(f"error parsing subnet config: {error}") from None
    if not isinstance(content, dict):
        raise BadNetConf("error parsing subnet config: it is no object")
    backend = content.get("Backend") or {}
    return NetConf(
        network=_network(str(content.get("Network") or "")),
        backend=str(backend.get("Type", "udp")).lower(),
        vni=int(backend.get("VNI") or 1),
        port=int(backend.get("Port") or FLANNEL_PORT),
    )


def _network(text: str) -> str:
    try:
        return str(IPv4Network(text, strict=False)) if text else ""
    except ValueError as error:
        raise BadNetConf(f"error parsing subnet config: {error}") from None


_KEYS = {name.lower(): name for name in ("Network", "Backend", "Type", "VNI", "Port")}


def _any_case(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    return {_KEYS.get(key.lower(), key): _any_case(value) for key, value in content.items()}


def vtep_mac(node: str) -> str:
    """The hardware address of a node's link: flannel keeps it over restarts."""
    number = sum(node.encode()) * 2654435761 % 2**40
    return "5e:" + ":".join(f"{number >> shift & 255:02x}" for shift in (32, 24, 16, 8, 0))


def annotations(host: Host, conf: NetConf) -> dict[str, str]:
    """What flanneld writes on its node."""
    data: object = None
    if conf.backend == "vxlan":
        data = {"VNI": conf.vni, "VtepMAC": vtep_mac(host.name)}
    return {
        f"{ANNOTATIONS}backend-data": json.dumps(data, separators=(",", ":")),
        f"{ANNOTATIONS}backend-type": conf.backend,
        f"{ANNOTATIONS}kube-subnet-manager": "true",
        f"{ANNOTATIONS}public-ip": host.address,
    }


def is_daemon(container: Object) -> bool:
    """Whether a container is flanneld: by its name, or by what it runs."""
    words = (*(container.get("command") or ()), *(container.get("args") or ()))
    return container["name"] == CONTAINER or any(str(word).rpartition("/")[2] == "flanneld" for word in words)


def runs_in(pod: Object) -> bool:
    """Whether flanneld is one of the pod's containers."""
    return any(is_daemon(container) for container in pod["spec"].get("containers") or ())


def shows_run(pod: Object) -> bool:
    """Whether flannel's /run/flannel, or all of its /run, is the host's own: then the host sees its subnet file."""
    paths = {volume["name"]: (volume.get("hostPath") or {}).get("path") for volume in pod["spec"].get("volumes") or ()}
    return any(
        _run(mount["mountPath"]) == _run(paths.get(mount["name"]) or "") in (RUN_FOLDER, "/run")
        for container in every_container(pod)
        if is_daemon(container)
        for mount in container.get("volumeMounts") or ()
    )


def _run(path: str) -> str:
    """/var/run is /run."""
    path = path.rstrip("/")
    return path.removeprefix("/var") if path.startswith("/var/run") else path
