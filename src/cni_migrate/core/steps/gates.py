"""Steps that ask the knet-stress agents whether everybody still reaches everybody who should."""

import math
from collections.abc import Collection, Container
from dataclasses import replace
from datetime import datetime, timedelta

from cni_migrate.core.connectivity.diagnosis import Pair, node_of
from cni_migrate.core.connectivity.gate import (
    Expected,
    Failing,
    Passed,
    Pending,
    Verdict,
    ask,
    baseline,
    beyond,
    expected,
    judge,
    shared,
    unasked,
    unprobed,
)
from cni_migrate.core.connectivity.known_failures import KnownFailures, OwedByCanal, enforcing
from cni_migrate.core.connectivity.peers import MESHES, graph
from cni_migrate.core.model import guards
from cni_migrate.core.model.lifecycle import NodeState
from cni_migrate.core.model.record import GateResult
from cni_migrate.core.model.rounds import GateAsk, GateReading
from cni_migrate.core.steps.answers import Answer, ClusterChanges, Done, NodeChanges, Refuse, Wait
from cni_migrate.core.steps.registry import cluster_step, node_step
from cni_migrate.core.steps.view import ClusterView, NodeView, out_of_service

FRESH = timedelta(seconds=2)
"""For so long an agent that has reported enough is believed while others are waited for."""

LATELY = 1.5
"""Intervals within which most agents have begun a round and have reported it; who has not is read once more."""

SEEN_LATE = 0.8
"""The kubelet looks every second: so long, mostly, a node's new agents have reported when its last pod is seen."""

BASELINE_MOST = 400
"""So many failures may be known beforehand; with more, connectivity proves nothing."""


def excluded(view: ClusterView, focus: Collection[str] = ()) -> frozenset[str]:
    """The nodes of which nothing can be asked: waived, NotReady by other causes, in transit, or not attached yet.

    Nor of those whose failing gates an operator accepts: others are not held by their pairs with them.
    With a `focus` only its neighbours are looked at: the others are not asked anyway.
    """
    out = set()
    nodes = view.seen.nodes
    mesh = graph(nodes, view.config)
    others = {near for name in focus if name in nodes for near in mesh.neighbours(name)} if focus else nodes
    for name in others:
        node, entry = nodes[name], view.record.nodes.get(name)
        if name in focus:
            continue
        newcomer = entry is not None and entry.joined and entry.state is NodeState.CANAL
        if (
            entry is None
            or entry.skipped
            or entry.accept
            or newcomer
            or not node.ready
            or out_of_service(view.plan, entry)
        ):
            out.add(name)
    return frozenset(out)


def off_canal(view: ClusterView) -> frozenset[str]:
    """The nodes whose agents are not on Canal, or not all of them: they have left it, or are not back yet."""
    return frozenset(
        node
        for node in view.seen.nodes
        if not all(view.on_canal(pod) for pod in view.networked(node) if view.is_agent(pod) and not pod.deleting)
    )


