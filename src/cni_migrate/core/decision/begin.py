"""The first moment of an invocation: is the record ours, does the goal fit, and what does the goal change in it."""

from collections.abc import Mapping
from datetime import datetime

from cni_migrate.config import Config
from cni_migrate.core.decision.admission import Case, begin_event, let_go, why_not
from cni_migrate.core.decision.advance import history
from cni_migrate.core.decision.backward import finish, next_back
from cni_migrate.core.decision.in_flight import way_back
from cni_migrate.core.decision.no_return import passed, point_of_no_return
from cni_migrate.core.model import guards
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import Node
from cni_migrate.core.model.record import ClusterRecord, NodeRecord, Record, closed
from cni_migrate.core.steps.registry import untouched
from cni_migrate.core.steps.view import Plan
from cni_migrate.errors import Halted, RecordCorrupt, RecordMismatch, UsageError

NODES_PER_SHARD = 150
"""So many nodes' entries stay well under 256 KiB in one ConfigMap."""


def new_record(config: Config, nodes: int, tool: str) -> Record:
    """The record of a migration that has not begun."""
    shards = max(1, -(-nodes // NODES_PER_SHARD))
    cluster = ClusterRecord(
        strategy=config.strategy,
        identity=config.digest(),
        identity_values=config.identity(),
        shards=shards,
        tool=tool,
    )
    return Record(cluster=cluster, nodes={})


def check_identity(config: Config, record: Record, file: str = "") -> None:
    """Refuse a record that was begun with another strategy or other names and networks.

    Before the first change, and after a complete rollback, nothing in the cluster depends on them. `file` is the
    configuration file, so that it can be told where the keys are.

    Raises:
        RecordMismatch: naming each key that differs.
    """
    cluster = record.cluster
    if cluster.phase is Phase.PREFLIGHT:
        return
    if cluster.strategy != config.strategy:
        raise RecordMismatch(
            f"the migration of this cluster was begun with strategy {cluster.strategy}, "
            f"the configuration says {config.strategy}",
            next=f"migrate run --strategy {cluster.strategy}",
        )
    if cluster.identity == config.digest():
        return
    changed = config.changed_since(cluster.identity_values)
    raise RecordMismatch(
        "the configuration has changed since the migration began: "
        + ("; ".join(changed) or f"identity {config.digest()}, the record has {cluster.identity}"),
        next=f"put these keys back{_where(config, file)}; "
        "what may change on the way is deadlines, gates, budgets and order",
    )


def _where(config: Config, file: str) -> str:
    """Where the keys are, and how to go on from there."""
    if not file:
        return ", or name the file that has them with --config"
    chart = f" or in the {config.cilium.source} that it names" if config.cilium.source != "builtin" else ""
    return f" in {file}{chart}, then `migrate run`"


def check_steps(plan: Plan, record: Record) -> None:
    """Refuse a record whose events and steps are not those of the tables: they were edited, or are another version's.

    Raises:
        RecordCorrupt: naming the node, or the list of the cluster's steps.
    """
    for name, entry in record.nodes.items():
        steps = plan.strategy.events[entry.event] if entry.event is not None else ("",)
        if entry.step not in steps:
            raise _unknown(f"node {name}: event {entry.event or 'none'} has no step {entry.step!r}", record)
        if entry.event is not None and not plan.node_lifecycle.allows(entry.state, entry.event):
            raise _unknown(f"node {name}: event {entry.event} is not possible in state {entry.state}", record)
    cluster = record.cluster
    if not cluster.list_name:
        if cluster.step:
            raise _unknown(f"step {cluster.step!r} is of no list", record)
        return
    listed = plan.strategy.phases.get(cluster.list_name, ())
    if cluster.position >= len(listed) or listed[cluster.position] != cluster.step:
        raise _unknown(f"list {cluster.list_name!r} has no step {cluster.step!r} at {cluster.position}", record)


def _unknown(what: str, record: Record) -> RecordCorrupt:
    return RecordCorrupt(
        f"the record says what this migrate does not know: {what}",
        next=f"use the migrate that wrote it ({record.cluster.tool or 'unknown'}), or see "
        "docs/how-to/recover-the-record.md",
    )


def begin(plan: Plan, goal: Goal, record: Record, nodes: Mapping[str, Node], now: datetime) -> Record:
    """The record with the goal taken in.

    What was held is tried again: the operator has typed the command after reading why. Deadlines count from now, and so
    does what a gate believes of what was held. A step that a driver only was killed in goes on: what agents have
    reported since it began counts, so that drivers that never live long get on as well.

    Raises:
        RecordMismatch: see `check_identity`.
        RecordCorrupt: see `check_steps`.
        UsageError: the goal names a node that is not there, or does not fit the phase.
        Halted: the goal cannot be reached from here.
    """
    check_identity(plan.config, record)
    check_steps(plan, record)
    cluster = record.cluster
    since = now if cluster.held is not None else _not_later(cluster.since, now)
    begun: dict[str, object] = {"held": None, "idle_since": None, "since": since, "resumed": now}
    begun["reselect"] = cluster.canal_before is not None or cluster.phase in (Phase.CLEANING, Phase.DONE)
    record = record.with_cluster(cluster.model_copy(update=begun))
    record = _accepting(goal, record, nodes, now)
    if goal.kind == "rollback_node":
        return _begin_rollback_node(plan, goal, record, nodes, now)
    if goal.kind == "rollback":
        return _retry_held(plan, _begin_rollback(plan, record, now), now)
    if record.cluster.direction == "back" and record.cluster.phase is not Phase.PREFLIGHT:
        raise Halted(
            "this cluster is being rolled back",
            next="migrate rollback  (to finish it; after that, `migrate run` starts anew)",
        )
    if record.cluster.phase is Phase.PREFLIGHT:
        fresh = new_record(plan.config, 0, record.cluster.tool).cluster
        kept = {"epoch": record.cluster.epoch, "shards": record.cluster.shards, "since": now, "resumed": now}
        kept["waived"] = goal.waivers
        record = Record(cluster=fresh.model_copy(update=kept), nodes={})
        for finding in goal.waived:
            record = history(record, now, f"preflight waived by {goal.by or 'an operator'}: {finding}")
    elif record.cluster.phase is Phase.PREPARING:
        record = _waiving(goal, record, now)
    started = record.cluster.started or now
    record = record.with_cluster(record.cluster.model_copy(update={"started": started, "drain": goal.drain}))
    return _retry_held(plan, _reroute_again(plan, goal, record, nodes, now), now)


def _waiving(goal: Goal, record: Record, now: datetime) -> Record:
    """The record with what is waived of what only the first steps can find out."""
    known = record.cluster.waived
    if not (new := [waiver for waiver in goal.waivers if waiver not in known]):
        return record
    record = record.with_cluster(record.cluster.model_copy(update={"waived": (*known, *new)}))
    return history(record, now, f"waived by {goal.by or 'an operator'}: {', '.join(new)}")


def _accepting(goal: Goal, record: Record, nodes: Mapping[str, Node], now: datetime) -> Record:
    """The record with whose gates may fail in this invocation: those that are named now, and no others.

    Raises:
        UsageError: there is no such node, or no gate of it can have failed yet.
    """
    there = sorted(name for name, entry in record.nodes.items() if not entry.gone)
    if early := sorted(name for name in goal.accept if name in nodes and name not in there):
        what = f"--accept-failing-gate: no gate of node {early[0]} has failed: it takes part in no migration yet"
        raise UsageError(what, next=f"{goal.command}  (name it when its gate fails)")
    if unknown := sorted(goal.accept - set(there)):
        known = ", ".join(there[:10]) or "none yet"
        raise UsageError(
            f"--accept-failing-gate: there is no node {', '.join(unknown)}; there are: {known}", next="migrate status"
        )
    for name, entry in record.nodes.items():
        accept = (goal.by or "an operator") if name in goal.accept else ""
        if entry.accept != accept:
            record = record.with_node(name, entry.model_copy(update={"accept": accept}))
    for name in sorted(goal.accept):
        what = f"node {name}: a failing gate will be accepted, says {goal.by or 'an operator'}"
        record = history(record, now, what)
    return record


def _reroute_again(plan: Plan, goal: Goal, record: Record, nodes: Mapping[str, Node], now: datetime) -> Record:
    """Begin anew to lay the way to Canal's pods where that is held: what is missing is only laid at the beginning.

    Where it cannot begin, as the node is gone or skipped, it stays at the step that it was in.
    """
    for name, entry in record.nodes.items():
        if entry.event is NodeEvent.REROUTE and entry.held is not None:
            begun = begin_event(Case(plan, goal, record, nodes, "", name, NodeEvent.REROUTE), now)
            if isinstance(begun, NodeRecord):
                record = record.with_node(name, begun.model_copy(update={"retries": entry.retries + 1}))
    return record


def _retry_held(plan: Plan, record: Record, now: datetime) -> Record:
    """Try again what was held. What was held before anything was touched comes through the door again, in its turn."""
    nodes = {}
    for name, entry in record.nodes.items():
        again = _tried_again(entry, now)
        nodes[name] = let_go(again) if entry.held is not None and untouched(plan, entry) else again
    return record.with_nodes(nodes)


def _tried_again(entry: NodeRecord, now: datetime) -> NodeRecord:
    if entry.held is not None or (entry.failure is not None and entry.event is None):
        again = {"held": None, "failure": None, "since": now, "renewed": None, "retries": entry.retries + 1}
        return entry.model_copy(update=again)
    if entry.event is None:
        return entry
    return entry.model_copy(update={"failure": None, "since": _not_later(entry.since, now), "renewed": None})


def _not_later(since: datetime | None, now: datetime) -> datetime:
    """When a step began, by our clock: one that has begun in the future was begun by a clock that is not ours."""
    return now if since is None or since > now else since


def _no_way_back(plan: Plan, record: Record) -> Halted:
    cleaning = record.cluster.phase is Phase.CLEANING
    return Halted(
        f"the cluster is in phase {record.cluster.phase}, behind the point of no return ({point_of_no_return(plan)}): "
        f"Canal {'is being' if cleaning else 'was'} removed, there is nothing to go back to",
        next="migrate run  (to finish)" if cleaning else "migrate status",
    )


def _check_begun(record: Record) -> None:
    """Refuse to go back where a driver died before the first change: the record names no node yet."""
    if record.cluster.phase is Phase.PREFLIGHT and not closed(record):
        raise UsageError("nothing was changed in this cluster: there is nothing to roll back", next="migrate status")


def _begin_rollback(plan: Plan, record: Record, now: datetime) -> Record:
    cluster = record.cluster
    if passed(plan, record):
        raise _no_way_back(plan, record)
    if closed(record):
        return record
    _check_begun(record)
    if cluster.direction == "back":
        return record
    turned = cluster.at("", 0, "", cluster.since).model_copy(update={"direction": "back", "back_since": now})
    record = record.with_cluster(turned)
    nodes = {
        name: entry.model_copy(update={"cleaned": False, "skipped": False}) for name, entry in record.nodes.items()
    }
    return history(record.with_nodes(nodes), now, "rollback of the cluster begins")


def _begin_rollback_node(plan: Plan, goal: Goal, record: Record, nodes: Mapping[str, Node], now: datetime) -> Record:
    _check_begun(record)
    entry = record.nodes.get(goal.node)
    if entry is None or entry.gone or goal.node not in nodes:
        known = ", ".join(sorted(name for name, e in record.nodes.items() if not e.gone)[:10])
        raise UsageError(f"there is no node {goal.node}; there are: {known}", next="migrate status")
    if record.cluster.phase in (Phase.CLEANING, Phase.DONE):
        if passed(plan, record):
            raise _no_way_back(plan, record)
        raise Halted(
            f"the cluster is in phase {record.cluster.phase}: node {goal.node} cannot go back alone",
            next="migrate run  (to finish), or `migrate rollback` for the whole cluster",
        )
    if entry.event is None or not entry.event.backwards:
        _check_way_back(plan, goal, record, nodes)
    entry = _tried_again(entry, now).model_copy(update={"failure": None})
    return history(record.with_node(goal.node, entry), now, f"node {goal.node}: rollback to {goal.to} begins")


def _check_way_back(plan: Plan, goal: Goal, record: Record, nodes: Mapping[str, Node]) -> None:
    """Refuse at once what would have to wait for other nodes: nobody moves them meanwhile."""
    name, entry = goal.node, record.nodes[goal.node]
    others = [other for other in guards.beyond_dual(record) if other != name]
    to_canal = goal.to == "canal" or (entry.state is NodeState.CANAL and entry.event is not None)
    if to_canal and others and not guards.joined_late(entry):
        to_dual = Case(plan, goal, record, nodes, "", name, NodeEvent.RESTORE)
        there = entry.event is None and entry.state is NodeState.DUAL
        alone = entry.state is not NodeState.CANAL and not there and why_not(to_dual) is None
        raise Halted(
            f"node {name} cannot go back to Canal alone: {', '.join(sorted(others))} "
            "would lose it, as they are beyond dual",
            next=f"migrate rollback-node {name} --to dual, or `migrate rollback` for the whole cluster"
            if alone
            else finish(record),
        )
    event = way_back(record, name) if entry.event is not None else next_back(goal, entry)
    if event is None:
        raise UsageError(f"node {name} is {entry.state}: there is nothing to roll back", next="migrate status")
    blocked = why_not(Case(plan, goal, record, nodes, "", name, event))
    if blocked is None or blocked.cause != "order":
        return  # a node that is NotReady, for one, is waited for a while
    raise Halted(f"node {name} cannot go back now: {blocked.because}", next=finish(record))
