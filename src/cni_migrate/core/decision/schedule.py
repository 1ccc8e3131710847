"""Beginning events on nodes, in the plan's order, and what becomes of those that cannot begin: a wait with an end."""

from collections.abc import Iterable
from datetime import timedelta

from cni_migrate.core.decision.admission import admit
from cni_migrate.core.decision.advance import Waiting
from cni_migrate.core.decision.draft import Blocked, Draft
from cni_migrate.core.decision.in_flight import advance
from cni_migrate.core.decision.order import in_order
from cni_migrate.core.model.goal import Final
from cni_migrate.core.model.lifecycle import NodeEvent, Phase
from cni_migrate.core.model.objects import Node
from cni_migrate.core.steps.view import out_of_service

MOST_TOLD = 3
"""So many reasons are shown at once."""


def begin_on(draft: Draft, waiting: Iterable[Node], event: NodeEvent) -> None:
    """Begin an event on those of these nodes on which it may begin now, in the order of the plan."""
    order = {node.name: place for place, node in enumerate(in_order(draft.plan.config, draft.seen.nodes.values()))}
    begin_in_turn(draft, sorted(waiting, key=lambda node: order[node.name]), event)


def begin_in_turn(draft: Draft, waiting: Iterable[Node], event: NodeEvent) -> None:
    """Begin an event on those of these nodes on which it may begin now, in the order given.

    Those that are out of service already come first: they take nobody's place, and get back by it.
    """
    entries = draft.record.nodes
    idle = [node for node in waiting if entries[node.name].event is None]
    for node in sorted(idle, key=lambda node: not out_of_service(draft.plan, entries[node.name])):
        blocked = admit(draft, node.name, event)
        if blocked is None:
            advance(draft, node.name)
            if draft.record.nodes[node.name].held is not None:
                return  # a held node stops the run: no other is begun
        elif blocked.for_all:
            return


def settle(draft: Draft) -> None:
    """Show what is blocked, and end the run when it has been blocked too long with nothing under way that could help.

    A pause has no end but the operator's. Nodes that only take their turn behind others need not be told one by one.
    """
    one_node = draft.goal.node if draft.goal.kind == "rollback_node" else ""
    blocked = {
        name: one
        for name, one in draft.blocked.items()
        if one_node or draft.record.nodes[name].event is None or draft.record.nodes[name].held is not None
    }
    if draft.final is not None or not blocked:
        _idle(draft, since=False)
        return
    busy = not one_node and any(entry.event is not None and entry.held is None for _, entry in draft.members())
    paused = [one for one in blocked.values() if one.cause == "paused"]
    trouble = [one for one in blocked.values() if one.cause == "trouble"]
    if paused:
        draft.work.waits.append(Waiting("", "", paused[0].until, paused[0].because))
    if trouble or not (busy or paused):
        told = _told(trouble or blocked.values())
        draft.work.waits.append(Waiting("", "", "nodes that cannot be touched", "; ".join(told[:MOST_TOLD])))
    _idle(draft, since=not (busy or paused))
    since = draft.record.cluster.idle_since
    if since is None:
        return
    end = since + timedelta(seconds=draft.plan.config.deadlines.agent)
    if draft.now < end and not (trouble and all(one.remedy for one in trouble)):  # that does not end by itself
        draft.work.look_at(end)
        return
    _idle(draft, since=False)
    _halt(draft, trouble or list(blocked.values()))


def _told(blocked: Iterable[Blocked]) -> list[str]:
    return list(dict.fromkeys(one.because for one in blocked))


def _halt(draft: Draft, blocked: list[Blocked]) -> None:
    if remedies := list(dict.fromkeys(one.remedy for one in blocked if one.remedy)):
        told = "; ".join(_told(blocked))
        draft.final = Final("halted", f"not touched: {told}", f"{'; '.join(remedies)}; then `{draft.goal.command}`")
        return
    names = list(dict.fromkeys(name for one in blocked for name in one.nodes))
    goal = draft.goal
    entries = draft.record.nodes
    skipped = [name for name in names if name in entries and entries[name].skipped]
    if skipped:
        out = f", or take it up again: `migrate skip-node --undo {skipped[0]}`"
    elif draft.record.cluster.phase is Phase.DONE:  # nobody is left out any more
        out = f", or take it out of the cluster: `kubectl delete node {names[0]}`" if names else ""
    else:
        out = f", or leave it out: `migrate skip-node {names[0]}`" if names and goal.kind != "rollback_node" else ""
    draft.final = Final(
        "halted",
        "not touched: " + "; ".join(_told(blocked)),
        f"fix or uncordon what is named{out}; then `{goal.command}`",
    )


def _idle(draft: Draft, *, since: bool) -> None:
    """Note since when nothing could begin while nothing was under way, or that this is over."""
    cluster = draft.record.cluster
    if since is (cluster.idle_since is not None):
        return
    value = draft.now if since else None
    draft.record = draft.record.with_cluster(cluster.model_copy(update={"idle_since": value}))
