"""Canal: flannel's daemon and its CNI file, with or without Calico beside it.

Order and leftovers as measured on the real programs: the CNI file is there before the subnet file, a removed pod
leaves everything behind, and each start writes the node's NetworkUnavailable condition again.
"""

import json
from ipaddress import IPv4Network

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.cniconf import parse
from cni_migrate.sim.world.host import (
    ALWAYS,
    CALICO_BINARIES,
    FLANNEL_BINARY,
    FLANNEL_CHAINS,
    FLANNEL_LINK,
    Host,
)
from cni_migrate.sim.world.kinds import CONFIG_MAP, NODE
from cni_migrate.sim.world.nodestatus import network_available
from cni_migrate.sim.world.programs import Health, Program, Run

CNI_FILE = "10-canal.conflist"
DEFAULT_PORT = 8472
ANNOTATIONS = "flannel.alpha.coreos.com/"


def vtep_mac(node: str) -> str:
    """The hardware address of a node's flannel.1: flannel keeps it over restarts."""
    number = sum(node.encode()) * 2654435761 % 2**40
    return "5e:" + ":".join(f"{number >> shift & 255:02x}" for shift in (32, 24, 16, 8, 0))


def annotations(host: Host) -> dict[str, str]:
    """What flanneld writes on its node."""
    return {
        f"{ANNOTATIONS}backend-data": json.dumps({"VNI": 1, "VtepMAC": vtep_mac(host.name)}, separators=(",", ":")),
        f"{ANNOTATIONS}backend-type": "vxlan",
        f"{ANNOTATIONS}kube-subnet-manager": "true",
        f"{ANNOTATIONS}public-ip": host.address,
    }


def binaries(text: str) -> frozenset[str]:
    """The plugins that `install-cni` of a Canal with this CNI file brings: Calico's image has flannel's too."""
    network = parse(text)
    calico = CALICO_BINARIES if network is None or not network.bridged else ()
    return frozenset((FLANNEL_BINARY, *calico))


class Flannel(Program):
    """The pod of the Canal DaemonSet: `install-cni`, `kube-flannel` and, with Calico, `calico-node`."""

    container = "kube-flannel"

    async def begin(self, run: Run) -> Health | None:
        """install-cni writes the CNI file; flanneld comes a moment later."""
        config = await self._config(run.pod)
        text = (config.get("data") or {}).get("cni_network_config", "") if config else ""
        if not text:
            return Health(crashed="cni_network_config is missing in the Canal ConfigMap")
        run.memory["net"] = (config or {}).get("data", {}).get("net-conf.json", "{}")
        host = run.host
        host.change(left=host.plane.left | binaries(text))
        host.write_file(CNI_FILE, text)
        self.after(run, "flanneld", self.ctx.about(self.ctx.timings.flannel_start, "flanneld", run.uid))
        return None

    async def _config(self, pod: Object) -> Object | None:
        """The ConfigMap that the pod names: in a volume, or else `canal-config`."""
        names = [volume["configMap"]["name"] for volume in pod["spec"].get("volumes") or () if "configMap" in volume]
        for name in [*names, "canal-config"]:
            found = await self.ctx.cluster.find(CONFIG_MAP, name, meta.namespace(pod))
            if found is not None and "cni_network_config" in (found.get("data") or {}):
                return found
        return None

    async def step(self, run: Run, name: str) -> Health | None:
        """Flanneld takes the node's pod CIDR, makes its link and its routes, and says so on the node."""
        node = self.ctx.cluster[NODE].get(run.host.name)
        subnet = (node or {}).get("spec", {}).get("podCIDR", "")
        if node is None or not subnet:
            self.after(run, name, self.ctx.timings.crash_backoff, background=True)
            return Health(crashed=f"failed to acquire lease: node {run.host.name!r} pod cidr not assigned")
        network = json.loads(run.memory["net"]).get("Network", "")
        self.ctx.pod_network = network or self.ctx.pod_network
        if network and not IPv4Network(subnet).subnet_of(IPv4Network(network)):
            return Health(crashed=f"subnet {subnet} is not in the flannel net config {network}")
        self.up(run, subnet)
        wanted = annotations(run.host)
        known = node["metadata"].get("annotations") or {}
        if any(known.get(key) != value for key, value in wanted.items()):
            await self.ctx.cluster.patch(NODE, node, {"metadata": {"annotations": wanted}})
        await network_available(self.ctx, run.host.name, "FlannelIsUp", "Flannel is running on this node")
        return Health(ready=True)

    def up(self, run: Run, subnet: str) -> None:
        """Flanneld runs."""
        host = run.host
        host.flannel_since = min(host.flannel_since, self.ctx.now())
        host.change(
            subnet=subnet,
            links=host.plane.links | {FLANNEL_LINK},
            chains=host.plane.chains | set(FLANNEL_CHAINS),
            lost_routes=frozenset(),
            flannel_seen=ALWAYS,
            calico="calico-node" in meta.containers(run.pod),
        )

    async def end(self, run: Run, *, graceful: bool) -> None:
        """The daemons stop; link, routes, chains and files stay, and no longer follow what changes elsewhere."""
        if run.host.plane.flanneld:
            run.host.change(flannel_seen=self.ctx.now(), calico=False)


def port_of(net_conf: str) -> int:
    """The UDP port of flannel's VXLAN backend."""
    backend = (json.loads(net_conf or "{}")).get("Backend") or {}
    return int(backend.get("Port") or DEFAULT_PORT)
