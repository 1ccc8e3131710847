"""The record: the progress that is persisted, and nothing that the cluster itself can tell.

Intents and what was there before, one entry per node, and one for the cluster. Everything here is immutable: a change
is a new record. Field names are what `kubectl get configmap -o yaml` shows, so they are part of the interface.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.errors import RecordCorrupt, RecordNewer

SCHEMA = 1
"""The version of the record's format. A higher one in the cluster is refused, never guessed at."""


MOST_SHARDS = 1000
"""More parts than any cluster needs: a larger number in the record is not ours."""

T = TypeVar("T", bound=BaseModel)


Instant = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9000, 1, 1, tzinfo=UTC))]
"""A time with its zone, which can be compared with the clock and moved by any deadline."""

Owner = Annotated[str, Field(pattern=r"^[^ ]+ [^ ]+ [^ ]+$")]
"""Who makes pods: kind, namespace/name, uid."""

Known = Annotated[str, Field(pattern=r"^[^ ]+( [^ ]+){3}$")]
"""A failing pair: agent, peer, network, kind of probe."""

Reference = Annotated[str, Field(pattern=r"^([^/]+/)?[^/]+/[^/]+/[^/]*/[^/]+$")]
"""An object, as `ObjectRef.parse` reads it."""

EventName = Annotated[str, AfterValidator(lambda name: NodeEvent(name).value)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Held(_Frozen):
    """Why a node, or the cluster, could not go on."""

    why: str
    next: str
    since: Instant
    gate: bool = False


class Before(_Frozen):
    """What a node was like before the first touch of the current outage, so that it can be put back."""

    unschedulable: bool = False


class GateResult(_Frozen):
    """What the last gate saw: probes sent, lost, and the longest stall of a long-lived connection."""

    sent: int = 0
    lost: int = 0
    stall_ms: float = 0


class Tunnel(_Frozen):
    """What came of trying the UDP port of Cilium's tunnel in the try that began at `since`.

    So many pairs of nodes were `tried`, of which `closed` let nothing through, and `more` that are not kept; `unfit` is
    why the port could not be had at all on a node.
    """

    since: Instant
    port: int
    tried: int = 0
    closed: tuple[str, ...] = ()
    more: int = 0
    unfit: dict[str, str] = Field(default_factory=dict)


class NodeRecord(_Frozen):
    """One node's progress.

    `event` and `step` are the intent that is being carried out, `since` when the step began, `attempt` how often
    events were begun on the node, `retries` how often it was tried again after it had been held. `displaced` are
    the owners of pods that were evicted and must be Ready again before the node counts as migrated. `boot` is the
    boot of the node in which Canal ran there for the last time. `leases` are Canal's addresses on the node before
    its pods were deleted. `unproven` is what the last gate on the way back has left out, as it needs Cilium.
    `alone`: the node goes back to Canal alone, as Cilium does not come up there any more. `accept`: who has said,
    in this invocation, that the node's gates may fail; `accepted` is what failed in those of this event. `renewed`
    is since when the node's pods have been made anew on the network of the moment, in this event, with nothing else
    changed since. `took` is how long each event took, in seconds, for the ETA.
    """

    state: NodeState = NodeState.CANAL
    uid: str = ""
    event: NodeEvent | None = None
    step: str = ""
    attempt: int = 0
    retries: int = 0
    since: Instant | None = None
    started: Instant | None = None
    before: Before | None = None
    held: Held | None = None
    gate: GateResult | None = None
    displaced: tuple[Owner, ...] = ()
    files: tuple[str, ...] = ()
    leases: tuple[str, ...] = ()
    old_uid: str = ""
    targets: tuple[str, ...] | None = None
    renewed: Instant | None = None
    unproven: str = ""
    accept: str = ""
    accepted: tuple[str, ...] = ()
    alone: bool = False
    cleaned: bool = False
    joined: bool = False
    skipped: bool = False
    gone: bool = False
    boot: str = ""
    rolled_back: str = ""
    failure: Held | None = None
    took: dict[EventName, float] = Field(default_factory=dict)


class Entry(_Frozen):
    """One line of the history's tail."""

    at: Instant
    what: str


class ClusterRecord(_Frozen):
    """The cluster's progress.

    `since` is when the cluster's step began, `resumed` when the driver did: no deadline is before that.
    `direction` is `back` from the first moment of a cluster rollback to its end, `back_since` is that moment. `epoch`
    counts the drivers that have held the lock. `shards` is fixed when the record is made. `canal_before` is what
    `select_canal` changed, `reselect` whether that may be set again, or Canal be deleted again, should somebody have
    put it back while nobody drove, and `again` how often it was deleted again. `canal_objects` are what Canal's
    DaemonSets used when they were deleted, as `apiVersion/Kind/namespace/name`, and `cleaning_image` is what they
    tell of where Canal is to be removed from hosts. `waived` is what was waived, as it was typed, until the first
    change. `drain` are the drain's options of the last `run`, as they were typed, for what to type next. `tunnel` is
    what came of trying its port before the first change. `performed` are the keys of those of the step's effects
    that were performed already, where nothing else would tell a driver that takes over. `history` are the
    latest lines; the older ones are in `history_parts` ConfigMaps of their own.
    """

    record_schema: int = Field(default=SCHEMA, alias="schema")
    phase: Phase = Phase.PREFLIGHT
    direction: Literal["forward", "back"] = "forward"
    back_since: Instant | None = None
    strategy: str
    identity: str
    identity_values: dict[str, Any] = Field(default_factory=dict)
    epoch: int = Field(default=0, ge=0)
    shards: int = Field(default=1, ge=1, le=MOST_SHARDS)
    list_name: str = ""
    position: int = Field(default=0, ge=0)
    step: str = ""
    since: Instant | None = None
    resumed: Instant | None = None
    started: Instant | None = None
    held: Held | None = None
    canal_before: dict[str, Any] | None = None
    canal_objects: tuple[Reference, ...] = ()
    cleaning_image: str = ""
    reselect: bool = False
    again: int = Field(default=0, ge=0)
    baseline: tuple[Known, ...] = ()
    waived: tuple[str, ...] = ()
    drain: str = ""
    tunnel: Tunnel | None = None
    performed: tuple[str, ...] = ()
    last_sweep: int = 0
    idle_since: Instant | None = None
    gate: GateResult | None = None
    history: tuple[Entry, ...] = ()
    history_parts: int = Field(default=0, ge=0)
    tool: str = ""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    @property
    def onward(self) -> str:
        """The command that goes on with the cluster: the other one is refused."""
        return "migrate rollback" if self.direction == "back" else "migrate run"

    @property
    def pausable(self) -> bool:
        """Whether a pause stops anything: what takes nodes forward has ended where clean-up begins."""
        return self.direction == "back" or not self.phase.beyond(Phase.MIGRATING)

    def at(self, list_name: str, position: int, step: str, since: datetime | None) -> "ClusterRecord":
        """The entry at another step of the cluster's, or at none: nothing of it was performed yet."""
        return self.model_copy(
            update={"list_name": list_name, "position": position, "step": step, "since": since, "performed": ()}
        )


class Record(_Frozen):
    """The whole record."""

    cluster: ClusterRecord
    nodes: Mapping[str, NodeRecord] = Field(default_factory=dict)

    def with_node(self, name: str, node: NodeRecord) -> "Record":
        """The record with one node's entry replaced."""
        return Record.model_construct(cluster=self.cluster, nodes={**self.nodes, name: node})

    def with_nodes(self, nodes: Mapping[str, NodeRecord]) -> "Record":
        """The record with all node entries replaced."""
        return Record.model_construct(cluster=self.cluster, nodes=dict(nodes))

    def with_cluster(self, cluster: ClusterRecord) -> "Record":
        """The record with the cluster's entry replaced."""
        return Record.model_construct(cluster=cluster, nodes=self.nodes)


HISTORY_BYTES = 64 * 1024
"""So much of the history is in the cluster's part; when there is more, its older half goes into a part of its own."""

LINE_MOST = 2000
"""Characters of a line of history; what is longer is cut."""


def noted(cluster: ClusterRecord, at: datetime, what: str) -> ClusterRecord:
    """The cluster's entry with one more line of history."""
    line = what if len(what) <= LINE_MOST else f"{what[: LINE_MOST - 1]}…"
    return cluster.model_copy(update={"history": (*cluster.history, Entry(at=at, what=line))})


def archived(cluster: ClusterRecord) -> tuple[tuple[Entry, ...], ClusterRecord]:
    """The oldest lines of the history when there is too much of it, and the cluster's entry without them."""
    sizes = [len(line.what.encode()) + 64 for line in cluster.history]
    if sum(sizes) <= HISTORY_BYTES:
        return (), cluster
    size, cut = 0, 0
    while size < HISTORY_BYTES / 2:
        size += sizes[cut]
        cut += 1
    left = {"history": cluster.history[cut:], "history_parts": cluster.history_parts + 1}
    return cluster.history[:cut], cluster.model_copy(update=left)


def closed(record: Record) -> bool:
    """Whether the cluster was rolled back to its end: nothing of the migration is left but the record."""
    return record.cluster.phase is Phase.PREFLIGHT and record.cluster.direction == "back"


def conditions(record: Record) -> dict[str, str]:
    """What holds of the migration, as `kubectl wait --for=jsonpath='{.data.Completed}'=True` can wait for it.

    Completed: it is done, and no Canal that came back is being removed. Held: something could not go on, and the run
    stops for it. Progressing: neither, and it has begun; whether somebody drives is told by the Lease.
    """
    there = [entry for entry in record.nodes.values() if not entry.gone and not entry.skipped]
    held = record.cluster.held is not None or any(entry.held or entry.failure for entry in there)
    done = record.cluster.phase is Phase.DONE and not record.cluster.list_name and record.cluster.held is None
    progressing = not held and not done and record.cluster.phase is not Phase.PREFLIGHT
    found = {"Progressing": progressing, "Held": held and not done, "Completed": done}
    return {name: str(holds) for name, holds in found.items()}


_LINES = TypeAdapter(tuple[Entry, ...])


def dump_lines(lines: Sequence[Entry]) -> str:
    """Lines of history as the text that is persisted."""
    return _LINES.dump_json(tuple(lines)).decode()


def load_lines(text: str, where: str) -> tuple[Entry, ...]:
    """Lines of history from the persisted text.

    Raises:
        RecordCorrupt: they are not what `migrate` writes.
    """
    try:
        return _LINES.validate_json(text)
    except ValidationError as error:
        raise _corrupt(where, str(error.errors()[0]["msg"])) from None


def dump_cluster(cluster: ClusterRecord) -> str:
    """The cluster's entry as the text that is persisted."""
    return cluster.model_dump_json(by_alias=True, exclude_defaults=False, exclude_none=True)


def dump_node(node: NodeRecord) -> str:
    """A node's entry as the text that is persisted: defaults are left out, to keep a thousand nodes small."""
    return node.model_dump_json(exclude_defaults=True)


def load_cluster(text: str, where: str) -> ClusterRecord:
    """The cluster's entry from the persisted text.

    Args:
        text: what the ConfigMap holds.
        where: the ConfigMap and key, for messages.

    Raises:
        RecordCorrupt: it is not what `migrate` writes; nothing is guessed.
        RecordNewer: a newer `migrate` wrote it.
    """
    data = _decode(text, where)
    schema = data.get("schema")
    if type(schema) is not int or schema < 1:  # neither True nor "1" is a format
        raise _corrupt(where, f"schema: a whole number is expected, found {schema!r}")
    if schema > SCHEMA:
        raise RecordNewer(
            f"{where}: the record has format {schema}, this migrate knows {SCHEMA}",
            next=f"use the migrate that wrote it ({data.get('tool') or 'a newer version'}) to go on",
        )
    return _validated(ClusterRecord, data, where)


def load_node(text: str, where: str) -> NodeRecord:
    """A node's entry from the persisted text.

    Raises:
        RecordCorrupt: it is not what `migrate` writes; nothing is guessed.
    """
    return _validated(NodeRecord, _decode(text, where), where)


def _decode(text: str, where: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise _corrupt(where, f"not JSON ({error})") from None
    if not isinstance(data, dict):
        raise _corrupt(where, "not a JSON object")
    return data


def _validated(model: type[T], data: dict[str, Any], where: str) -> T:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"]) or "(all)"
        raise _corrupt(where, f"{path}: {first['msg']}, found {first['input']!r}") from None


def _corrupt(where: str, what: str) -> RecordCorrupt:
    return RecordCorrupt(
        f"{where}: the record is damaged or was edited by hand: {what}",
        next="put the ConfigMap back as it was (`kubectl -n NAMESPACE edit configmap NAME`), "
        "see docs/how-to/recover-the-record.md",
    )
