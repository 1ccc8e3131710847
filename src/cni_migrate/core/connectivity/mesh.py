"""The mesh looked at by itself, at any moment: what its agents should report, and what the gate makes of their reports.

Pure. With no migration under way every node counts and every failure does. While one is, the nodes in transit are left
out, and what was broken in its baseline does not count: as in its own gates.
"""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from cni_migrate.config import Config
from cni_migrate.core.connectivity.gate import (
    Expected,
    Failing,
    Known,
    Pair,
    Passed,
    Pending,
    Verdict,
    ask,
    beyond,
    expected,
    judge,
    shared,
)
from cni_migrate.core.connectivity.matrix import in_order
from cni_migrate.core.connectivity.peers import MESHES
from cni_migrate.core.model import names
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.objects import DaemonSet, Node, Pod, Snapshot
from cni_migrate.core.model.record import Record
from cni_migrate.core.model.rounds import GateAsk, GateReading, Round

KEY: Final = "mesh"
"""The key of the question."""

ALWAYS: Final = datetime.min.replace(tzinfo=UTC)
"""Every round counts, whenever it began: there is no step that it must be younger than."""

DIGEST: Final = "cni-migrate.io/config-digest"
"""The annotation by which an agent's pod tells which settings and which program it was made with."""


def under_way(record: Record | None) -> bool:
    """Whether a migration, or its rollback, has begun and is not at its end: the agents are its own then."""
    return record is not None and record.cluster.phase not in (Phase.PREFLIGHT, Phase.DONE)


@dataclass(frozen=True, slots=True)
class Question:
    """What the mesh as a whole is asked.

    `expected` says who must report on whom, `missing` which of them cannot be read and why, `left_out` the nodes of
    which nothing is asked, `known` and `ignored` what does not count: failures by name, and kinds of probes. Agents
    among `others` count for those who list them.
    """

    ask: GateAsk
    expected: Expected
    missing: Mapping[str, str]
    left_out: tuple[str, ...]
    known: Container[Known]
    ignored: frozenset[str]
    others: frozenset[str] = frozenset()

    def judged(self, read: GateReading, config: Config) -> tuple[GateReading, Verdict]:
        """The reading with the reasons of those that could not be read, and the gate's verdict on it."""
        full = replace(read, errors={**read.errors, **self.missing})
        wanted = shared(config, self.ignored)
        kinds, others = self.ignored, self.others
        return full, judge(full, self.expected, self.known, ALWAYS, config, ignore=kinds, others=others, shared=wanted)


def question(
    seen: Snapshot,
    config: Config,
    *,
    left_out: Collection[str] = (),
    known: Container[Known] = (),
    ignored: Iterable[str] = (),
) -> Question:
    """What to ask of every agent on every node that is not left out."""
    asked, missing = ask(KEY, None, seen, config, ALWAYS, excluded=left_out)
    wanted = expected(seen.nodes, config, excluded=left_out)
    return Question(
        asked,
        wanted,
        missing,
        tuple(sorted(left_out)),
        known,
        frozenset(ignored),
        beyond(seen.nodes, excluded=left_out),
    )


def seconds_needed(config: Config) -> float:
    """In so many seconds agents that have just started, or have lost a probe, report what the gate needs.

    Two rounds and a probe's timeout are to spare.
    """
    gate, interval = config.gate, config.knet.interval
    return max(gate.seconds, gate.rounds * interval) + 2 * interval + config.knet.timeout


@dataclass(frozen=True, slots=True)
class Doubt:
    """What a passed verdict leaves open: it is that of a gate, which excuses what a migration may excuse.

    `unprobed` are nodes of which nothing was asked, `known_failures` is how many probes of the newest rounds fail and
    do not count, `ignored` are the kinds that fail and were not asked for, `older` the agents of an earlier version,
    which do not probe all of it.
    """

    unprobed: tuple[str, ...] = ()
    known_failures: int = 0
    ignored: tuple[str, ...] = ()
    older: tuple[str, ...] = ()

    @property
    def proven(self) -> bool:
        """Whether all that was asked for is proven."""
        return not self.unprobed and not self.known_failures and not self.older


