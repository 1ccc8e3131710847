"""What the pattern of failing probes means, in words. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cni_migrate.core.connectivity.peers import MESHES

HEARD = "unanswered, though it is heard"
"""The agents' word for a datagram without an echo while the peer's own datagrams arrive: the way there is broken."""

Expected = Mapping[str, frozenset[str]]
"""Agent ("node/mesh") to the peers whose probes are judged. The agent must report, and must list all of them."""

Known = str
"""`agent peer net kind` of a probe that failed in the baseline already: a word that the record can keep."""


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """A direction that does not work: an agent, what it probes, how, and the error in words."""

    agent: str
    peer: str
    net: str
    kind: str
    error: str

    @property
    def known(self) -> Known:
        """The pair without the words of its error, to be recognised by."""
        return f"{self.agent} {self.peer} {self.net} {self.kind}"

    def __str__(self) -> str:
        where = "" if self.net == "primary" else f" over the {self.net} network"
        return f"{self.agent} -> {self.peer} {self.kind}{where}: {self.error}"


def diagnose(pairs: Sequence[Pair], expected: Expected, silent: Collection[tuple[str, str]] = ()) -> str:
    """What the pattern of the failures means, in words; each cause that fits, the broadest first."""
    said = []
    if silent:
        where = sorted({node_of(agent) for agent, _ in silent})
        said.append(f"no report from {_list([agent for agent, _ in silent])}")
        if len(silent) == len(expected):
            said[-1] = "no agent reports at all"
        elif len(where) == 1 < len(silent):
            said[-1] += f": all on node {where[0]}"
    missing = [pair for pair in pairs if pair.kind == "peer"]
    if missing:
        who, whom = sorted({pair.agent for pair in missing}), sorted({pair.peer for pair in missing})
        said.append(f"{_list(who)} does not list {_list(whom)}")
    rest = [pair for pair in pairs if pair.kind != "peer"]
    if rest:
        said.append(_pattern(rest, expected, frozenset(agent for agent, _ in silent)))
    return "; ".join(said) or "nothing is wrong"


_SERVICES = {
    "dns": "only names fail to resolve: look at the cluster's DNS pods and their node",
    "api": "only the API server cannot be reached from pods",
    "service": "only the ClusterIP fails: look at kube-proxy and the Service's endpoints",
    "nodeport": "only the node port fails: look at kube-proxy",
    "kubelet": "kubelets do not reach the pods of their own nodes: pods answer by another interface, or not at all",
    "http_large": "small packets pass and large ones do not: the MTU of one network is too large",
    "udp": "only UDP fails: a firewall or a conntrack rule",
    "tcp": "only connections that live long fail: they were cut or stalled",
    "policy_allow": "allowed callers are blocked: a NetworkPolicy does not see who they are",
    "policy_deny": "forbidden callers get through: NetworkPolicies are not enforced there",
}


_BY_SERVICE = {
    "policy_allow": "allowed callers are blocked: on a Service's way a NetworkPolicy does not see who they are",
    "policy_deny": "forbidden callers get through: on a Service's way their address is another one",
}


def _pattern(pairs: Sequence[Pair], expected: Expected, silent: frozenset[str]) -> str:
    nets = {pair.net for pair in pairs}
    if nets == {"host"}:
        return _hosts(pairs, expected)
    # What goes to a node is a kind of its own: it does not live long, though it is TCP.
    kinds = {"host" if pair.net == "host" else pair.kind for pair in pairs}
    part = len(kinds) == 1 and kinds <= _SERVICES.keys()
    where = _place(pairs, expected, silent, part=part)
    if all(pair.peer == "guard" for pair in pairs):
        return f"by ClusterIP alone {_BY_SERVICE[kinds.pop()] if part else 'NetworkPolicies do not hold'}{where}"
    if part:
        return f"{_SERVICES[kinds.pop()]}{where}"
    if kinds and kinds <= {"policy_allow", "policy_deny"}:
        return f"NetworkPolicies do not hold in either direction{where}"
    if kinds == {"service", "nodeport"}:
        return f"neither the ClusterIP nor the node port answers: look at kube-proxy and the Service's endpoints{where}"
    if expected and {pair.agent for pair in pairs} == set(expected) and not where:
        return "nothing reaches anything"
    return f"probes fail{where}"


def _hosts(pairs: Sequence[Pair], expected: Expected) -> str:
    """Which nodes' own addresses pods do not reach, and from where."""
    flows = {(node_of(pair.agent), pair.peer.removeprefix("node:")) for pair in pairs}
    sources = sorted({source for source, _ in flows})
    if all(source == target for source, target in flows):
        whose = "pods do not reach their nodes"
        return whose if set(sources) == {node_of(agent) for agent in expected} else f"{whose} (on {_list(sources)})"
    targets = sorted({target for _, target in flows})
    word = "the node" if len(targets) == 1 else "the nodes"
    whose = f"pods on other nodes do not reach {word} {_list(targets)}"
    if len(targets) == 1 and targets[0] in sources:
        whose = f"pods do not reach the node {targets[0]}, not even its own"
    return f"{whose}, at the host's own address (from {_list(sources)})"


