"""What a knet-stress agent has logged, computed from the world's history when it is read.

Between two changes that concern an agent all its rounds are alike, so one evaluation serves them all.
"""

import json
import math
import zlib
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import timedelta

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.kinds import POD, SERVICE
from cni_migrate.sim.world.knet import Agent, KnetAgent
from cni_migrate.sim.world.network import TIMEOUT, Network, Path, answers_its_kubelet
from cni_migrate.sim.world.sandbox import Sandbox

KEPT = 600
"""How many rounds a log goes back: older lines have been rotated away."""

KINDS = ("http", "http_large", "udp", "tcp")
"""What a peer is probed by on each network."""

FAR = ("http", "http_large", "udp")
"""The same for one that is a peer for its node is in transit."""

GUARD_PORT = 8089
NO_ADDRESS = "it has no address yet"
_LOOK_BACK = 8
"""How many stretches back the beginning of a failure is looked for: one that is older is dated later than it began."""

_REMEMBERED = 12

Item = tuple[str, str, str]
"""Peer, network and kind of a probe."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """The probes of peers in all rounds of one stretch: who is known, how many probes, which fail with what error.

    `said` is what all its rounds say alike, as JSON: who the agent is, and its peers. `since` remembers when the
    failures began, once that was looked for: it is the same for all rounds.
    """

    said: str
    uids: dict[str, str]
    sent: int
    bad: dict[Item, str]
    since: dict[Item, float] = field(default_factory=dict)


class KnetLog:
    """The logs of all agents."""

    def __init__(self, ctx: Context, program: KnetAgent, network: Network) -> None:
        self._ctx = ctx
        self._program = program
        self._network = network
        ctx.cluster[POD].index("dns", _is_dns)
        self._memory: dict[str, list[tuple[float, float, Mesh]]] = {}
        """The latest stretches of each agent, with their beginning and what is known of their end."""

    def rounds(self, agent: Agent) -> range:
        """The rounds whose lines can be read now."""
        until = min(self._ctx.now(), agent.ended)
        if until < agent.started:
            return range(0)
        last = int((until - agent.started) / agent.config.interval + 1e-6) + 1
        return range(max(1, last - KEPT + 1), last + 1)

    def time_of(self, agent: Agent, number: int) -> float:
        """When a round is held."""
        return agent.started + (number - 1) * agent.config.interval

    def text_time(self, when: float, node: str) -> str:
        """An instant as agents on a node write it, by the node's clock of this moment."""
        off = self._ctx.faults.clocks.get(node, 0.0)
        moment = self._ctx.clock.now() + timedelta(seconds=when - self._ctx.now() + off)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def line(self, agent: Agent, number: int) -> str:
        """One round's line."""
        when = self.time_of(agent, number)
        mesh = self._mesh(agent, when)
        common = self._common(agent, number, when)
        bad = [
            {
                "peer": p,
                "net": n,
                "kind": k,
                "error": e,
                "since": self.text_time(self._since((p, n, k), agent, when), agent.node),
            }
            for (p, n, k), e in sorted(mesh.bad.items())
        ]
        for (peer, net, kind), error in common.items():
            if error:
                since = self._since_common(agent, number, (peer, net, kind))
                bad.append(
                    {"peer": peer, "net": net, "kind": kind, "error": error, "since": self.text_time(since, agent.node)}
                )
        before = {"v": 1, "round": number, "at": self.text_time(when, agent.node)}
        after = {
            "shared": sorted({peer for peer, net, _ in common if net == "primary"}),
            "sent": mesh.sent + len(common),
            "lost": len(bad),
            "bad": bad,
            "stalls": self._stalls(agent, number, when, mesh),
            "ms": _latencies(agent.uid, number),
        }
        return f"{_json(before)[:-1]},{mesh.said},{_json(after)[1:]}"

    # -- probes of peers

    def _mesh(self, agent: Agent, when: float) -> Mesh:
        """The probes of peers at an instant, from memory when nothing has changed since they were worked out."""
        remembered = self._memory.get(agent.uid, [])
        for start, end, mesh in remembered:
            if start <= when < end:
                return mesh
        begin, until = self._stretch(agent, when)
        for place, (start, _, mesh) in enumerate(remembered):
            if start == begin:
                remembered[place] = (start, until, mesh)
                return mesh
        made = self._evaluate(agent, when)
        if begin < self._ctx.now():  # at this very instant more may change
            self._memory[agent.uid] = [(begin, until, made), *remembered[: _REMEMBERED - 1]]
        return made

    def _evaluate(self, agent: Agent, when: float) -> Mesh:
        roster, bad, sent = self._program.roster, dict[Item, str](), 0
        peers: list[Agent] = []
        for nodes, kinds in ((roster.neighbours(agent, when), KINDS), (self._program.far(agent, when), FAR)):
            found = [peer for node in nodes for peer in roster.on(node, when) if peer.label != agent.label]
            sent += sum(self._peer(agent, peer, kinds, when, bad) for peer in found)
            peers += found
        said = {
            "node": agent.node,
            "mesh": agent.mesh,
            "pod": agent.pod,
            "uid": agent.uid,
            "interval_s": agent.config.interval,
            "peers": sorted(peer.label for peer in peers),
        }
        return Mesh(_json(said)[1:-1], {peer.label: peer.uid for peer in peers}, sent, bad)

    def _peer(self, agent: Agent, peer: Agent, kinds: tuple[str, ...], when: float, bad: dict[Item, str]) -> int:
        """All probes of one peer; answers how many there were."""
        mine, its = agent.sandbox, peer.sandbox
        if mine is None or its is None:
            bad[peer.label, "primary", "http"] = NO_ADDRESS
            return 1
        path = self._network.path(mine, its.ip, when)
        sent = self._probe(path, (peer.label, "primary"), kinds, when, bad)
        if peer.mesh == "b":
            sent += 1
            self._guarded(agent, peer.label, path, its.ip, when, bad)
        return sent

    def _probe(
        self, path: Path, where: tuple[str, str], kinds: tuple[str, ...], when: float, bad: dict[Item, str]
    ) -> int:
        """The large request is not tried without the small one."""
        sent = 0
        for kind in kinds:
            if kind == "http_large" and (*where, "http") in bad:
                continue
            sent += 1
            error = self._network.outcome(path, kind, when)
            if error:
                bad[*where, kind] = error
        return sent

    def _guarded(self, agent: Agent, peer: str, path: Path, address: str, when: float, bad: dict[Item, str]) -> None:
        """Port 8089 of mesh b: open to mesh a, closed to mesh b, as the guard policy says."""
        kind, error = self._guards(agent, path, address, when)
        if error:
            bad[peer, "primary", kind] = error

    def _guards(self, agent: Agent, path: Path, address: str, when: float) -> tuple[str, str]:
        """The kind of the probe, and what is wrong with it."""
        error = self._network.outcome(path, "http", when)
        if not error and self._network.blocked(path, address, GUARD_PORT, when):
            error = TIMEOUT
        return ("policy_deny", "" if error else "not blocked") if agent.mesh == "b" else ("policy_allow", error)

    def _nodes(self, agent: Agent, when: float) -> list[str]:
        """The nodes whose agents this one probes, its own included."""
        return [*self._program.roster.neighbours(agent, when), *self._program.far(agent, when)]

    def _stretch(self, agent: Agent, when: float) -> tuple[float, float]:
        """Since when and until when nothing changes that concerns the agent; at most until now."""
        net = self._ctx.net
        nodes = self._nodes(agent, when)
        latest, soonest = agent.started, self._ctx.now()
        told = self._program.transit.times(agent.namespace)
        for times in (*(net.hosts[node].changes.times for node in nodes), net.everywhere.times, told):
            place = bisect_right(times, when)
            if place:
                latest = max(latest, times[place - 1])
            if place < len(times):
                soonest = min(soonest, times[place])
        return latest, soonest

    def _since(self, item: Item, agent: Agent, when: float) -> float:
        """The first round of the failures in a row that this one belongs to."""
        mesh = self._mesh(agent, when)
        known = mesh.since.get(item)
        if known is None:
            known = mesh.since[item] = self._look_back(item, agent, when)
        return known

    def _look_back(self, item: Item, agent: Agent, when: float) -> float:
        first = self._round_at_or_after(agent, self._stretch(agent, when)[0])
        for _ in range(_LOOK_BACK):
            if first <= 1:
                break
            before = self.time_of(agent, first - 1)
            if item not in self._mesh(agent, before).bad:
                break
            first = self._round_at_or_after(agent, self._stretch(agent, before)[0])
        return self.time_of(agent, max(1, first))

    def _round_at_or_after(self, agent: Agent, when: float) -> int:
        return max(1, math.ceil((when - agent.started) / agent.config.interval - 1e-6) + 1)

    def _stalls(self, agent: Agent, number: int, when: float, mesh: Mesh) -> list[dict[str, object]]:
        """Long-lived connections that make no progress now, or did not until just before."""
        found: list[dict[str, object]] = []
        down = {item for item in mesh.bad if item[2] == "tcp"}
        until = when + agent.config.interval
        found += [_stall(item, until - self._since(item, agent, when)) for item in sorted(down)]
        if number > 1:
            before = self.time_of(agent, number - 1)
            earlier = self._mesh(agent, before)
            for item in sorted(earlier.bad) if earlier is not mesh else ():
                same = mesh.uids.get(item[0]) == earlier.uids.get(item[0])
                if item[2] == "tcp" and item not in down and same:
                    found.append(_stall(item, when - self._since(item, agent, before)))
        return found

    # -- probes of what is common to all

    def _common(self, agent: Agent, number: int, when: float) -> dict[Item, str]:
        """The Services and the node port, the API server, DNS, the kubelet and the nodes: their errors or ''."""
        net, pick = self._network, zlib.crc32(f"{agent.uid}/{number}".encode())
        host = self._ctx.net.hosts[agent.node]
        if agent.sandbox is None:
            return {}
        outside = net.to_host(agent.sandbox, host, when)
        found: dict[Item, str] = {("api", "primary", "api"): outside, (f"node:{agent.node}", "host", "tcp"): outside}
        # Its own probes from the node's address, which agents notice as soon as they do not come.
        deaf = not answers_its_kubelet(agent.sandbox, host)
        found["kubelet", "primary", "kubelet"] = "never heard" if deaf else ""
        roster = self._program.roster
        for node in self._nodes(agent, when):
            # A node's address is known from the status of its agents' pods.
            if node != agent.node and any(peer.sandbox is not None for peer in roster.on(node, when)):
                found[f"node:{node}", "host", "tcp"] = net.to_host(agent.sandbox, self._ctx.net.hosts[node], when)
        services = self._services(agent.namespace)
        if "knet-stress" in services:
            found["service", "primary", "service"] = self._service(agent.sandbox, pick, when)
        if services.get("knet-stress") == "NodePort":
            found["nodeport", "primary", "nodeport"] = outside or self._service(agent.sandbox, pick, when)
        if "knet-stress-guard" in services:
            other = zlib.crc32(f"{number}/{agent.uid}".encode())  # a connection of its own
            kind, error = self._guard(agent, agent.sandbox, other, when)
            found["guard", "primary", kind] = error
        found["dns", "primary", "dns"] = self._dns(agent.sandbox, pick, when)
        return dict(sorted(found.items()))

    def _services(self, namespace: str) -> dict[str, str]:
        """The types of the services of a namespace."""
        found = self._ctx.cluster[SERVICE].items
        return {place[1]: one["spec"].get("type", "ClusterIP") for place, one in found.items() if place[0] == namespace}

    def _service(self, source: Sandbox, pick: int, when: float) -> str:
        """What a request to the agents' service meets."""
        backend = self._backend("ab", pick, when)
        return self._network.reach(source, backend.ip, "http", when, service=True) if backend is not None else TIMEOUT

    def _guard(self, agent: Agent, source: Sandbox, pick: int, when: float) -> tuple[str, str]:
        """What a request to the guarded port meets by ClusterIP; one that leads to the agent itself tells nothing."""
        backend = self._backend("b", pick, when)
        if backend is None:
            return ("policy_deny", "") if agent.mesh == "b" else ("policy_allow", TIMEOUT)
        if backend is source:
            return "policy_deny", ""
        path = self._network.path(source, backend.ip, when, service=True)
        return self._guards(agent, path, backend.ip, when)

    def _backend(self, meshes: str, pick: int, when: float) -> Sandbox | None:
        """One backend of a service of these agents, as kube-proxy would choose one: a pod that is Ready and stays."""
        nodes = self._program.roster.nodes
        for step in range(len(nodes)):
            known = self._program.roster.on(nodes[(pick + step) % len(nodes)], when)
            there = (one for one in known if one.mesh in meshes and one.ended > when)
            backends = [one.sandbox for one in there if one.sandbox is not None]
            if backends:
                return backends[pick % len(backends)]
        return None

    def _dns(self, source: Sandbox, pick: int, when: float) -> str:
        """One of the cluster's DNS pods."""
        if self._ctx.faults.no_dns(when):
            return TIMEOUT
        backends = [
            self._ctx.net.by_uid[meta.uid(pod)]
            for pod in self._ctx.cluster[POD].by("dns", "dns")
            if meta.ready(pod) and meta.uid(pod) in self._ctx.net.by_uid
        ]
        backends = [one for one in backends if one.since <= when]
        if not backends:
            return TIMEOUT
        return self._network.reach(source, backends[pick % len(backends)].ip, "udp", when, 53, service=True)

    def _since_common(self, agent: Agent, number: int, item: Item) -> float:
        first = number
        while first > max(1, number - 10):
            if not self._common(agent, first - 1, self.time_of(agent, first - 1)).get(item):
                break
            first -= 1
        return self.time_of(agent, first)


def _json(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


def _stall(item: Item, seconds: float) -> dict[str, object]:
    return {"peer": item[0], "net": item[1], "ms": round(seconds * 1000), "reset": False}


def _latencies(uid: str, number: int) -> dict[str, float]:
    """Round trip times: small, plausible, always the same for the same round."""
    chance = zlib.crc32(f"{uid}:{number}".encode())
    middle = 0.4 + (chance & 255) / 256
    high = middle + 0.5 + (chance >> 8 & 255) / 128
    return {"p50": round(middle, 2), "p99": round(high, 2), "max": round(high + (chance >> 16 & 255) / 128, 2)}


def _is_dns(pod: Object) -> str:
    """An index of the cluster's DNS pods."""
    return "dns" if meta.labels(pod).get("k8s-app") == "kube-dns" else ""
