"""How long `migrate --version` takes, as a ratio to an interpreter that imports typer."""

import statistics
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

RUNS = 9


@dataclass(frozen=True)
class Startup:
    """Medians, in milliseconds."""

    migrate: float
    typer: float
    help: float

    @property
    def ratio(self) -> float:
        """The aim is less than 2."""
        return self.migrate / self.typer


def _milliseconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000


def startup() -> Startup:
    """Take turns, so that a busy moment of the machine meets all alike."""
    program = str(Path(sysconfig.get_path("scripts")) / "migrate")
    commands = ([program, "--version"], [sys.executable, "-c", "import typer"], [program, "--help"])
    for command in commands:
        _milliseconds(command)  # warm: bytecode and file cache
    rounds = [[_milliseconds(command) for command in commands] for _ in range(RUNS)]
    migrate, typer, help_ = (statistics.median(column) for column in zip(*rounds, strict=True))
    return Startup(migrate, typer, help_)
