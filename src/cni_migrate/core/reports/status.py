"""Where everything stands, for people and for programs: one model, which `migrate status -o json` prints as it is.

Pure: from the record, a snapshot and the Lease. The JSON Schema of `StatusView` is documented and versioned: fields are
added, never renamed or removed, under the same `schema`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cni_migrate.core.decision.advance import Work
from cni_migrate.core.decision.membership import sync_membership
from cni_migrate.core.decision.no_return import passed, point_of_no_return
from cni_migrate.core.decision.order import capacity, in_order
from cni_migrate.core.model import names
from cni_migrate.core.model.leftovers import Leftover, commands
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import Node as SeenNode
from cni_migrate.core.model.objects import Pod, Snapshot
from cni_migrate.core.model.record import ClusterRecord, NodeRecord, Record, closed
from cni_migrate.core.model.words import command_with
from cni_migrate.core.reports.eta import eta_seconds
from cni_migrate.core.steps.again import made_again, remedy
from cni_migrate.core.steps.audit import audit_problems
from cni_migrate.core.steps.registry import ABOUT
from cni_migrate.core.steps.view import ClusterView, Plan, out_of_service


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Driver(_Part):
    """Who holds the lock."""

    holder: str
    """User, host and process."""
    since: str
    """When the lock was taken."""
    alive: bool
    """Whether it was renewed within its duration, by this machine's clock."""


class Network(_Part):
    """A node's pods by the network they are on; pods on the host's network do not count."""

    canal: int = 0
    """On Canal alone."""
    dual: int = 0
    """With a Canal address and a Cilium interface."""
    cilium: int = 0
    """On Cilium."""
    none: int = 0
    """Without an address yet, or with one of neither."""


class Gate(_Part):
    """What the node's last connectivity gate saw."""

    sent: int
    lost: int
    stall_ms: float
    """The longest stall of a long-lived connection."""


class HeldStatus(_Part):
    """Why it could not go on."""

    why: str
    since: datetime


class NodeStatus(_Part):
    """One node."""

    name: str
    state: NodeState
    event: NodeEvent | None = None
    """The event that is under way."""
    step: str = ""
    """The step of it that is under way."""
    about: str = ""
    """What the step does."""
    held: str | None = None
    """Why the node could not go on."""
    next: str | None = None
    """What to type about that."""
    since: datetime | None = None
    """When it was held, else when the step began, else when the state was reached."""
    attempt: int = 0
    """How often events were begun on this node."""
    retries: int = 0
    """How often the node was tried again after it had been held."""
    ready: bool = True
    cordoned: bool = False
    out_of_service: bool = False
    """Whether the migration has taken the node out of service, or is about to, and has not put it back yet."""
    skipped: bool = False
    gone: bool = False
    rolled_back: str | None = None
    """When the node was last rolled back."""
    network: Network = Network()
    gate: Gate | None = None


class Entry(_Part):
    """One line of the history."""

    at: datetime
    what: str


class Left(_Part):
    """One object that Canal has left in the API."""

    object: str
    """As `apiVersion/Kind/namespace/name`."""
    owner: str = ""
    """Who keeps it, and would make it again."""
    kept: str = ""
    """Why it is not removed even when that is asked for."""
    command: str
    """What removes it."""


