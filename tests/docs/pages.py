"""What a page of the documentation has its reader type and see, as blocks.

A fence of `sh` is typed line by line; a `console` fence shows a prompt, what is typed and all that is printed; a `text`
fence behind commands is an excerpt of what the last of them printed. Around a fence, an HTML comment that begins with
`test:` tells in YAML what a reader does without being told, or why nobody can do it here:

    <!-- test: {not run: needs Docker} -->      the next fence; with `programs: [docker]` each command of the page from
                                                here on that calls one of them
    <!-- test: {file: migrate.yaml} -->         the next fence is the content of that file
    <!-- test: {code: 4} -->                    the exit code with which the last command of the next fence ends
    <!-- test: {keys: [["[y/N]", y]]} -->       what is seen, and the key that is pressed then, in this order; `^C` too
    <!-- test: {terminal: simulator} -->        typed into another terminal and left running there
    <!-- test: {until: sim.kubeconfig} -->      the page goes on when this file is there
    <!-- test: {until command: "..."} -->       the page goes on when this command says yes
    <!-- test: {before: "..."} -->              what is done first, out of the reader's sight
    <!-- test: {vary: "[0-9]+ probes"} -->      what matches is different each time, beside times and names of pods
    <!-- test: {words: {NODE: w1}} -->          what the reader puts in, from here to the end of the page
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

ROOT: Final = Path(__file__).parents[2]

KEYS: Final = frozenset({
    "not run", "programs", "file", "code", "keys", "terminal", "until", "until command", "before", "vary", "words",
})  # fmt: skip

TYPED: Final = frozenset({"sh", "console"})

_PIECE: Final = re.compile(
    r"<!-- test:(?P<note>.*?)-->"
    r"|^(?P<indent> *)(?P<fence>```+|~~~+)(?P<language>[^\n]*)\n(?P<text>.*?)^ *(?P=fence) *$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fence of a page with what the comments before it say; a comment at the page's end has a block without text."""

    line: int
    language: str
    text: str
    notes: dict[str, Any] = field(default_factory=dict)


class BadPageError(Exception):
    """A page says something to its test that the test does not understand."""


def blocks(page: str) -> list[Block]:
    """The fences of a page in order.

    Raises:
        BadPageError: a comment for the test is no YAML mapping, or has a key that nobody knows.
    """
    found: list[Block] = []
    notes: dict[str, Any] = {}
    for piece in _PIECE.finditer(page):
        line = page.count("\n", 0, piece.start()) + 1
        if piece["note"] is not None:
            notes |= _note(piece["note"], line)
            continue
        indent = len(piece["indent"])
        text = "".join(
            one[indent:] if one[:indent].isspace() else one for one in piece["text"].splitlines(keepends=True)
        )
        found.append(Block(line, piece["language"].strip(), text, notes))
        notes = {}
    if notes:
        found.append(Block(page.count("\n") + 1, "", "", notes))
    return found


def _note(text: str, line: int) -> dict[str, Any]:
    note = YAML(typ="safe").load(text)
    if not isinstance(note, dict) or (set(note) - KEYS):
        raise BadPageError(f"line {line}: a comment for the test has only the keys {', '.join(sorted(KEYS))}: {text}")
    return note


@dataclass(frozen=True)
class Spoken:
    """A command of a `console` fence, and the lines that the page shows below it."""

    command: str
    shown: tuple[str, ...]


def spoken(text: str) -> Iterator[Spoken]:
    """The commands of a `console` fence: behind `$ `, the next lines behind `> `; the rest is what they print."""
    command, shown = "", list[str]()
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield Spoken(command, tuple(shown))
            command, shown = line[2:], []
        elif line.startswith("> ") and not shown:
            command += "\n" + line[2:]
        else:
            shown.append(line)
    if command:
        yield Spoken(command, tuple(shown))


# What is different each time, in every page: times, ages, the random ends of pods' names, free ports, addresses.
_VOLATILE: Final = (
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z| UTC)?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "<time>"),
    (re.compile(r"\b(\d+(\.\d+)?(ms|s|m|min|h|d))+\b|\b\d+(\.\d+)? (s|min|h)\b"), "<span>"),
    (re.compile(r"(-[a-z0-9]{8,10})?-[bcdfghjklmnpqrstvwxz2456789]{5}\b"), "-<pod>"),
    (re.compile(r"\b127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
)


def plain(line: str, vary: str = "") -> str:
    """A line without what is different each time; columns are as wide as need be, so blanks count as one."""
    if vary:
        line = re.sub(vary, "<any>", line)
    for pattern, word in _VOLATILE:
        line = pattern.sub(word, line)
    return re.sub(r"[ \t]+", " ", line).strip()


def differs(shown: list[str], printed: list[str], *, whole: bool, vary: str = "") -> str:
    """Why a page does not show what was printed; empty when it does.

    A line `...` stands for any lines, and an `…` at a line's end for the rest of it.

    Args:
        shown: the lines of the page.
        printed: the lines of the program.
        whole: the page shows all; else it is enough that the lines are there one below the other.
        vary: a pattern of what may be different as well.
    """
    wanted = [plain(line, vary) for line in shown if line.strip()]
    real = [plain(line, vary) for line in printed if line.strip()]
    if not whole:
        wanted = ["...", *wanted, "..."]
    if _matches(wanted, real):
        return ""
    missing = [line for line in wanted if line != "..." and not any(_same(line, one) for one in real)]
    return "\n".join([
        "the page shows what was not printed:" if missing else "the page leaves out lines, or has another order:",
        *(f"  - {line}" for line in missing),
        "printed was:",
        *(f"  | {line}" for line in printed),
    ])  # fmt: skip


def _same(wanted: str, real: str) -> bool:
    if wanted.endswith("…"):
        return real.startswith(wanted[:-1].rstrip())
    return wanted == real


def _matches(wanted: list[str], real: list[str]) -> bool:
    """Whether the lines are these; `...` is any number of them, as few as will do."""
    rows = [True] + [False] * len(real)
    for line in wanted:
        if line == "...":
            seen, after = False, []
            for reached in rows:
                seen = seen or reached
                after.append(seen)
        else:
            after = [False] + [reached and _same(line, one) for reached, one in zip(rows, real, strict=False)]
        rows = after
    return rows[-1]
