"""What was typed, and which goal of the driver it is."""

import shlex
from dataclasses import dataclass, replace
from typing import Any

from cni_migrate.cli.options import typed_again
from cni_migrate.cli.selectors import parse
from cni_migrate.cli.ui import output
from cni_migrate.core.model import guards
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import NodeState, Phase
from cni_migrate.core.model.objects import Node, Snapshot
from cni_migrate.core.model.record import Record
from cni_migrate.core.model.words import command_with, many
from cni_migrate.engine.lease import identity
from cni_migrate.errors import Halted, UsageError


@dataclass(frozen=True)
class Run:
    """`migrate run`."""

    nodes: str | None = None
    selector: str | None = None
    until: str = ""
    accept: tuple[str, ...] = ()
    at_once: str = ""
    drain: str = ""
    """The drain's options (`DrainOptions.words`)."""
    waive: tuple[str, ...] = ()
    """What was waived by an option; once the migration has begun it is in the record."""
    own_node: str = ""
    auto_rollback: bool | None = None
    remove_leftovers: bool = False

    @property
    def how(self) -> str:
        """How nodes are migrated, as it was typed; whose failing gate is accepted is said anew each time."""
        given = [("--max-unavailable", self.at_once), ("--own-node", self.own_node)]
        back = {True: " --auto-rollback", False: " --no-auto-rollback", None: ""}[self.auto_rollback]
        left = " --remove-leftovers" if self.remove_leftovers else ""
        return f"{typed_again(given)}{back}{left}{self.drain}"

    @property
    def waivers(self) -> str:
        """What was waived, as it was typed."""
        return typed_again(("--waive", waiver) for waiver in self.waive)

    @property
    def scope(self) -> str:
        """How much of the cluster and how, as it was typed: what comes behind `migrate run`."""
        which = [("--nodes", self.nodes), ("--selector", self.selector), ("--until", self.until)]
        return f"{typed_again(which)}{self.how}"

    def in_scope(self, text: str) -> str:
        """The text in which `migrate run` takes no more of the cluster than this did, and in the same way."""
        return command_with("migrate run", self.scope, text)

    def onward(self, text: str) -> str:
        """The text in which `migrate run` goes on behind the end of this one: in the same way, with all nodes."""
        return command_with("migrate run", self.how, text)

    def check(self) -> None:
        """Refuse what can be refused without a cluster.

        Raises:
            UsageError: the selector cannot be read, or an option names nothing: a script's empty variable would mean
                the whole cluster.
        """
        for option, value in (("--nodes", self.nodes), ("--selector", self.selector)):
            if value is not None and not _parts(value):
                what = f"{option} {shlex.quote(value)} names no node: nothing was changed"
                raise UsageError(what, next=f"name some, or omit {option} for all nodes")
        if self.selector:
            parse(self.selector)


@dataclass(frozen=True)
class Cleanup:
    """`migrate cleanup`."""

    def in_scope(self, text: str) -> str:
        """The text as it is."""
        return text

    onward = in_scope


@dataclass(frozen=True)
class RollbackNode:
    """`migrate rollback-node`."""

    node: str
    to: str
    accept: tuple[str, ...] = ()
    drain: str = ""

    def in_scope(self, text: str) -> str:
        """The text in which the same command drains the node as this did."""
        return command_with(f"migrate rollback-node {self.node}", self.drain, text)

    def onward(self, text: str) -> str:
        """The text as it is: what comes then is of others."""
        return text


@dataclass(frozen=True)
class Rollback:
    """`migrate rollback`."""

    accept: tuple[str, ...] = ()
    drain: str = ""

    def in_scope(self, text: str) -> str:
        """The text in which `migrate rollback` drains nodes as this did."""
        return command_with("migrate rollback", self.drain, text)

    onward = in_scope


Typed = Run | Cleanup | RollbackNode | Rollback


