"""Reads a page as its reader would: types what it says to type, and compares what it shows with what comes."""

import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.controlplane import build
from tests.docs import pages, terminal
from tests.docs.pages import Block
from tests.docs.terminal import Terminal

PACE: Final = {
    "MIGRATE_KNET_INTERVAL": "0.1",
    "MIGRATE_GATE_SECONDS": "0.3",
    "MIGRATE_DRAIN_RETRY_SECONDS": "0.5",
}
"""A page tells of minutes; its test has seconds. What is shown does not depend on it."""

HURRY: Final = ("--speed 5", "--speed 40")


@dataclass
class Read:
    """What became of a page: what was typed, what could not be, and what was not as the page says."""

    typed: list[str] = field(default_factory=list)
    not_run: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def read(path: Path, *, loud: bool = False) -> Read:
    """Do what a page says; goes on behind what is wrong, so that all of it is told."""
    with tempfile.TemporaryDirectory(prefix="page-") as folder:
        with _Reader(Path(folder), loud).at_work() as reader:
            for block in pages.blocks(path.read_text(encoding="utf-8")):
                reader.take(block)
        return reader.found


def left_out(path: Path) -> list[tuple[str, str]]:
    """The commands of a page that nobody types here, with the reason."""
    found: list[tuple[str, str]] = []
    never = _Never()
    for block in pages.blocks(path.read_text(encoding="utf-8")):
        never.hear(block.notes)
        if block.language in pages.TYPED:
            found += [(command, why) for command in _commands(block) if (why := never.why_not(block, command))]
    return found


def _commands(block: Block) -> list[str]:
    texts = [one.command for one in pages.spoken(block.text)] if block.language == "console" else [block.text]
    return [command for text in texts for command in terminal.commands(text)]


_SERVES: Final = re.compile(r"--write-kubeconfig (\S+).*&$")


class _Never:
    """What is not to be had here, as the page says."""

    def __init__(self) -> None:
        self._programs: list[tuple[re.Pattern[str], str]] = []

    def hear(self, notes: dict[str, Any]) -> None:
        """Take in programs that are missing for the whole page."""
        if programs := notes.get("programs"):
            words = "|".join(re.escape(program) for program in programs)
            self._programs.append((re.compile(rf"(?<![\w./-])({words})\b"), notes["not run"]))

    def why_not(self, block: Block, command: str) -> str:
        """The reason why a command cannot be typed; empty when it can."""
        if "not run" in block.notes and "programs" not in block.notes:
            return str(block.notes["not run"])
        return next((why for pattern, why in self._programs if pattern.search(command)), "")


class _Reader:
    def __init__(self, folder: Path, loud: bool) -> None:
        self.found = Read()
        self._folder = folder
        self._loud = loud
        self._environ = _environ(folder)
        self._terminals: dict[str, Terminal] = {}
        self._words: dict[str, str] = dict([HURRY, ("--port 7443", f"--port {_free_port()}")])
        self._never = _Never()
        self._printed: list[str] = []

    @contextmanager
    def at_work(self) -> Iterator["_Reader"]:
        try:
            yield self
        finally:
            for one in self._terminals.values():
                one.close()

    def take(self, block: Block) -> None:
        """One fence."""
        notes = block.notes
        self._words |= {str(word): str(said) for word, said in notes.get("words", {}).items()}
        self._never.hear(notes)
        try:
            if "before" in notes:
                self._type(notes["before"], block, "what is done first")
                self._wait(notes, block)
            self._read(block, notes)
        except terminal.HangsError as error:
            self._wrong(block, str(error))

    def _read(self, block: Block, notes: dict[str, Any]) -> None:
        if "file" in notes:
            path = self._folder / notes["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._put(block.text), encoding="utf-8")
        elif block.language == "sh" and "terminal" in notes:
            one = self._terminal(notes["terminal"])
            *first, last = terminal.commands(self._put(block.text))
            for command in first:
                one.type(command)
            self._note(last)
            if until := notes.get("until"):
                (self._folder / until).unlink(missing_ok=True)
            one.start(last)
            self._wait(notes, block)
        elif block.language == "sh":
            self._type(block.text, block, "", notes)
            if "before" not in notes:
                self._wait(notes, block)
        elif block.language == "console":
            for line in pages.spoken(block.text):
                self._type(line.command, block, "", notes)
                self._compare(block, list(line.shown), whole=True)
        elif block.language == "text" and self.found.typed and "not run" not in notes:
            self._compare(block, block.text.splitlines(), whole=False)

    def _type(self, text: str, block: Block, what: str, notes: dict[str, Any] | None = None) -> None:
        notes = notes or {}
        commands = terminal.commands(self._put(text))
        for number, command in enumerate(commands, 1):
            if why := self._never.why_not(block, command):
                self.found.not_run.append((command, why))
                self._printed = ["..."]
                continue
            last = number == len(commands)
            keys = [(str(seen), str(key)) for seen, key in notes.get("keys", ())] if last else []
            code, self._printed = self._terminal("").type(command, keys)
            self._note(command)
            if served := _SERVES.search(command):  # a reader is slower than that
                terminal.wait_for(self._folder / served[1])
            if code != (notes.get("code", 0) if last else 0):
                said = "\n".join(f"  | {line}" for line in self._printed[-20:])
                self._wrong(block, f"{what or 'typed was'} `{command}`, which ended with {code}:\n{said}")

    def _compare(self, block: Block, shown: list[str], *, whole: bool) -> None:
        if self._printed == ["..."]:
            return
        if why := pages.differs(shown, self._printed, whole=whole, vary=block.notes.get("vary", "")):
            self._wrong(block, why)

    def _wait(self, notes: dict[str, Any], block: Block) -> None:
        if until := notes.get("until"):
            terminal.wait_for(self._folder / until)
        if command := notes.get("until command"):
            self._type(f"for i in $(seq 120); do {{ {command}; }} >/dev/null 2>&1 && break; sleep 0.25; done; {command}",
                       block, "waited for")  # fmt: skip

    def _put(self, text: str) -> str:
        for word, said in self._words.items():
            text = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", lambda _, said=said: said, text)  # type: ignore[misc]
        return text

    def _terminal(self, name: str) -> Terminal:
        if name not in self._terminals:
            self._terminals[name] = Terminal(self._folder, self._environ)
        return self._terminals[name]

    def _note(self, command: str) -> None:
        self.found.typed.append(command)
        if self._loud:
            sys.stderr.write("\n".join([f"$ {command}", *self._printed, ""]))

    def _wrong(self, block: Block, why: str) -> None:
        self.found.wrong.append(f"line {block.line}: {why}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environ(folder: Path) -> dict[str, str]:
    """No configuration, cluster or terminal of the machine's own; `migrate` and `kubectl` are those of this checkout."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ", "XDG_CACHE_HOME") if name in os.environ}
    (folder / ".venv").symlink_to(sys.prefix)
    programs = folder / ".programs"
    programs.mkdir()
    (programs / "kubectl").symlink_to(build.ensure_binaries()["kubectl"])
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**kept, **PACE, "PATH": path, "HOME": str(folder), "CHECKOUT": str(pages.ROOT)}
