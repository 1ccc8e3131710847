"""The identity agents: each gives the pods of its own node that are on Canal an endpoint with an identity in Cilium.

Their init container lays the node's rule, so it stands again after a reboot; another container keeps it there. An agent
looks at the API, as a real one does, and notices a change a moment later.
"""

from cni_migrate.sim.client import ApiError, Object
from cni_migrate.sim.world import addresses, meta
from cni_migrate.sim.world.ciliumidentities import number_for
from cni_migrate.sim.world.ciliumobjects import endpoint
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.host import Host, Plane
from cni_migrate.sim.world.kinds import CILIUM_ENDPOINT, POD
from cni_migrate.sim.world.masquerade import Keep, on_top
from cni_migrate.sim.world.programs import Health, Program, Run

MARK = "cni-migrate.io/identities"
SUFFIX = ".cni-migrate"
KEEP_SECONDS = 15.0
"""So often `keep-rules` looks (docs/reference/host-tasks.md)."""


def lay_rule(host: Host, canal: str, cilium: str) -> None:
    """The node's rule first: what Canal's pods send to Cilium's keeps its source."""
    host.change(postrouting=on_top(host.plane.postrouting, Keep(canal, cilium)))


def remove_rule(host: Host) -> None:
    """The node's rule goes."""
    host.change(postrouting=tuple(rule for rule in host.plane.postrouting if not isinstance(rule, Keep)))


class IdentityAgent(Program):
    """The pod of the DaemonSet of identity agents."""

    container = "identities"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._runs: dict[str, Run] = {}
        """The agent of each node."""
        ctx.cluster[CILIUM_ENDPOINT].index("mark", lambda one: meta.labels(one).get(MARK, ""))
        ctx.cluster[POD].on_change(self._pod_changed)
        ctx.cluster[CILIUM_ENDPOINT].on_change(self._endpoint_changed)
        ctx.work.handle("identities.look", self._look)
        ctx.net.on_host(lambda host: host.on_change(self._host_changed))

    async def begin(self, run: Run) -> Health | None:
        """The init container lays the rule; then the agent lists what is there."""
        given = next(_environment(one) for one in run.pod["spec"]["initContainers"] if one["name"] == "rules")
        run.memory |= {"canal": given["CANAL_POD_CIDR"], "cilium": given["CILIUM_POD_CIDR"]}
        self._lay(run)
        self.after(run, "look", self.ctx.about(self.ctx.timings.identity_agent, "identities", run.uid, run.attempt))
        return None

    async def step(self, run: Run, name: str) -> Health | None:
        """From its first look on it is Ready, and looks whenever something changes; but not without the rule.

        The container that keeps the rule looks at it every now and then.
        """
        if name == "keep":
            return Health(ready=self._lay(run))
        self._runs[run.host.name] = run
        await self._look(run.host.name)
        return Health(ready=any(isinstance(rule, Keep) for rule in run.host.plane.postrouting))

    def _lay(self, run: Run) -> bool:
        """Lay the rule; whether it stands."""
        if run.host.name in self.ctx.faults.flushed:
            self.after(run, "keep", KEEP_SECONDS)
            return False
        lay_rule(run.host, run.memory["canal"], run.memory["cilium"])
        return True

    async def end(self, run: Run, *, graceful: bool) -> None:
        """What it has made stays."""
        if self._runs.get(run.host.name) is run:
            del self._runs[run.host.name]

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        for node in {meta.node_of(one) for one in (old, new) if one is not None}:
            self._soon(node)

    def _host_changed(self, host: Host, before: Plane, after: Plane) -> None:
        """It makes endpoints only where Cilium's datapath takes in what is sent to them."""
        if before.datapath is not after.datapath:
            self._soon(host.name)
        run = self._runs.get(host.name)
        if run is not None and not any(isinstance(rule, Keep) for rule in after.postrouting):
            self.after(run, "keep", KEEP_SECONDS)

    def _endpoint_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None and (node := meta.labels(old).get(MARK)):
            self._soon(node)

    def _soon(self, node: str) -> None:
        if node in self._runs:
            self.ctx.work.add_after(self.ctx.timings.identity_look, "identities.look", node)

    async def _look(self, node: str) -> None:
        run = self._runs.get(node)
        if run is None or not run.host.plane.powered:
            return
        wanted: dict[tuple[str, str], Object] = {}
        for pod in list(self.ctx.cluster[POD].by("node", node)) if run.host.plane.datapath else ():
            address = str((pod.get("status") or {}).get("podIP") or "")
            if not address or meta.host_network(pod) or meta.finished(pod):
                continue
            if not addresses.contains(run.memory["canal"], address):
                continue
            number, labels = await number_for(self.ctx, pod)
            made = endpoint(pod, address, run.host.address, number, labels)
            made["metadata"] |= {"name": meta.name(pod) + SUFFIX, "labels": {MARK: node}}
            wanted[meta.namespace(pod), made["metadata"]["name"]] = made
        for found in list(self.ctx.cluster[CILIUM_ENDPOINT].by("mark", node)):
            right = wanted.get(meta.key(found))
            if right is None or right["status"] != found.get("status") or _owner(right) != _owner(found):
                await self.ctx.cluster.delete(CILIUM_ENDPOINT, found)
        for key, made in wanted.items():
            if self.ctx.cluster[CILIUM_ENDPOINT].get(key[1], key[0]) is None:
                await self._create(made)

    async def _create(self, made: Object) -> None:
        try:
            await self.ctx.cluster.create(CILIUM_ENDPOINT, made)
        except ApiError as error:
            if error.code != 409:  # the next look will find it
                raise


def _environment(container: Object) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container.get("env") or ()}


def _owner(found: Object) -> str:
    return next((str(one["uid"]) for one in found["metadata"].get("ownerReferences") or ()), "")
