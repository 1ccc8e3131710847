"""Finds steps by the names that `states/strategies/*.yaml` use, with the deadline each kind of step has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cni_migrate.configsections import Deadlines
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.core.model.record import NodeRecord
from cni_migrate.core.render.manifests import Manifest
from cni_migrate.core.steps.view import ClusterStep, NodeStep, Plan, out_of_service

Installs = Callable[[Plan, Snapshot], list[Manifest]]

DeadlineKind = Literal["drain", "pods", "agent", "host", "gate", "upgrade", "none"]


@dataclass(frozen=True, slots=True)
class Registered:
    """A step's function, the kind of its deadline, and what it does in words (its docstring's first line).

    What other modules need to know of a step is said here, so that none of them knows it by its name.
    """

    name: str
    deadline: DeadlineKind
    title: str
    beside: tuple[str, ...] = ()
    """Steps right before it during which its host task may run already."""
    gives_way: bool = False
    """A node whose event is there was not touched yet, and leaves its place to others."""
    irreversible: bool = False
    """What it does cannot be undone by a rollback."""
    foreseeable: bool = False
    """What it changes follows from what is there now, whatever the steps before it do: `plan` can tell it."""
    takes_out: bool = False
    """It takes the node out of service: before it nothing was done to the node."""
    evicts: bool = False
    """It moves the node's pods away."""
    ends_probing: bool = False
    """The agents of knet-stress go in it: nobody asks them for anything any more."""
    selects_canal: bool = False
    """It gives Canal's DaemonSets the selector that they keep until they go."""
    deletes_canal: bool = False
    """Canal's DaemonSets go in it."""
    installs: Installs | None = None
    """What it applies, of this plan's objects: they have to stay until another step takes them away."""


NODE_STEPS: dict[str, NodeStep] = {}
CLUSTER_STEPS: dict[str, ClusterStep] = {}
ABOUT: dict[str, Registered] = {}


def _about(name: str, deadline: DeadlineKind, doc: str | None, **more: Any) -> None:
    if name in ABOUT:
        raise ValueError(f"two steps are called {name}")
    title = (doc or "").strip().splitlines()[0] if doc else ""
    ABOUT[name] = Registered(name, deadline, title, **more)


def node_step(
    deadline: DeadlineKind,
    *,
    beside: tuple[str, ...] = (),
    gives_way: bool = False,
    foreseeable: bool = False,
    takes_out: bool = False,
    evicts: bool = False,
) -> Callable[[NodeStep], NodeStep]:
    """Register a function as the node step of its own name; see `Registered`.

    With `beside` its host task is started as soon as only such steps are between. That must do no harm, whatever
    becomes of them, and also if nobody ever asks for the result.
    """

    def register(function: NodeStep) -> NodeStep:
        _about(function.__name__, deadline, function.__doc__, beside=beside, gives_way=gives_way,
               foreseeable=foreseeable, takes_out=takes_out, evicts=evicts)  # fmt: skip
        NODE_STEPS[function.__name__] = function
        return function

    return register


def cluster_step(
    deadline: DeadlineKind,
    *,
    irreversible: bool = False,
    foreseeable: bool = False,
    ends_probing: bool = False,
    selects_canal: bool = False,
    deletes_canal: bool = False,
    installs: Installs | None = None,
) -> Callable[[ClusterStep], ClusterStep]:
    """Register a function as the cluster step of its own name; see `Registered`.

    The first step of a strategy that is `irreversible` is its point of no return.
    """

    def register(function: ClusterStep) -> ClusterStep:
        _about(function.__name__, deadline, function.__doc__, irreversible=irreversible, foreseeable=foreseeable,
               ends_probing=ends_probing, selects_canal=selects_canal, deletes_canal=deletes_canal,
               installs=installs)  # fmt: skip
        CLUSTER_STEPS[function.__name__] = function
        return function

    return register


def gives_way(step: str) -> bool:
    """Whether a node in this step leaves its place to others; '' is no step."""
    return bool(step) and ABOUT[step].gives_way


def untouched(plan: Plan, entry: NodeRecord) -> bool:
    """Whether the event under way is to take the node out of service, and has done nothing to it yet.

    A node that is held there serves as before: it takes nobody's place, and may leave the event without a trace.
    """
    if entry.event is None or entry.before is not None or not out_of_service(plan, entry):
        return False
    steps = list(plan.strategy.events[entry.event])
    return steps.index(entry.step) <= next((at for at, step in enumerate(steps) if ABOUT[step].takes_out), -1)


def ends_probing(step: str) -> bool:
    """Whether the agents are going in this step; '' is no step."""
    return bool(step) and ABOUT[step].ends_probing


def safe_to_stop(step: str) -> bool:
    """Whether a driver may end in the middle of this step: it only looks, and has changed nothing."""
    return bool(step) and ABOUT[step].deadline in ("gate", "upgrade", "none")


def ahead(steps: Sequence[str]) -> str:
    """Which step's host task may run while the node is in the first of these steps, or ''."""
    for at, step in enumerate(steps):
        if at and set(steps[:at]) <= set(ABOUT[step].beside):
            return step
    return ""


def deadline_of(step: str, deadlines: Deadlines) -> float | None:
    """How many seconds a step may take; None: as long as it takes."""
    kind = ABOUT[step].deadline
    return None if kind == "none" else float(getattr(deadlines, kind)) or None
