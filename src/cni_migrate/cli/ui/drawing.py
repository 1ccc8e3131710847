"""The picture of the mesh for a terminal: node by node while that can be read, else only what is not well."""

from collections.abc import Iterator
from typing import Any, Final

from rich.text import Text

from cni_migrate.cli.ui import colours, output
from cni_migrate.core.connectivity.matrix import Cell, Matrix, Row, State
from cni_migrate.core.model.words import many

MOST_NODES: Final = 16
"""So many nodes are drawn one by one, on a terminal that is wide enough."""

MOST_ROWS: Final = 40
"""So many rows that are not well are drawn; `-o json` has all."""

STYLES: Final[dict[State, str]] = {
    "ok": colours.GOOD,
    "failing": colours.BAD,
    "silent": colours.BAD,
    "unknown": colours.QUIET,
}

WORDS: Final[dict[State, str]] = {
    "ok": "every probe succeeded",
    "failing": "the kinds of probes that fail",
    "silent": "an agent of the node does not report",
    "unknown": "nobody probes it, or no report yet",
}

SHOWN: Final[dict[State, str]] = {"ok": "ok", "silent": "silent", "unknown": "-"}
"""How a cell looks that is not failing."""


def drawn(matrix: Matrix, width: int) -> list[Any]:
    """Texts and a table that fit the width, in characters."""
    if len(matrix.nodes) <= MOST_NODES and _width(matrix) <= width:
        return [_full(matrix), Text(""), *_legend(matrix)]
    return [*_troubled(matrix), *_summary(matrix)]


def word(cell: Cell) -> str:
    """What a cell says: a failing one its first kind and how many more there are."""
    if cell.state != "failing":
        return SHOWN[cell.state]
    return cell.kinds[0] + (f"+{len(cell.kinds) - 1}" if len(cell.kinds) > 1 else "")


def _full(matrix: Matrix) -> Any:
    """Rows: from; columns: to, by the number of the row with the same node."""
    services = bool(matrix.services)
    numbers = [str(number) for number in range(1, len(matrix.nodes) + 1)]
    table = output.grid("", "FROM \\ TO", *numbers, *(["SERVICES"] if services else []))
    for number, source in zip(numbers, matrix.nodes, strict=True):
        cells = [matrix.cell(source, target) for target in matrix.nodes]
        row: list[Any] = [number, source, *(Text(word(cell), style=STYLES[cell.state]) for cell in cells)]
        if services:
            row.append(Text(", ".join(matrix.services.get(source, ())) or "ok"))
        table.add_row(*row)
    return table


def _width(matrix: Matrix) -> int:
    """How many characters the full picture needs."""
    columns = [max(len(word(matrix.cell(source, target))) for source in matrix.nodes) for target in matrix.nodes]
    services = max((len(", ".join(kinds)) for kinds in matrix.services.values()), default=-2)
    names = max((len(node) for node in matrix.nodes), default=0)
    return 4 + max(names, 9) + 2 + sum(max(column, 2) + 2 for column in columns) + services + 2


def _legend(matrix: Matrix) -> Iterator[Text]:
    """What the words mean, of those that are there, and the failing directions in full."""
    count = matrix.count()
    for state, number in count.items():
        if number:
            shown = SHOWN.get(state, "http, udp, ...")
            yield Text.assemble((f"{shown:<15}", STYLES[state]), f"{WORDS[state]}: {_directions(number)}")
    for row in matrix.rows():
        if row.failing:
            yield Text(f"from {row.node}: {_places(row)}")


def _directions(number: int) -> str:
    return many(number, "direction")


def _places(row: Row) -> str:
    """Where a row fails, and how; targets that fail alike together."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for target, kinds in row.failing:
        alike.setdefault(kinds, []).append(target)
    parts = [f"{', '.join(kinds)} to {output.listed(targets)}" for kinds, targets in alike.items()]
    more = f"; and {len(parts) - 3} more" if len(parts) > 3 else ""
    return "; ".join(parts[:3]) + more


def _troubled(matrix: Matrix) -> Iterator[Any]:
    """A table of the rows that are not well, if there are any."""
    rows = [row for row in matrix.rows() if not row.clean]
    if not rows:
        return
    table = output.table("FROM", "OK", "FAILING", "SILENT", "SERVICES", "WHAT FAILS")
    for row in rows[:MOST_ROWS]:
        failing, silent = row.count["failing"], row.count["silent"]
        table.add_row(
            row.node,
            str(row.count["ok"]),
            Text(str(failing), style=STYLES["failing"] if failing else ""),
            Text(str(silent), style=STYLES["silent"] if silent else ""),
            ", ".join(row.services) or "ok",
            _places(row) if row.failing else "-",
        )
    yield table
    if len(rows) > MOST_ROWS:
        yield Text(f"and {len(rows) - MOST_ROWS} more rows that are not well: -o json has all")
    yield Text("")


def _summary(matrix: Matrix) -> Iterator[Text]:
    count = matrix.count()
    clean = sum(1 for row in matrix.rows() if row.clean)
    parts = [f"{number} {state}" for state, number in count.items() if number and state != "unknown"]
    yield Text(
        f"{many(len(matrix.nodes), 'node')}, {clean} of them well; "
        f"{_directions(sum(count.values()) - count['unknown'])} probed: {', '.join(parts) or 'none'}"
    )
    if count["unknown"]:
        yield Text(f"{_directions(count['unknown'])} not probed: each agent has some peers only", style=colours.QUIET)
