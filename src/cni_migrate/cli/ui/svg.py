"""The picture of the mesh as an SVG document, written by hand: no library, no script, nothing from elsewhere.

Each state has a shape of its own beside its colour, and each cell that is known a title that screen readers read and
browsers show. Directions that nobody probes are left blank, so a large sparse mesh stays a small file.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final
from xml.sax.saxutils import escape

from cni_migrate.core.connectivity.matrix import Cell, Matrix, State

CELL: Final = 18
"""Pixels of a cell's side."""

LETTER: Final = 7
"""Pixels that a letter of a label takes, at most."""

SHAPES: Final[dict[State, str]] = {
    "ok": '<circle cx="9" cy="9" r="4"/>',
    "failing": '<path d="M3 3L15 15M15 3L3 15"/>',
    "silent": '<rect x="4" y="4" width="10" height="10"/>',
    "unknown": "",
}
"""A dot, a cross, an empty box, and nothing."""

STYLE: Final = (
    "text{font:12px sans-serif;fill:#222}"
    ".ok{fill:#2e7d32}"
    ".failing{stroke:#c62828;stroke-width:3;fill:none}"
    ".silent{stroke:#6a1b9a;stroke-width:2;fill:none}"
    ".line{stroke:#ddd}"
    ".quiet{fill:#666}"
)

MEANINGS: Final[dict[State, str]] = {
    "ok": "every probe succeeded",
    "failing": "probes fail",
    "silent": "an agent of the node does not report",
}


def svg(matrix: Matrix, said: str, at: datetime) -> str:
    """The document; `said` is the verdict in words, which is its title, `at` when it was so."""
    label = LETTER * max((len(node) for node in matrix.nodes), default=0) + 12
    side = CELL * len(matrix.nodes)
    services = max((len(", ".join(kinds)) for kinds in matrix.services.values()), default=0) * LETTER
    when = f"who reaches whom at {at:%Y-%m-%d %H:%M:%S} UTC; rows: from, columns: to"
    width = max(label + side + 20 + services, LETTER * max(len(said), len(when)) + 12)
    top = label + 58
    height = top + side + 24 * len(MEANINGS) + 24
    size = f'width="{width}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} viewBox="0 0 {width} {height}">',
        f"<title>{escape(said)}</title>",
        f"<desc>{escape(_described(matrix))}</desc>",
        f"<style>{STYLE}</style>",
        f'<rect {size} fill="#fff"/>',
        f'<text x="6" y="18">{escape(said)}</text>',
        f'<text x="6" y="36" class="quiet">{when}</text>',
        *_labels(matrix, label, top),
        *_cells(matrix, label, top),
        *_legend(top + side + 24),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _described(matrix: Matrix) -> str:
    count = ", ".join(f"{number} {state}" for state, number in matrix.count().items() if number)
    return f"Who reaches whom among {len(matrix.nodes)} nodes; rows: from, columns: to. Directions: {count}."


def _labels(matrix: Matrix, left: int, top: int) -> Iterator[str]:
    """The names, and the lines of the grid."""
    side = CELL * len(matrix.nodes)
    for place, node in enumerate(matrix.nodes):
        at = CELL * place
        x, y = left + at + 13, top - 6
        yield f'<text x="{left - 6}" y="{top + at + 13}" text-anchor="end">{escape(node)}</text>'
        yield f'<text x="{x}" y="{y}" transform="rotate(-90 {x} {y})">{escape(node)}</text>'
        if kinds := matrix.services.get(node):
            yield f'<text x="{left + side + 8}" y="{top + at + 13}">{escape(", ".join(kinds))}</text>'
    for at in range(0, side + 1, CELL):
        yield f'<path class="line" d="M{left} {top + at}h{side}M{left + at} {top}v{side}"/>'


def _cells(matrix: Matrix, left: int, top: int) -> Iterator[str]:
    place = {node: CELL * number for number, node in enumerate(matrix.nodes)}
    for (source, target), cell in sorted(matrix.cells.items()):
        if cell.state != "unknown":
            x, y = left + place[target], top + place[source]
            title = f"{source} to {target}: {_said(cell)}"
            yield (
                f'<g class="{cell.state}" transform="translate({x} {y})">'
                f"<title>{escape(title)}</title>{SHAPES[cell.state]}</g>"
            )


def _said(cell: Cell) -> str:
    return f"failing: {', '.join(cell.kinds)}" if cell.state == "failing" else cell.state


def _legend(top: int) -> Iterator[str]:
    for number, (state, meaning) in enumerate(MEANINGS.items()):
        y = top + 24 * number
        yield f'<g class="{state}" transform="translate(6 {y})">{SHAPES[state]}</g>'
        yield f'<text x="32" y="{y + 13}">{state}: {meaning}</text>'
