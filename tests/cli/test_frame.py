"""A window that gets narrower while a picture is redrawn in it: nothing of the wide one stays behind."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios

import pytest

CHILD = """
import os, sys
from rich.text import Text
from cni_migrate.cli.ui import output
from cni_migrate.cli.ui.frame import Frame

console = output.console(sys.stderr)
said = []
frame = Frame(console, transient={transient}, overflow="crop", again=lambda: [console.print(one) for one in said])
with frame:
    for number in range(9):
        sys.stdin.readline()
        if number % 2:
            frame.fit()
            said.append("said " + str(number))
            console.print(said[-1])
        width = console.width
        frame.show(Text("\\n".join(row * (width - 1) for row in "abc")))
        os.write(2, b"\\x1b[0m\\x1b[0m")
"""


class Window:
    """The rows of a terminal, as one that breaks lines anew when it is resized shows them."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: list[str] = [""]
        self.at = 0
        self.column = 0

    def take(self, text: str) -> None:
        for code, character in re.findall(r"(\x1b\[[0-9;?]*[A-Za-z])|([\s\S])", text):
            if code:
                self._control(code)
            elif character == "\r":
                self.column = 0
            elif character == "\n":
                self._down()
            else:
                self._put(character)

    def _put(self, character: str) -> None:
        if self.column == self.columns:
            self._down()
            self.column = 0
        row = self.rows[self.at].ljust(self.column)
        self.rows[self.at] = row[: self.column] + character + row[self.column + 1 :]
        self.column += 1

    def _down(self) -> None:
        self.at += 1
        if self.at == len(self.rows):
            self.rows.append("")

    def _control(self, code: str) -> None:
        match code[-1]:
            case "A":
                self.at = max(0, self.at - int(code[2:-1] or 1))
            case "K":
                self.rows[self.at] = ""
            case "J":
                self.rows, self.at = [""] * len(self.rows), self.at
            case "H":
                self.at = self.column = 0
            case "m" | "h" | "l":
                pass
            case _:
                raise AssertionError(code)

    def resize(self, columns: int) -> None:
        """Break lines that are too long anew; the cursor stays with what it stood behind."""
        broken: list[str] = []
        at = 0
        for number, row in enumerate(self.rows):
            pieces = [row[start : start + columns] for start in range(0, len(row), columns)] or [""]
            if number == self.at:
                at = len(broken) + len(pieces) - 1
            broken += pieces
        self.rows, self.columns, self.at = broken, columns, at
        self.column = min(self.column, columns)


def resized(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def _drawn(terminal: int) -> str:
    """What is printed until the child has drawn."""
    text = ""
    while not text.endswith("\x1b[0m\x1b[0m"):
        assert select.select([terminal], [], [], 60)[0], text
        text += os.read(terminal, 65536).decode()
    return text


@pytest.mark.parametrize("transient", [True, False])
def test_a_narrower_window_keeps_no_pieces(transient: bool) -> None:
    """Three rows before, three after, and the lines that were said above them, each once; wider again as well."""
    ours, theirs = pty.openpty()
    window = Window(80)
    resized(ours, 80)
    environ = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(transient=transient)],
        stdin=subprocess.PIPE, stdout=theirs, stderr=theirs, env={**environ, "TERM": "xterm"}, text=True,
    )  # fmt: skip
    os.close(theirs)
    assert child.stdin is not None
    try:
        for number, columns in enumerate((80, 80, 50, 50, 30, 61, 61, 40)):
            if columns != window.columns:
                resized(ours, columns)
                window.resize(columns)
            child.stdin.write("\n")
            child.stdin.flush()
            window.take(_drawn(ours))
            shown = [row.rstrip() for row in window.rows if row.strip()]
            said = [f"said {one}" for one in range(1, number + 1, 2)]
            assert shown == [*said, *(letter * (columns - 1) for letter in "abc")], (number, columns)
    finally:
        child.stdin.close()
        child.kill()
        child.wait()
        os.close(ours)
