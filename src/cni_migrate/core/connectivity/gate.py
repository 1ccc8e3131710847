"""When connectivity counts as proven: who must report, and what their reports say.

Pure. What is expected comes from the Nodes, never from the pods that happen to be there: an agent that does not
report, or does not know a peer it should, is a failure. Zero agents, zero peers or zero probes prove nothing.
"""

from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cni_migrate.config import Config
from cni_migrate.core.connectivity.clocks import SKEW, wrong_clock
from cni_migrate.core.connectivity.diagnosis import Expected as Expected
from cni_migrate.core.connectivity.diagnosis import Known as Known
from cni_migrate.core.connectivity.diagnosis import Pair as Pair
from cni_migrate.core.connectivity.diagnosis import agents_of as _agents
from cni_migrate.core.connectivity.diagnosis import diagnose as diagnose
from cni_migrate.core.connectivity.diagnosis import node_of as _node
from cni_migrate.core.connectivity.peers import graph
from cni_migrate.core.model import names
from cni_migrate.core.model.objects import Pod, Snapshot
from cni_migrate.core.model.rounds import BadProbe, GateAsk, GateReading, Round

LATER, REPORTED = 1.03, 0.5
"""An agent's rounds take a little longer than asked for, and a round is reported within so many intervals, mostly."""


@dataclass(frozen=True, slots=True)
class Passed:
    """Every expected agent reported enough clean rounds: what they sent and lost in them, and the longest stall."""

    sent: int
    lost: int
    stall_ms: float


@dataclass(frozen=True, slots=True)
class Pending:
    """Nothing is broken, but there is not enough to go by yet: what is missing, and from which agents.

    `due` is when all of them can have reported it, as far as that is known.
    """

    observed: str
    lacking: frozenset[str] = frozenset()
    due: datetime | None = None


@dataclass(frozen=True, slots=True)
class Failing:
    """The newest reports are not clean: the pairs, what their pattern means, and who is silent and why.

    `lacking` are the agents that have not reported enough clean rounds, `due` is when those that report can have done.
    """

    pairs: tuple[Pair, ...]
    diagnosis: str
    silent: tuple[tuple[str, str], ...]
    lacking: frozenset[str] = frozenset()
    due: datetime | None = None


Verdict = Passed | Pending | Failing


def expected(
    nodes: Iterable[str], config: Config, *, focus: Collection[str] | None = None, excluded: Collection[str] = ()
) -> Expected:
    """Which agents must report, and on which peers each is judged.

    `nodes` are all nodes of the cluster: each of them has two agents, and the graph spans them all. `excluded` are
    those that nothing can be asked of: waived, not Ready by other causes, in transit themselves. Without `focus` it
    is a full sweep. With it, the agents of these nodes are judged on all their peers, and the agents that observe
    them on them alone: what else goes on elsewhere is not this gate's business.
    """
    everyone = frozenset(nodes)
    mesh = graph(everyone, config)
    out = frozenset(excluded)
    wanted: dict[str, frozenset[str]] = {}
    for node in everyone - out if focus is None else (frozenset(focus) & everyone) - out:
        for agent in _agents(node):
            wanted[agent] = frozenset(peer for peer in mesh.peers(agent) if _node(peer) not in out)
    if focus is None:
        return wanted
    centre = {agent for node in focus for agent in _agents(node)}
    for node in frozenset(focus) & everyone - out:
        for observer in mesh.observers(node):
            if observer not in wanted and _node(observer) not in out:
                seen = (peer for peer in mesh.peers(observer) if peer in centre and _node(peer) not in out)
                wanted[observer] = frozenset(seen)
    return wanted


def beyond(
    nodes: Iterable[str], *, focus: Collection[str] | None = None, excluded: Collection[str] = ()
) -> frozenset[str]:
    """The agents on which everybody is judged who lists them, though nobody has to.

    In a full sweep these are all on nodes that are not `excluded`: agents have more peers than the graph gives them
    while nodes are in transit, and hear of that sooner or later. A `focus` leaves it to the observers.
    """
    if focus is not None:
        return frozenset()
    return frozenset(agent for node in frozenset(nodes) - frozenset(excluded) for agent in _agents(node))


def ask(
    key: str,
    focus: Collection[str] | None,
    snapshot: Snapshot,
    config: Config,
    since: datetime,
    *,
    excluded: Collection[str] = (),
) -> tuple[GateAsk, dict[str, str]]:
    """What to read for a gate, and the expected agents that cannot be read now, with the reason."""
    pods: list[tuple[str, str, str]] = []
    missing: dict[str, str] = {}
    for agent in sorted(expected(snapshot.nodes, config, focus=focus, excluded=excluded)):
        pod, why = _pod_of(agent, snapshot, config)
        if pod is None:
            missing[agent] = why
        else:
            pods.append((pod.namespace, pod.name, agent))
    return GateAsk(key, tuple(pods), since), missing


