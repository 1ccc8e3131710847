"""The program that tries the tunnel's port, run with real sockets on this machine."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cni_migrate import resources

SCRIPT = resources.read("templates", "tunnel_probe.py")


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


def _started(log: Path, *arguments: object, wait: str = "10") -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TERMINATION_LOG": str(log), "NODE_IP": "127.0.0.1", "WAIT_SECONDS": wait}
    return subprocess.Popen(
        [sys.executable, "-B", "-c", SCRIPT, *map(str, arguments)], env=environment, stdout=subprocess.DEVNULL
    )


def _sent(log: Path, port: int, *addresses: str, wait: str = "10") -> dict[str, Any]:
    probe = _started(log, "send", port, *addresses, wait=wait)
    assert probe.wait(timeout=60) == 0
    found: dict[str, Any] = json.loads(log.read_text())
    return found


@contextmanager
def _listening(log: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    probe = _started(log, "listen", port)
    try:
        yield probe
    finally:
        probe.send_signal(signal.SIGTERM)
        assert probe.wait(timeout=60) == 0, "it ends when it is told to"


def test_who_listens_answers(tmp_path: Path) -> None:
    """Both addresses of the node answer, also when the listener starts a moment after the sender."""
    port = _free_port()
    with _listening(tmp_path / "listen", port):
        assert _sent(tmp_path / "send", port, "127.0.0.1", "127.0.0.2") == {"silent": [], "why": {}}


def test_who_does_not_answer_is_told_by_its_number(tmp_path: Path) -> None:
    """The second has nobody who listens; one that cannot be sent to is told with the reason."""
    port = _free_port()
    with _listening(tmp_path / "listen", port), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.3", 0))
        found = _sent(tmp_path / "send", port, "127.0.0.1", "255.255.255.255", wait="1")
    assert found["silent"] == [1]
    assert found["why"]["1"], "the kernel's own words"


def test_an_answer_to_somebody_else_does_not_count(tmp_path: Path) -> None:
    """Whoever else has the port and talks does not make it open."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        probe = _started(tmp_path / "send", "send", port, "127.0.0.1", wait="1")
        while probe.poll() is None:
            if select.select([other], [], [], 0.05)[0]:
                _, who = other.recvfrom(2048)
                other.sendto(b"hello/0", who)
        assert json.loads((tmp_path / "send").read_text())["silent"] == [0]


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_is_taken_is_told(tmp_path: Path, address: str) -> None:
    """On one of the node's addresses or on all: a tunnel, which wants all of them, could not have it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((address, 0))
        probe = _started(tmp_path / "log", "listen", other.getsockname()[1])
        assert probe.wait(timeout=60) == 1
    found = json.loads((tmp_path / "log").read_text())
    assert found["error"] == "taken"
    assert found["said"]
