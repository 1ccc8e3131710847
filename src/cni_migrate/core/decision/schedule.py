"""Beginning events on nodes: as many as capacity allows, and never on a node that is somebody else's business."""

from datetime import timedelta

from cni_migrate.core.decision.advance import Waiting, begin_event
from cni_migrate.core.decision.in_flight import Deciding, advance
from cni_migrate.core.decision.order import capacity, in_order
from cni_migrate.core.model.goal import Final
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import Node
from cni_migrate.core.steps.view import out_of_service

TOGETHER = 20
"""How many nodes may go through an event that leaves them in service, at once."""


def begin_on(turn: Deciding, waiting: list[Node], event: NodeEvent) -> None:
    """Begin an event on as many of these nodes as may be out of service at once."""
    if turn.seen.requests.paused_since:
        turn.work.waits.append(Waiting("", "", "`migrate resume`", f"paused since {turn.seen.requests.paused_since}"))
        return
    in_service = event in turn.plan.strategy.in_service
    left = room_for(turn, event)
    idle = [node for node in waiting if turn.record.nodes[node.name].event is None]
    untouchable: list[str] = []
    for node in in_order(turn.plan.config, idle):
        if event is not NodeEvent.ADOPT and (reason := _untouchable(node, in_service)):
            untouchable.append(reason)
            continue
        if left <= 0:
            continue
        entry = begin_event(turn.plan, turn.record.nodes[node.name], event, turn.now)
        turn.record = turn.record.with_node(node.name, entry)
        advance(turn, node.name)
        left -= 1
    under_way = any(entry.event is not None and entry.held is None for _, entry in turn.members())
    if idle and not under_way and turn.final is None:
        _wait_for_nodes(turn, untouchable or _lost(turn))
    elif turn.record.cluster.idle_since is not None:
        turn.record = turn.record.with_cluster(turn.record.cluster.model_copy(update={"idle_since": None}))


def _lost(turn: Deciding) -> list[str]:
    """The nodes that are NotReady without our doing: they count against max_unavailable."""
    return [
        f"node {node.name} is NotReady, and no other is taken out of service meanwhile"
        for node, entry in turn.members()
        if not node.ready and not out_of_service(turn.plan, entry)
    ]


def room_for(turn: Deciding, event: NodeEvent) -> int:
    """How many more nodes may begin: the first ever goes alone, as a canary; nodes that were lost count as out."""
    entries = [entry for entry in turn.record.nodes.values() if not entry.gone]
    if event in turn.plan.strategy.in_service:
        return TOGETHER - sum(1 for entry in entries if entry.event is not None)
    limit = capacity(turn.plan.config, len(entries))
    if event is NodeEvent.ATTACH:
        # A drain that waits for the newcomer, before anything was touched, leaves it its place.
        entries = [entry for entry in entries if entry.step != "await_newcomers"]
    out = sum(1 for entry in entries if out_of_service(turn.plan, entry))
    ahead = NodeState.MIGRATED if turn.record.cluster.phase is Phase.MIGRATING else NodeState.DUAL
    if turn.record.cluster.direction == "forward" and not any(entry.state is ahead for entry in entries):
        limit = 1
    return limit - out - len(_lost(turn))


def _untouchable(node: Node, in_service: bool) -> str:
    """Why a node is not touched: its trouble, or its cordon, is somebody else's business."""
    if not node.ready:
        return f"node {node.name} is NotReady"
    if node.unschedulable and not in_service:
        return f"node {node.name} was cordoned by somebody else"
    return ""


def _wait_for_nodes(turn: Deciding, reasons: list[str]) -> None:
    """Nothing can begin: wait for the nodes a while, then halt and say so."""
    cluster = turn.record.cluster
    if cluster.idle_since is None:
        turn.record = turn.record.with_cluster(cluster.model_copy(update={"idle_since": turn.now}))
        cluster = turn.record.cluster
    assert cluster.idle_since is not None
    end = cluster.idle_since + timedelta(seconds=turn.plan.config.deadlines.agent)
    if turn.now >= end:
        turn.record = turn.record.with_cluster(cluster.model_copy(update={"idle_since": None}))
        turn.final = Final(
            "halted",
            "not touched: " + "; ".join(reasons),
            "mend or uncordon what is named, or `migrate skip-node NODE`, then `migrate run`",
        )
        return
    turn.work.waits.append(Waiting("", "", "nodes that cannot be touched", "; ".join(reasons[:3])))
    turn.work.look_at(end)
