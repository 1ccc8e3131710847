"""Nodes whose event is under way: carried on, turned round, held, stopped."""

from typing import Any

from cni_migrate.core.decision.admission import admit
from cni_migrate.core.decision.advance import advance_list, advance_node, history
from cni_migrate.core.decision.draft import Draft
from cni_migrate.core.model import guards
from cni_migrate.core.model.goal import Final
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState
from cni_migrate.core.model.record import Held, NodeRecord, Record
from cni_migrate.core.steps.registry import safe_to_stop


def turn_round(draft: Draft) -> None:
    """Begin the way back on nodes that the goal takes back while their event leads forward.

    One that must not turn yet goes on meanwhile: it is nearer to a state from which it can.
    """
    if draft.goal.kind == "forward" or draft.stopping:
        return
    for name, entry in list(draft.record.nodes.items()):
        if draft.goal.kind == "rollback_node" and name != draft.goal.node:
            continue
        if entry.event is not None and not entry.event.backwards and _takes_part(draft, name, entry):
            admit(draft, name, way_back(draft.record, name))


def way_back(record: Record, name: str) -> NodeEvent:
    """Which event undoes what is under way: half an attach is detached, everything else is made dual first.

    While others are beyond dual nobody is detached: half an attach becomes dual, too, and is detached in its turn.
    """
    entry = record.nodes[name]
    attaching = entry.state is NodeState.CANAL and entry.event is not NodeEvent.ADOPT
    others = [other for other in guards.beyond_dual(record) if other != name]
    return NodeEvent.DETACH if attaching and not others else NodeEvent.RESTORE


def _takes_part(draft: Draft, name: str, entry: NodeRecord) -> bool:
    """Whether the node is there, and not waived; who is asked for by name is not waived for that."""
    return not entry.gone and name in draft.seen.nodes and (not entry.skipped or draft.goal.is_for(name))


def carry_on(draft: Draft) -> None:
    """Advance every node whose event is under way, and begin the event that follows by itself.

    A driver that was asked to stop leaves a node between two events: out of service, so it is taken on like the others.
    """
    forward = draft.goal.kind == "forward" and not draft.stopping
    for name, entry in list(draft.record.nodes.items()):
        if not _takes_part(draft, name, entry):
            continue
        if draft.goal.kind == "rollback_node" and (name != draft.goal.node or not _backwards(entry)):
            continue
        if forward and entry.event is None and (left := draft.plan.node_lifecycle.left_at(entry.state)) is not None:
            admit(draft, name, left)
        advance(draft, name)


def _backwards(entry: NodeRecord) -> bool:
    return entry.event is not None and entry.event.backwards


def advance(draft: Draft, name: str) -> None:
    """Advance one node, through every event that follows by itself."""
    while (entry := draft.record.nodes[name]).event is not None and entry.held is None:
        event = entry.event
        moved = advance_node(draft.plan, draft.record, draft.seen, draft.now, name, draft.work, draft.stopping)
        draft.record = draft.record.with_node(name, moved.entry)
        for failing in moved.entry.accepted[len(entry.accepted) :]:
            told = f"node {name}: its failing gate is accepted by {entry.accept}: {failing}"
            draft.record = history(draft.record, draft.now, told)
        if moved.entry.held is not None:
            draft.record = history(draft.record, draft.now, f"node {name} is held: {moved.entry.held.why}")
        if not moved.ended:
            return
        draft.record = _ended(draft, name, event)
        following = draft.plan.node_lifecycle.then.get(event)
        if following is None or draft.stopping or draft.goal.kind != "forward":
            return
        if admit(draft, name, following) is not None:
            return


