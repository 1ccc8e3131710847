"""The state machines: which event moves a node, or the cluster, from where to where, and under which guard.

The edges are data (`states/*.yaml`); `transitions.Machine` is used synchronously, as a pure table.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from transitions import Machine

from cni_migrate.resources import documents


class NodeState(StrEnum):
    """Where one node stands."""

    CANAL = "canal"
    DUAL = "dual"
    DRAINING = "draining"
    CILIUM = "cilium"
    MIGRATED = "migrated"

    @property
    def beyond_dual(self) -> bool:
        """Whether the node has left the two networks behind, or is on its way."""
        return self in (NodeState.DRAINING, NodeState.CILIUM, NodeState.MIGRATED)


class NodeEvent(StrEnum):
    """What moves a node."""

    ATTACH = "attach"
    ADOPT = "adopt"
    DRAIN = "drain"
    SWITCH = "switch"
    RELEASE = "release"
    REROUTE = "reroute"
    RESTORE = "restore"
    DETACH = "detach"

    @property
    def of_some(self) -> bool:
        """Whether only strategies have it by which Canal leaves a node before the last one is migrated."""
        return self in (NodeEvent.ADOPT, NodeEvent.REROUTE)

    @property
    def backwards(self) -> bool:
        """Whether the event is part of a rollback."""
        return self in (NodeEvent.RESTORE, NodeEvent.DETACH)


class Phase(StrEnum):
    """Where the cluster stands."""

    PREFLIGHT = "preflight"
    PREPARING = "preparing"
    ATTACHING = "attaching"
    MIGRATING = "migrating"
    CLEANING = "cleaning"
    DONE = "done"

    def beyond(self, other: "Phase") -> bool:
        """Whether this phase comes after another one on the way forward."""
        order = list(Phase)
        return order.index(self) > order.index(other)


class PhaseEvent(StrEnum):
    """What moves the cluster."""

    PREPARE = "prepare"
    BEGIN_ATTACHING = "begin_attaching"
    BEGIN_MIGRATING = "begin_migrating"
    BEGIN_CLEANING = "begin_cleaning"
    FINISH = "finish"
    BACK_TO_MIGRATING = "back_to_migrating"
    BACK_TO_ATTACHING = "back_to_attaching"
    BACK_TO_PREPARING = "back_to_preparing"
    UNDO = "undo"


class GuardNotMet(Exception):
    """An event is legal from this state, but its guard does not hold."""

    def __init__(self, guard: str, state: str, event: str) -> None:
        super().__init__(f"{event} from {state} needs {guard}")
        self.guard = guard


S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)

Guards = Callable[[str], bool]
"""Answers whether the guard of a name holds."""


@dataclass
class _Cursor(Generic[S]):
    """The model that the machine moves; nobody else touches it."""

    state: S

    def trigger(self, trigger_name: str, *, facts: Guards) -> bool:
        """Replaced by the machine."""
        raise NotImplementedError


class Lifecycle(Generic[S, E]):
    """One table of states and events."""

    def __init__(self, text: str, states: type[S], events: type[E]) -> None:
        """Read a table.

        Args:
            text: YAML with `initial`, `states` and `events` (`from`, `to`, `requires`).
            states: the enum whose members the table must name, all of them and no others.
            events: likewise for the events.

        Raises:
            ValueError: the table and the enums differ.
        """
        table: Mapping[str, Any] = documents(text)[0]
        self.meanings: dict[S, str] = {states(name): meaning for name, meaning in table["states"].items()}
        self.edges: dict[E, tuple[tuple[S, ...], S, str]] = {
            events(name): (tuple(states(s) for s in edge["from"]), states(edge["to"]), edge.get("requires", ""))
            for name, edge in table["events"].items()
        }
        self.then: dict[E, E] = {
            events(name): events(edge["then"]) for name, edge in table["events"].items() if "then" in edge
        }
        """Which event follows by itself on the way forward."""
        if set(self.meanings) != set(states) or set(self.edges) != set(events):
            raise ValueError(f"the table must name every member of {states.__name__} and {events.__name__}")
        self.initial = states(table["initial"])
        self._cursor: _Cursor[S] = _Cursor(self.initial)
        self._machine = Machine(
            self._cursor,
            states=states,
            initial=self.initial,
            transitions=list(self._transitions()),
            auto_transitions=False,
            send_event=True,
            model_override=True,
        )

    def _transitions(self) -> Iterable[dict[str, Any]]:
        for event, (sources, target, guard) in self.edges.items():
            for source in sources:
                edge: dict[str, Any] = {"trigger": event.value, "source": source, "dest": target}
                if guard:
                    edge["conditions"] = _guard(guard)
                yield edge

    def allows(self, state: S, event: E) -> bool:
        """Whether the event is legal from this state, guards aside."""
        return state in self.edges[event][0]

    def target(self, event: E) -> S:
        """The state after the event. Its guard is asked when it begins, not when its steps are done."""
        return self.edges[event][1]

    def left_at(self, state: S) -> E | None:
        """The event that follows by itself from a state, for one that was left there."""
        return next((then for event, then in self.then.items() if self.target(event) == state), None)

    def path(self, state: S, along: Collection[E]) -> list[E]:
        """The events ahead of a state, in their order, of those that are named: none leads back."""
        found: list[E] = []
        while (event := next((e for e in along if self.allows(state, e)), None)) is not None:
            found.append(event)
            state = self.target(event)
        return found

    def advance(self, state: S, event: E, facts: Guards) -> S:
        """The state after the event.

        Raises:
            GuardNotMet: the event's guard does not hold.
            transitions.MachineError: the event is not legal from this state.
        """
        self._machine.set_state(state, self._cursor)
        if not self._cursor.trigger(event.value, facts=facts):
            raise GuardNotMet(self.edges[event][2], state, event)
        return self._cursor.state

    def mermaid(self) -> str:
        """The table as a Mermaid state diagram."""
        lines = ["stateDiagram-v2", f"  [*] --> {self.initial}"]
        for event, (sources, target, guard) in self.edges.items():
            note = f" [{guard}]" if guard else ""
            lines += [f"  {source} --> {target}: {event}{note}" for source in sources]
        return "\n".join(lines) + "\n"


def _guard(name: str) -> Callable[[Any], bool]:
    def holds(event: Any) -> bool:
        return bool(event.kwargs["facts"](name))

    holds.__name__ = name
    return holds


@dataclass(frozen=True)
class StrategyTable:
    """The step names of each event and of each phase, and which events leave the node in service."""

    name: str
    events: Mapping[NodeEvent, Sequence[str]]
    phases: Mapping[str, Sequence[str]]
    in_service: frozenset[NodeEvent]

    @classmethod
    def load(cls, name: str, text: str) -> "StrategyTable":
        """Read `states/strategies/NAME.yaml`."""
        table: Mapping[str, Any] = documents(text)[0]
        in_service = {NodeEvent.ADOPT, NodeEvent.REROUTE} | {
            event
            for event, key in ((NodeEvent.ATTACH, "attach_in_service"), (NodeEvent.DETACH, "detach_in_service"))
            if table.get(key)
        }
        events = {NodeEvent(event): tuple(steps) for event, steps in table["events"].items()}
        return cls(name, events, {k: tuple(v) for k, v in table["phases"].items()}, frozenset(in_service))


NodeLifecycle = Lifecycle[NodeState, NodeEvent]
FORWARD = tuple(event for event in NodeEvent if not event.backwards and not event.of_some)
"""The events of the way forward, by which every node goes."""


def ahead(lifecycle: NodeLifecycle, state: NodeState) -> list[NodeEvent]:
    """The events that a node in this state still has before it."""
    return lifecycle.path(state, FORWARD)


ClusterLifecycle = Lifecycle[Phase, PhaseEvent]
