"""Finds steps by the names that `states/strategies/*.yaml` use, with the deadline each kind of step has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from cni_migrate.config import Deadlines
from cni_migrate.core.steps.view import ClusterStep, NodeStep

DeadlineKind = Literal["drain", "pods", "agent", "host", "gate", "none"]


@dataclass(frozen=True, slots=True)
class Registered:
    """A step's function, the kind of its deadline, and what it does in words (its docstring's first line).

    `beside` are steps right before it during which its host task may run already. `irreversible`: what it does cannot
    be undone by a rollback.
    """

    name: str
    deadline: DeadlineKind
    title: str
    beside: tuple[str, ...] = ()
    irreversible: bool = False


NODE_STEPS: dict[str, NodeStep] = {}
CLUSTER_STEPS: dict[str, ClusterStep] = {}
ABOUT: dict[str, Registered] = {}


def _about(
    name: str, deadline: DeadlineKind, doc: str | None, beside: tuple[str, ...] = (), *, irreversible: bool = False
) -> None:
    if name in ABOUT:
        raise ValueError(f"two steps are called {name}")
    title = (doc or "").strip().splitlines()[0] if doc else ""
    ABOUT[name] = Registered(name, deadline, title, beside, irreversible)


def node_step(deadline: DeadlineKind, *, beside: tuple[str, ...] = ()) -> Callable[[NodeStep], NodeStep]:
    """Register a function as the node step of its own name.

    With `beside` its host task is started as soon as only such steps are between. That must do no harm, whatever
    becomes of them, and also if nobody ever asks for the result.
    """

    def register(function: NodeStep) -> NodeStep:
        _about(function.__name__, deadline, function.__doc__, beside)
        NODE_STEPS[function.__name__] = function
        return function

    return register


def cluster_step(deadline: DeadlineKind, *, irreversible: bool = False) -> Callable[[ClusterStep], ClusterStep]:
    """Register a function as the cluster step of its own name.

    `irreversible`: no rollback can undo what it does. The first such step of a strategy is its point of no return.
    """

    def register(function: ClusterStep) -> ClusterStep:
        _about(function.__name__, deadline, function.__doc__, irreversible=irreversible)
        CLUSTER_STEPS[function.__name__] = function
        return function

    return register


def ahead(steps: Sequence[str]) -> str:
    """Which step's host task may run while the node is in the first of these steps, or ''."""
    for at, step in enumerate(steps):
        if at and set(steps[:at]) <= set(ABOUT[step].beside):
            return step
    return ""


def deadline_of(step: str, deadlines: Deadlines) -> float | None:
    """How many seconds a step may take; None: as long as it takes."""
    kind = ABOUT[step].deadline
    return None if kind == "none" else float(getattr(deadlines, kind))