def doubt(asked: Question, read: GateReading) -> Doubt:
    """What the newest round of every agent shows besides the verdict."""
    bad = [one for rounds in read.rounds.values() if rounds for one in rounds[-1].bad]
    return Doubt(
        asked.left_out,
        sum(one.kind not in asked.ignored for one in bad),
        in_order({one.kind for one in bad} & asked.ignored),
        tuple(sorted(agent for agent, rounds in read.rounds.items() if rounds and rounds[-1].shared is None)),
    )


def said(verdict: Verdict, left: Doubt | None = None) -> str:
    """The verdict in one line; never that connectivity is proven while something fails or was not looked at."""
    match verdict:
        case Passed(sent, lost, stall):
            before = f", {lost} lost in the rounds before" if lost else ""
            stalled = f", the longest stall {stall:g} ms" if stall else ""
            found = f"{sent} probes in the newest clean rounds{before}{stalled}"
            return _doubted(left, found) if left is not None else f"connectivity is proven: {found}"
        case Pending(observed):
            return f"connectivity is not proven yet: {observed}"
        case Failing(_, diagnosis, _):
            return f"connectivity is broken: {diagnosis}"


def _doubted(left: Doubt, found: str) -> str:
    open_ = []
    if left.unprobed:
        open_.append(f"{_names(left.unprobed)} not probed, as a migration is working on {_them(left.unprobed)}")
    if left.known_failures:
        probes = f"{left.known_failures} failing probe{'s' if left.known_failures > 1 else ''}"
        open_.append(f"{probes} not counted: known from before the migration, or of a node that it is working on")
    if left.older:
        open_.append(f"{_names(left.older)} of an earlier version, which does not probe all of it")
    if open_:
        return f"connectivity is not known: {'; '.join(open_)}; of the rest {found}"
    if left.ignored:
        return f"every probe that counts succeeds, {', '.join(left.ignored)} fails and was not asked for: {found}"
    return f"connectivity is proven: {found}"


def _names(nodes: Sequence[str], most: int = 5) -> str:
    more = f" and {len(nodes) - most} more" if len(nodes) > most else ""
    return f"{', '.join(nodes[:most])}{more} {'is' if len(nodes) == 1 else 'are'}"


def _them(nodes: Sequence[str]) -> str:
    return "it" if len(nodes) == 1 else "them"


