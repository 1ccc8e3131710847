"""One decision of the driver: what it is in the end, and what it is while it is being made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cni_migrate.core.decision.advance import Waiting, Work, history
from cni_migrate.core.model import guards, names
from cni_migrate.core.model.effects import Effect
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.lifecycle import PhaseEvent
from cni_migrate.core.model.objects import Node, Pod, Snapshot
from cni_migrate.core.model.record import Held, NodeRecord, Record
from cni_migrate.core.model.rounds import GateAsk
from cni_migrate.core.steps.view import Plan

RESUME = "`migrate resume`"
"""What a pause waits for."""


@dataclass(frozen=True)
class Decision:
    """One decision of the driver: the record to write first, the effects to perform then, when to look again.

    It is final, or waits for something, or acts, or asks: never nothing of these, so that nobody is kept waiting
    without a reason. `durable`: the record has changed in a way that must be written even without effects. `gather`:
    after a change, so many seconds of changes are looked at together. `lookups`: pods whose last Events would tell why
    they are waited for.

    Raises:
        ValueError: it would answer nothing.
    """

    record: Record
    effects: tuple[Effect, ...]
    asks: tuple[GateAsk, ...]
    waits: tuple[Waiting, ...]
    deadline: datetime
    gather: float
    durable: bool
    final: Final | None
    lookups: tuple[Pod, ...] = ()

    @property
    def paused(self) -> bool:
        """Whether it waits for the end of a pause."""
        return any(wait.on == RESUME for wait in self.waits)

    def __post_init__(self) -> None:
        if self.final is None and not (self.effects or self.asks or self.waits):
            cluster = self.record.cluster
            raise ValueError(f"a decision that answers nothing, in phase {cluster.phase}, {cluster.direction}")


@dataclass
class Draft:
    """The decision in the making."""

    plan: Plan
    goal: Goal
    record: Record
    seen: Snapshot
    now: datetime
    stopping: bool
    work: Work
    final: Final | None = None
    blocked: dict[str, "Blocked"] = field(default_factory=dict)
    """Nodes on which an event was wanted that could not be begun, and why."""
    quiet: set[str] = field(default_factory=set)
    """Lines of history that need not be written at once: they come with the next write of the record."""
    _members: tuple[Mapping[str, NodeRecord], list[tuple[Node, NodeRecord]]] = field(default_factory=lambda: ({}, []))

    def __post_init__(self) -> None:
        self.work.resume = self.goal.command

    def members(self) -> list[tuple[Node, NodeRecord]]:
        """The nodes that take part, with their entries."""
        entries, found = self._members
        if entries is not self.record.nodes:
            nodes = self.seen.nodes
            entries = self.record.nodes
            found = [(nodes[n], e) for n, e in entries.items() if not e.gone and not e.skipped and n in nodes]
            self._members = entries, found
        return found

    def phase(self, event: PhaseEvent) -> None:
        """Move the cluster's phase."""
        old = self.record.cluster.phase
        new = self.plan.cluster_lifecycle.advance(old, event, guards.facts(self.record))
        cluster = self.record.cluster.model_copy(update={"phase": new, "since": self.now})
        self.record = history(self.record.with_cluster(cluster), self.now, f"phase {new}")


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why an event cannot begin on a node now, and until when: both are shown while it is waited for.

    `cause` is what kind of reason it is: `paused` is an operator's wish and has no end of its own, `order` are other
    nodes of this migration, which end by themselves; everything else is trouble that a human may have to mend.
    `nodes` are those that stand in the way; `remedy` says what to do and to type where it does not end by itself.
    `for_all`: no other idle node could begin the event either.
    """

    because: str
    until: str
    cause: str = "trouble"
    nodes: tuple[str, ...] = ()
    for_all: bool = False
    remedy: str = ""


def under_way(draft: Draft) -> bool:
    """Whether any node's event is under way, held ones included."""
    return any(entry.event is not None for _, entry in draft.members())


def names_of(found: list[str]) -> str:
    """Node names for a message: five at the most, and how many more."""
    head = ", ".join(sorted(found)[:5])
    return head if len(found) <= 5 else f"{head} and {len(found) - 5} more"


def ours_there(draft: Draft) -> bool:
    """Whether any DaemonSet of ours is there: who takes away all of it at once is answered elsewhere."""
    return any(one.labels.get(names.MANAGED_BY) == names.TOOL for one in draft.seen.daemonsets.values())


def hold_all(draft: Draft, why: str, to_do: str) -> None:
    """Hold the cluster, and every node whose event is under way: they would wait for what cannot come.

    Where one node goes back nobody moves the others: what goes on with that one would be no way on for them.
    """
    held = Held(why=why, next=to_do, since=draft.now)
    draft.record = draft.record.with_cluster(draft.record.cluster.model_copy(update={"held": held}))
    for name, entry in draft.record.nodes.items():
        if draft.goal.kind == "rollback_node" and name != draft.goal.node:
            continue
        if entry.event is not None and entry.held is None and not entry.gone and not entry.skipped:
            draft.record = draft.record.with_node(name, entry.model_copy(update={"held": held}))
    draft.record = history(draft.record, draft.now, f"held: {why}")
