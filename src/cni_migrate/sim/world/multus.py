"""Multus: builds the node's first CNI file from the node's own Canal file, and takes it away when it is told to end."""

import json
from typing import Any

from cni_migrate.sim.client import Object
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.host import CILIUM_BINARY, MULTUS_BINARY, Host, Plane
from cni_migrate.sim.world.programs import Health, Program, Run


def environment(pod: Object, container: str) -> dict[str, str]:
    """The literal environment variables of one container."""
    for entry in pod["spec"].get("containers") or ():
        if entry["name"] == container:
            return {e["name"]: e.get("value", "") for e in entry.get("env") or () if "valueFrom" not in e}
    return {}


def build(canal: str, pod_network: str, *, route_via_cilium: bool) -> str:
    """The Multus file: Canal first, as it stands on the node, Cilium as extra network.

    `route_via_cilium` leaves the default route to Cilium: with flannel the bridge is a gateway but not the default
    one, with calico its IPAM section names the Canal network as the only route.
    """
    first: dict[str, Any] = json.loads(canal)
    if route_via_cilium:
        plugin = first["plugins"][0]
        if plugin.get("type") == "calico":
            plugin.setdefault("ipam", {})["routes"] = [{"dst": pod_network}]
        else:
            delegate = plugin.setdefault("delegate", {})
            delegate.pop("isDefaultGateway", None)
            delegate["isGateway"] = True
    second = {"cniVersion": "0.3.1", "name": "cilium", "plugins": [{"type": "cilium-cni"}]}
    plugin = {"type": "multus", "logLevel": "error", "delegates": [first, second]}
    content = {"cniVersion": "0.3.1", "name": "multus-cni-network", "plugins": [plugin]}
    return json.dumps(content, indent=2) + "\n"


class Multus(Program):
    """The pod of the Multus DaemonSet. Not Ready while the Canal file or the Cilium plugin is missing."""

    container = "kube-multus"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._waiting: dict[str, Run] = {}
        ctx.net.on_host(lambda host: host.on_change(self._changed))

    async def begin(self, run: Run) -> Health | None:
        """The plugin is installed; the file comes when its sources are there."""
        env = environment(run.pod, self.container)
        run.memory["file"] = env.get("MULTUS_CONF_FILE", "00-multus.conflist")
        run.memory["canal"] = env.get("CANAL_CONF_FILE", "10-canal.conflist")
        run.memory["route"] = env.get("ROUTE_VIA_CILIUM", "true").lower() == "true"
        run.host.change(left=run.host.plane.left | {MULTUS_BINARY})
        self.after(run, "build", self.ctx.about(self.ctx.timings.multus_start, "multus", run.uid, run.attempt))
        return None

    async def step(self, run: Run, name: str) -> Health | None:
        """Build the file, or wait for the node to change."""
        plane = run.host.plane
        canal = plane.files.get(run.memory["canal"])
        if canal is None or CILIUM_BINARY not in plane.left:
            self._waiting[run.host.name] = run
            return Health(ready=False)
        self._waiting.pop(run.host.name, None)
        network = self.ctx.pod_network
        run.host.write_file(run.memory["file"], build(canal, network, route_via_cilium=run.memory["route"]))
        run.memory["written"] = True
        return Health(ready=True)

    async def end(self, run: Run, *, graceful: bool) -> None:
        """Told to end, Multus removes its file; a power cut leaves it."""
        if self._waiting.get(run.host.name) is run:
            del self._waiting[run.host.name]
        if graceful and run.memory.get("written"):
            run.host.remove_files(run.memory["file"])

    def _changed(self, host: Host, before: Plane, after: Plane) -> None:
        run = self._waiting.get(host.name)
        if run is not None and (before.files is not after.files or before.left != after.left):
            self.after(run, "build", 1.0)
