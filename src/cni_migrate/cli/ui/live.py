"""The live table of a run on a terminal: on stderr, redrawn at most four times a second, gone at the end."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from cni_migrate.cli.ui import output
from cni_migrate.core.decision.advance import Waiting
from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model.lifecycle import NodeState
from cni_migrate.core.model.record import NodeRecord
from cni_migrate.ports import Clock

REDRAW_SECONDS = 0.25

DONE = NodeState.MIGRATED


class Screen:
    """Shows the latest decision, and above it what has happened, line by line."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._console = output.console(sys.stderr)
        self._live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._decision: Decision | None = None
        self._order: dict[str, int] = {}
        self._note = "taking the lock"

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show it while inside."""
        with self._live:
            task = asyncio.create_task(self._redraw(), name="screen")
            try:
                yield
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                self._live.update(Text(""), refresh=False)

    def decision(self, decision: Decision, order: Iterable[str]) -> None:
        """Take the latest decision in, and the order in which nodes are migrated."""
        if self._decision is None:
            self._note = ""
        self._decision = decision
        self._order = {name: place for place, name in enumerate(order)}

    def say(self, at: datetime, text: str, *, style: str = "") -> None:
        """A line that stays above the table."""
        line = Text.assemble((f"{output.clock(at)}  ", "dim"), (text, style))
        self._console.print(line, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line under the table, until another comes."""
        self._note = text

    async def _redraw(self) -> None:
        while True:
            self._live.update(self._drawn(), refresh=True)
            await asyncio.sleep(REDRAW_SECONDS)

    def _drawn(self) -> RenderableType:
        now = self._clock.now()
        parts: list[RenderableType] = []
        if self._decision is not None:
            parts += drawn(self._decision, now, self._order, rows=max(3, self._console.height - 6))
        if self._note:
            parts.append(Text(self._note, style="yellow"))
        return Group(*parts)


def drawn(decision: Decision, now: datetime, order: Mapping[str, int], *, rows: int) -> list[RenderableType]:
    """A decision as a table, in the order of the migration; where not all have room, of those that matter now."""
    record = decision.record
    waits = {wait.node: wait for wait in decision.waits}
    made = output.table("NODE", "STATE", "EVENT/STEP", "AGE", "WAITS FOR")
    entries = sorted(record.nodes.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))
    shown = entries
    if len(entries) > rows:
        # Held and under way first, then what is still to come: a stable sort keeps their order.
        shown = sorted(entries, key=lambda item: (item[1].held is None, item[1].event is None, item[1].state == DONE))
    for name, entry in shown[:rows]:
        made.add_row(*_row(name, entry, waits.get(name), now))
    parts: list[RenderableType] = [Text(""), made]
    if len(entries) > rows:
        parts.append(Text(f"and {len(entries) - rows} more nodes", style="dim"))
    done = sum(1 for entry in record.nodes.values() if entry.state is DONE and not entry.gone)
    there = sum(1 for entry in record.nodes.values() if not entry.gone)
    cluster = record.cluster
    line = Text.assemble((f"phase {cluster.phase}", "bold"), f", {done} of {there} nodes migrated")
    if cluster.step:
        line.append(f", step {cluster.step} ({output.age(cluster.since, now)})")
    if (wait := waits.get("")) is not None:
        line.append(f": waits for {_words(wait)}")
    return [*parts, line]


def _row(name: str, entry: NodeRecord, wait: Waiting | None, now: datetime) -> list[Any]:
    held = entry.held
    what = f"HELD: {held.why}" if held else _words(wait) if wait is not None else "gone" if entry.gone else ""
    return [
        name,
        output.state(entry.state, held=held is not None),
        f"{entry.event}/{entry.step}" if entry.event else "-",
        output.age(entry.since, now) if entry.event or held else "",
        Text(what, style="red" if held else "", overflow="ellipsis", no_wrap=True),
    ]


def _words(wait: Waiting) -> str:
    return f"{wait.on}: {wait.observed}" if wait.observed else wait.on
