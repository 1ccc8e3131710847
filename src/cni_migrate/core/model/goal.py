"""What one invocation wants: forward, one node back, or the whole cluster back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.objects import Node


def _every(_: Node) -> bool:
    return True


@dataclass(frozen=True)
class Goal:
    """What this invocation is for.

    forward: `migrate run`; `wanted` says which nodes may be migrated, `until` after which phase to stop.
    node_back: `migrate rollback-node`; `node` goes back `to` dual or canal.
    back: `migrate rollback`; the cluster goes back to where it was found.
    """

    kind: Literal["forward", "node_back", "back"] = "forward"
    wanted: Callable[[Node], bool] = _every
    partial: bool = False
    until: Phase | None = None
    node: str = ""
    to: Literal["dual", "canal"] = "dual"

    @property
    def command(self) -> str:
        """What to type to go on with it, whatever has stopped it."""
        match self.kind:
            case "back":
                return "migrate rollback"
            case "node_back":
                return f"migrate rollback-node {self.node}" + (" --to canal" if self.to == "canal" else "")
            case "forward":
                return "migrate run"


@dataclass(frozen=True, slots=True)
class Final:
    """How an invocation ended.

    done: the goal is reached. halted: a node or the cluster is held, or waits for something that only a human can give.
    gate: the same, because connectivity is broken. interrupted: on request, at a safe point.
    """

    outcome: Literal["done", "halted", "gate", "interrupted"]
    message: str
    next: str = ""
