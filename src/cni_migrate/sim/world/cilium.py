"""The Cilium agent as a node sees it: links, maps, its CNI file, and the folder it watches.

Behaviour measured on Cilium 1.15: configuration is read at the start of the pod only; an exclusive agent renames every
other CNI file and writes its own again; a restart loses nothing of existing pods, forgets leaked endpoints, and no
pod can be created meanwhile; a stopped agent leaves its datapath and its file.
"""

from cni_migrate.sim.client import ApiError, Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.ciliumconfig import AgentConfig, agent_config, cni_file, effective
from cni_migrate.sim.world.ciliumobjects import delete_stale, make_endpoint, make_node
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.host import ALWAYS, CILIUM_BINARY, CILIUM_CHAINS, CILIUM_LINKS, Host, Plane
from cni_migrate.sim.world.kinds import (
    CILIUM_NODE_CONFIG_V2,
    CILIUM_NODE_CONFIG_V2ALPHA1,
    CONFIG_MAP,
    NODE,
)
from cni_migrate.sim.world.masquerade import CILIUM, Rule, at_the_end, on_top
from cni_migrate.sim.world.nodestatus import AGENT_TAINT, change_taints, network_available
from cni_migrate.sim.world.programs import Health, Program, Run

BACKUP = ".cilium_bak"
_ENDINGS = (".conf", ".conflist", ".json")


