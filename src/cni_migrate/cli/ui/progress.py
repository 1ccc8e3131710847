"""How a run goes on, in lines for people that fit the width and the height there is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rich.text import Text

from cni_migrate.cli.ui import colours, output
from cni_migrate.cli.ui.fitting import Rows, indented, wrapped
from cni_migrate.core.decision.advance import Waiting
from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model.lifecycle import NodeState
from cni_migrate.core.model.record import NodeRecord, Record
from cni_migrate.core.reports.eta import Left

BAR: Final = 30
"""Columns of the bar at most."""


@dataclass(frozen=True)
class Progress:
    """A run at one moment: since when, the latest decision, and about how long it still takes."""

    started: datetime
    now: datetime
    decision: Decision
    order: Mapping[str, int]
    """The place of each node in the order of the migration."""
    left: Left | None = None


def drawn(run: Progress, width: int, height: int) -> list[Text]:
    """The run in at most `height` lines: the nodes, then the sum; without room for all, those that matter now first."""
    sums = summary(run, width)
    return [*_table(run, width, max(height - len(sums), 4)), *sums]


def _table(run: Progress, width: int, height: int) -> list[Text]:
    waits = {wait.node: wait for wait in run.decision.waits}
    last = len(run.order)
    entries = sorted(run.decision.record.nodes.items(), key=lambda item: (run.order.get(item[0], last), item[0]))
    rows = _rows(entries, waits, run.now)
    table = rows.fitted(width, steady=True)
    if len(table.lines) > height:
        # Held and under way first, then what is still to come: a stable sort keeps their order.
        entries.sort(key=lambda item: (item[1].held is None, item[1].event is None, _done(item[1])))
        table = _rows(entries, waits, run.now).fitted(width, steady=True)
    lines, shown = list(table.head), 0
    for row in table.rows:
        whole = shown + 1 == len(table.rows)
        if len(lines) + len(row) + (0 if whole else 1) > height and shown:
            break
        lines += row
        shown += 1
    if shown < len(entries):
        lines.append(Text(f"and {len(entries) - shown} more nodes", style=colours.QUIET))
    return lines


def _rows(entries: list[tuple[str, NodeRecord]], waits: Mapping[str, Waiting], now: datetime) -> Rows:
    rows = output.table("NODE", "STATE", "EVENT/STEP", "AGE", "WAITS FOR")
    for name, entry in entries:
        held = entry.held
        wait = waits.get(name)
        what = f"HELD: {held.why}" if held else words(wait) if wait is not None else "gone" if entry.gone else ""
        rows.add_row(
            name,
            output.state(entry.state, held=held is not None),
            f"{entry.event}/{entry.step}" if entry.event else "-",
            output.age(entry.since, now) if entry.event or held else "",
            Text(what, style=colours.BAD if held else ""),
        )
    return rows


def _done(entry: NodeRecord) -> bool:
    return entry.state is NodeState.MIGRATED


def counted(record: Record) -> tuple[int, int]:
    """How many nodes are where the run takes them, and how many there are."""
    there = [entry for entry in record.nodes.values() if not entry.gone]
    goal = NodeState.CANAL if record.cluster.direction == "back" else NodeState.MIGRATED
    return sum(1 for entry in there if entry.state is goal and entry.event is None), len(there)


def summary(run: Progress, width: int) -> list[Text]:
    """Progress over nodes, the time, and what the cluster itself waits for."""
    record = run.decision.record
    done, there = counted(record)
    bar = _bar(done, there, min(BAR, width))
    head = Text.assemble((f"phase {record.cluster.phase}", colours.HEAD), f", {_nodes(record)}")
    lines = [bar, *wrapped(head, width), *wrapped(times(run), width)] if there else wrapped(head, width)
    cluster = record.cluster
    own = [wait for wait in run.decision.waits if not wait.node]
    if cluster.step:
        text = f"step {cluster.step} ({output.age(cluster.since, run.now)})"
        if (wait := next((one for one in own if one.step == cluster.step), None)) is not None:
            own.remove(wait)
            text += f": waits for {words(wait)}"
        lines += indented(text, width)
    for wait in own:  # a pause, nodes that cannot be touched: of no step, and nothing else says why nobody moves
        lines += indented(Text(f"waits for {words(wait)}", style=colours.CAUTION), width)
    return lines


def _nodes(record: Record) -> str:
    done, there = counted(record)
    return f"{done} of {there} nodes {'back on Canal' if record.cluster.direction == 'back' else 'migrated'}"


def _bar(done: int, there: int, width: int) -> Text:
    share = done / there if there else 0.0
    percent = f" {share:4.0%}"
    length = max(width - len(percent), 8)
    full = int(share * length)
    return Text.assemble(("━" * full, colours.GOOD), ("━" * (length - full), colours.QUIET), percent)


def times(run: Progress) -> str:
    """Elapsed and remaining time in words."""
    elapsed = f"elapsed {output.age(run.started, run.now)}"
    if run.left is None or run.decision.paused:
        return f"{elapsed}, time left not known now"
    if run.left.seconds <= 0:
        return elapsed
    return f"{elapsed}, {output.ending(run.left.seconds, run.now)} left, by {run.left.basis}"


def words(wait: Waiting) -> str:
    """What is waited for, and what was seen last."""
    return f"{wait.on}: {wait.observed}" if wait.observed else wait.on


def line(run: Progress) -> str:
    """The sum in one line, where nothing is redrawn."""
    return f"phase {run.decision.record.cluster.phase}, {_nodes(run.decision.record)}; {times(run)}"
