"""The one door: whether an event may begin on a node now. Whatever begins an event, forward or backward, asks here.

The checks are made in one order, and the first that does not hold is the answer: what can never be comes before what
somebody may have to mend, and that before what only takes its turn. A node that is out of service by our hand, or whose
event is under way, has its place already: nobody is helped by leaving it there, so neither its readiness nor capacity
nor a pause stand against what follows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cni_migrate.core.decision.draft import RESUME, Blocked, Draft, names_of
from cni_migrate.core.decision.order import capacity
from cni_migrate.core.model import guards
from cni_migrate.core.model.cidr import within
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import GuardNotMet, NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import Node
from cni_migrate.core.model.record import NodeRecord, Record
from cni_migrate.core.model.words import many
from cni_migrate.core.steps.registry import gives_way, untouched
from cni_migrate.core.steps.view import Plan, out_of_service

TOGETHER = 20
"""How many nodes may go through an event that leaves them in service, at once."""


@dataclass(frozen=True)
class Case:
    """All that is looked at to admit an event on a node."""

    plan: Plan
    goal: Goal
    record: Record
    nodes: Mapping[str, Node]
    paused: str
    name: str
    event: NodeEvent

    @property
    def entry(self) -> NodeRecord:
        """What the record has about the node."""
        return self.record.nodes[self.name]

    @property
    def has_its_place(self) -> bool:
        """Whether the node is out of service by our hand, or in the middle of an event, already."""
        return self.entry.event is not None or out_of_service(self.plan, self.entry)


def admit(draft: Draft, name: str, event: NodeEvent) -> Blocked | None:
    """Begin an event on a node, or answer why it cannot begin now; that is shown as a wait (`schedule.settle`)."""
    paused = draft.seen.requests.paused_since
    begun = begin_event(Case(draft.plan, draft.goal, draft.record, draft.seen.nodes, paused, name, event), draft.now)
    if isinstance(begun, Blocked):
        draft.blocked[name] = begun
        return begun
    draft.record = draft.record.with_node(name, begun)
    draft.blocked.pop(name, None)
    return None


def begin_event(case: Case, now: datetime) -> NodeRecord | Blocked:
    """The node's entry with the event begun, its first step as the intent to be recorded; or why it cannot begin.

    Nothing else begins an event.
    """
    return why_not(case) or case.entry.model_copy(
        update={
            "event": case.event,
            "step": case.plan.strategy.events[case.event][0],
            "since": now,
            "started": now,
            "attempt": case.entry.attempt + 1,
            "held": None,
            "old_uid": "",
            "targets": None,
            "renewed": None,
            "leases": (),
            "alone": False,
            "accepted": (),
            "unproven": "",
        }
    )


def let_go(entry: NodeRecord) -> NodeRecord:
    """The entry without an event that has done nothing to the node yet."""
    return entry.model_copy(update={"event": None, "step": "", "started": None})


def why_not(case: Case) -> Blocked | None:
    """Why the event cannot begin on the node now; None when it can."""
    return next((blocked for check in CHECKS if (blocked := check(case)) is not None), None)


def _there(case: Case) -> Blocked | None:
    if case.entry.gone or case.name not in case.nodes:
        return Blocked(f"node {case.name} is gone", "it joins again", nodes=(case.name,))
    return None


def _edge(case: Case) -> Blocked | None:
    """The table's edge, and its guard: as `transitions` evaluates it, on what the record says of all nodes."""
    lifecycle, state = case.plan.node_lifecycle, case.entry.state
    if not lifecycle.allows(state, case.event):
        return Blocked(f"node {case.name} is {state}: there is no {case.event} from there", "it is in another state")
    try:
        lifecycle.advance(state, case.event, guards.facts(case.record))
    except GuardNotMet as error:
        against = guards.against(case.record, error.guard)
        words = guards.WORDS[error.guard]
        return Blocked(
            f"node {case.name} waits with its {case.event}: {names_of(against)} {words}",
            f"no other node {words}",
            cause="order",
            nodes=tuple(against),
            for_all=True,
        )
    return None


def _skipped(case: Case) -> Blocked | None:
    if case.entry.skipped and not case.goal.is_for(case.name):
        return Blocked(f"node {case.name} is skipped", f"`migrate skip-node --undo {case.name}`", nodes=(case.name,))
    return None


def _newcomer(case: Case) -> Blocked | None:
    """A node that was taken straight to Cilium goes back last: the others do not know the way to Canal's pods there."""
    if case.event is not NodeEvent.RESTORE or not guards.joined_late(case.entry):
        return None
    others = [
        name
        for name in guards.beyond_dual(case.record)
        if name != case.name and not (case.goal.kind == "rollback" and guards.joined_late(case.record.nodes[name]))
    ]
    if not others:
        return None
    return Blocked(
        f"node {case.name} joined after {names_of(others)} had left Canal: "
        "they do not know the way to pods that it would have on Canal",
        "these are back on both networks",
        cause="order",
        nodes=tuple(others),
    )


