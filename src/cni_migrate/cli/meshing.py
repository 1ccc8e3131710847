"""`migrate knet status` and `migrate knet matrix`: what the agents report now, as a table, a picture, or data."""

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from cni_migrate.cli.options import Common
from cni_migrate.cli.session import Session, configured, run_async, session
from cni_migrate.cli.ui import drawing, output, svg
from cni_migrate.config import Config
from cni_migrate.core.connectivity import mesh
from cni_migrate.core.connectivity.gate import Failing, Passed, Pending, Verdict, unasked
from cni_migrate.core.connectivity.known_failures import KnownFailures, enforcing
from cni_migrate.core.connectivity.matrix import ORDER, Matrix, matrix
from cni_migrate.core.model.objects import GateReading, Snapshot
from cni_migrate.core.model.record import Record
from cni_migrate.core.steps.gates import excluded
from cni_migrate.core.steps.view import ClusterView
from cni_migrate.errors import GateFailed, UsageError
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.wiring import plan_for

SCHEMA = 1
"""The version of the machine-readable forms: fields are added, never renamed or removed."""

MOST_LINES = 20
"""So many broken directions are named; `-o json` has all."""


@dataclass(frozen=True)
class Seen:
    """One look at the mesh."""

    asked: mesh.Question
    read: GateReading
    verdict: Verdict
    nodes: tuple[str, ...]

    @property
    def matrix(self) -> Matrix:
        """The picture."""
        return matrix(self.nodes, self.asked.expected, self.read, self.verdict)

    @property
    def left(self) -> mesh.Doubt:
        """What a passed verdict leaves open."""
        return mesh.doubt(self.asked, self.read)

    @property
    def proven(self) -> bool:
        """Whether connectivity is proven: the verdict is good, and nothing is left open."""
        return isinstance(self.verdict, Passed) and self.left.proven

    @property
    def said(self) -> str:
        """The verdict in one line."""
        return mesh.said(self.verdict, self.left)

    @property
    def left_out(self) -> Iterator[Text]:
        """A line about the nodes that a migration has in its hands."""
        if names := self.asked.left_out:
            yield Text(f"left out, as a migration has them in its hands: {output.listed(names, 10)}", style="yellow")


def status(common: Common, *, ignore: str, form: str) -> None:
    """Show each agent, then the gate's verdict. The kinds of probes in `ignore` do not count.

    Raises:
        GateFailed: connectivity is not proven.
        UsageError: there is no such kind.
    """
    run_async(_status(common, _kinds(ignore), form))


def _kinds(text: str) -> frozenset[str]:
    found = frozenset(kind.strip() for kind in text.split(",") if kind.strip())
    known = [kind for kind in ORDER if kind != "peer"]
    if unknown := sorted(found.difference(known)):
        raise UsageError(
            f"--ignore: there is no kind of probe {output.listed(unknown)}; there are: {', '.join(known)}",
            next="migrate knet status --ignore policy_deny",
        )
    return found


async def _status(common: Common, ignore: frozenset[str], form: str) -> None:
    config = configured(common, {}).config
    async with session(common, config) as here, here.cluster() as cluster:
        seen = await _settled(here, cluster, ignore, (Pending, Failing))
    if form == "table":
        _show_status(output.out(), seen)
    else:
        (output.as_json if form == "json" else output.as_yaml)(_status_data(seen))
    sys.stdout.flush()
    if not seen.proven:
        raise GateFailed(seen.said, next="migrate knet matrix  (who reaches whom)")


def picture(common: Common, *, ignore: str, form: str, watch: bool) -> None:
    """Draw who reaches whom, once or until stopped. The kinds of probes in `ignore` do not count.

    Raises:
        GateFailed: there are no agents.
        UsageError: there is no such kind.
    """
    run_async(_picture(common, _kinds(ignore), form, watch=watch))


async def _picture(common: Common, ignore: frozenset[str], form: str, *, watch: bool) -> None:
    config = configured(common, {}).config
    async with session(common, config) as here, here.cluster() as cluster:
        if not watch:
            _show_picture(output.out(), await _settled(here, cluster, ignore, (Pending,)), form)
            return
        to = output.out()
        if form == "table" and to.is_terminal:
            with Live(console=to, auto_refresh=False, vertical_overflow="visible") as live:
                while True:
                    live.update(Group(*_drawn(to, await _look(here, cluster, ignore))), refresh=True)
                    await asyncio.sleep(config.knet.interval)
        last: Any = None
        while True:
            seen = await _look(here, cluster, ignore)
            data = _matrix_data(seen)
            if (what := [data[key] for key in ("passed", "proven", "cells", "services", "left_out")]) != last:
                last = what
                _show_picture(to, seen, form)
                sys.stdout.flush()
            await asyncio.sleep(config.knet.interval)


