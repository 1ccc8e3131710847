"""Where lines are broken: between words, and inside a command only so that a shell joins its lines again.

What is shown is also copied: a line's end inside of a command would be typed, too, and half a command would run. So a
command goes into the next line if it has room there, and one that is longer than a line is broken between its words,
behind a backslash. Where no shell knows that (Windows), it is left to the terminal.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

GOES_ON: Final = " \\"
"""What ends a line inside of a command."""

LEAST: Final = 8
"""So many columns a line has, however far it is set in, where the terminal has them."""

_JOINTS: Final = re.compile(r"(?<=[-./:,_])")
"""Where a word that is longer than a line may be broken."""

_PROGRAM: Final = r"(?:migrate|kubectl|helm) "
_CODE: Final = re.compile(rf"`{_PROGRAM}[^`]*`\S*")
_BARE: Final = re.compile(rf"\s*(?:(?:next|do|or): )?(?={_PROGRAM})")
"""What may stand before a command at a line's begin."""

_FURTHER: Final = re.compile(rf"(?<![`\w])(?:then|or) (?={_PROGRAM})")
"""What may stand before another one, behind it."""

_WORD: Final = re.compile(r"\S+\s*|\s+")
_ARGUMENT: Final = re.compile(r"(?:'[^']*'|\"[^\"]*\"|\S)+\s*")
"""A word of a command, with its quoted blanks."""


@dataclass(frozen=True)
class Line:
    """A line: where it begins and ends in the text, and whether it ends inside of a command."""

    start: int
    end: int
    goes_on: bool = False


@dataclass(frozen=True)
class _Piece:
    """What stays together, with the blanks behind it."""

    text: str
    goes_on: bool = False
    """Whether what follows belongs to the same command."""

    @property
    def columns(self) -> int:
        return len(self.text.rstrip()) + (len(GOES_ON) if self.goes_on else 0)


def broken(text: str, width: int, by: int = 0) -> list[Line]:
    """The lines of a text, of at most `width` columns; all but the first are set in by so many, which counts.

    Words that are longer than a line are broken, at a joint where they have one; words of a command are not.
    """
    lines: list[Line] = []
    offset, inner = 0, max(width - by, min(width, LEAST))
    for paragraph in text.split("\n"):
        start = end = 0
        last: _Piece | None = None
        for piece in _pieces(paragraph, min(width, inner)):
            room = inner if lines else width
            if last is not None and end > start and end - start + piece.columns > room:
                lines.append(_line(paragraph, start, end, offset, goes_on=last.goes_on))
                start = end
            end += len(piece.text)
            last = piece
        lines.append(_line(paragraph, start, end, offset))
        offset += len(paragraph) + 1
    return lines


def _line(paragraph: str, start: int, end: int, offset: int, *, goes_on: bool = False) -> Line:
    return Line(offset + start, offset + start + len(paragraph[start:end].rstrip()), goes_on)


def _pieces(text: str, width: int) -> Iterator[_Piece]:
    at = 0
    for start, end in _commands(text):
        yield from _words(text[at:start], width)
        yield from _whole(text[start:end], width)
        at = end
    yield from _words(text[at:], width)


def _commands(text: str) -> Iterator[tuple[int, int]]:
    """Where commands are: one that the text begins with, and those in backticks; with what follows without a blank."""
    at = 0
    bare = _BARE.match(text)
    while bare:
        at = _end(text, bare.end())
        yield bare.end(), at
        bare = _FURTHER.search(text, at)
    for code in _CODE.finditer(text, at):
        blanks = len(text) - len(text[code.end() :].lstrip()) - code.end()
        yield code.start(), code.end() + blanks


def _end(text: str, at: int) -> int:
    """Where a command without backticks ends: at a comma, a remark in brackets, or behind `#`."""
    for argument in _ARGUMENT.finditer(text, at):
        if argument[0][0] in "(#":
            break
        at = argument.end()
        if argument[0].rstrip()[-1] in ",;":
            break
    return at


def _whole(command: str, width: int) -> Iterator[_Piece]:
    """A command in one piece if a line has room for it, else in its words."""
    if len(command.rstrip()) <= width or os.name == "nt":
        yield _Piece(command)
        return
    arguments = _ARGUMENT.findall(command)
    for number, argument in enumerate(arguments, 1):
        yield _Piece(argument, goes_on=number < len(arguments))


def _words(text: str, width: int) -> Iterator[_Piece]:
    """Words, and parts of words that are longer than a line."""
    for word in _WORD.findall(text):
        if len(word.rstrip()) <= width:
            yield _Piece(word)
            continue
        for part in _JOINTS.split(word):
            for at in range(0, len(part), width):
                yield _Piece(part[at : at + width])
