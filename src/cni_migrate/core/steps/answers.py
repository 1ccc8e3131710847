"""What a step can answer when it has looked at what is observed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict

from cni_migrate.core.model.effects import Effect
from cni_migrate.core.model.objects import Pod
from cni_migrate.core.model.record import Before, GateResult, Tunnel
from cni_migrate.core.model.rounds import GateAsk


class NodeChanges(TypedDict, total=False):
    """Fields of a node's entry that its steps change (`core.model.record.NodeRecord` has their meaning)."""

    before: Before | None
    displaced: tuple[str, ...]
    files: tuple[str, ...]
    leases: tuple[str, ...]
    old_uid: str
    targets: tuple[str, ...] | None
    renewed: datetime | None
    gate: GateResult
    accepted: tuple[str, ...]
    unproven: str
    alone: bool
    cleaned: bool
    boot: str


class ClusterChanges(TypedDict, total=False):
    """Fields of the cluster's entry that its steps change (`core.model.record.ClusterRecord` has their meaning)."""

    baseline: tuple[str, ...]
    gate: GateResult
    performed: tuple[str, ...]
    canal_before: dict[str, Any] | None
    canal_objects: tuple[str, ...]
    cleaning_image: str
    tunnel: Tunnel | None


Remembered = NodeChanges | ClusterChanges
"""Fields of the step's own record entry to change."""


@dataclass(frozen=True, slots=True)
class Done:
    """What the step is for holds."""

    remember: Remembered = field(default_factory=NodeChanges)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do but to look again: on what, and what was seen last.

    `pods` are those that are waited for: when it takes long, their last Events are looked up. `ask` names the agents'
    reports that the step needs. `retry_in` is when it is worth looking again although nothing
    has changed, in seconds.
    """

    on: str
    observed: str
    ask: GateAsk | None = None
    retry_in: float | None = None
    gate: bool = False
    pods: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True)
class Apply:
    """Effects that are wanted; `remember` is recorded before they are performed.

    The step may repeat itself: what was performed already, or is to be tried again only later, is left out by
    `core.decision.advance`. `on` and `observed` are for the screen while the effects take their time.
    """

    effects: tuple[Effect, ...]
    on: str
    observed: str = ""
    retry_in: float | None = None
    remember: Remembered = field(default_factory=NodeChanges)
    nodes: Mapping[str, NodeChanges] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refuse:
    """It cannot go on without a human: why, and what to do about it; the command that goes on is added to that."""

    why: str
    next: str
    gate: bool = False


Answer = Done | Wait | Apply | Refuse
