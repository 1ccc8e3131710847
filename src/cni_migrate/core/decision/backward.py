"""Back: one node, or the whole cluster in reverse order."""

from cni_migrate.core.decision.advance import begin_event
from cni_migrate.core.decision.in_flight import Deciding, advance, run_list, under_way
from cni_migrate.core.decision.order import in_order
from cni_migrate.core.decision.schedule import room_for
from cni_migrate.core.model.goal import Final
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase, PhaseEvent
from cni_migrate.core.model.objects import Node


def backward(turn: Deciding) -> None:
    """Take the whole cluster back, in reverse order."""
    if turn.record.cluster.phase is Phase.MIGRATING:
        beyond = [node for node, entry in turn.members() if entry.state.beyond_dual]
        if not beyond and not under_way(turn):
            turn.phase(PhaseEvent.BACK_TO_ATTACHING)
        else:
            _begin_back(turn, beyond, NodeEvent.RESTORE)
    if turn.final is None and turn.record.cluster.phase is Phase.ATTACHING:
        dual = [node for node, entry in turn.members() if entry.state is NodeState.DUAL]
        if not dual and not under_way(turn):
            turn.phase(PhaseEvent.BACK_TO_PREPARING)
            turn.record = turn.record.with_cluster(turn.record.cluster.model_copy(update={"list_name": ""}))
        else:
            _begin_back(turn, dual, NodeEvent.DETACH)
    if turn.final is None and turn.record.cluster.phase is Phase.PREPARING and run_list(turn, "undo"):
        turn.phase(PhaseEvent.UNDO)
        turn.record = turn.record.with_cluster(
            turn.record.cluster.model_copy(update={"canal_before": None, "baseline": ()})
        )
    if turn.final is None and turn.record.cluster.phase is Phase.PREFLIGHT:
        turn.final = Final("done", "the cluster is as it was found", _left(turn))


def _left(turn: Deciding) -> str:
    """What to type about what stays on purpose: deleting a definition deletes all its objects, whoever made them."""
    if not turn.seen.served:
        return ""
    lease = f"kubectl delete lease -n {turn.plan.config.cilium.namespace} cilium-operator-resource-lock"
    crds = "kubectl get crd -o name | grep 'cilium\\.io$' | xargs kubectl delete"
    return f"{lease}; {crds}  (Cilium's operator made them; if nothing else uses them)"


def _begin_back(turn: Deciding, waiting: list[Node], event: NodeEvent) -> None:
    """Begin a backward event on nodes, the last one first."""
    left = room_for(turn, event)
    idle = [node for node in waiting if turn.record.nodes[node.name].event is None]
    ordered = list(reversed(in_order(turn.plan.config, idle)))
    # Nodes that joined late come last: Canal elsewhere must run again before it can learn the way to them.
    ordered.sort(key=lambda node: turn.record.nodes[node.name].joined)
    for node in ordered:
        if turn.record.nodes[node.name].state in (NodeState.DRAINING, NodeState.CILIUM):
            left = max(left, 1)  # it is out of service already
        if left <= 0:
            return
        entry = begin_event(turn.plan, turn.record.nodes[node.name], event, turn.now)
        turn.record = turn.record.with_node(node.name, entry)
        advance(turn, node.name)
        left -= 1


def node_back(turn: Deciding) -> None:
    """`migrate rollback-node`: carried on by `carry_on`; see whether it is there, or goes on to Canal."""
    name = turn.goal.node
    entry = turn.record.nodes[name]
    if entry.gone:
        turn.final = Final("halted", f"node {name} is gone", "migrate status")
    elif entry.held is not None:
        turn.final = Final("gate" if entry.held.gate else "halted", entry.held.why, entry.held.next)
    elif entry.event is None and entry.state is NodeState.DUAL and turn.goal.to == "canal":
        turn.record = turn.record.with_node(name, begin_event(turn.plan, entry, NodeEvent.DETACH, turn.now))
        advance(turn, name)
    elif entry.event is None:
        turn.final = Final("done", f"node {name} is back: {entry.state}", "migrate run")
