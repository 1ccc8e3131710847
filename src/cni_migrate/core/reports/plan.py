"""What a run would do, per node and in order, from the same steps, filters and effects that a run uses. Pure.

What lies behind a change that was not made yet (a new pod's address, an agent's report) cannot be known; so each event
has all its steps, and effects only where a step can tell them from what is observed now.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cni_migrate.core.decision.advance import Work
from cni_migrate.core.decision.begin import begin, new_record
from cni_migrate.core.decision.decide import decide
from cni_migrate.core.decision.membership import sync_membership
from cni_migrate.core.decision.no_return import passed, point_of_no_return
from cni_migrate.core.decision.order import capacity, in_order
from cni_migrate.core.model import names
from cni_migrate.core.model.effects import Effect, EvictPod, PatchNode, PatchObject, PutObject, describe
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase, ahead
from cni_migrate.core.model.objects import Node as ClusterNode
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.core.model.record import NodeRecord, Record
from cni_migrate.core.model.words import many
from cni_migrate.core.reports.eta import DEFAULT, Left, by_default, time_left
from cni_migrate.core.steps.again import AGAIN, made_again, remedy, told
from cni_migrate.core.steps.answers import Apply
from cni_migrate.core.steps.budgets import Budgets
from cni_migrate.core.steps.drain import MOVES, Classification, Verdict, classify_all, evictable
from cni_migrate.core.steps.registry import ABOUT, CLUSTER_STEPS, NODE_STEPS
from cni_migrate.core.steps.view import ClusterView, NodeView, Plan


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Step(_Part):
    """One step."""

    name: str
    about: str
    irreversible: bool = False
    """Whether no rollback can undo it; the first such step is the point of no return."""
    effects: tuple[str, ...] = ()
    """What it would change, as far as that can be told now."""


class PlannedEvent(_Part):
    """One event of a node, or one list of the cluster's steps."""

    name: str
    in_service: bool
    """Whether the node stays in service meanwhile."""
    steps: tuple[Step, ...]


MOVING = frozenset(verdict.value for verdict in MOVES)


class PodClassification(_Part):
    """What a drain does with a pod."""

    pod: str
    verdict: Literal["evict", "delete", "last", "leaving", "stays", "refused"]
    reason: str
    budgets: tuple[str, ...] = ()
    """Budgets over it that allow no eviction now."""
    twice: tuple[str, ...] = ()
    """Its PodDisruptionBudgets, where it has more than one: Kubernetes never evicts such a pod."""

    @property
    def moves(self) -> bool:
        """Whether it will go to another node, in whatever way."""
        return self.verdict in MOVING


class PlannedNode(_Part):
    """One node, in the order of the migration."""

    name: str
    state: NodeState
    zone: str = ""
    control_plane: bool = False
    chosen: bool = True
    """Whether this run may migrate it (`--nodes`, `--selector`)."""
    trouble: str = ""
    """Why it would not be touched now."""
    events: tuple[PlannedEvent, ...] = ()
    pods: tuple[PodClassification, ...] = ()

    @property
    def goes(self) -> bool:
        """Whether this run takes it to Cilium."""
        return self.chosen and bool(self.events)


class PlanView(_Part):
    """What a run would do: `migrate plan -o json`."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, use_attribute_docstrings=True)

    schema_: Literal[1] = Field(default=1, alias="schema", description="The version of this format.")
    strategy: str
    phase: Phase
    at_once: int
    """How many nodes may be out of service at once."""
    before: tuple[PlannedEvent, ...] = ()
    """The cluster's steps before the first node."""
    nodes: tuple[PlannedNode, ...] = ()
    after: tuple[PlannedEvent, ...] = ()
    """The cluster's steps after the last node."""
    point_of_no_return: str = ""
    """The step of clean-up from which on there is no way back."""
    way_back: bool = True
    """Whether the point of no return still lies ahead: `migrate rollback` is possible."""
    moving: int = 0
    """How many pods go to other nodes."""
    blockers: tuple[str, ...] = ()
    """What would hold this run: pods that a drain refuses, budgets that allow nothing, nodes that are not touched, who
    makes Canal again."""
    seconds: int | None = None
    """About how long it takes until the last node is migrated; null while something is held, 0: it ends before."""
    seconds_by: str = ""
    """What that is known by: this cluster's nodes so far, or what a node took on the lab."""
    next_effects: tuple[str, ...] = ()
    """What the very next decision of a run would change."""
    next_waits: tuple[str, ...] = ()
    """What it would wait for."""


