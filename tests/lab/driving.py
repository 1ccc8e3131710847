"""Runs the tool against the lab as an operator does: the installed program, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab.settings import Lab

Lines = list[dict[str, Any]]
Seen = Callable[[Lines], bool]
"""Whether what is waited for has been logged."""

PROGRAM = Path(sys.executable).with_name("migrate")


class Operator:
    """Someone at a terminal with the lab's kubeconfig; `log` keeps what all their runs logged, kills included."""

    def __init__(self, lab: Lab, log: Path, strategy: str, kubeconfig: Path | None = None) -> None:
        self.lab = lab
        self.log = log
        self.strategy = strategy
        self._environment = os.environ | {
            "KUBECONFIG": str(kubeconfig or lab.admin),
            "MIGRATE_CONFIG": str(lab.configuration),
            "COLUMNS": "200",
        }

    def type(self, *words: str, within: float = 600) -> subprocess.CompletedProcess[str]:
        """Type a command and wait for its end; what it said comes back with it."""
        return subprocess.run(
            [str(PROGRAM), *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )

    def ask(self, *words: str) -> Any:
        """What a command with `-o json` answers."""
        done = self.type(*words, "-o", "json")
        assert done.returncode == 0, said(done)
        return json.loads(done.stdout)

    def run(self, *words: str, within: float = 900) -> subprocess.CompletedProcess[str]:
        """`migrate run`, to its end."""
        return self.type("run", *self._run_words(), *words, within=within)

    def start(self, *words: str) -> "Running":
        """`migrate run`, left to run."""
        output = self.log.with_suffix(".out")
        with output.open("ab") as out:
            child = subprocess.Popen(
                [str(PROGRAM), "run", *self._run_words(), *words],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        return Running(self, child, output)

    def _run_words(self) -> list[str]:
        return ["--strategy", self.strategy, "--yes", "--log-file", str(self.log)]

    def lines(self) -> Lines:
        """What was logged so far; a line that is being written is left out."""
        if not self.log.exists():
            return []
        found = []
        for line in self.log.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def forget(self) -> None:
        """Begin a new log."""
        self.log.unlink(missing_ok=True)


class Running:
    """A `migrate run` that goes on while the test does something else."""

    def __init__(self, operator: Operator, child: subprocess.Popen[bytes], output: Path) -> None:
        self._operator = operator
        self._output = output
        self.child = child

    def until(self, so: Seen, within: float = 300) -> bool:
        """Wait until the log says so, or the program ends; whether it said so."""
        end = time.monotonic() + within
        while True:
            ended = self.child.poll() is not None
            if so(self._operator.lines()):
                return True
            if ended:
                return False
            assert time.monotonic() < end, f"not within {within:g} s; the end of its log: {self._operator.lines()[-3:]}"
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(10)

    def end(self, within: float = 900) -> int:
        """Its exit code, when it has ended by itself."""
        return self.child.wait(within)

    def said(self) -> str:
        """The end of what it printed."""
        return self._output.read_text()[-4000:]


def steps(lines: Lines, **wanted: str) -> Lines:
    """The lines that tell of a step, with all these fields: perhaps `step`, `node`, `of` and `state`."""
    return [
        line
        for line in lines
        if line.get("event") == "step" and all(line.get(key) == value for key, value in wanted.items())
    ]


def steps_of_nodes(lines: Lines) -> Lines:
    """The same without those of the whole cluster, which belong to a phase and not to an event of a node (`of`)."""
    return [line for line in steps(lines) if line.get("of")]


def told(**wanted: str) -> Seen:
    """Whether the log has a line of such a step, see `steps`."""
    return lambda lines: bool(steps(lines, **wanted))


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed, for the message of an assertion."""
    return f"exit code {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