def goal_of(typed: Typed, record: Record | None, seen: Snapshot) -> Goal:
    """The driver's goal.

    Raises:
        UsageError: a node that is named is not there, or there is no migration to clean up after.
        Halted: clean-up cannot begin yet.
    """
    if record is None and isinstance(typed, Cleanup):
        raise UsageError("no migration is under way here: there is nothing to clean up", next="migrate status")
    match typed:
        case RollbackNode(node, to, accept, _):
            return Goal(kind="rollback_node", node=node, to="canal" if to == "canal" else "dual", **_accepting(accept))
        case Rollback(accept, _):
            return Goal(kind="rollback", **_accepting(accept))
        case Cleanup():
            _cleanable(record, seen)
            return Goal()
        case Run():
            return replace(_forward(typed, seen), drain=typed.drain, **_accepting(typed.accept))


def _accepting(names: tuple[str, ...]) -> dict[str, Any]:
    """Whose failing gates are accepted, and by whom."""
    return {"accept": frozenset(names), "by": who()} if names else {}


def who() -> str:
    """Who types, as user@host."""
    return identity().split("/")[0]


def _forward(typed: Run, seen: Snapshot) -> Goal:
    until = Phase(typed.until) if typed.until else None
    if not typed.nodes and not typed.selector:
        return Goal(until=until)
    named = _parts(typed.nodes or "")
    if unknown := sorted(named - set(seen.nodes)):
        raise UsageError(
            f"--nodes: there is no node {output.listed(unknown)}; there are: {output.listed(sorted(seen.nodes), 10)}",
            next="kubectl get nodes",
        )
    matches = parse(typed.selector) if typed.selector else None
    if matches is not None and not any(matches(node.labels) for node in seen.nodes.values()):
        raise UsageError(f"--selector {typed.selector!r}: no node matches", next="kubectl get nodes --show-labels")

    def wanted(node: Node) -> bool:
        return (not named or node.name in named) and (matches is None or matches(node.labels))

    if not any(wanted(node) for node in seen.nodes.values()):
        what = f"no node of --nodes {typed.nodes} has the labels of --selector {typed.selector!r}: nothing was changed"
        raise UsageError(what, next="kubectl get nodes --show-labels")
    return Goal(wanted=wanted, partial=True, until=until)


def _parts(text: str) -> set[str]:
    """What is separated by commas."""
    return {part.strip() for part in text.split(",") if part.strip()}


def _cleanable(record: Record | None, seen: Snapshot) -> None:
    assert record is not None
    if record.cluster.phase in (Phase.CLEANING, Phase.DONE):
        return
    known = {name: entry.uid for name, entry in record.nodes.items() if not entry.gone}
    joined = [name for name, node in seen.nodes.items() if known.get(name) != node.uid]
    left = [*{*guards.not_migrated(record), *joined}]
    if left or record.cluster.phase is not Phase.MIGRATING:
        what = f"{output.listed(sorted(left))} not migrated" if left else "no node is migrated"
        if record.cluster.direction == "back":
            raise Halted(f"this cluster is being rolled back: {what}", next="migrate rollback")
        skipped = sorted(set(left) & set(seen.requests.skip))
        order = f"migrate skip-node --undo {skipped[0]}, then migrate run" if skipped else "migrate run"
        raise Halted(f"clean-up has to wait: phase {record.cluster.phase}, {what}", next=order)


def resumed(record: Record) -> str:
    """What a resumed run goes on with, in one line."""
    there = {name: entry for name, entry in record.nodes.items() if not entry.gone}
    done = sum(1 for entry in there.values() if entry.state is NodeState.MIGRATED)
    parts = [f"phase {record.cluster.phase}", f"{done} of {many(len(there), 'node')} migrated"]
    under_way = [f"node {n} in {e.event}/{e.step}" for n, e in there.items() if e.event is not None]
    if record.cluster.step:
        parts.append(f"step {record.cluster.step}")
    return ", ".join([*parts, output.listed(under_way, 3)] if under_way else parts)