def plan_view(plan: Plan, goal: Goal, record: Record | None, seen: Snapshot, now: datetime, tool: str) -> PlanView:
    """The plan from where the record stands.

    Raises:
        MigrateError: the record or the goal does not fit, as at the beginning of a run.
    """
    started = begin(plan, goal, record or new_record(plan.config, len(seen.nodes), tool), seen.nodes, now)
    decision = decide(plan, goal, started, seen, now)
    known = sync_membership(plan, started, seen, now, Work())
    view = ClusterView(plan, seen, known, now, now)
    phase = known.cluster.phase
    lists = (("prepare", Phase.PREPARING), ("attached", Phase.ATTACHING))
    before = [name for name, last in lists if _to_come(phase, last) and _reached(goal, phase, last)]
    after = ["clean"] if _to_come(phase, Phase.CLEANING) and goal.cleans_up else []
    again = made_again(plan, started, seen)
    after += [AGAIN] if again or known.cluster.list_name == AGAIN else []
    ordered = in_order(plan.config, seen.nodes.values())
    budgets = Budgets(seen.budgets.values())
    nodes = tuple(_node(view, goal, node, known.nodes[node.name], budgets) for node in ordered)
    left = _left(plan, goal, known, nodes, now)
    return PlanView(
        strategy=plan.config.strategy,
        phase=phase,
        at_once=capacity(plan.config, len(seen.nodes)),
        before=tuple(_list(view, name) for name in before),
        nodes=nodes,
        after=tuple(_list(view, name) for name in after),
        point_of_no_return=point_of_no_return(plan),
        way_back=not passed(plan, known),
        moving=sum(1 for node in nodes if node.events for pod in node.pods if pod.moves),
        blockers=(
            *([f"{told(again)}; {remedy(again)}"] if again else []),
            *_waits(goal, known, seen),
            *_blockers(nodes),
        ),
        seconds=left.seconds if left is not None else None,
        seconds_by=left.basis if left is not None else "",
        next_effects=tuple(describe(effect) for effect in decision.effects),
        next_waits=tuple(f"{wait.node or 'the cluster'}: {wait.on}" for wait in decision.waits),
    )


def _reached(goal: Goal, phase: Phase, wanted: Phase) -> bool:
    """Whether a run that stops behind `--until` gets into a phase: from where the cluster stands now."""
    return goal.until is None or not (phase.beyond(goal.until) or wanted.beyond(goal.until))


def _left(plan: Plan, goal: Goal, record: Record, nodes: Sequence[PlannedNode], now: datetime) -> Left | None:
    """How long it takes; where only some nodes are chosen, for these. 0: it ends before nodes are migrated."""
    if not _reached(goal, record.cluster.phase, Phase.MIGRATING):
        return Left(0, "")
    if all(node.chosen for node in nodes):
        return time_left(plan, record, len(nodes), now)
    return Left(by_default(plan, sum(1 for node in nodes if node.goes), capacity(plan.config, len(nodes))), DEFAULT)


def _waits(goal: Goal, record: Record, seen: Snapshot) -> Iterator[str]:
    """What operators have asked for that a run would wait for, or for nodes that joined after the end."""
    phase = record.cluster.phase
    if seen.requests.paused_since and record.cluster.pausable:
        what = "no further node, nor clean-up, begins"
        yield f"paused since {seen.requests.paused_since}: {what} until `migrate resume`"
    for name, entry in record.nodes.items():
        if entry.gone:
            continue
        if entry.skipped and _reached(goal, phase, Phase.MIGRATING):
            undo = f"`migrate skip-node --undo {name}`"
            if not goal.partial:
                yield f"node {name} is skipped, and clean-up waits for it: {undo}"
            elif entry.state is not NodeState.MIGRATED and goal.wanted(seen.nodes[name]):
                yield f"node {name} is skipped, and was asked for: {undo}"
        if phase is Phase.DONE and entry.state is not NodeState.MIGRATED:
            yield f"node {name} joined after the end, and Cilium is not Ready there"