def _verdict(
    view: ClusterView,
    key: str,
    focus: Collection[str] | None,
    since: datetime,
    *,
    own: bool = False,
    final: bool = False,
    back: bool = False,
) -> tuple[Verdict, GateAsk, Expected]:
    """The verdict of a gate.

    With `own` only the agents on the nodes in focus are read, not those who observe them. `final`: Cilium has its end
    form, so it alone decides on every node, by the configured enforcement. On the way `back` only what the old network
    owes is asked for: pairs with both ends on Canal by now, as in the baseline. Whoever goes back may do so because
    Cilium is broken.
    """
    out = excluded(view, focus or ())
    elsewhere = off_canal(view) - frozenset(focus or ()) if back else frozenset()
    out |= elsewhere
    question, missing = ask(key, focus, view.seen, view.config, since, excluded=out)
    wanted = expected(view.seen.nodes, view.config, focus=focus, excluded=out)
    if own and focus is not None:
        agents = {f"{node}/{mesh}" for node in focus for mesh in MESHES}
        question = replace(question, pods=tuple(pod for pod in question.pods if pod[2] in agents))
        wanted = {agent: peers for agent, peers in wanted.items() if agent in agents}
        missing = {agent: why for agent, why in missing.items() if agent in agents}
    cilium = frozenset(view.seen.nodes) if final else enforcing(view.record.nodes)
    known_failures: Container[str] = KnownFailures(view.record.cluster.baseline, cilium, everywhere=final)
    if back:
        known_failures = OwedByCanal(known_failures, everywhere=not elsewhere)
    verdict = judge(
        _of_those_there(view.outcomes.readings.get(key), focus),
        wanted,
        known_failures,
        since,
        view.config,
        ignore=unasked(view.config, final=final),
        newest=view.since,
        others=beyond(view.seen.nodes, focus=focus, excluded=out),
        shared=shared(view.config),
    )
    if missing and not isinstance(verdict, Failing):
        agent, why = next(iter(missing.items()))
        lacking = verdict.lacking if isinstance(verdict, Pending) else frozenset()
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        verdict = Pending(f"agent {agent}: {why}{more}", lacking)
    return verdict, question, wanted


def _of_those_there(reading: GateReading | None, focus: Collection[str] | None) -> GateReading | None:
    """The reading without what observers have seen before both agents of a node in focus had begun to report.

    An agent that was just made anew may have a predecessor that still answered those who had not heard of its end.
    """
    if reading is None or not focus:
        return reading
    own = {f"{node}/{mesh}" for node in focus for mesh in MESHES}
    first = max((rounds[0].at for agent, rounds in reading.rounds.items() if agent in own and rounds), default=None)
    if first is None:
        return reading
    rounds = {
        agent: known if agent in own else tuple(one for one in known if one.at >= first)
        for agent, known in reading.rounds.items()
    }
    return replace(reading, rounds=rounds)


def _gate(
    view: ClusterView,
    key: str,
    focus: Collection[str] | None,
    on: str,
    *,
    own: bool = False,
    final: bool = False,
    back: bool = False,
    since: datetime | None = None,
    sooner: float = math.inf,
) -> Answer:
    """Wait until connectivity is proven since the step began; the deadline turns a failure into a held node.

    `since`: rounds from then on count, though the step began later; all but the newest, which has to come after that.
    Most agents have reported what is needed `sooner` by so many seconds than if they had begun with the step.
    """
    enough, one_round = _needed(view), LATELY * view.config.knet.interval
    early = enough if since is None else max(one_round, enough - sooner)
    if (left := early - (view.now - view.since).total_seconds()) > 0:
        return Wait(on=on, observed="the agents' next rounds", retry_in=left)
    since = since or view.since
    verdict, question, _ = _verdict(view, key, focus, since, own=own, final=final, back=back)
    if isinstance(verdict, Passed):
        result = GateResult(sent=verdict.sent, lost=verdict.lost, stall_ms=verdict.stall_ms)
        if not isinstance(view, NodeView):
            return Done(remember=ClusterChanges(gate=result))
        changes = NodeChanges(gate=result)
        if back:
            changes["unproven"] = _unproven(view, key, focus or ())
        return Done(remember=changes)
    observed = verdict.observed if isinstance(verdict, Pending) else _described(verdict)
    if isinstance(view, NodeView) and view.entry.accept and _had_its_time(view):
        failing = f"{view.entry.event}/{view.entry.step}: {observed}"
        return Done(remember=NodeChanges(accepted=(*view.entry.accepted, failing)))
    reading = view.outcomes.readings.get(key)
    if (left := _pause(view, reading, verdict.due)) > 0:
        return Wait(on=on, observed=observed, retry_in=left, gate=True)
    return Wait(on=on, observed=observed, ask=_to_read(question, verdict, reading, view.now), gate=True)


