"""Moves one node, or one list of cluster steps, as far as what is observed allows; collects what is to be done.

Effects that were performed already are left out here, in one place: an eviction that was accepted is never repeated,
one that a budget blocked is tried again when the budget has room, and one that cannot work holds the node.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from cni_migrate.core.decision.eviction_budgets import Room, in_turn
from cni_migrate.core.model import guards
from cni_migrate.core.model.attempts import Attempt
from cni_migrate.core.model.effects import DeletePod, Effect, EvictPod, RunHostTask, SweepTasks, describe, refusal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState
from cni_migrate.core.model.objects import Pod, Snapshot
from cni_migrate.core.model.outcomes import Outcomes
from cni_migrate.core.model.record import Held, NodeRecord, Record, noted
from cni_migrate.core.model.rounds import GateAsk
from cni_migrate.core.steps.answers import Apply, Done, Refuse, Wait
from cni_migrate.core.steps.host import task_of
from cni_migrate.core.steps.registry import CLUSTER_STEPS, NODE_STEPS, ahead, deadline_of
from cni_migrate.core.steps.view import ClusterView, NodeView, Plan

CONFLICT_PAUSE = 0.2
"""Seconds before a step that met a conflict looks again, should no change arrive first."""

LONG = 10.0
"""Seconds after which it is worth a request to learn what keeps a pod from being Ready."""

MANY_TASKS = 8
"""So many host tasks that have ended are not kept on a node until its event ends."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a node (or the cluster, `node` is '') waits for, for the screen."""

    node: str
    step: str
    on: str
    observed: str


@dataclass
class Work:
    """What one decision adds up: effects, agents to read, waits, and when to look again at the latest.

    `outcomes` is what came of what earlier decisions added up.
    """

    outcomes: Outcomes = field(default_factory=Outcomes)
    effects: list[Effect] = field(default_factory=list)
    asks: list[GateAsk] = field(default_factory=list)
    waits: list[Waiting] = field(default_factory=list)
    deadline: datetime | None = None
    lookups: list[Pod] = field(default_factory=list)
    """Pods that are waited for so long that their last Events are wanted."""
    resume: str = "migrate run"
    """The command that goes on from here, for whoever is held."""
    room: Room | None = None
    """What budgets have left for evictions, from the first that asks on."""

    def look_at(self, when: datetime) -> None:
        """Look again no later than `when`."""
        self.deadline = when if self.deadline is None else min(self.deadline, when)


def due(
    effects: Iterable[Effect],
    seen: Snapshot,
    now: datetime,
    retry_seconds: float,
    work: Work,
    since: datetime | None = None,
) -> tuple[list[Effect], str]:
    """The effects that are to be performed now, and why one cannot work ('' when all can).

    What failed before `since`, when the step was begun or an operator had it tried again, gets another try.
    """
    wanted: list[Effect] = []
    evictions: list[EvictPod] = []
    for effect in effects:
        attempt: Attempt | None = work.outcomes.attempts.get(effect.key)
        if isinstance(effect, EvictPod) and (attempt is None or attempt.result == "blocked"):
            evictions.append(effect)
            continue
        if attempt is None or (attempt.result == "failed" and since is not None and attempt.at < since):
            wanted.append(effect)
            continue
        if attempt.result == "failed":
            return [], f"{describe(effect)}: {refusal(attempt.message)}"
        pause = _pause(effect, attempt, retry_seconds)
        if pause is None:
            continue
        if now >= attempt.at + timedelta(seconds=pause):
            wanted.append(effect)
        else:
            work.look_at(attempt.at + timedelta(seconds=pause))
    if evictions and work.room is None:
        work.room = Room(seen, work.outcomes.attempts, now, retry_seconds)
    for effect in in_turn(evictions, work.outcomes.attempts):
        assert work.room is not None
        when = work.room.next_try(effect)
        if when <= now:
            wanted.append(effect)
        else:
            work.look_at(when)
    return wanted, ""