async def _settled(
    here: Session, cluster: KubeCluster, ignore: frozenset[str], again: tuple[type[Verdict], ...]
) -> Seen:
    """The first look whose verdict is none of `again`, or the last one.

    So agents that have just started are given the time for their rounds, and one lost probe a second chance, as in a
    gate: it has to be followed by as many clean rounds as a gate wants.

    Raises:
        GateFailed: there are no agents.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + mesh.seconds_needed(here.config)
    while True:
        seen = await _look(here, cluster, ignore)
        if not isinstance(seen.verdict, again) or loop.time() >= end:
            return seen
        await here.clock.sleep(here.config.knet.interval)


async def _look(here: Session, cluster: KubeCluster, ignore: frozenset[str]) -> Seen:
    snapshot = cluster.snapshot()
    asked = _question(here, snapshot, await here.record(), ignore)
    if not mesh.deployed(snapshot, here.config):
        raise GateFailed(
            f"there are no agents in namespace {here.config.knet.namespace}: nothing would be proven",
            next="migrate knet deploy",
        )
    reading = (await here.prober().read([asked.ask]))[asked.ask.key]
    full, verdict = asked.judged(reading, here.config)
    return Seen(asked, full, verdict, tuple(sorted(snapshot.nodes)))


def _question(here: Session, seen: Snapshot, record: Record | None, ignore: frozenset[str]) -> mesh.Question:
    """Of every node; while a migration is under way with what it excuses, as in its own gates."""
    if record is None or not mesh.under_way(record):
        return mesh.question(seen, here.config, ignored=ignore)
    config: Config = here.config.model_copy(update={"strategy": record.cluster.strategy})
    now = here.clock.now()
    out = excluded(ClusterView(plan_for(config, seen), seen, record, now, now))
    known = KnownFailures(record.cluster.baseline, enforcing(record.nodes))
    return mesh.question(seen, config, left_out=out, known=known, ignored=ignore | unasked(config))


def _show_status(to: Console, seen: Seen) -> None:
    table = output.table("NODE", "MESH", "POD", "AGE", "PEERS", "SENT", "LOST", "WORST")
    for agent in mesh.agents(seen.asked, seen.read, seen.verdict):
        table.add_row(
            agent.node,
            agent.mesh,
            agent.pod or "-",
            "-" if agent.age is None else f"{max(0.0, agent.age):.1f}s",
            f"{agent.peers}/{agent.wanted}",
            str(agent.sent),
            str(agent.lost),
            Text(f"silent: {agent.trouble}" if agent.trouble else agent.worst or "-",
                 style="red" if agent.trouble or (agent.worst and ": " in agent.worst) else ""),
        )  # fmt: skip
    output.show_table(to, table)
    to.print()
    for line in (*seen.left_out, *_explained(seen)):
        to.print(line, soft_wrap=True)


def _headline(seen: Seen) -> Text:
    style = {Passed: "bold green", Pending: "bold yellow", Failing: "bold red"}[type(seen.verdict)]
    doubtful = isinstance(seen.verdict, Passed) and not seen.proven
    return Text(seen.said, style="bold yellow" if doubtful else style)


def _explained(seen: Seen) -> Iterator[Text]:
    """The verdict, and below it what is broken."""
    yield _headline(seen)
    lines = mesh.details(seen.verdict)
    for line in lines[:MOST_LINES]:
        yield Text(f"  {line}")
    if len(lines) > MOST_LINES:
        yield Text(f"  and {len(lines) - MOST_LINES} more: -o json has all")


def _show_picture(to: Console, seen: Seen, form: str) -> None:
    if form == "json":
        output.as_json(_matrix_data(seen))
    elif form == "svg":
        sys.stdout.write(svg.svg(seen.matrix, seen.said))
    else:
        for part in _drawn(to, seen):
            if isinstance(part, Text):
                to.print(part, soft_wrap=True)
            else:
                output.show_table(to, part)


def _drawn(to: Console, seen: Seen) -> list[Any]:
    parts = drawing.drawn(seen.matrix, to.width)
    return [*parts, Text(""), *seen.left_out, _headline(seen)]


def _status_data(seen: Seen) -> dict[str, Any]:
    every = [asdict(agent) for agent in mesh.agents(seen.asked, seen.read, seen.verdict)]
    for one in every:
        one["age"] = None if one["age"] is None else round(one["age"], 3)
    return {"schema": SCHEMA, **_verdict_data(seen), "agents": every}


def _matrix_data(seen: Seen) -> dict[str, Any]:
    """The picture as data: directions that are not listed are unknown."""
    drawn = seen.matrix
    cells = [
        {"from": source, "to": target, "state": cell.state, "kinds": list(cell.kinds)}
        for (source, target), cell in sorted(drawn.cells.items())
    ]
    services = {node: list(kinds) for node, kinds in sorted(drawn.services.items())}
    return {
        "schema": SCHEMA,
        **_verdict_data(seen),
        "nodes": list(drawn.nodes),
        "count": drawn.count(),
        "cells": cells,
        "services": services,
    }


def _verdict_data(seen: Seen) -> dict[str, Any]:
    verdict = seen.verdict
    pairs = verdict.pairs if isinstance(verdict, Failing) else ()
    silent = verdict.silent if isinstance(verdict, Failing) else ()
    return {
        "passed": isinstance(verdict, Passed),
        "proven": seen.proven,
        "verdict": seen.said,
        "pairs": [asdict(pair) for pair in pairs],
        "silent": dict(silent),
        "left_out": list(seen.asked.left_out),
    }