class CiliumAgent(Program):
    """The pod of a Cilium DaemonSet. One agent per node: a second one finds the health port taken.

    A pod that looks at the host's processes first (it mounts `/proc`) waits until the other has ended.
    """

    container = "cilium-agent"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._owner: dict[str, Run] = {}
        """The run that holds each node's ports."""
        self._waiting: dict[str, Run] = {}
        """The run that waits for that one to end."""
        ctx.work.handle("cilium.folder", self._watch_folder)
        ctx.work.handle("cilium.resume", self._resume)
        ctx.work.handle("felix.look", self._felix_looks)
        ctx.net.on_host(lambda host: host.on_change(self._folder_changed))

    async def begin(self, run: Run) -> Health | None:
        """What comes before the agent resolves the configuration and installs the plugin; then the agent starts."""
        node = self.ctx.cluster[NODE].get(run.host.name)
        if node is None:
            return Health(crashed="node not found")
        if self._other(run) and _sees_processes(run.pod):
            self._waiting[run.host.name] = run
            return None
        values = await self._values(run.pod, node)
        if values is None:
            return Health(crashed='configmaps "cilium-config" not found')
        config = agent_config(values)
        run.memory["values"], run.memory["config"] = values, config
        self.ctx.faults.ports["cilium"] = config.port
        run.host.change(left=run.host.plane.left | {CILIUM_BINARY})
        problem = self._port_conflict(run, config)
        if problem:
            return Health(crashed=problem)
        self._owner[run.host.name] = run
        self.ctx.work.add("cilium.taint", run.host.name)
        self.after(run, "register", self.ctx.about(self.ctx.timings.cilium_start, "cilium", run.uid, run.attempt))
        return None

    async def _values(self, pod: Object, node: Object) -> dict[str, str] | None:
        namespace = meta.namespace(pod)
        config_map = await self.ctx.cluster.find(CONFIG_MAP, "cilium-config", namespace)
        if config_map is None:
            return None
        node_configs: list[Object] = []
        for kind in (CILIUM_NODE_CONFIG_V2, CILIUM_NODE_CONFIG_V2ALPHA1):
            try:
                node_configs, _ = await self.ctx.cluster.client.list(kind, namespace=namespace)
                break
            except ApiError as error:
                if error.code != 404:
                    raise
        args = next((list(c.get("args") or ()) for c in pod["spec"]["containers"] if c["name"] == self.container), [])
        return effective(config_map, node_configs, node, args)

    def _other(self, run: Run) -> bool:
        """Whether another agent runs on the node."""
        other = self._owner.get(run.host.name)
        return other is not None and other is not run and not other.ended

    def _port_conflict(self, run: Run, config: AgentConfig) -> str:
        """Two VXLAN devices of one port cannot be on one node, and neither can two agents."""
        if self._other(run):
            return "listen tcp 127.0.0.1:9879: bind: address already in use"
        plane = run.host.plane
        if plane.vtep in plane.links and config.protocol == "vxlan" and plane.vtep_port == config.port:
            return f"creating vxlan device: setting up device {config.tunnel_link}: address already in use"
        if config.port in run.host.udp:
            return f"creating vxlan device: setting up device {config.tunnel_link}: address already in use"
        return ""

    async def step(self, run: Run, name: str) -> Health | None:
        """Registered in the API, the agent waits for its pod CIDR (or for the CRDs); with it, it is up."""
        if name == "alone":
            return await self.begin(run)
        host = run.host
        if not host.plane.cidr:
            if await make_node(self.ctx, host):
                self.ctx.work.add("cilium.allocate", host.name)
            return None
        config: AgentConfig = run.memory["config"]
        self.up(run, config)
        await network_available(self.ctx, host.name, "CiliumIsUp", "Cilium is running on this node")
        await change_taints(
            self.ctx, host.name, [], {(AGENT_TAINT, effect) for effect in ("NoSchedule", "NoExecute", "")}
        )
        if config.stale_cleanup:
            await delete_stale(self.ctx, host)
        for address, uid in list(host.endpoints.items()):
            sandbox = self.ctx.net.by_uid.get(uid)
            if sandbox is not None and address == sandbox.cilium:
                await make_endpoint(self.ctx, sandbox)
        return Health(ready=True)

    def up(self, run: Run, config: AgentConfig) -> None:
        """The agent runs: datapath in place, leaked and released endpoints forgotten, its CNI file written."""
        host = run.host
        self._owner[host.name] = run
        run.memory["up"] = True
        host.cilium_since = min(host.cilium_since, self.ctx.now())
        alive = self.ctx.net.by_uid
        for address, uid in list(host.endpoints.items()):
            if address in host.released or uid not in alive or alive[uid].cilium != address:
                del host.endpoints[address]
        host.released.clear()
        links = {link for link in host.plane.links if link not in ("cilium_vxlan", "cilium_geneve")}
        files = dict(host.plane.files)
        if config.file:
            files[config.file] = cni_file()
        host.change(
            links=frozenset(links | {*CILIUM_LINKS, config.tunnel_link}),
            chains=host.plane.chains | set(CILIUM_CHAINS),
            cilium_seen=ALWAYS,
            enforcing=config.enforcing,
            native=config.native,
            postrouting=_masquerading(host.plane.postrouting, config),
            files=files,
        )
        if config.prepend and host.plane.felix and not host.plane.flannel_run:
            host.change(cilium_forwards=True)
            look = self.ctx.about(self.ctx.timings.felix_look, "felix", host.name, self.ctx.now())
            self.ctx.work.add_after(look, "felix.look", host.name)
        self._tidy(host, config)

    async def end(self, run: Run, *, graceful: bool) -> None:
        """The agent stops. Its datapath goes on without it; `cni-uninstall` removes its file on the way out."""
        if self._waiting.get(run.host.name) is run:
            del self._waiting[run.host.name]
        if self._owner.get(run.host.name) is run:
            del self._owner[run.host.name]
            if waiting := self._waiting.pop(run.host.name, None):
                self.after(waiting, "alone", 0)
        if not run.memory.pop("up", False):
            return
        run.host.change(cilium_seen=self.ctx.now())
        self.ctx.work.add("cilium.taint", run.host.name)
        config: AgentConfig = run.memory["config"]
        if graceful and config.uninstall and config.file:
            run.host.remove_files(config.file)

    async def _felix_looks(self, node: str) -> None:
        """Felix finds Cilium's chain above its own and puts its own on top again."""
        host = self.ctx.host(node)
        if host is not None and host.plane.felix:
            host.change(cilium_forwards=False)

    async def _resume(self, node: str) -> None:
        """The node has got its pod CIDR, or the CRDs are there at last."""
        run = self._owner.get(node)
        if run is not None and not run.memory.get("up"):
            self.after(run, "register", 0)

    def _folder_changed(self, host: Host, before: Plane, after: Plane) -> None:
        if before.files is not after.files and after.agent:
            self.ctx.work.add_after(self.ctx.timings.exclusive, "cilium.folder", host.name)

    async def _watch_folder(self, node: str) -> None:
        """The agent notices a change of /etc/cni/net.d."""
        host = self.ctx.host(node)
        run = self._owner.get(node)
        if host is None or run is None or not host.plane.agent:
            return
        self._tidy(host, run.memory["config"])

    @staticmethod
    def _tidy(host: Host, config: AgentConfig) -> None:
        """The agent's own file is there; with `cni-exclusive` no other is in force."""
        if not config.file:
            return
        files = dict(host.plane.files)
        files.setdefault(config.file, cni_file())
        if config.exclusive:
            for name in sorted(files):
                if name != config.file and name.endswith(_ENDINGS):
                    files[name + BACKUP] = files.pop(name)
        if files != host.plane.files:
            host.change(files=files)


def _masquerading(rules: tuple[Rule, ...], config: AgentConfig) -> tuple[Rule, ...]:
    """An agent lays its chain anew when it starts: on top, or at the end when it is told not to prepend."""
    if not config.masquerade:
        return tuple(rule for rule in rules if rule != CILIUM)
    return on_top(rules, CILIUM) if config.prepend else at_the_end(rules, CILIUM)


def _sees_processes(pod: Object) -> bool:
    volumes = {volume["name"]: volume.get("hostPath", {}).get("path") for volume in pod["spec"].get("volumes") or ()}
    every = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
    return any(volumes.get(one["name"]) == "/proc" for each in every for one in each.get("volumeMounts") or ())
