"""A YAML file that somebody wrote by hand, as plain data with the line of each key; what cannot be is refused by line.

Anchors, aliases and merge keys (`<<`, YAML 1.1) are resolved. Tags, dates, sets and keys that are no text are not plain
data; a file that is larger than `MOST`, or that grows by its aliases, is no configuration.
"""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLWarning
from ruamel.yaml.scalarbool import ScalarBoolean

MOST: Final = 1 << 20
"""Bytes of a file that is read."""

MOST_VALUES: Final = 100_000
"""Values in a file, those behind aliases counted where they are used."""

KeyPath = tuple[str, ...]

CRASHES: Final = (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, NotImplementedError)
"""What the YAML library ends in, besides its own errors, for texts that are no YAML (found by trying)."""


class BadFile(Exception):
    """A file that cannot be read as plain data: why, and the line, where it is known."""

    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.line = line


@dataclass(frozen=True)
class Written:
    """What is in a file: plain data (None when it is empty), and the line of each key and item."""

    content: Any
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """The line of a key, or of the nearest section around it."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return 1


def text_of(file: Path, *, most: int = MOST) -> str:
    """The text of a file, which may also be a pipe; a byte order mark is no part of it.

    Raises:
        BadFile: it cannot be read, is too large or no UTF-8 text.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(most + 1)
    except OSError as error:
        raise BadFile(error.strerror or str(error)) from None
    except ValueError as error:  # a NUL in the name
        raise BadFile(str(error)) from None
    if len(content) > most:
        raise BadFile(f"it is larger than {most >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFile("it is not UTF-8 text") from None


def parse(text: str) -> Written:
    """A YAML document as plain data.

    Raises:
        BadFile: it is no YAML, or not plain data.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", YAMLWarning)  # an anchor that is used twice is legal: the last one counts
            found = YAML(typ="rt").load(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(str(error.problem or error.context or "it cannot be read").split())
        raise BadFile(f"not valid YAML: {problem}", mark.line + 1 if mark is not None else None) from None
    except YAMLError as error:
        raise BadFile(f"not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise BadFile("not valid YAML: it is nested too deeply") from None
    except CRASHES as error:
        raise BadFile(f"not valid YAML: {' '.join(str(error).split()) or type(error).__name__}") from None
    lines: dict[KeyPath, int] = {}
    return Written(_Plain(lines).of(found, (), 1), lines)


class _Plain:
    """Turns round-trip data into plain data, and notes lines."""

    def __init__(self, lines: dict[KeyPath, int]) -> None:
        self._lines = lines
        self._count = 0
        self._inside: set[int] = set()

    def of(self, value: Any, path: KeyPath, line: int) -> Any:
        self._count += 1
        if self._count > MOST_VALUES:
            raise BadFile(f"it has more than {MOST_VALUES} values", line)
        if isinstance(value, (CommentedMap, CommentedSeq)):
            if id(value) in self._inside or len(path) > 100:
                raise BadFile("an alias contains itself, or it is nested too deeply", line)
            self._inside.add(id(value))
            plain = self._map(value, path, line) if isinstance(value, CommentedMap) else self._list(value, path, line)
            self._inside.discard(id(value))
            return plain
        if isinstance(value, ScalarBoolean):
            return bool(value)
        for kind in (bool, int, float, str):
            if isinstance(value, kind):
                return kind(value)
        if value is None:
            return None
        what = getattr(getattr(value, "tag", None), "value", None) or type(value).__name__
        raise BadFile(f"{_at(path)}expected plain text, numbers, lists or keys with values, found {what}", line)

    def _map(self, value: CommentedMap, path: KeyPath, line: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, inner in value.items():
            try:
                here = int(value.lc.key(key)[0]) + 1
            except (KeyError, TypeError):  # it came by a merge key
                here = line
            if not isinstance(key, str):
                raise BadFile(f"{_at(path)}the key {key!r} is no text: put it in quotes", here)
            name = (*path, str(key))
            self._lines[name] = here
            plain[str(key)] = self.of(inner, name, here)
        return plain

    def _list(self, value: CommentedSeq, path: KeyPath, line: int) -> list[Any]:
        plain: list[Any] = []
        for number, inner in enumerate(value):
            try:
                here = int(value.lc.item(number)[0]) + 1
            except (KeyError, TypeError):
                here = line
            name = (*path, str(number))
            self._lines[name] = here
            plain.append(self.of(inner, name, here))
        return plain


def _at(path: KeyPath) -> str:
    return f"key `{'.'.join(path)}`: " if path else ""