def _had_its_time(view: ClusterView) -> bool:
    """Whether a gate that may fail has had the time to be proven all the same."""
    patience = min(view.config.deadlines.gate / 2, 3 * _needed(view))
    return (view.now - max(view.since, view.record.cluster.resumed or view.since)).total_seconds() >= patience


def _unproven(view: ClusterView, key: str, focus: Collection[str]) -> str:
    """What the node's own agents reported last and does not count on the way back, in words: it needs Cilium."""
    reading = view.outcomes.readings.get(key)
    rounds = reading.rounds if reading is not None else {}
    known = frozenset(view.record.cluster.baseline)
    newest = [(agent, found[-1]) for agent, found in sorted(rounds.items()) if found and node_of(agent) in focus]
    pairs = [Pair(agent, bad.peer, bad.net, bad.kind, bad.error) for agent, one in newest for bad in one.bad]
    left = [str(pair) for pair in pairs if pair.known not in known]
    more = f" and {len(left) - 3} more" if len(left) > 3 else ""
    return f"{', '.join(left[:3])}{more}"


def _to_read(question: GateAsk, verdict: Pending | Failing, reading: GateReading | None, now: datetime) -> GateAsk:
    """What is still to be read: agents that have reported enough, and just now, are not asked again."""
    rounds = reading.rounds if reading is not None else {}
    fresh = {agent for agent, known in rounds.items() if known and now - known[-1].at < FRESH}
    left = tuple(pod for pod in question.pods if pod[2] not in fresh or pod[2] in verdict.lacking)
    return replace(question, pods=left)


def _described(failing: Failing) -> str:
    pairs = [str(pair) for pair in failing.pairs] + [f"{agent}: {why}" for agent, why in failing.silent]
    more = f" and {len(pairs) - 6} more" if len(pairs) > 6 else ""
    return f"{failing.diagnosis}: {', '.join(pairs[:6])}{more}" if pairs else failing.diagnosis


def _needed(view: ClusterView) -> float:
    """In so many seconds the agents report as many rounds as a gate needs."""
    gate, interval = view.config.gate, view.config.knet.interval
    return max(gate.seconds, (gate.rounds - 1) * interval) + LATELY * interval


def _just_before(view: ClusterView) -> datetime:
    """From when on rounds count where nothing of the network was changed for the step: so long as a gate takes."""
    return view.since - timedelta(seconds=_needed(view))


def _pause(view: ClusterView, reading: GateReading | None, due: datetime | None) -> float:
    """Seconds until it is worth reading again: when what is lacking is due, if that is known.

    Not before half a round, when it is nearly there; two rounds once it takes long.
    """
    if reading is None:
        return 0.0
    interval = view.config.knet.interval
    waited = (view.now - view.since).total_seconds()
    pause = max(1.0, 2 * interval)
    if waited < _needed(view) + interval:
        pause = interval / 2
    elif waited <= 2 * _needed(view):
        pause = interval
    again = reading.at + timedelta(seconds=pause)
    return (max(again, due or again) - view.now).total_seconds()


def _key(view: NodeView) -> str:
    return f"{view.node.name}/{view.entry.event}/{view.entry.step}/{view.entry.attempt}"


@node_step("gate")
def gate(view: NodeView) -> Answer:
    """Prove that the node's agents and those who observe them reach each other, on every network they have.

    On the way back, only on Canal: what needs Cilium is told in the history, and holds nobody.
    Where its pods were made anew, what its new agents have reported since counts already. But a round has to come after
    the last of its pods has got there.
    """
    name = view.node.name
    back = view.entry.event is not None and view.entry.event.backwards
    on = f"connectivity of node {name} on Canal to be proven" if back else f"connectivity of node {name} to be proven"
    return _gate(view, _key(view), [name], on, back=back, since=view.entry.renewed, sooner=SEEN_LATE)