def _ready(case: Case) -> Blocked | None:
    """A newcomer that is adopted has no CNI yet: it cannot be Ready before."""
    if not case.nodes[case.name].ready and not case.has_its_place and case.event is not NodeEvent.ADOPT:
        return Blocked(f"node {case.name} is NotReady", "it is Ready", nodes=(case.name,))
    return None


def _outside(case: Case) -> Blocked | None:
    """A node that joins with a part of another network: flannel may not serve it, and policies do not know its pods.

    Preflight asks this of the nodes that are there when a migration begins.
    """
    canal, part = case.plan.config.canal, case.nodes[case.name].pod_cidr
    if case.event.backwards or case.has_its_place or not case.entry.joined or not part or within(part, canal.pod_cidr):
        return None
    served = within(part, canal.whole)
    where = f"in flannel's network {canal.whole}, but not in the pods' part of it" if served else "outside of"
    then = "policies would not know its pods" if served else "flannel does not serve it"
    return Blocked(
        f"node {case.name} joined with podCIDR {part}, which is {where} (canal.pod_cidr {canal.pod_cidr}): {then}",
        f"it has a podCIDR in {canal.pod_cidr}",
        nodes=(case.name,),
        remedy=f"`kubectl delete node {case.name}`, give the controller manager's --cluster-cidr a range in"
        f" {canal.pod_cidr}, let the node join again; or leave it out: `migrate skip-node {case.name}`",
    )


def _cordoned(case: Case) -> Blocked | None:
    """A cordon is somebody's business there. On the way back it stays as it is, and nobody is kept from going back."""
    in_service = case.event in case.plan.strategy.in_service
    if not case.nodes[case.name].unschedulable or in_service or case.event.backwards or case.has_its_place:
        return None
    return Blocked(f"node {case.name} was cordoned by somebody else", "it is uncordoned", nodes=(case.name,))


def _paused(case: Case) -> Blocked | None:
    if not case.paused or case.has_its_place or case.goal.is_for(case.name):
        return None
    return Blocked(f"paused since {case.paused}", RESUME, cause="paused", for_all=True)


def _capacity(case: Case) -> Blocked | None:
    """As many nodes as may be out of service at once; the first ever goes alone, as a canary; lost nodes count as out.

    A drain that waits for a newcomer to be attached, before anything was touched, leaves it its place.
    """
    plan, record = case.plan, case.record
    others = {name: entry for name, entry in record.nodes.items() if not entry.gone and name != case.name}
    if case.event in plan.strategy.in_service:
        busy = [name for name, entry in others.items() if entry.event is not None]
        if len(busy) < TOGETHER:
            return None
        return Blocked(
            f"{many(len(busy), 'node')} under way already", "one of them is done", "order", tuple(busy), for_all=True
        )
    by_itself = case.goal.kind == "forward" and _serves(plan, case.entry)  # auto_rollback of who was not touched yet
    if out_of_service(plan, case.entry) and not by_itself:
        return None
    limit = capacity(plan.config, len(others) + 1)
    ahead = NodeState.MIGRATED if record.cluster.phase is Phase.MIGRATING else NodeState.DUAL
    if record.cluster.direction == "forward" and not any(e.state is ahead for e in [*others.values(), case.entry]):
        limit = 1
    waived = case.event is NodeEvent.ATTACH
    out = [
        n
        for n, e in others.items()
        if out_of_service(plan, e) and not (waived and gives_way(e.step)) and not _serves(plan, e)
    ]
    lost = lost_nodes(plan, {n: e for n, e in others.items() if n in case.nodes}, case.nodes)
    if len(out) + len(lost) < limit:
        return None
    if lost and len(out) < limit:
        because = f"node {lost[0]} is NotReady, and no other is taken out of service meanwhile"
        return Blocked(because, "it is Ready", nodes=tuple(lost), for_all=True)
    said = f"{names_of(out)} {'is' if len(out) == 1 else 'are'} out of service, and max_unavailable is "
    left = [name for name in out if others[name].skipped]
    skipped = f" (skipped, so left as they are: {names_of(left)})" if left else ""
    because = f"{said}{plan.config.max_unavailable}{skipped}"
    return Blocked(because, "one of them is back", "order", tuple(out), for_all=True)


def _serves(plan: Plan, entry: NodeRecord) -> bool:
    """Whether the node is held before anything was done to it: it serves as before, and takes nobody's place."""
    return entry.held is not None and untouched(plan, entry)


def lost_nodes(plan: Plan, entries: Mapping[str, NodeRecord], nodes: Mapping[str, Node]) -> list[str]:
    """The nodes that are NotReady without our doing: they count against max_unavailable, unless they are waived."""
    return [
        name
        for name, entry in entries.items()
        if not entry.skipped and not nodes[name].ready and not out_of_service(plan, entry)
    ]


CHECKS: tuple[Callable[[Case], Blocked | None], ...] = (
    _there, _edge, _skipped, _newcomer, _outside, _ready, _cordoned, _paused, _capacity,
)  # fmt: skip
"""In this order: what can never be, what needs a human, what only takes its turn."""