def details(verdict: Verdict) -> list[str]:
    """What is broken, a line for each direction and each silent agent."""
    if not isinstance(verdict, Failing):
        return []
    return [*map(str, verdict.pairs), *(f"{agent}: {why}" for agent, why in verdict.silent)]


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent as its newest round tells; `trouble` says why that is of no use, and `worst` whom it reaches least."""

    node: str
    mesh: str
    pod: str
    age: float | None
    """Seconds since its newest round began; None: it has reported none."""
    peers: int
    wanted: int
    """How many peers it should know."""
    sent: int
    lost: int
    worst: str
    trouble: str


def agents(asked: Question, read: GateReading, verdict: Verdict) -> tuple[Agent, ...]:
    """Every agent that is expected, by node and mesh."""
    pods = {agent: pod for _, pod, agent in asked.ask.pods}
    silent = dict(verdict.silent) if isinstance(verdict, Failing) else {}
    pairs = verdict.pairs if isinstance(verdict, Failing) else ()
    found = []
    for agent, peers in sorted(asked.expected.items()):
        node, _, mesh = agent.rpartition("/")
        rounds = read.rounds.get(agent, ())
        newest = rounds[-1] if rounds else None
        found.append(
            Agent(
                node=node,
                mesh=mesh,
                pod=pods.get(agent, ""),
                age=(read.at - newest.at).total_seconds() if newest else None,
                peers=len(newest.peers & peers) if newest else 0,
                wanted=len(peers),
                sent=newest.sent if newest else 0,
                lost=newest.lost if newest else 0,
                worst=_worst([pair for pair in pairs if pair.agent == agent], newest),
                trouble=silent.get(agent, ""),
            )
        )
    return tuple(found)


def _worst(pairs: Sequence[Pair], newest: Round | None) -> str:
    """The peer that is reached in the fewest ways, an agent before a service, and how many more there are.

    What does not count is only counted.
    """
    if not pairs:
        known_failures = len(newest.bad) if newest else 0
        return f"{known_failures} that do not count" if known_failures else ""
    ways: dict[str, list[str]] = {}
    for pair in pairs:
        ways.setdefault(pair.peer, []).append(pair.kind if pair.net == "primary" else f"{pair.net} {pair.kind}")
    peer = min(ways, key=lambda one: ("/" not in one, -len(ways[one]), one))
    more = f", and {len(ways) - 1} more" if len(ways) > 1 else ""
    return f"{peer}: {', '.join(in_order(ways[peer]))}{more}"


def unready(seen: Snapshot, config: Config, digest: str) -> dict[str, str]:
    """The agents that are not Ready in the form that was applied, with what was seen instead.

    Asked of Ready nodes only: on another no pod becomes Ready. `digest` is that of the manifests (`DIGEST`).
    """
    found = {}
    for node in seen.nodes.values():
        for mesh in MESHES if node.ready else ():
            if why := _unready(node, mesh, seen, config, digest):
                found[f"{node.name}/{mesh}"] = why
    return found


def rolling(seen: Snapshot, config: Config) -> dict[str, str]:
    """The agents' DaemonSets whose latest form is not rolled out yet, with what was seen instead.

    That is what `kubectl rollout status` waits for: pods do not tell of every change by themselves, an image for
    example. As many may lag behind as there are nodes that are not Ready.
    """
    lost = sum(not node.ready for node in seen.nodes.values())
    found = {}
    for name in names.KNET.values():
        daemonset = seen.daemonsets.get((config.knet.namespace, name))
        if why := "it is not there" if daemonset is None else _rolling(daemonset, lost):
            found[f"DaemonSet {name}"] = why
    return found


def _rolling(daemonset: DaemonSet, lost: int) -> str:
    if daemonset.observed_generation < daemonset.generation:
        return "its controller has not seen its latest form yet"
    if daemonset.updated < daemonset.desired - lost:
        return f"{daemonset.updated} of {daemonset.desired} pods are of its latest form"
    if daemonset.available < daemonset.desired - lost:
        return f"{daemonset.available} of {daemonset.desired} pods are Ready"
    return ""


def _unready(node: Node, mesh: str, seen: Snapshot, config: Config, digest: str) -> str:
    own = [pod for pod in pods_of_mesh(seen, config, [node.name], [mesh]) if not pod.finished and not pod.deleting]
    if not own:
        return "no pod"
    pod = min(own, key=lambda one: (one.annotations.get(DIGEST) != digest, not one.ready, one.name))
    if pod.annotations.get(DIGEST) != digest:
        return f"pod {pod.name} is of an older form"
    if not pod.ready:
        return f"pod {pod.name} is {pod.trouble or pod.phase}" + (", not Ready" if pod.phase == "Running" else "")
    return ""


def pods_of_mesh(
    seen: Snapshot, config: Config, nodes: Iterable[str] | None = None, meshes: Collection[str] = MESHES
) -> list[Pod]:
    """The agents' pods on some nodes, or on all."""
    owners = {names.KNET[mesh] for mesh in meshes}
    return [
        pod
        for node in (seen.nodes if nodes is None else nodes)
        for pod in seen.pods_on(node)
        if pod.namespace == config.knet.namespace
        and pod.controller is not None
        and pod.controller[0] == "DaemonSet"
        and pod.controller[1] in owners
    ]


def deployed(seen: Snapshot, config: Config) -> bool:
    """Whether both DaemonSets of the agents are there."""
    return all((config.knet.namespace, name) in seen.daemonsets for name in names.KNET.values())
