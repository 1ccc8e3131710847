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

    forward: `migrate run`; `wanted` says which nodes may be migrated, `until` after which phase to stop. Unless
    `consented`, it ends where clean-up would begin or go on, as long as that is before the point of no return.
    rollback_node: `migrate rollback-node`; `node` goes back `to` dual or canal.
    rollback: `migrate rollback`; the cluster goes back to where it was found.
    """

    kind: Literal["forward", "rollback_node", "rollback"] = "forward"
    wanted: Callable[[Node], bool] = _every
    partial: bool = False
    until: Phase | None = None
    consented: bool = True
    node: str = ""
    to: Literal["dual", "canal"] = "dual"
    accept: frozenset[str] = frozenset()
    """Nodes whose gates may fail, by name: an operator's explicit word, for this invocation."""
    waived: tuple[str, ...] = ()
    """What preflight found and the operator has waived, in words: noted when the migration begins."""
    waivers: tuple[str, ...] = ()
    """The same as it was typed: kept until the migration begins, so that nobody has to type it twice."""
    drain: str = ""
    """The drain's options as they were typed: kept, so that whoever asks what to type next is told all of it."""
    by: str = ""
    """Who has said so."""

    def is_for(self, node: str) -> bool:
        """Whether the operator has named this very node, to take it back."""
        return self.kind == "rollback_node" and self.node == node

    @property
    def command(self) -> str:
        """What to type to go on with it, whatever has stopped it."""
        match self.kind:
            case "rollback":
                return "migrate rollback"
            case "rollback_node":
                return f"migrate rollback-node {self.node}" + (" --to canal" if self.to == "canal" else "")
            case "forward":
                return "migrate run"

    @property
    def cleans_up(self) -> bool:
        """Whether clean-up is part of it: not where only some nodes were asked for, or an earlier end."""
        return not self.partial and (self.until is None or self.until.beyond(Phase.MIGRATING))


@dataclass(frozen=True, slots=True)
class Final:
    """How an invocation ended.

    done: the goal is reached. halted: a node or the cluster is held, or waits for something that only a human can give.
    gate: the same, because connectivity is broken. interrupted: on request, at a safe point. consent: what comes next
    cannot be undone, and nobody has said yet that it may be done.
    """

    outcome: Literal["done", "halted", "gate", "interrupted", "consent"]
    message: str
    next: str = ""