class StatusView(_Part):
    """The status of a migration: `migrate status -o json`."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, use_attribute_docstrings=True)

    schema_: Literal[1] = Field(default=1, alias="schema", description="The version of this format.")
    begun: bool = True
    """Whether a migration was ever begun here."""
    rolled_back: datetime | None = None
    """When the last migration was rolled back to its end; nothing of it is left in the cluster then."""
    closed_record: str | None = None
    """The ConfigMap in which its record is kept."""
    phase: Phase
    strategy: str
    direction: Literal["forward", "back"] = "forward"
    step: str = ""
    """The cluster's own step that is under way."""
    about: str = ""
    """What that step does."""
    since: datetime | None = None
    """When the step, or else the phase, began."""
    started: datetime | None = None
    """When the migration began."""
    driver: Driver | None = None
    """Who drives; null when nobody holds the lock."""
    eta_seconds: int | None = None
    """Until the last node is migrated, learned from this run; null while there is nothing to learn from."""
    paused: str | None = None
    """Since when it is paused on request."""
    held: HeldStatus | None = None
    """Why the cluster's own step could not go on."""
    next: str | None = None
    """What to type now."""
    summary: dict[NodeState, int] = {}
    """Nodes by state, those that are gone left out."""
    nodes: list[NodeStatus] = []
    history: list[Entry] = []
    """The latest lines of the history, oldest first."""
    way_back: bool = True
    """Whether the point of no return still lies ahead: `migrate rollback` is possible."""
    point_of_no_return: str = ""
    """The step of clean-up from which on there is no way back."""
    audit: list[str] | None = None
    """After `done`: what of the migration and of the old network is still on nodes; empty when hosts are clean."""
    left: list[Left] | None = None
    """After `done`: what Canal has left in the API; null when that was not looked at."""
    left_unread: str = ""
    """Why it was not looked at."""


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """The lock's Lease. `dead`: its holder was a process of this machine and is not there any more."""

    holder: str
    acquired: str
    renewed: datetime | None
    seconds: int
    dead: bool = False

    @classmethod
    def of(cls, lease: Mapping[str, Any] | None, dead: Callable[[str], bool] = lambda _: False) -> "LeaseInfo | None":
        """Read a Lease; None when there is none, or nobody holds it. `dead` tells of a holder whether it surely is."""
        spec = (lease or {}).get("spec") or {}
        holder = spec.get("holderIdentity")
        if not holder:
            return None
        try:
            renewed = datetime.fromisoformat(str(spec.get("renewTime")))
        except ValueError:
            renewed = None
        return cls(
            str(holder),
            str(spec.get("acquireTime", "")),
            renewed,
            int(spec.get("leaseDurationSeconds") or 0),
            dead(str(holder)),
        )

    def driver(self, now: datetime) -> Driver:
        """The holder in short, and whether it seems alive."""
        parts = self.holder.split("/")
        shown = f"{parts[0]}, process {parts[1]}" if len(parts) > 1 else parts[0]
        alive = not self.dead and self.renewed is not None and now - self.renewed <= timedelta(seconds=self.seconds)
        return Driver(holder=shown, since=self.acquired, alive=alive)


def status_view(
    plan: Plan,
    record: Record | None,
    seen: Snapshot,
    lease: LeaseInfo | None,
    now: datetime,
    *,
    history: int = 8,
    before: tuple[str, ClusterRecord] | None = None,
    left: Sequence[Leftover] | None = None,
    unread: str = "",
) -> StatusView:
    """The status now.

    Args:
        plan: the configuration and the tables.
        record: the record, or None when no migration was begun.
        seen: the cluster.
        lease: who holds the lock.
        now: the present instant.
        history: how many lines of history to show.
        before: without a record, the one of the last migration, which was rolled back, and where it is kept.
        left: what Canal has left in the API, where that was looked at.
        unread: why it was not.
    """
    driver = lease.driver(now) if lease is not None else None
    if record is not None and closed(record):  # the driver died before it was put away
        before, record = (names.RECORD, record.cluster), None
    if record is None:
        old = before[1] if before is not None else None
        return StatusView(
            begun=False,
            rolled_back=old.history[-1].at if old is not None and old.history else None,
            closed_record=before[0] if before is not None else None,
            phase=Phase.PREFLIGHT,
            strategy=old.strategy if old is not None else plan.config.strategy,
            driver=driver,
            next="migrate preflight",
            history=[Entry(at=line.at, what=line.what) for line in (old.history if old is not None else ())[-history:]],
        )
    cluster = record.cluster
    # Who has joined, is gone or was skipped since a driver has looked: as the next one will find it.
    record = record.with_nodes(sync_membership(plan, record, seen, now, Work()).nodes)
    view = ClusterView(plan, seen, record, now, cluster.since or now)
    nodes = [_node(view, name, record.nodes[name]) for name in _ordered(view)]
    counted = Counter(node.state for node in nodes if not node.gone)
    at_once = capacity(plan.config, sum(counted.values()))
    return StatusView(
        phase=cluster.phase,
        strategy=cluster.strategy,
        direction=cluster.direction,
        step=cluster.step,
        about=_about(cluster.step),
        since=cluster.since,
        started=cluster.started,
        driver=driver,
        eta_seconds=eta_seconds(plan.node_lifecycle, record, at_once, plan.strategy.in_service, now),
        paused=(cluster.pausable and seen.requests.paused_since) or None,
        held=HeldStatus(why=cluster.held.why, since=cluster.held.since) if cluster.held is not None else None,
        next=command_with("migrate run", cluster.drain, _next(plan, record, driver, seen) or "") or None,
        summary={state: counted[state] for state in NodeState if counted[state]},
        nodes=nodes,
        history=[Entry(at=line.at, what=line.what) for line in cluster.history[-history:]],
        way_back=not passed(plan, record),
        point_of_no_return=point_of_no_return(plan),
        audit=audit_problems(view) if cluster.phase is Phase.DONE else None,
        left=[_left(one) for one in left] if left is not None else None,
        left_unread=unread,
    )


