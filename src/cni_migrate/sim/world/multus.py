"""Multus: builds the node's first CNI file from the node's own Canal file, and takes it away when it is told to end."""

import json
from typing import Any

from cni_migrate.sim.client import Object
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.host import CILIUM_BINARY, MULTUS_BINARY, PASSTHRU_BINARY, Host, Plane
from cni_migrate.sim.world.programs import Health, Program, Run


def environment(pod: Object, container: str) -> dict[str, str]:
    """The literal environment variables of one container."""
    for entry in pod["spec"].get("containers") or ():
        if entry["name"] == container:
            return {e["name"]: e.get("value", "") for e in entry.get("env") or () if "valueFrom" not in e}
    return {}


def build(canal: str, cilium: str) -> str:
    """The Multus file: Canal first and Cilium as extra network, each as it stands on the node."""
    first: dict[str, Any] = json.loads(canal)
    second = json.loads(cilium) if cilium else {"name": "cilium", "plugins": [{"type": "cilium-cni"}]}
    plugin = {"type": "multus", "logLevel": "error", "delegates": [first, second]}
    content = {"cniVersion": "0.3.1", "name": "multus-cni-network", "plugins": [plugin]}
    return json.dumps(content, indent=2) + "\n"


class Multus(Program):
    """The pod of the Multus DaemonSet.

    It looks at the node again and again: its file is written once Canal's file, Cilium's file (when it is told its
    name) and Cilium's plugin are there, and again when Canal's changes. Without one of them it is not Ready.
    """

    container = "kube-multus"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._running: dict[str, Run] = {}
        ctx.net.on_host(lambda host: host.on_change(self._changed))

    async def begin(self, run: Run) -> Health | None:
        """The plugin is installed; the file comes when its sources are there."""
        env = environment(run.pod, self.container)
        run.memory["file"] = env.get("MULTUS_CONF_FILE", "00-multus.conflist")
        run.memory["canal"] = env.get("CANAL_CONF_FILE", "10-canal.conflist")
        run.memory["cilium"] = env.get("CILIUM_CONF_FILE", "")
        run.host.change(left=run.host.plane.left | {MULTUS_BINARY, PASSTHRU_BINARY})
        self._running[run.host.name] = run
        self.after(run, "build", self.ctx.about(self.ctx.timings.multus_start, "multus", run.uid, run.attempt))
        return None

    async def step(self, run: Run, name: str) -> Health | None:
        """Build the file, or wait for the node to change."""
        files, memory = run.host.plane.files, run.memory
        sources = [memory["canal"], *([memory["cilium"]] if memory["cilium"] else [])]
        whole = all(one in files for one in sources) and CILIUM_BINARY in run.host.plane.left
        if all(one in files for one in sources) and (whole or memory["file"] in files):
            cilium = files[memory["cilium"]] if memory["cilium"] else ""
            text = build(files[memory["canal"]], cilium)
            run.host.write_file(memory["file"], text)
            memory["written"] = True
        return Health(ready=whole)

    async def end(self, run: Run, *, graceful: bool) -> None:
        """Told to end, Multus removes its file; a power cut leaves it."""
        if self._running.get(run.host.name) is run:
            del self._running[run.host.name]
        if graceful and run.memory.get("written"):
            run.host.remove_files(run.memory["file"])

    def _changed(self, host: Host, before: Plane, after: Plane) -> None:
        run = self._running.get(host.name)
        if run is not None and (before.files is not after.files or before.left != after.left):
            self.after(run, "build", 1.0)
