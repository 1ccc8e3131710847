"""Starting, finding and ending the processes of a lab, and only those."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.lab.settings import MARK, Lab, LabError


def say(text: str) -> None:
    """Tell the user."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def hint(text: str) -> None:
    """Tell the user what takes so long, beside what was asked for."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def run(*argv: str | Path, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its output as text."""
    result = subprocess.run([str(word) for word in argv], text=True, capture_output=True, cwd=cwd, check=False)
    if check and result.returncode:
        raise LabError(f"{' '.join(map(str, argv))}: exit {result.returncode}\n{result.stderr.strip()}")
    return result


def _start_time(pid: int) -> str | None:
    """When the kernel started a process; with the pid it names the process for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def remember(path: Path, pid: int) -> None:
    """Write a pid file that `alive` can trust."""
    path.write_text(f"{pid} {_start_time(pid)}\n")


def alive(path: Path) -> int | None:
    """The pid in a pid file, if that very process still runs."""
    try:
        pid, started = path.read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if _start_time(int(pid)) == started else None


def ended(pid: int) -> bool:
    """Whether a process has ended, reaped or not: the lab's may be children of whoever called."""
    return _start_time(pid) is None


def spawn(lab: Lab, name: str, argv: Sequence[str | Path]) -> int:
    """Start a program that stays, in a session of its own, with a log and a pid file."""
    lab.logs.mkdir(parents=True, exist_ok=True)
    with (lab.logs / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {MARK: str(lab.folder)},
            cwd=lab.folder,
        )
    remember(lab.folder / f"{name}.pid", child.pid)
    # It outlives this program on purpose; without this, Python warns when the object goes.
    child.returncode = 0
    return child.pid


def marked(lab: Lab) -> list[int]:
    """Every process with this lab's mark in its environment."""
    wanted = f"{MARK}={lab.folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0") and _start_time(int(entry.name)):
            found.append(int(entry.name))
    return found


def kill(pids: Sequence[int]) -> None:
    """End processes at once."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_for(what: str, ready: Callable[[], bool], seconds: float, every: float = 0.2) -> None:
    """Ask until it is so."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {seconds:g} s")
        time.sleep(every)
