"""A terminal in which a reader types: a shell that keeps its variables, and prompts that can be answered."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pexpect

PATIENCE: Final = 180.0
"""Seconds after which a command is taken for one that hangs."""

CONTROL_C: Final = "^C"

_JOBS: Final = re.compile(r"^\[\d+\][+-]? +(\d+|Done|Terminated|Exit|Running).*$")
_CODES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class HangsError(Exception):
    """A command did not end, or did not ask, in time."""


def commands(text: str) -> list[str]:
    """The commands of a fence, each whole: a loop, a here-document or a backslash goes over several lines."""
    found: list[str] = []
    pending = ""
    for line in text.splitlines():
        pending += line + "\n"
        if pending.strip() == "" or (pending.lstrip().startswith("#") and "\n" not in pending.strip()):
            pending = ""
        elif not line.endswith("\\") and _whole(pending):
            found.append(pending.rstrip("\n"))
            pending = ""
    if pending:
        found.append(pending.rstrip("\n"))
    return found


def _whole(text: str) -> bool:
    # bash accepts a here-document without its end, and warns.
    read = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return read.returncode == 0 and not read.stderr


class Terminal:
    """A shell in a terminal of 120 columns, in a folder."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._folder = folder
        self._typed = 0
        self._busy = False
        self._shell = pexpect.spawn(
            "bash",
            ["--norc", "--noprofile", "--noediting", "-i"],
            cwd=str(folder),
            env={
                **environ,
                "TERM": "dumb",
                "COLUMNS": "120",
                "LINES": "50",
                "NO_COLOR": "1",
                "PS1": "",
                "PS2": "",
                "HISTFILE": "",
                "VIRTUAL_ENV_DISABLE_PROMPT": "1",
            },
            dimensions=(50, 120),
            encoding="utf-8",
            echo=False,
            timeout=PATIENCE,
        )
        self.type("true")

    def type(self, command: str, keys: Sequence[tuple[str, str]] = ()) -> tuple[int, list[str]]:
        """Type a command, press keys when what they wait for is seen; answers its exit code and what was printed.

        Raises:
            HangsError: it does not end, or what a key waits for does not come.
        """
        self._stop()
        self._enter(command)
        said, ended = "", rf"<<{self._typed} (\d+)>>\r\n"
        try:
            for seen, key in keys:
                if self._shell.expect([re.escape(seen), ended]) == 1:
                    self._busy = False
                    raise HangsError(f"`{command}` ended before {seen!r} came; printed: {said}{self._shell.before}")
                said += self._shell.before + self._shell.after
                if key == CONTROL_C:
                    self._shell.sendintr()
                else:
                    self._shell.sendline(key)
            self._shell.expect(ended)
            self._busy = False
        except (pexpect.TIMEOUT, pexpect.EOF):
            raise HangsError(f"`{command}` does not go on; printed so far: {said}{self._shell.before}") from None
        said += self._shell.before
        lines = _CODES.sub("", said.replace("\r\n", "\n")).replace("\r", "\n").splitlines()
        return int(self._shell.match[1]), [line for line in lines if not _JOBS.match(line)]

    def start(self, command: str) -> None:
        """Type a command that stays; what else runs in this terminal gets Ctrl-C first."""
        self._stop()
        self._enter(command)

    def _stop(self) -> None:
        if self._busy:
            self._shell.sendintr()
            try:
                self._shell.expect(rf"<<{self._typed} \d+>>", timeout=10)
            except pexpect.TIMEOUT:
                raise HangsError("what was typed before does not end at Ctrl-C") from None
            self._busy = False

    def _enter(self, command: str) -> None:
        self._typed += 1
        self._busy = True
        script = self._folder / f".typed-{os.getpid()}-{id(self):x}"
        script.write_text(command + "\n", encoding="utf-8")
        self._shell.sendline(f". {shlex.quote(str(script))}; printf '<<%s %s>>\\n' {self._typed} $?")

    def close(self) -> None:
        """End what still runs, then the shell."""
        with contextlib.suppress(HangsError, pexpect.EOF):
            self._stop()
        self._shell.sendline("kill $(jobs -p) 2>/dev/null; wait; exit")
        try:
            self._shell.expect(pexpect.EOF, timeout=10)
        except pexpect.TIMEOUT:
            self._shell.kill(signal.SIGHUP)  # which the shell hands on to all that it has started
            self._shell.wait()
        self._shell.close(force=True)


def wait_for(path: Path, seconds: float = 30.0) -> None:
    """Wait until a file is there.

    Raises:
        HangsError: it does not come.
    """
    end = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > end:
            raise HangsError(f"{path.name} does not come")
        time.sleep(0.05)
