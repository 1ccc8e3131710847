"""Back: one node, or the whole cluster in reverse order."""

from cni_migrate.core.decision.advance import begin_event
from cni_migrate.core.decision.in_flight import Draft, advance, run_list, under_way
from cni_migrate.core.decision.order import in_order
from cni_migrate.core.decision.schedule import free_slots
from cni_migrate.core.model.goal import Final
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase, PhaseEvent
from cni_migrate.core.model.objects import Node


def backward(draft: Draft) -> None:
    """Take the whole cluster back, in reverse order."""
    if draft.record.cluster.phase is Phase.CLEANING and run_list(draft, "reopen"):
        draft.phase(PhaseEvent.BACK_TO_MIGRATING)
    if draft.final is None and draft.record.cluster.phase is Phase.MIGRATING:
        beyond = [node for node, entry in draft.members() if entry.state.beyond_dual]
        if not beyond and not under_way(draft):
            draft.phase(PhaseEvent.BACK_TO_ATTACHING)
        else:
            _begin_back(draft, beyond, NodeEvent.RESTORE)
    if draft.final is None and draft.record.cluster.phase is Phase.ATTACHING:
        dual = [node for node, entry in draft.members() if entry.state is NodeState.DUAL]
        if not dual and not under_way(draft):
            draft.phase(PhaseEvent.BACK_TO_PREPARING)
            draft.record = draft.record.with_cluster(draft.record.cluster.model_copy(update={"list_name": ""}))
        else:
            _begin_back(draft, dual, NodeEvent.DETACH)
    if draft.final is None and draft.record.cluster.phase is Phase.PREPARING and run_list(draft, "undo"):
        draft.phase(PhaseEvent.UNDO)
        draft.record = draft.record.with_cluster(
            draft.record.cluster.model_copy(update={"canal_before": None, "baseline": ()})
        )
    if draft.final is None and draft.record.cluster.phase is Phase.PREFLIGHT:
        draft.final = Final("done", "the cluster is as it was found", _left(draft))


def _left(draft: Draft) -> str:
    """What to type about what stays on purpose: deleting a definition deletes all its objects, whoever made them."""
    if not draft.seen.served:
        return ""
    lease = f"kubectl delete lease -n {draft.plan.config.cilium.namespace} cilium-operator-resource-lock"
    crds = "kubectl get crd -o name | grep 'cilium\\.io$' | xargs kubectl delete"
    return f"{lease}; {crds}  (Cilium's operator made them; if nothing else uses them)"


def _begin_back(draft: Draft, waiting: list[Node], event: NodeEvent) -> None:
    """Begin a backward event on nodes, the last one first."""
    left = free_slots(draft, event)
    idle = [node for node in waiting if draft.record.nodes[node.name].event is None]
    ordered = list(reversed(in_order(draft.plan.config, idle)))
    # Nodes that joined late come last: Canal elsewhere must run again before it can learn the way to them.
    ordered.sort(key=lambda node: draft.record.nodes[node.name].joined)
    for node in ordered:
        if draft.record.nodes[node.name].state in (NodeState.DRAINING, NodeState.CILIUM):
            left = max(left, 1)  # it is out of service already
        if left <= 0:
            return
        entry = begin_event(draft.plan, draft.record.nodes[node.name], event, draft.now)
        draft.record = draft.record.with_node(node.name, entry)
        advance(draft, node.name)
        left -= 1


def node_back(draft: Draft) -> None:
    """`migrate rollback-node`: carried on by `carry_on`; see whether it is there, or goes on to Canal."""
    name = draft.goal.node
    entry = draft.record.nodes[name]
    if entry.gone:
        draft.final = Final("halted", f"node {name} is gone", "migrate status")
    elif entry.held is not None:
        draft.final = Final("gate" if entry.held.gate else "halted", entry.held.why, entry.held.next)
    elif entry.event is None and entry.state is NodeState.DUAL and draft.goal.to == "canal":
        draft.record = draft.record.with_node(name, begin_event(draft.plan, entry, NodeEvent.DETACH, draft.now))
        advance(draft, name)
    elif entry.event is None:
        draft.final = Final("done", f"node {name} is back: {entry.state}", "migrate run")