@node_step("gate")
def baseline_gate(view: NodeView) -> Answer:
    """Prove that connectivity of the node is as good as in the baseline.

    Nothing of the node has been touched yet: the rounds just before the step count as well. But one has to come after
    it, as what was done last, elsewhere, may have broken something.
    """
    name = view.node.name
    on = f"connectivity of node {name} to be as good as in the baseline"
    return _gate(view, _key(view), [name], on, since=_just_before(view))


@node_step("agent", gives_way=True)
def await_newcomers(view: NodeView) -> Answer:
    """Make sure that no node has joined that is not on both networks yet."""
    if late := guards.not_dual_yet(view.record):
        return Wait(on="nodes that have joined to be attached first", observed=", ".join(sorted(late)[:5]))
    return Done()


@node_step("gate")
def recheck(view: NodeView) -> Answer:
    """Prove that the node's agents still reach their peers, now that it is in service.

    Going back into service changes nothing in the node's network: the clean rounds of the gate just before count on,
    if none in between was lost. But one has to come after it.
    """
    name = view.node.name
    on = f"connectivity from node {name} to be proven in service"
    return _gate(view, _key(view), [name], on, own=True, since=_just_before(view))


@cluster_step("gate")
def sweep(view: ClusterView) -> Answer:
    """Prove connectivity between all nodes."""
    if view.record.cluster.direction == "back" and view.record.cluster.gate is None:
        return Done()  # back from before the baseline: nothing was changed, and there may be no agents to ask
    since = view.since.isoformat()
    return _gate(view, f"sweep/{since}", None, "connectivity of the whole cluster to be proven")


@cluster_step("gate")
def final_sweep(view: ClusterView) -> Answer:
    """Prove connectivity between all nodes, and that policies are enforced by Cilium as the configuration says."""
    on = "connectivity of the whole cluster to be proven"
    return _gate(view, f"final/{view.since.isoformat()}", None, on, final=True)


@cluster_step("gate")
def take_baseline(view: ClusterView) -> Answer:
    """Take the baseline: what is broken already does not count, and is shown."""
    key = f"baseline/{view.since.isoformat()}"
    on = "the agents to report how connectivity is now"
    if (early := _needed(view) - (view.now - view.since).total_seconds()) > 0:
        return Wait(on=on, observed="the agents' first rounds", retry_in=early)
    verdict, question, wanted = _verdict(view, key, None, view.since)
    if isinstance(verdict, Passed):
        result = GateResult(sent=verdict.sent, lost=verdict.lost, stall_ms=verdict.stall_ms)
        return Done(remember=ClusterChanges(baseline=(), gate=result))
    reading = view.outcomes.readings.get(key)
    ask, left = (question, None) if (pause := _pause(view, reading, verdict.due)) <= 0 else (None, pause)
    if isinstance(verdict, Pending) or reading is None:
        observed = verdict.observed if isinstance(verdict, Pending) else "nothing yet"
        return Wait(on=on, observed=observed, ask=ask, retry_in=left)
    seen = {agent: [r for r in reading.rounds.get(agent, ()) if r.at >= view.since] for agent in wanted}
    unknown = any(pair.kind == "peer" for pair in verdict.pairs)
    short = any(len(rounds) < view.config.gate.rounds for rounds in seen.values())
    # What was not probed yet may fail all the same, and would count against the migration later.
    if verdict.silent or unknown or short or any(unprobed(rounds[-1], shared(view.config)) for rounds in seen.values()):
        return Wait(on=on, observed=_described(verdict), ask=ask, retry_in=left, gate=True)
    known = baseline(reading, newest=view.config.gate.rounds)
    sent = sum(one.sent for rounds in seen.values() for one in rounds)
    lost = sum(one.lost for rounds in seen.values() for one in rounds)
    if len(known) > BASELINE_MOST or lost * 2 > sent:
        return Refuse(
            why=f"connectivity is broken already, {lost} of {sent} probes are lost: {verdict.diagnosis}",
            next="fix the cluster's network first",
            gate=True,
        )
    return Done(remember=ClusterChanges(baseline=tuple(sorted(known)), gate=GateResult(sent=sent, lost=lost)))
