"""Beginning events on nodes: as many as capacity allows, and never on a node that is somebody else's business."""

from datetime import timedelta

from cni_migrate.core.decision.advance import Waiting, begin_event
from cni_migrate.core.decision.in_flight import Draft, advance
from cni_migrate.core.decision.order import capacity, in_order
from cni_migrate.core.model.goal import Final
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import Node
from cni_migrate.core.steps.view import out_of_service

TOGETHER = 20
"""How many nodes may go through an event that leaves them in service, at once."""


def begin_on(draft: Draft, waiting: list[Node], event: NodeEvent) -> None:
    """Begin an event on as many of these nodes as may be out of service at once."""
    if draft.seen.requests.paused_since:
        draft.work.waits.append(Waiting("", "", "`migrate resume`", f"paused since {draft.seen.requests.paused_since}"))
        return
    in_service = event in draft.plan.strategy.in_service
    left = free_slots(draft, event)
    idle = [node for node in waiting if draft.record.nodes[node.name].event is None]
    untouchable: list[str] = []
    for node in in_order(draft.plan.config, idle):
        if event is not NodeEvent.ADOPT and (reason := _untouchable(node, in_service)):
            untouchable.append(reason)
            continue
        if left <= 0:
            continue
        entry = begin_event(draft.plan, draft.record.nodes[node.name], event, draft.now)
        draft.record = draft.record.with_node(node.name, entry)
        advance(draft, node.name)
        left -= 1
    under_way = any(entry.event is not None and entry.held is None for _, entry in draft.members())
    if idle and not under_way and draft.final is None:
        _wait_for_nodes(draft, untouchable or _lost(draft))
    elif draft.record.cluster.idle_since is not None:
        draft.record = draft.record.with_cluster(draft.record.cluster.model_copy(update={"idle_since": None}))


def _lost(draft: Draft) -> list[str]:
    """The nodes that are NotReady without our doing: they count against max_unavailable."""
    return [
        f"node {node.name} is NotReady, and no other is taken out of service meanwhile"
        for node, entry in draft.members()
        if not node.ready and not out_of_service(draft.plan, entry)
    ]


def free_slots(draft: Draft, event: NodeEvent) -> int:
    """How many more nodes may begin: the first ever goes alone, as a canary; nodes that were lost count as out."""
    entries = [entry for entry in draft.record.nodes.values() if not entry.gone]
    if event in draft.plan.strategy.in_service:
        return TOGETHER - sum(1 for entry in entries if entry.event is not None)
    limit = capacity(draft.plan.config, len(entries))
    if event is NodeEvent.ATTACH:
        # A drain that waits for the newcomer, before anything was touched, leaves it its place.
        entries = [entry for entry in entries if entry.step != "await_newcomers"]
    out = sum(1 for entry in entries if out_of_service(draft.plan, entry))
    ahead = NodeState.MIGRATED if draft.record.cluster.phase is Phase.MIGRATING else NodeState.DUAL
    if draft.record.cluster.direction == "forward" and not any(entry.state is ahead for entry in entries):
        limit = 1
    return limit - out - len(_lost(draft))


def _untouchable(node: Node, in_service: bool) -> str:
    """Why a node is not touched: its trouble, or its cordon, is somebody else's business."""
    if not node.ready:
        return f"node {node.name} is NotReady"
    if node.unschedulable and not in_service:
        return f"node {node.name} was cordoned by somebody else"
    return ""


def _wait_for_nodes(draft: Draft, reasons: list[str]) -> None:
    """Nothing can begin: wait for the nodes a while, then halt and say so."""
    cluster = draft.record.cluster
    if cluster.idle_since is None:
        draft.record = draft.record.with_cluster(cluster.model_copy(update={"idle_since": draft.now}))
        cluster = draft.record.cluster
    assert cluster.idle_since is not None
    end = cluster.idle_since + timedelta(seconds=draft.plan.config.deadlines.agent)
    if draft.now >= end:
        draft.record = draft.record.with_cluster(cluster.model_copy(update={"idle_since": None}))
        draft.final = Final(
            "halted",
            "not touched: " + "; ".join(reasons),
            "mend or uncordon what is named, or `migrate skip-node NODE`, then `migrate run`",
        )
        return
    draft.work.waits.append(Waiting("", "", "nodes that cannot be touched", "; ".join(reasons[:3])))
    draft.work.look_at(end)