def _left(one: Leftover) -> Left:
    (command,) = commands([one])
    return Left(object=one.ref.text, owner=one.owner, kept=one.kept, command=command)


def network_of(view: ClusterView, node: str) -> Network:
    """A node's pods by network."""
    count = Counter(_network(view, pod) for pod in view.networked(node))
    return Network(**count)


def _network(view: ClusterView, pod: Pod) -> str:
    if view.on_cilium(pod):
        return "cilium"
    if view.on_canal(pod):
        return "dual" if view.endpoint_of(pod) else "canal"
    return "none"


def _ordered(view: ClusterView) -> list[str]:
    """The nodes in the order in which they are migrated, those that are gone at the end."""
    entries, seen = view.record.nodes, view.seen.nodes
    there = in_order(view.config, [seen[name] for name, entry in entries.items() if not entry.gone and name in seen])
    names = [node.name for node in there]
    return names + sorted(set(entries) - set(names))


def _node(view: ClusterView, name: str, entry: NodeRecord) -> NodeStatus:
    held = entry.held or entry.failure
    node = view.seen.nodes.get(name)
    gate = entry.gate
    return NodeStatus(
        name=name,
        state=entry.state,
        event=entry.event,
        step=entry.step,
        about=_about(entry.step),
        held=held.why if held is not None else None,
        next=command_with("migrate run", view.record.cluster.drain, held.next) if held is not None else None,
        since=held.since if held is not None else entry.since,
        attempt=entry.attempt,
        retries=entry.retries,
        ready=node is not None and node.ready,
        cordoned=node is not None and node.unschedulable,
        out_of_service=node is not None and not entry.gone and _is_out(view.plan, node, entry),
        skipped=entry.skipped,
        gone=entry.gone,
        rolled_back=entry.rolled_back or None,
        network=network_of(view, name) if node is not None else Network(),
        gate=Gate(sent=gate.sent, lost=gate.lost, stall_ms=gate.stall_ms) if gate is not None else None,
    )


def _is_out(plan: Plan, node: SeenNode, entry: NodeRecord) -> bool:
    """Whether our hand keeps pods off the node now; a node whose drain is held before its cordon still serves."""
    return out_of_service(plan, entry) and (node.unschedulable or plan.taint in node.taints)


def _about(step: str) -> str:
    return ABOUT[step].title if step in ABOUT else ""


def _next(plan: Plan, record: Record, driver: Driver | None, seen: Snapshot) -> str | None:
    """What to type now; None when nothing is to be typed."""
    cluster = record.cluster
    if cluster.held is not None:
        return cluster.held.next
    for entry in record.nodes.values():
        held = entry.held or entry.failure
        if held is not None and not entry.gone and not entry.skipped:
            return held.next
    if found := made_again(plan, record, seen):
        return remedy(found)
    if cluster.phase is Phase.DONE:
        late = any(entry.state is not NodeState.MIGRATED and not entry.gone for entry in record.nodes.values())
        return "migrate run" if cluster.list_name or late else None
    if cluster.pausable and seen.requests.paused_since:
        return "migrate resume"
    if driver is not None and driver.alive:
        return "migrate status --watch"
    undo = f"migrate skip-node --undo {skipped}, then " if (skipped := _waited_for(record)) else ""
    return f"{undo}{cluster.onward}"


def _waited_for(record: Record) -> str:
    """A skipped node, where the end waits for skipped ones alone; else ''."""
    there = {name: entry for name, entry in record.nodes.items() if not entry.gone}
    back = record.cluster.direction == "back"  # who is on Canal again is not waited for; clean-up waits for all skipped
    goal = NodeState.CANAL if back else NodeState.MIGRATED
    if any(not entry.skipped and (entry.state is not goal or entry.event is not None) for entry in there.values()):
        return ""
    return next((name for name, e in there.items() if e.skipped and not (back and e.state is goal)), "")