def _blockers(nodes: Iterable[PlannedNode]) -> Iterator[str]:
    """What would hold a run, each thing once."""
    budgets: dict[str, int] = {}
    twice: dict[str, int] = {}
    for node in nodes:
        if node.trouble and node.events:
            yield f"node {node.name} is not touched: {node.trouble}"
        for pod in node.pods:
            if pod.verdict == "refused":
                yield f"pod {pod.pod} on node {node.name}: {pod.reason}"
            if pod.twice:
                both = ", ".join(f"{pod.pod.partition('/')[0]}/{budget}" for budget in pod.twice)
                twice[both] = twice.get(both, 0) + 1
            for budget in pod.budgets:
                name = f"{pod.pod.partition('/')[0]}/{budget}"
                budgets[name] = budgets.get(name, 0) + 1
    for both, pods in sorted(twice.items()):
        yield f"PodDisruptionBudgets {both} share {many(pods, 'pod')}, which Kubernetes never evicts for that"
    for name, pods in sorted(budgets.items()):
        yield f"PodDisruptionBudget {name} allows 0 disruptions; of its pods, {pods} would have to move"


def _to_come(phase: Phase, last: Phase) -> bool:
    return not phase.beyond(last)


def _list(view: ClusterView, name: str) -> PlannedEvent:
    steps = view.plan.strategy.phases[name]
    return PlannedEvent(name=name, in_service=True, steps=tuple(_cluster_step(view, step) for step in steps))


def _cluster_step(view: ClusterView, name: str) -> Step:
    answer = CLUSTER_STEPS[name](view) if ABOUT[name].foreseeable else None
    return Step(
        name=name,
        about=ABOUT[name].title,
        irreversible=ABOUT[name].irreversible,
        effects=_told(answer.effects) if isinstance(answer, Apply) else (),
    )


def _node(view: ClusterView, goal: Goal, node: ClusterNode, entry: NodeRecord, budgets: Budgets) -> PlannedNode:
    chosen = goal.wanted(node)
    phase = view.record.cluster.phase
    left_out = entry.skipped or phase in (Phase.CLEANING, Phase.DONE)  # who joins then starts on Cilium
    coming = [
        event
        for event in ahead(view.plan.node_lifecycle, entry.state)
        if not left_out
        and (chosen or event is NodeEvent.ATTACH)
        and _reached(goal, phase, Phase.ATTACHING if event is NodeEvent.ATTACH else Phase.MIGRATING)
    ]
    one = NodeView(view.plan, view.seen, view.record, view.now, view.now, node, entry)
    strategy = view.plan.strategy
    drained = any(ABOUT[step].evicts for event in coming for step in strategy.events[event])
    found = classify_all(view.seen.pods_on(node.name), view.plan.taint, view.config.drain) if drained else []
    return PlannedNode(
        name=node.name,
        state=entry.state,
        zone=node.zone,
        control_plane=node.control_plane,
        chosen=chosen,
        trouble=_trouble(node, entry),
        events=tuple(
            PlannedEvent(
                name=event,
                in_service=event in strategy.in_service,
                steps=tuple(_node_step(one, step) for step in strategy.events[event]),
            )
            for event in coming
        ),
        pods=tuple(_classification(budgets, classified) for classified in found),
    )


def _node_step(view: NodeView, name: str) -> Step:
    answer = NODE_STEPS[name](view) if ABOUT[name].foreseeable else None
    effects = _told(answer.effects) if isinstance(answer, Apply) else ()
    return Step(name=name, about=ABOUT[name].title, effects=effects) if effects else _silent_step(name)


@cache
def _silent_step(name: str) -> Step:
    """A step of which nothing can be told: the same for all nodes, of which there may be thousands."""
    return Step(name=name, about=ABOUT[name].title)


def _told(effects: Iterable[Effect]) -> tuple[str, ...]:
    kinds = (PatchNode, EvictPod, PutObject, PatchObject)
    return tuple(describe(effect) for effect in effects if isinstance(effect, kinds))


def _trouble(node: ClusterNode, entry: NodeRecord) -> str:
    if entry.skipped:
        return "skipped"
    if not node.ready:
        return "NotReady"
    if node.unschedulable and names.CORDONED_BY not in node.annotations:
        return "cordoned by somebody else"
    return ""


def _classification(budgets: Budgets, classified: Classification) -> PodClassification:
    pod = classified.pod
    over = budgets.over(pod) if classified.verdict is Verdict.EVICT else ()
    return PodClassification(
        pod=pod.key,
        verdict=classified.verdict.value,
        reason=classified.reason,
        budgets=tuple(sorted(budget.name for budget in over if not evictable(pod, budget))),
        twice=tuple(sorted(budget.name for budget in over)) if over and budgets.in_each_others_way(pod) else (),
    )
