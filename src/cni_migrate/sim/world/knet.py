"""The knet-stress agents: who runs when, and which peers each of them probes.

An agent does nothing here while it runs. Its log is computed when somebody reads it, from the world's history, so
that two agents on each of a thousand nodes cost nothing (`knetlog`).
"""

import hashlib
import json
import math
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.history import History
from cni_migrate.sim.world.kinds import CONFIG_MAP, POD
from cni_migrate.sim.world.multus import environment
from cni_migrate.sim.world.programs import Health, Program, Run
from cni_migrate.sim.world.sandbox import Sandbox
from cni_migrate.sim.world.transit import Transit

CONFIG_NAME = "knet-stress-config"


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What of `config.json` decides who is probed and when."""

    interval: float = 0.5
    full_mesh_max: int = 12
    degree: int = 4
    seed: str = ""


@dataclass(slots=True, eq=False)
class Agent:
    """One agent's pod as its peers know it: without a sandbox it has no address yet."""

    node: str
    mesh: str
    namespace: str
    pod: str
    uid: str
    config: AgentConfig = field(default_factory=AgentConfig)
    sandbox: Sandbox | None = None
    started: float = math.inf
    ended: float = field(default=math.inf)

    @property
    def label(self) -> str:
        """`node/mesh`, as logs name it."""
        return f"{self.node}/{self.mesh}"


def parse_config(text: str) -> AgentConfig:
    """Read `config.json`; a field that is missing keeps its default."""
    values = json.loads(text or "{}")
    default = AgentConfig()
    return AgentConfig(
        interval=float(values.get("interval_s", default.interval)),
        full_mesh_max=int(values.get("full_mesh_max", default.full_mesh_max)),
        degree=int(values.get("degree", default.degree)),
        seed=str(values.get("seed", default.seed)),
    )


class Roster:
    """Which agent ran where and when, and the ring of nodes that decides who probes whom."""

    def __init__(self) -> None:
        self.slots: dict[str, dict[str, History[Agent | None]]] = {}
        self.present: History[int] = History(0)
        """How many nodes have agents."""
        self.nodes: list[str] = []
        """Every node that ever had one, sorted."""
        self._rings: dict[str, list[tuple[str, str]]] = {}

    def put(self, node: str, mesh: str, agent: Agent | None, when: float) -> None:
        """From `when` on, this agent (or none) is known to its peers."""
        if node not in self.slots:
            self.slots[node] = {}
            insort(self.nodes, node)
            for seed, ring in self._rings.items():
                insort(ring, (_place(seed, node), node))
        here = self.slots[node]
        before = any(history.now is not None for history in here.values())
        here.setdefault(mesh, History(None)).put(when, agent)
        after = any(history.now is not None for history in here.values())
        if before != after:
            self.present.put(when, self.present.now + (1 if after else -1))

    def on(self, node: str, when: float) -> list[Agent]:
        """The agents known on a node, by mesh."""
        here = self.slots.get(node) or {}
        found = [here[mesh].at(when) for mesh in sorted(here)]
        return [agent for agent in found if agent is not None]

    def full(self, agent: Agent, when: float) -> bool:
        """Whether everybody probes everybody."""
        return self.present.at(when) <= agent.config.full_mesh_max

    def neighbours(self, agent: Agent, when: float) -> list[str]:
        """The nodes whose agents this one probes in every round, its own included, sorted."""
        config = agent.config
        if self.full(agent, when):
            return [node for node in self.nodes if self.on(node, when)]
        ring = self._ring(config.seed)
        start = bisect_left(ring, (_place(config.seed, agent.node), agent.node))
        half = config.degree // 2
        chosen = {agent.node}
        for direction in (-1, 1):
            chosen.update(self._walk(ring, start, direction, half, when))
        return sorted(chosen)

    def _walk(self, ring: list[tuple[str, str]], start: int, direction: int, wanted: int, when: float) -> Iterator[str]:
        for step in range(1, len(ring)):
            if wanted <= 0:
                return
            node = ring[(start + direction * step) % len(ring)][1]
            if self.on(node, when):
                wanted -= 1
                yield node

    def _ring(self, seed: str) -> list[tuple[str, str]]:
        if seed not in self._rings:
            self._rings[seed] = sorted((_place(seed, node), node) for node in self.nodes)
        return self._rings[seed]


def _place(seed: str, node: str) -> str:
    return hashlib.sha256(f"{seed}/{node}".encode()).hexdigest()


class KnetAgent(Program):
    """A pod with a container named `knet-stress`.

    Peers know an agent from the moment its pod is bound to a node until the pod object is gone.
    """

    container = "knet-stress"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.roster = Roster()
        self.transit = Transit(ctx)
        self.agents: dict[str, Agent] = {}
        """The agents whose pods exist, by pod uid."""
        ctx.cluster[POD].on_change(self._pod_changed)

    def far(self, agent: Agent, when: float) -> list[str]:
        """The nodes whose agents this one probes too, for they are in transit; sorted."""
        named = self.transit.at(agent.namespace, when)
        if not named or self.roster.full(agent, when):
            return []
        others = named.difference(self.roster.neighbours(agent, when))
        return sorted(node for node in others if self.roster.on(node, when))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            self._forget(meta.uid(old or {"metadata": {}}))
        elif meta.finished(new):
            self._forget(meta.uid(new))
        elif meta.node_of(new) and (old is None or not meta.node_of(old)) and self.container in meta.containers(new):
            self._know(self._agent(new))

    def _agent(self, pod: Object) -> Agent:
        namespace, name = meta.key(pod)
        mesh = environment(pod, self.container).get("KNET_MESH", "a")
        return Agent(meta.node_of(pod), mesh, namespace, name, meta.uid(pod))

    def _know(self, agent: Agent) -> None:
        if agent.node in self.ctx.net.hosts:
            self.agents[agent.uid] = agent
            self.roster.put(agent.node, agent.mesh, agent, self.ctx.now())
            self.ctx.net.hosts[agent.node].changes.note(self.ctx.now())

    def _forget(self, uid: str) -> None:
        agent = self.agents.pop(uid, None)
        if agent is None:
            return
        now = self.ctx.now()
        history = self.roster.slots[agent.node][agent.mesh]
        if history.now is not None and history.now.uid == uid:
            self.roster.put(agent.node, agent.mesh, None, now)
            self.ctx.net.hosts[agent.node].changes.note(now)

    async def begin(self, run: Run) -> Health | None:
        """The agent starts; from now on it has an address."""
        agent = self._agent(run.pod)
        agent.config = await self._config(run.pod)
        agent.sandbox, agent.started = run.sandbox, self.ctx.now()
        self._know(agent)
        return Health(ready=True)

    async def _config(self, pod: Object) -> AgentConfig:
        names = [volume["configMap"]["name"] for volume in pod["spec"].get("volumes") or () if "configMap" in volume]
        for name in [CONFIG_NAME, *names]:
            found = await self.ctx.cluster.find(CONFIG_MAP, name, meta.namespace(pod))
            if found is not None and "config.json" in (found.get("data") or {}):
                return parse_config(found["data"]["config.json"])
        return AgentConfig()

    async def end(self, run: Run, *, graceful: bool) -> None:
        """It probes no more and answers nobody; its peers believe in it as long as its pod is there."""
        agent = self.agents.get(run.uid)
        if agent is not None:
            agent.ended = self.ctx.now()
            run.host.changes.note(agent.ended)