def _pause(effect: Effect, attempt: Attempt, retry_seconds: float) -> float | None:
    """Seconds after which an effect may be performed once more; None: never."""
    if attempt.result == "blocked":
        return retry_seconds
    if attempt.result == "conflict":
        return CONFLICT_PAUSE
    if isinstance(effect, RunHostTask):
        return 1.0  # its pod was removed since: the step wants to look anew
    return None


@dataclass(frozen=True, slots=True)
class Moved:
    """How far a node came: its entry, whether its event ended, and lines for the history."""

    entry: NodeRecord
    ended: bool = False


def advance_node(
    plan: Plan, record: Record, seen: Snapshot, now: datetime, name: str, work: Work, stopping: bool
) -> Moved:
    """Carry a node's event on: through every step that is done, up to one that is not.

    When `stopping`, it stays in front of the next step instead of beginning it.
    """
    entry = record.nodes[name]
    assert entry.event is not None
    steps = plan.strategy.events[entry.event]
    node = seen.nodes[name]
    while True:
        view = NodeView(plan, seen, record, now, entry.since or now, node, entry, outcomes=work.outcomes)
        answer = NODE_STEPS[entry.step](view)
        if not isinstance(answer, Done):
            break
        entry = entry.model_copy(update=dict(answer.remember))
        following = steps.index(entry.step) + 1
        if following == len(steps):
            _sweep_tasks(view, work)
            return Moved(entry, ended=True)
        entry = entry.model_copy(update={"step": steps[following], "since": now})
        if stopping:
            return Moved(entry)
    to_come = steps[steps.index(entry.step) :]
    _thin_tasks(view, work, to_come)
    update, held = _answered(plan, answer, entry.step, view, work, name)
    if held is None and not stopping:
        _run_ahead(view, work, to_come)
    entry = entry.model_copy(update={**update, "held": held})
    return Moved(entry)


def _run_ahead(view: NodeView, work: Work, to_come: Sequence[str]) -> None:
    """Start the host task of a step to come that may run beside the current one; that step finds it by its name.

    Nothing of it is recorded: who takes over finds the task's pod, or makes it when the step itself is reached.
    """
    step = ahead(to_come)
    if not step:
        return
    answer = NODE_STEPS[step](replace(view, entry=view.entry.model_copy(update={"step": step})))
    if isinstance(answer, Apply):
        tasks = [effect for effect in answer.effects if isinstance(effect, RunHostTask)]
        wanted, _ = due(tasks, view.seen, view.now, view.config.drain.retry_seconds, work)
        work.effects.extend(wanted)


def _ended_tasks(view: NodeView) -> list[Pod]:
    return [pod for pod in view.host_tasks(view.node.name) if pod.finished and not pod.deleting]


def _sweep_tasks(view: NodeView, work: Work) -> None:
    """Remove the node's host tasks that have ended, all together at the end of an event that nothing like it follows.

    Those of an attach go with those of the switch: a request less per node, for a few pods that have ended.
    """
    if view.entry.event in (NodeEvent.ATTACH, NodeEvent.DRAIN, NodeEvent.RELEASE):
        return
    if tasks := tuple(sorted((pod.name, pod.uid) for pod in _ended_tasks(view))):
        wanted, _ = due([SweepTasks(view.config.namespace, view.node.name, tasks)], view.seen, view.now, 5.0, work)
        work.effects.extend(wanted)


def _thin_tasks(view: NodeView, work: Work, to_come: Sequence[str]) -> None:
    """Where many have ended, as in an event that was begun again and again, remove those of no step to come."""
    ended = _ended_tasks(view)
    if len(ended) < MANY_TASKS:
        return
    keep = {task_of(view, step) for step in to_come}
    tasks = [DeletePod(pod.namespace, pod.name, pod.uid, pod.node) for pod in ended if pod.name not in keep]
    wanted, _ = due(tasks, view.seen, view.now, 5.0, work)
    work.effects.extend(wanted)