def baseline(reading: GateReading, *, newest: int = 3) -> frozenset[Known]:
    """What was bad before anything was touched: any failure of each agent's newest rounds."""
    return frozenset(
        Pair(agent, bad.peer, bad.net, bad.kind, "").known
        for agent, rounds in reading.rounds.items()
        for one in rounds[-newest:]
        for bad in one.bad
    )


def unasked(config: Config, *, final: bool = False) -> frozenset[str]:
    """The kinds of probes that cannot be asked for in the end: what policies forbid, where Cilium enforces none.

    On the way policies hold, whatever is configured for the end.
    """
    off = final and config.cilium.policy_enforcement == "never"
    return frozenset({"policy_deny"}) if off else frozenset()


def shared(config: Config, ignore: Collection[str] = ()) -> frozenset[str]:
    """What besides its peers every agent has to have probed: without that nothing is proven of it."""
    wanted = {"api", "dns", "guard", "kubelet", "service"} | ({"nodeport"} if config.knet.node_port else set())
    return frozenset(wanted.difference(ignore))


def judge(
    reading: GateReading | None,
    expected: Expected,
    baseline: Container[Known],
    since: datetime,
    config: Config,
    *,
    ignore: Collection[str] = (),
    newest: datetime | None = None,
    others: Collection[str] = (),
    shared: Collection[str] = (),
) -> Verdict:
    """Whether connectivity is proven.

    Passed: every expected agent's newest rounds, at least `gate.rounds` in a row over at least `gate.seconds`, are
    clean, were begun after `since`, list all its expected peers, and the newest is fresh, tells that all that is
    `shared` was probed, and was begun after `newest` if that is given; what was lost is counted from then on. A pair
    that was bad in the `baseline` by the same net and kind does not count, nor do probes of the kinds in `ignore`.
    Those of `others` (`beyond`) count where an agent lists them.
    """
    if not expected or not all(expected.values()):
        lonely = sorted(agent for agent, peers in expected.items() if not peers)
        what = f"{', '.join(lonely)} has no peer" if lonely else "no agent is expected"
        return Failing((), f"{what}: nothing would be proven", ())
    if reading is None:
        return Pending(f"waiting for the first reports of {_count(len(expected), 'agent')}")
    kinds = frozenset(ignore)
    known, listed = baseline, frozenset(others)
    pairs: set[Pair] = set()
    silent: list[tuple[str, str]] = []
    short: list[str] = []
    lacking: set[str] = set()
    due: list[datetime] = []
    sent = lost = 0
    stall = 0.0
    for agent in sorted(expected):
        rounds = _of_newest_pod(reading.rounds.get(agent, ()))
        why = _silence(rounds, reading, agent, config)
        if why:
            silent.append((agent, why))
            lacking.add(agent)
            continue
        run: list[Round] = []
        bad: list[Pair] = []
        lost += _lost(rounds, agent, expected[agent], listed, known, kinds, newest or since)
        for one in reversed(rounds):
            if one.at < since or (run and one.round != run[-1].round - 1):
                break
            bad = _bad(one, agent, expected[agent], listed, known, kinds)
            if bad:
                break
            run.append(one)
        if bad and not run:
            pairs.update(bad)
            lacking.add(agent)
            due.append(_due(rounds[-1].at + timedelta(seconds=rounds[-1].interval), config))
            continue
        if missing := _lacking(run, config, newest, shared):
            short.append(f"{agent} {missing}" + (f" since {bad[0]}" if bad else ""))
            lacking.add(agent)
            due.append(_due(run[-1].at if run else since, config))
            continue
        sent += sum(one.sent for one in run)
        stall = max([stall, *(one.stall_ms for one in run)])
    if pairs or silent:
        found = tuple(sorted(pairs))
        told = _diagnosed(found, expected, silent, reading, config)
        return Failing(found, told, tuple(silent), frozenset(lacking), max(due, default=None))
    if short:
        more = f" and {len(short) - 3} more" if len(short) > 3 else ""
        text = f"{_count(len(short), 'agent')} not there yet: {'; '.join(short[:3])}{more}"
        return Pending(text, frozenset(lacking), max(due))
    return Passed(sent, lost, stall)


def _lacking(run: Sequence[Round], config: Config, newest: datetime | None, shared: Collection[str]) -> str:
    """What a run of clean rounds, the newest first, lacks of what is asked for, or ''."""
    span = (run[0].at - run[-1].at).total_seconds() if run else 0.0
    if len(run) < config.gate.rounds or span < config.gate.seconds:
        wanted = config.gate
        counted = min(len(run), wanted.rounds)
        return f"clean probe rounds {counted} of {wanted.rounds}, over {span:.1f} of {wanted.seconds:g} s"
    if newest is not None and run[0].at < newest:
        return f"no round since {newest:%H:%M:%S}"
    left = unprobed(run[0], shared)
    return f"has not probed {', '.join(sorted(left))}" if left else ""


