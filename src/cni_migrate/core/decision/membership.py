"""Keeps the record's list of nodes true: newcomers are enrolled, nodes that vanish are gone, requests are obeyed."""

import contextlib
from datetime import datetime

from cni_migrate.core.decision.admission import let_go
from cni_migrate.core.decision.advance import Work, due
from cni_migrate.core.model import names
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import Node, Snapshot
from cni_migrate.core.model.record import NodeRecord, Record, noted
from cni_migrate.core.steps.labels import labels_patch
from cni_migrate.core.steps.registry import untouched
from cni_migrate.core.steps.view import ClusterView, Plan


def sync_membership(plan: Plan, record: Record, seen: Snapshot, now: datetime, work: Work) -> Record:
    """The record with the nodes that are there now; a newcomer under `multus` is labelled at once, as it has no CNI.

    After the end a newcomer is migrated as soon as Cilium, which is everywhere by then, is Ready on it.
    """
    done = record.cluster.phase is Phase.DONE
    changed: dict[str, NodeRecord] = {}
    lines: list[str] = []
    for name, node in seen.nodes.items():
        entry = record.nodes.get(name)
        if entry is None:
            joined = record.cluster.phase is not Phase.PREPARING
            changed[name] = NodeRecord(uid=node.uid, joined=joined)
            if joined:
                lines.append(f"node {name} joined")
        elif entry.uid != node.uid or entry.gone:
            changed[name] = NodeRecord(uid=node.uid, joined=True)
            lines.append(f"node {name} was recreated: it starts over")
        newest = changed.get(name) or entry
        if (
            done
            and newest is not None
            and newest.state is not NodeState.MIGRATED
            and _on_cilium(plan, record, seen, name, now)
        ):
            changed[name] = newest.model_copy(update={"state": NodeState.MIGRATED})
            lines.append(f"node {name} starts on Cilium, which is everywhere by now")
    for name, entry in record.nodes.items():
        if name not in seen.nodes and not entry.gone:
            changed[name] = entry.model_copy(
                update={"gone": True, "event": None, "step": "", "held": None, "before": None, "targets": None}
            )
            lines.append(f"node {name} is gone (it was {entry.state})")
    if changed:
        record = record.with_nodes({**record.nodes, **changed})
        cluster = record.cluster
        for line in lines:
            cluster = noted(cluster, now, line)
        record = record.with_cluster(cluster)
    if plan.config.traits.two_daemonsets and record.cluster.phase in (Phase.ATTACHING, Phase.MIGRATING):
        _label_newcomers(plan, record, seen, now, work)
    return _obeyed(plan, record, seen, now)


def _on_cilium(plan: Plan, record: Record, seen: Snapshot, name: str, now: datetime) -> bool:
    """Whether Cilium is Ready on a node."""
    view = ClusterView(plan, seen, record, now, now)
    agent = view.agent(name, plan.config.cilium.namespace, names.CILIUM)
    return agent is not None and agent.ready and not agent.deleting


def _label_newcomers(plan: Plan, record: Record, seen: Snapshot, now: datetime, work: Work) -> None:
    """Give a newcomer the label by which it gets a CNI, unless `adopt` will do it in its own order."""
    if record.cluster.direction == "back":
        return
    labels = plan.config.labels
    patches = []
    for name, entry in record.nodes.items():
        if entry.state is NodeState.CANAL and not entry.gone and not entry.skipped:
            node = seen.nodes[name]
            patch = labels_patch(node, [labels.canal_cilium])
            if patch is not None and entry.event is None and not adopted(plan, record, entry, node):
                patches.append(patch)
    if patches:
        wanted, _ = due(patches, seen, now, 5.0, work)
        work.effects.extend(wanted)


def adopted(plan: Plan, record: Record, entry: NodeRecord, node: Node) -> bool:
    """Whether a node is taken straight to Cilium: it joined while others migrate, and never ran Canal."""
    return (
        NodeEvent.ADOPT in plan.strategy.events
        and entry.joined
        and record.cluster.phase is Phase.MIGRATING
        and plan.config.labels.canal_cilium.key not in node.labels
    )


def _obeyed(plan: Plan, record: Record, seen: Snapshot, now: datetime) -> Record:
    """Obey `retry-node` and `skip-node`; a request counts once, by its text in the record's history.

    Who was skipped on the way forward takes part when the cluster goes back; only what is asked for since counts then.
    Clean-up takes every node along: it would leave what Canal has laid down on who is skipped, and say that it is done.
    After the end nobody can take a skip back; one is left where a skipped node was deleted, and counts no more.
    """
    begun = record.cluster.back_since if record.cluster.direction == "back" else None
    ending = record.cluster.phase in (Phase.CLEANING, Phase.DONE)
    skip = {} if ending and begun is None else seen.requests.skip
    for name, stamp in skip.items():
        entry = record.nodes.get(name)
        if entry is not None and not entry.skipped and (begun is None or _later(stamp, begun)):
            record = record.with_node(name, entry.model_copy(update={"skipped": True}))
            record = record.with_cluster(noted(record.cluster, now, f"node {name} is skipped on request"))
    for name, entry in record.nodes.items():
        if entry.skipped and name not in skip:
            record = record.with_node(name, entry.model_copy(update={"skipped": False}))
            record = record.with_cluster(noted(record.cluster, now, f"node {name} is no longer skipped"))
    for name, stamp in seen.requests.retry.items():
        entry = record.nodes.get(name)
        if entry is not None and entry.held is not None and _later(stamp, entry.held.since):
            again = entry.model_copy(update={"held": None, "since": now, "retries": entry.retries + 1})
            record = record.with_node(name, let_go(again) if untouched(plan, entry) else again)
            record = record.with_cluster(noted(record.cluster, now, f"node {name} is tried again on request"))
    return record


def _later(stamp: str, instant: datetime) -> bool:
    """Whether a request was made after an instant; what is no time with its zone was never made."""
    with contextlib.suppress(ValueError, TypeError):
        return datetime.fromisoformat(stamp) > instant
    return False
