"""Back: one node, or the whole cluster in reverse order."""

from cni_migrate.core.decision.admission import admit
from cni_migrate.core.decision.draft import Draft, names_of, under_way
from cni_migrate.core.decision.in_flight import advance, held_nodes, run_list
from cni_migrate.core.decision.order import in_order
from cni_migrate.core.decision.schedule import begin_in_turn
from cni_migrate.core.model import guards
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase, PhaseEvent
from cni_migrate.core.model.objects import Node
from cni_migrate.core.model.record import NodeRecord, Record


def finish(record: Record) -> str:
    """What to type where a node cannot go back alone; `migrate run` is refused while the cluster goes back."""
    if record.cluster.direction == "back":
        return "migrate rollback  (to finish)"
    return "migrate run  (to finish), or `migrate rollback` for the whole cluster"


def backward(draft: Draft) -> None:
    """Take the whole cluster back, in reverse order."""
    if draft.record.cluster.phase is Phase.CLEANING and run_list(draft, "reopen"):
        draft.phase(PhaseEvent.BACK_TO_MIGRATING)
    if draft.final is None and draft.record.cluster.phase is Phase.MIGRATING:
        if left := guards.beyond_dual(draft.record):
            beyond = [node for node, entry in draft.members() if entry.state.beyond_dual]
            _begin_back(draft, beyond, NodeEvent.RESTORE, left)
        elif not under_way(draft):
            draft.phase(PhaseEvent.BACK_TO_ATTACHING)
    if draft.final is None and draft.record.cluster.phase is Phase.ATTACHING:
        if left := guards.not_canal(draft.record):
            dual = [node for node, entry in draft.members() if entry.state is NodeState.DUAL]
            _begin_back(draft, dual, NodeEvent.DETACH, left)
        else:
            draft.phase(PhaseEvent.BACK_TO_PREPARING)
            draft.record = draft.record.with_cluster(draft.record.cluster.model_copy(update={"list_name": ""}))
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


def _begin_back(draft: Draft, waiting: list[Node], event: NodeEvent, left: list[str]) -> None:
    """Begin a backward event on nodes, the last one first; without any, those that are left are waived."""
    if not waiting and not under_way(draft):
        draft.final = Final(
            "halted",
            f"the rollback waits: {names_of(left)} {'is' if len(left) == 1 else 'are'} skipped and not back",
            f"migrate skip-node --undo {min(left)}, then {draft.goal.command}",
        )
        return
    there = {node.name for node in waiting}
    ordered = [n for n in reversed(in_order(draft.plan.config, draft.seen.nodes.values())) if n.name in there]
    # Nodes that joined late come last: Canal elsewhere must run again before it can learn the way to them.
    ordered.sort(key=lambda node: draft.record.nodes[node.name].joined)
    begin_in_turn(draft, ordered, event)


def rollback_node(draft: Draft) -> None:
    """`migrate rollback-node`: the node is carried on by `carry_on`; begin what is next, or see that it is there."""
    name = draft.goal.node
    entry = draft.record.nodes[name]
    if entry.gone:
        draft.final = Final("halted", f"node {name} is gone", "migrate status")
    elif (held := held_nodes(draft).get(name) or entry.held or draft.record.cluster.held) is not None:
        draft.final = Final("gate" if held.gate else "halted", held.why, held.next)
    elif entry.event is None and (event := next_back(draft.goal, entry)) is not None:
        blocked = admit(draft, name, event)
        if blocked is None:
            advance(draft, name)
        elif blocked.cause == "order":  # nobody moves the others meanwhile
            why = f"node {name} is {entry.state} and cannot go further back: {blocked.because}"
            draft.final = Final("halted", why, finish(draft.record))
    elif entry.event is None:
        draft.final = Final("done", f"node {name} is back: {entry.state}", draft.record.cluster.onward)


def next_back(goal: Goal, entry: NodeRecord) -> NodeEvent | None:
    """Which event an idle node needs next on its way to where `migrate rollback-node` takes it; None: it is there."""
    if entry.state.beyond_dual:
        return NodeEvent.RESTORE
    return NodeEvent.DETACH if entry.state is NodeState.DUAL and goal.to == "canal" else None