def _place(pairs: Sequence[Pair], expected: Expected, silent: frozenset[str], *, part: bool) -> str:
    """Where: one agent, one node as target, as source, both, or one direction between two nodes.

    What that means for the agent or the node is said too, unless only `part` of the traffic fails.
    """

    def told(where: str, meaning: str) -> str:
        return f" ({where})" if part else f" ({where}: {meaning})"

    between = [pair for pair in pairs if pair.peer in expected or "/" in pair.peer]
    if not between:
        origins = {node_of(pair.agent) for pair in pairs}
        return "" if origins == {node_of(agent) for agent in expected} else f" (from {_list(sorted(origins))})"
    if lost := _one_way(between):
        return f" ({lost})"
    if alone := _one_agent(between, expected, silent):
        meaning = f"its process or its pod, as the other agent of node {node_of(alone)} is fine"
        only_there = all(pair.peer == alone for pair in between)
        return told(f"{'towards' if only_there else 'to and from'} agent {alone} only", meaning)
    flows = {(node_of(pair.agent), node_of(pair.peer)) for pair in between}
    sources, targets = {source for source, _ in flows}, {target for _, target in flows}
    common = Counter(node for flow in flows for node in set(flow))
    hubs = [node for node, count in common.items() if count == len(flows)]
    if len(flows) == 1:
        ((source, target),) = flows
        return f" (on node {source} itself)" if source == target else f" (in one direction, {source} to {target})"
    if len(targets) == 1 and sources != targets:
        (target,) = targets
        return told(f"towards node {target} only", "it hears nobody")
    if len(sources) == 1:
        (source,) = sources
        return told(f"from node {source} only", "nobody hears it")
    if len(hubs) == 1:
        return told(f"to and from node {hubs[0]}", "it is cut off")
    if len(hubs) == 2:
        return f" (between {hubs[0]} and {hubs[1]})" if hubs[0] < hubs[1] else f" (between {hubs[1]} and {hubs[0]})"
    return f" (from {_list(sorted(sources))} to {_list(sorted(targets))})" if len(flows) < 9 else ""


def _one_way(pairs: Sequence[Pair]) -> str:
    """In words, that packets are lost in one direction alone, or ''.

    Every probe needs both directions. Which one is broken shows in the datagrams that arrive without being asked for:
    an agent that gets no echo of a peer that it hears knows that the way there is broken.
    """
    lost = {(node_of(pair.agent), node_of(pair.peer)) for pair in pairs if pair.kind == "udp" and pair.error == HEARD}
    if not lost or {frozenset(flow) for flow in lost} != {
        frozenset((node_of(p.agent), node_of(p.peer))) for p in pairs
    }:
        return ""
    back = {(target, source) for source, target in lost}
    if back == lost:
        return "packets arrive in both directions, and answers come too late: a delay, or many are lost"
    if back & lost:
        return ""
    sources, targets = {source for source, _ in lost}, {target for _, target in lost}
    if len(lost) == 1:
        return f"packets from node {min(sources)} to {min(targets)} are lost, those in the other direction arrive"
    if len(targets) == 1:
        return f"packets towards node {min(targets)} are lost, those from it arrive"
    if len(sources) == 1:
        return f"packets from node {min(sources)} are lost, those towards it arrive"
    return ""


def _one_agent(pairs: Sequence[Pair], expected: Expected, silent: frozenset[str]) -> str:
    """The agent that all failures have in common while the other one of its node is fine, or ''."""
    others = {end for pair in pairs for end in (pair.agent, pair.peer)}
    hubs = [end for end in others if all(end in (pair.agent, pair.peer) for pair in pairs)]
    if len(hubs) != 1 or len(others) < 3:
        return ""
    alone = hubs[0]
    beside = {agent for agent in agents_of(node_of(alone)) if agent != alone}
    return alone if beside <= expected.keys() and not beside & silent else ""


def agents_of(node: str) -> list[str]:
    """The two agents of a node."""
    return [f"{node}/{mesh}" for mesh in MESHES]


def node_of(agent: str) -> str:
    """The node of an agent."""
    return agent.rpartition("/")[0]


def _list(found: Sequence[str], most: int = 4) -> str:
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