def _answered(
    plan: Plan, answer: Apply | Wait | Refuse, step: str, view: ClusterView, work: Work, name: str
) -> tuple[Mapping[str, Any], Held | None]:
    """Take an answer that is not Done into the decision: what to remember, and whether it is held now."""
    now, since = view.now, view.since
    if isinstance(answer, Refuse):
        return {}, Held(why=answer.why, next=f"{answer.next}, then `{work.resume}`", since=now, gate=answer.gate)
    work.waits.append(Waiting(name, step, answer.on, answer.observed))
    limit = deadline_of(step, plan.config.deadlines)
    if limit is not None:
        end = max(since, view.record.cluster.resumed or since) + timedelta(seconds=limit)
        if now >= end:
            return {}, _late(answer, step, limit, view, work, name)
        work.look_at(end)
    if answer.retry_in is not None:
        work.look_at(now + timedelta(seconds=max(answer.retry_in, 0.01)))
    if isinstance(answer, Wait):
        if answer.pods and now >= since + timedelta(seconds=LONG):
            work.lookups.extend(answer.pods)
        elif answer.pods:
            work.look_at(since + timedelta(seconds=LONG))
        if answer.ask is not None:
            work.asks.append(answer.ask)
        return {}, None
    wanted, trouble = due(answer.effects, view.seen, now, plan.config.drain.retry_seconds, work, since)
    if trouble:
        what = f"node {name}, step {step}" if name else f"step {step}"
        return {}, Held(why=f"{what}: {trouble}", next=_next(view, work, name), since=now)
    work.effects.extend(wanted)
    return answer.remember, None


def _late(answer: Apply | Wait, step: str, limit: float, view: ClusterView, work: Work, name: str) -> Held:
    where = f"node {name}, " if name else ""
    why = f"{where}step {step}: waited {limit:g} s for {answer.on}; seen last: {answer.observed or 'nothing'}"
    gate = isinstance(answer, Wait) and answer.gate
    return Held(why=why, next=_next(view, work, name), since=view.now, gate=gate)


def _next(view: ClusterView, work: Work, name: str) -> str:
    """What to type when a step is held: go on, or back by the way that is open from there."""
    going_on = f"fix the cause, then `{work.resume}` resumes"
    entry = view.record.nodes.get(name)
    if entry is None or entry.event is None or entry.event.backwards:
        return going_on
    others = [other for other in guards.beyond_dual(view.record) if other != name]
    alone = not others or (entry.state is not NodeState.CANAL and not guards.joined_late(entry))
    # A node that is adopted or rerouted is in service: whether it may leave it alone is another question.
    back = f"migrate rollback-node {name}" if alone and not entry.event.of_some else "migrate rollback"
    return f"{going_on}; or go back: `{back}`"


def advance_list(
    plan: Plan, record: Record, seen: Snapshot, now: datetime, name: str, work: Work, stopping: bool
) -> tuple[Record, bool]:
    """Carry a list of cluster steps on; answers the record and whether the list has ended."""
    steps = plan.strategy.phases[name]
    cluster = record.cluster
    if cluster.list_name != name:
        cluster = cluster.at(name, 0, steps[0], now)
    while True:
        record = record.with_cluster(cluster)
        view = ClusterView(plan, seen, record, now, cluster.since or now, outcomes=work.outcomes)
        answer = CLUSTER_STEPS[cluster.step](view)
        if not isinstance(answer, Done):
            break
        cluster = cluster.model_copy(update=dict(answer.remember))
        following = cluster.position + 1
        if following == len(steps):
            cluster = cluster.at("", 0, "", None)
            return record.with_cluster(cluster), True
        cluster = cluster.at(name, following, steps[following], now)
        if stopping:
            return record.with_cluster(cluster), False
    update, held = _answered(plan, answer, cluster.step, view, work, "")
    nodes = dict(record.nodes)
    if isinstance(answer, Apply):
        for node, changes in answer.nodes.items():
            nodes[node] = nodes[node].model_copy(update=dict(changes))
    return record.with_cluster(cluster.model_copy(update={**update, "held": held})).with_nodes(nodes), False


def history(record: Record, now: datetime, what: str) -> Record:
    """The record with one more line of history."""
    return record.with_cluster(noted(record.cluster, now, what))