def unprobed(one: Round, shared: Collection[str]) -> frozenset[str]:
    """What of all that should be probed has not been by this round; nothing where the agent does not tell."""
    return frozenset(shared).difference(one.shared) if one.shared is not None else frozenset()


def _due(first: datetime, config: Config) -> datetime:
    """When an agent whose first clean round began at `first` can have reported as many as are needed."""
    span = max(config.gate.seconds, (config.gate.rounds - 1) * config.knet.interval)
    return first + timedelta(seconds=LATER * span + REPORTED * config.knet.interval)


def _bad(
    one: Round,
    agent: str,
    peers: frozenset[str],
    others: frozenset[str],
    known: Container[Known],
    ignored: frozenset[str],
) -> list[Pair]:
    """What keeps a round from being clean."""
    found = [Pair(agent, peer, "primary", "peer", "the agent does not list this peer") for peer in peers - one.peers]
    judged = peers | (one.peers & others) if one.bad else peers
    pairs = (Pair(agent, bad.peer, bad.net, bad.kind, bad.error) for bad in one.bad if _concerns(bad, agent, judged))
    found += [pair for pair in pairs if pair.kind not in ignored and pair.known not in known]
    if not found and one.sent < max(1, len(peers)):
        found.append(Pair(agent, "everyone", "primary", "peer", f"only {_count(one.sent, 'probe')} sent in a round"))
    return found


def _lost(
    rounds: Sequence[Round],
    agent: str,
    peers: frozenset[str],
    others: frozenset[str],
    known: Container[Known],
    ignored: frozenset[str],
    since: datetime,
) -> int:
    """How many probes that count were lost since the gate began, also in rounds before the clean ones."""
    judged = (_bad(one, agent, peers, others, known, ignored) for one in rounds if one.at >= since)
    return sum(pair.kind != "peer" for found in judged for pair in found)


def _concerns(bad: BadProbe, agent: str, peers: frozenset[str]) -> bool:
    """Whether a failure is the gate's business: that of a judged peer, of its node, or of service, api, dns, policy.

    What the kubelet of an agent's own node sees is so where that node is judged: by the pair of its two agents.
    """
    if bad.peer.startswith("node:"):
        return bad.peer[5:] in {_node(agent), *map(_node, peers)}
    if bad.peer == "kubelet":
        return _node(agent) in map(_node, peers)
    return bad.peer in peers or "/" not in bad.peer


def _silence(rounds: Sequence[Round], reading: GateReading, agent: str, config: Config) -> str:
    """Why an agent's reports are of no use, or ''. A round may take its interval and the timeout of its probes."""
    if not rounds:
        return reading.errors.get(agent) or "no report"
    newest = rounds[-1]
    age = (reading.at - newest.at).total_seconds()
    if age < -SKEW:
        return f"its clock is {-age:.1f} s ahead of this program's: its reports cannot be dated"
    allowed = 3 * max(newest.interval, config.knet.interval) + config.knet.timeout + SKEW
    return f"last report {age:.1f} s ago" if age > allowed else ""


def _diagnosed(
    pairs: Sequence[Pair],
    expected: Expected,
    silent: Sequence[tuple[str, str]],
    reading: GateReading,
    config: Config,
) -> str:
    """The pattern of the failures; agents whose reports cannot be dated are told as clocks, not as silence."""
    clock, explained = wrong_clock(silent, reading, expected, config)
    left = [one for one in silent if one[0] not in explained]
    if clock and not pairs and not left:
        return clock
    return "; ".join(filter(None, (clock, diagnose(pairs, expected, left))))


def _of_newest_pod(rounds: Sequence[Round]) -> Sequence[Round]:
    """The rounds of the newest pod only: a restarted agent counts from its new uid."""
    return [one for one in rounds if one.uid == rounds[-1].uid] if rounds else rounds


def _pod_of(agent: str, snapshot: Snapshot, config: Config) -> tuple[Pod | None, str]:
    node, _, mesh = agent.rpartition("/")
    daemonset = names.KNET[mesh]
    own = [
        pod
        for pod in snapshot.pods_on(node)
        if pod.namespace == config.knet.namespace
        and pod.controller is not None
        and pod.controller[:2] == ("DaemonSet", daemonset)
        and not pod.finished
    ]
    alive = [pod for pod in own if not pod.deleting]
    if not alive:
        return None, "its pod is being deleted" if own else "no pod"
    pod = min(alive, key=lambda found: (not found.ready, found.name))
    if pod.phase != "Running":
        return None, f"its pod is {pod.phase}" + (f": {pod.trouble}" if pod.trouble else "")
    return pod, ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
