"""How the identity agent talks to the API server: one that has died is noticed in time."""

import http.client
import socket
from typing import Any

import pytest

from cni_migrate.identities.agent import apiserver
from cni_migrate.identities.agent.settings import Settings
from tests.unit.identities.test_agent import CIDRS, ENV


class Sock:
    """A socket that remembers what it was told."""

    def __init__(self) -> None:
        self.told: dict[tuple[int, int], int] = {}
        self.timeout = 0.0

    def settimeout(self, seconds: float) -> None:
        self.timeout = seconds

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.told[level, option] = value


class Connection:
    """A connection to a server that never says anything."""

    def __init__(self, host: str, port: int, *, timeout: float, context: Any) -> None:
        self.sock, self.timeout, self.connected = Sock(), timeout, False

    def connect(self) -> None:
        self.connected = True


def test_a_server_whose_machine_has_died_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a watch, which sends nothing itself: pods that start meanwhile would be strangers until it is begun anew."""
    monkeypatch.setattr(http.client, "HTTPSConnection", Connection)
    monkeypatch.setattr(apiserver, "trust", lambda ca: None)
    made: Any = apiserver.Api(Settings(ENV, CIDRS))._connected(apiserver.DEAF)
    assert made.connected
    assert made.timeout <= 10, "to connect takes no longer than an answer"
    assert made.sock.timeout == apiserver.DEAF
    told = made.sock.told
    assert told[socket.SOL_SOCKET, socket.SO_KEEPALIVE] == 1
    waits = [told[socket.IPPROTO_TCP, one] for one in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)]
    assert waits[0] + waits[1] * waits[2] <= 30
