"""Windows and macOS clients: nothing that only Unix has is reached on import, and signals degrade."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from cni_migrate.cli import interrupts
from cni_migrate.engine import lease

UNIX_ONLY = ("fcntl", "grp", "pwd", "termios", "tty", "pty", "resource", "posix_ipc", "syslog", "crypt", "nis", "spwd")

IMPORT_ALL = f"""
import importlib, os, pkgutil, signal, sys
import asyncio, subprocess, tempfile, socket, multiprocessing
import kr8s.asyncio, httpx, httpx_ws, jinja2, pydantic, rich.console, rich.live, ruamel.yaml, structlog, transitions
import typer, uvicorn
for name in {UNIX_ONLY!r}:
    sys.modules[name] = None
for name in ("getuid", "geteuid", "getgid", "fork", "uname", "setsid", "killpg", "getpgid", "getloadavg", "mkfifo"):
    delattr(os, name)
for name in ("SIGHUP", "SIGPIPE", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGALRM", "SIGCHLD", "alarm", "pause"):
    delattr(signal, name)
import cni_migrate
for found in pkgutil.walk_packages(cni_migrate.__path__, "cni_migrate."):
    if not found.name.startswith("cni_migrate.knet.agent."):  # that program runs on the nodes
        importlib.import_module(found.name)
from cni_migrate.cli.main import run
assert run(["config", "show", "-o", "json"]) == 0
from cni_migrate.engine.lease import identity, surely_dead
assert not surely_dead(identity())
"""


def test_nothing_that_only_unix_has_is_reached_on_import() -> None:
    """Every module, with what Windows lacks taken away."""
    ended = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_wish_to_stop(monkeypatch: pytest.MonkeyPatch, windows: bool, number: signal.Signals) -> None:
    """Also in a loop that takes no handlers; afterwards the handlers are those from before."""

    def none(*_: object) -> None:
        raise NotImplementedError

    async def main() -> None:
        stopped = asyncio.Event()
        if windows:
            monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", none)
        with interrupts.taken(stopped.set):
            os.kill(os.getpid(), number)
            await asyncio.wait_for(stopped.wait(), timeout=10)

    before = signal.getsignal(number)
    asyncio.run(main())
    assert signal.getsignal(number) is before


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock's holder has some name on every system."""

    def unknown() -> str:
        raise ImportError("no module named pwd")

    monkeypatch.setattr("getpass.getuser", unknown)
    assert lease.identity().startswith(f"{os.getuid()}@")
    monkeypatch.delattr(os, "getuid")
    assert lease.identity().startswith("somebody@")
