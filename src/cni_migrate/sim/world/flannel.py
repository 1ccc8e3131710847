"""What flannel is told and what it says on its node: its network configuration and its annotations. Pure functions."""

import json
from dataclasses import dataclass
from typing import Any

from cni_migrate.sim.client import Object
from cni_migrate.sim.world.environment import every_container
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


def net_conf(text: str) -> NetConf:
    """Read `net-conf.json`; defaults as flannel's (`Documentation/backends.md`)."""
    content: dict[str, Any] = json.loads(text or "{}")
    backend = content.get("Backend") or {}
    return NetConf(
        network=str(content.get("Network", "")),
        backend=str(backend.get("Type", "udp")).lower(),
        vni=int(backend.get("VNI") or 1),
        port=int(backend.get("Port") or FLANNEL_PORT),
    )


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


def shows_run(pod: Object) -> bool:
    """Whether flannel's /run/flannel is the host's own folder: then the host sees its subnet file."""
    paths = {volume["name"]: (volume.get("hostPath") or {}).get("path") for volume in pod["spec"].get("volumes") or ()}
    return any(
        mount["mountPath"].rstrip("/") == RUN_FOLDER and (paths.get(mount["name"]) or "").rstrip("/") == RUN_FOLDER
        for container in every_container(pod)
        if container["name"] == CONTAINER
        for mount in container.get("volumeMounts") or ()
    )
