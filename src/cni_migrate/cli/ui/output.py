"""Results on stdout and progress on stderr: consoles, tables, JSON and YAML."""

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cni_migrate.cli.ui import colours
from cni_migrate.cli.ui.fitting import Rows, indented
from cni_migrate.cli.ui.typeable import typeable_data, typeable_text
from cni_migrate.core.model.words import many

WIDE: Final = 250
"""The width of what no terminal shows: nothing is cut for a pipe."""


def console(stream: TextIO) -> Console:
    """A console on stdout or stderr; colours on terminals only, and NO_COLOR is honoured (no-color.org)."""
    plain = bool(os.environ.get("NO_COLOR"))
    width = None if stream.isatty() else WIDE
    return Console(file=stream, highlight=False, soft_wrap=False, no_color=plain or None, width=width)


def redraws(to: Console) -> bool:
    """Whether what is shown there can be drawn anew in its place: not on a terminal that only prints (TERM=dumb)."""
    return to.is_terminal and not to.is_dumb_terminal


def out() -> Console:
    """The console of results."""
    return console(sys.stdout)


def table(*headers: str) -> Rows:
    """A table as kubectl's, without lines and with headers in capitals, that fits the width there is."""
    return Rows(headers)


def grid(*headers: str) -> Table:
    """A table whose columns keep their places at any width: a picture, not a list."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=colours.HEAD, show_edge=False)
    for number, header in enumerate(headers):
        last = number == len(headers) - 1
        made.add_column(header, overflow="fold", no_wrap=not last, ratio=None)
    return made


def show_table(to: Console, made: Table | Rows) -> None:
    """Print a table without the blanks at the ends of lines."""
    if isinstance(made, Rows):
        for line in made.fitted(to.width).lines:
            to.print(line, soft_wrap=True)
        return
    if to.is_terminal:
        to.print(made)
        return
    with to.capture() as captured:
        to.print(made)
    to.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def say(to: Console, text: Text | str, first: Text | str = "", *, by: int = 0) -> None:
    """Print a line; on a terminal it is wrapped between words, its further lines `by` columns in."""
    if not to.is_terminal:
        to.print(typeable_text(Text.assemble(first, text)), soft_wrap=True)
        return
    for line in indented(text, to.width, first, by=by):
        to.print(line, soft_wrap=True)


def show_next(what: str) -> None:
    """Print what to type next, as the last line of a result."""
    say(out(), what, Text("next: ", style=colours.NEXT), by=6)


def state(name: str, *, held: bool = False) -> Text:
    """A state in its colour."""
    return Text(name, style=colours.BAD if held else colours.STATES.get(name, ""))


def as_json(data: Any) -> None:
    """Print JSON."""
    sys.stdout.write(json.dumps(typeable_data(data), indent=2) + "\n")


def as_yaml(data: Any) -> None:
    """Print YAML."""
    sys.stdout.write(yaml_text(typeable_data(data)))


def yaml_text(data: Any) -> str:
    """A document as YAML text. Read again it is the same to the letter; lines of a longer text stay lines."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import SafeRepresenter

    class Writer(SafeRepresenter):
        """Texts that a plain scalar or a block would not bring back are quoted, with escapes."""

        def text(self, data: str) -> Any:
            plain = all(" " <= one <= "~" or one == "\n" for one in data)
            style = '"' if not plain else "|" if "\n" in data.strip("\n") else None
            return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    Writer.add_representer(str, Writer.text)
    stream = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.Representer = Writer
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = sys.maxsize  # a line that is folded at a backslash would read another way
    writer.dump(data, stream)
    return stream.getvalue()


def age(since: datetime | None, now: datetime) -> str:
    """How long ago, as kubectl writes it: 42s, 7m, 7m12s, 3h5m, 2d4h."""
    return "" if since is None else duration((now - since).total_seconds())


def duration(seconds: float) -> str:
    """Seconds as kubectl writes them."""
    whole = max(0, int(seconds))
    minutes, rest = divmod(whole, 60)
    if minutes < 2:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 1:
        return f"{minutes}m"
    if hours < 24:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours}h" if hours else f"{days}d"


def clock(at: datetime, now: datetime) -> str:
    """The time of day in this machine's zone; with its day, where that is not today."""
    there, here = at.astimezone(), now.astimezone()
    return f"{there:%H:%M:%S}" if there.date() == here.date() else f"{there:%Y-%m-%d %H:%M:%S}"


def listed(items: Iterable[str], most: int = 5) -> str:
    """Some names and how many more there are."""
    every = list(items)
    head = ", ".join(every[:most])
    return head if len(every) <= most else f"{head} and {len(every) - most} more"


def ending(seconds: int, now: datetime) -> str:
    """An ETA in words."""
    return f"about {duration(seconds)} ({clock(now + timedelta(seconds=seconds), now)})"


def joined(parts: Sequence[str]) -> str:
    """Parts that are not empty, in one line."""
    return ", ".join(part for part in parts if part)


plural = many
"""`1 node`, `2 nodes`."""
