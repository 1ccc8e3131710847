"""Rows that fit the width there is, 40 columns or 200: nothing is cut, and no word is broken that has room in a line.

Where all columns have room it is a table as kubectl's. Where they have not, the last one goes under its row; and where
the others still do not fit, what is behind the first two goes under them, each with its column's name.
"""

from collections.abc import Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from cni_migrate.cli.ui import colours
from cni_migrate.cli.ui.breaking import GOES_ON, broken
from cni_migrate.cli.ui.typeable import typeable_text

Cell = Text | str

GAP: Final = 2
INDENT: Final = 2

LAST: Final = 30
"""Columns that the last cell should have, where it has so much to say, before it goes under its row."""


def wrapped(text: Cell, width: int, *, by: int = 0) -> list[Text]:
    """The text in lines of at most `width` columns, all but the first to be set in by so many; see `breaking`."""
    whole = _text(text)
    lines = []
    for line in broken(whole.plain, width, by):
        made = whole[line.start : line.end]
        lines.append(Text.assemble(made, GOES_ON) if line.goes_on else made)
    return lines


def _stripped(line: Text) -> Text:
    line = line.copy()
    line.rstrip()
    return line


def indented(text: Cell, width: int, first: Cell = "", *, by: int = INDENT) -> list[Text]:
    """The text in lines behind `first`, the further ones `by` columns in."""
    head = first if isinstance(first, Text) else Text(first)
    top, *more = wrapped(Text.assemble(head, text), width, by=by)
    return [top, *(Text.assemble(" " * by, line) for line in more)]


class Fitted:
    """Rows under headers, for one width: `head` and, for each row, its lines."""

    def __init__(
        self, headers: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, *, steady: bool = False
    ) -> None:
        """Choose the form for these rows.

        Args:
            headers: the columns' names, the last one's being of free text.
            rows: as many cells each.
            width: the columns of the terminal.
            steady: whether the form shall not depend on what the last column holds at the moment.
        """
        self._headers = headers
        self._width = width
        cells = [[_text(cell) for cell in row] for row in rows]
        self._widths = [
            max([len(header), *(len(row[at].plain) for row in cells)]) for at, header in enumerate(headers[:-1])
        ]
        taken = sum(self._widths) + GAP * len(self._widths)
        longest = max([len(headers[-1]), *(len(row[-1].plain) for row in cells)])
        self._room = width - taken
        if self._room >= (LAST if steady else min(longest, LAST)):
            self._form = self._beside
        elif taken - GAP <= width:
            self._form = self._under
        else:
            self._form = self._stacked
        self.head: list[Text] = self._heads()
        self.rows: list[list[Text]] = [self._form(row) for row in cells]

    @property
    def lines(self) -> list[Text]:
        """Everything, from the headers on."""
        return [*self.head, *(line for row in self.rows for line in row)]

    def _heads(self) -> list[Text]:
        if not any(self._headers):
            return []
        if self._form == self._stacked:
            return wrapped(Text(" ".join(self._headers[:2]), style=colours.HEAD), self._width)
        names = [*self._headers[:-1], self._headers[-1] if self._form == self._beside else ""]
        return [
            _stripped(Text(self._padded([Text(name) for name in names[:-1]]).plain + names[-1], style=colours.HEAD))
        ]

    def _padded(self, row: Sequence[Text]) -> Text:
        made = Text()
        for cell, width in zip(row, self._widths, strict=True):
            made.append_text(cell)
            made.append(" " * (width - len(cell.plain) + GAP))
        return made

    def _beside(self, row: Sequence[Text]) -> list[Text]:
        first, *more = wrapped(row[-1], max(self._room, 1))
        margin = " " * (self._width - self._room)
        return [
            _stripped(Text.assemble(self._padded(row[:-1]), first)),
            *(Text.assemble(margin, line) for line in more),
        ]

    def _under(self, row: Sequence[Text]) -> list[Text]:
        return [_stripped(self._padded(row[:-1])), *self._note(row[-1])]

    def _stacked(self, row: Sequence[Text]) -> list[Text]:
        lines = wrapped(Text(" ").join(row[:2]), self._width)
        named = [
            Text.assemble((f"{header.lower()} ", colours.QUIET), cell)
            for header, cell in zip(self._headers[2:-1], row[2:-1], strict=True)
            if cell.plain not in ("", "-")
        ]
        if named:
            lines += self._note(Text(", ").join(named))
        return lines + self._note(row[-1])

    def _note(self, text: Text) -> list[Text]:
        if not text.plain.strip():
            return []
        return [Text.assemble(" " * INDENT, line) for line in wrapped(text, max(self._width - INDENT, 8))]


def _text(cell: Cell) -> Text:
    return typeable_text(cell if isinstance(cell, Text) else Text(cell))


class Rows:
    """A table to be: whatever prints it, it fits the width there is."""

    def __init__(self, headers: Sequence[str]) -> None:
        """An empty table; without any header it has no line of them."""
        self.headers = tuple(headers)
        self._rows: list[Sequence[Cell]] = []

    def add_row(self, *cells: Cell) -> None:
        """Add a row of as many cells as there are headers."""
        if len(cells) != len(self.headers):
            raise ValueError(f"{len(cells)} cells under {len(self.headers)} headers")
        self._rows.append(cells)

    def fitted(self, width: int, *, steady: bool = False) -> Fitted:
        """The table for a width; `steady`: in a form that stays while the last column changes."""
        return Fitted(self.headers, self._rows, width, steady=steady)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.fitted(options.max_width).lines
