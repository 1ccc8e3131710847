"""Canal's daemons: flanneld, and Calico's felix beside it, in one pod or in two.

Order and leftovers as measured on the real programs: the CNI file is there before flanneld has its subnet, a removed
pod leaves everything behind (Calico's chains go on judging by what they last knew), and each start of flanneld writes
the node's NetworkUnavailable condition again.
"""

from ipaddress import IPv4Network
from typing import Any

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import flannel, meta
from cni_migrate.sim.world.cniconf import parse
from cni_migrate.sim.world.cniinstall import installed
from cni_migrate.sim.world.environment import NoValue, config_maps
from cni_migrate.sim.world.host import (
    ALWAYS,
    CALICO_BINARIES,
    CALICO_CHAINS,
    CALICO_FOLDERS,
    CALICO_NODENAME,
    CALICO_SETS,
    CALICO_TABLE,
    FLANNEL_BINARY,
    FLANNEL_CHAINS,
    Plane,
)
from cni_migrate.sim.world.kinds import NODE
from cni_migrate.sim.world.masquerade import FLANNEL
from cni_migrate.sim.world.nodestatus import network_available
from cni_migrate.sim.world.programs import Health, Program, Run

FELIX = "calico-node"


def binaries(text: str) -> frozenset[str]:
    """The plugins that `install-cni` of a Canal with this CNI file brings: Calico's image has flannel's too."""
    network = parse(text)
    calico = CALICO_BINARIES if network is None or not network.bridged else ()
    return frozenset((FLANNEL_BINARY, *calico))


def felix_state(plane: Plane) -> dict[str, Any]:
    """What changes when felix runs: its chains, sets and folders are there, its chains on top."""
    return {
        "calico_seen": ALWAYS,
        "chains": plane.chains | set(CALICO_CHAINS),
        "ipsets": plane.ipsets | set(CALICO_SETS),
        "tables": plane.tables | {CALICO_TABLE},
        "left": plane.left | {CALICO_NODENAME, *CALICO_FOLDERS},
        "cilium_forwards": False,
    }


class Canal(Program):
    """A pod of a Canal DaemonSet: whichever of `install-cni`, `kube-flannel` and `calico-node` it has."""

    container = flannel.CONTAINER

    def runs(self, pod: Object) -> bool:
        """Either daemon."""
        return flannel.runs_in(pod) or FELIX in meta.containers(pod)

    async def begin(self, run: Run) -> Health | None:
        """install-cni writes the CNI file; the daemons come a moment later."""
        host = run.host
        try:
            new = installed(await config_maps(self.ctx, run.pod), run.pod)
        except NoValue as error:
            return Health(crashed=str(error))
        if new is not None:
            host.change(left=host.plane.left | binaries(new.text))
            host.change(files={**host.plane.files, **new.files})
        self.after(run, "daemons", self.ctx.about(self.ctx.timings.flannel_start, "flanneld", run.uid))
        return None

    async def step(self, run: Run, name: str) -> Health | None:
        """The daemons are up, each that the pod has."""
        if FELIX in meta.containers(run.pod):
            self._felix_up(run)
        if not flannel.runs_in(run.pod):
            return Health(ready=True)
        return await self._flannel_up(run)

    async def _flannel_up(self, run: Run) -> Health | None:
        """Flanneld takes the node's pod CIDR, makes its link and its routes, and says so on the node."""
        node = self.ctx.cluster[NODE].get(run.host.name)
        subnet = (node or {}).get("spec", {}).get("podCIDR", "")
        if node is None or not subnet:
            self.after(run, "daemons", self.ctx.timings.crash_backoff, background=True)
            return Health(crashed=f"failed to acquire lease: node {run.host.name!r} pod cidr not assigned")
        try:
            conf = flannel.net_conf_of(await config_maps(self.ctx, run.pod), run.pod)
        except flannel.BadNetConf as error:
            return Health(crashed=str(error))
        self.ctx.pod_network = conf.network or self.ctx.pod_network
        if conf.network and not IPv4Network(subnet).subnet_of(IPv4Network(conf.network)):
            return Health(crashed=f"subnet {subnet} is not in the flannel net config {conf.network}")
        self._flanneld(run, subnet, conf)
        wanted = flannel.annotations(run.host, conf)
        known = node["metadata"].get("annotations") or {}
        if any(known.get(key) != value for key, value in wanted.items()):
            await self.ctx.cluster.patch(NODE, node, {"metadata": {"annotations": wanted}})
        await network_available(self.ctx, run.host.name, "FlannelIsUp", "Flannel is running on this node")
        return Health(ready=True)

    def _flanneld(self, run: Run, subnet: str, conf: flannel.NetConf) -> None:
        host = run.host
        host.flannel_since = min(host.flannel_since, self.ctx.now())
        host.change(
            subnet=subnet,
            flannel_run=flannel.shows_run(run.pod),
            vtep=conf.link,
            vtep_port=conf.port,
            links=host.plane.links | ({conf.link} if conf.link else set()),
            chains=host.plane.chains | set(FLANNEL_CHAINS),
            postrouting=host.plane.postrouting
            if FLANNEL in host.plane.postrouting
            else (*host.plane.postrouting, FLANNEL),
            lost_routes=frozenset(),
            flannel_seen=ALWAYS,
        )

    @staticmethod
    def _felix_up(run: Run) -> None:
        run.host.change(**felix_state(run.host.plane))

    async def end(self, run: Run, *, graceful: bool) -> None:
        """The daemons stop; what they laid stays, and no longer follows what changes elsewhere."""
        plane, now = run.host.plane, self.ctx.now()
        if flannel.runs_in(run.pod) and plane.flanneld:
            run.host.change(flannel_seen=now)
        if FELIX in meta.containers(run.pod) and plane.felix:
            run.host.change(calico_seen=now)