def _ended(draft: Draft, name: str, event: NodeEvent) -> Record:
    """The event's steps are done: move the node's state."""
    entry = draft.record.nodes[name]
    state = draft.plan.node_lifecycle.target(event)
    seconds = round((draft.now - entry.started).total_seconds(), 1) if entry.started else 0.0
    update: dict[str, Any] = {
        "state": state,
        "event": None,
        "step": "",
        "since": draft.now,
        "started": None,
        "took": {**entry.took, event.value: seconds},
    }
    if event.backwards:
        took = {known: spent for known, spent in update["took"].items() if known != NodeEvent.ADOPT}
        back = draft.now.isoformat(timespec="seconds")
        update |= {"displaced": (), "cleaned": False, "rolled_back": back, "took": took}
    record = draft.record.with_node(name, entry.model_copy(update=update))
    unproven = f"; not asked for, as it needs Cilium: {entry.unproven}" if event.backwards and entry.unproven else ""
    what = f"node {name}: {event} done, {state}, {seconds:g} s{unproven}"
    if event is NodeEvent.RELEASE:  # what other nodes' guards ask for is written before they go on by it
        draft.quiet.add(what)
    return history(record, draft.now, what)


def roll_back_held(draft: Draft) -> None:
    """With `auto_rollback` take held nodes back, as many at once as may be; the others stay held until their turn."""
    if not draft.plan.config.auto_rollback or draft.goal.kind != "forward" or draft.stopping:
        return
    if draft.record.cluster.held is not None:
        return  # they are held with the cluster, for nothing of their own
    for name, entry in list(draft.record.nodes.items()):
        event, held = entry.event, entry.held
        if event is None or held is None or event.backwards or not _takes_part(draft, name, entry):
            continue
        back = NodeEvent.DETACH if event is NodeEvent.ATTACH else NodeEvent.RESTORE
        if admit(draft, name, back) is None:
            begun = draft.record.nodes[name].model_copy(update={"failure": held})
            draft.record = draft.record.with_node(name, begun)
            draft.record = history(draft.record, draft.now, f"node {name}: rolling back by itself (auto_rollback)")
            advance(draft, name)


def stop(draft: Draft) -> None:
    """Stop at the first moment when no effect of a current step is outstanding."""
    work = draft.work
    if work.waits and (work.effects or not all(safe_to_stop(wait.step) for wait in work.waits)):
        return
    since = draft.record.cluster.resumed or draft.now
    seconds = max(0, round((draft.now - since).total_seconds()))
    draft.final = Final("interrupted", f"interrupted after {seconds} s, at a safe point", draft.goal.command)


def held_nodes(draft: Draft) -> dict[str, Held]:
    """Nodes that are held. When the cluster goes back, one that is held on the way forward only waits to be turned."""
    back = draft.goal.kind == "rollback"
    return {
        name: entry.held
        for name, entry in draft.record.nodes.items()
        if entry.held is not None and not entry.skipped and not entry.gone and (not back or _backwards(entry))
    }


def stop_for_held(draft: Draft) -> bool:
    """Whether a held node stops the run; those still under way are carried to the end of their event first."""
    found = held_nodes(draft)
    failed = {
        n: e.failure
        for n, e in draft.record.nodes.items()
        if e.failure is not None and e.event is None and not e.gone and not e.skipped
    }
    cluster = draft.record.cluster.held
    if not found and not failed and cluster is None:
        return False
    if any(e.event and not e.held and not e.gone and not e.skipped for e in draft.record.nodes.values()):
        return True
    reasons = [h.why for h in found.values()] + [
        f"{h.why} (node {n} was rolled back by itself)" for n, h in failed.items()
    ]
    first = cluster or next(iter({**found, **failed}.values()))
    if cluster is not None:
        reasons.insert(0, cluster.why)
    is_gate = first.gate
    draft.final = Final("gate" if is_gate else "halted", "; ".join(dict.fromkeys(reasons)), first.next)
    return True


def run_list(draft: Draft, name: str) -> bool:
    """Carry a list of cluster steps on; whether it has ended."""
    draft.record, ended = advance_list(
        draft.plan, draft.record, draft.seen, draft.now, name, draft.work, draft.stopping
    )
    if draft.record.cluster.held is not None:
        draft.record = history(draft.record, draft.now, f"held: {draft.record.cluster.held.why}")
        stop_for_held(draft)
    return ended
