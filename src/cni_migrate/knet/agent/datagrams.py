"""Probes by datagrams: one to each peer, from one socket."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from time import monotonic

from .eventloop import READ, Loop, Steps
from .protocol import NONCE
from .results import Results
from .settings import UDP_PORT, Settings
from .sockets import opened
from .wording import words

HEARD = "unanswered, though it is heard"  # a datagram to a peer whose own ones arrive: the way there is broken


class Datagrams:
    """Sends them, and tells a broken way there from a broken way back by whose own datagrams were `heard`."""

    def __init__(self, settings: Settings, results: Results, loop: Loop, heard: dict[bytes, float]) -> None:
        self.settings, self.results, self.loop, self.heard = settings, results, loop, heard

    def probe(self, targets: list[tuple[str, str]]) -> Steps:
        """A datagram to each, and again when it is not answered; all from one socket, a new one in every round."""
        began, every, nonce = monotonic(), self.settings.timeout / 2.5, os.urandom(NONCE - 4)
        sign = self.settings.name.encode()
        waiting = {nonce + struct.pack("!I", n) + sign: target for n, target in enumerate(targets)}
        errors: dict[bytes, str] = {}
        if not waiting:
            return
        sock, again, until = None, began, began + self.settings.timeout
        try:
            sock = opened(targets[0][1], socket.SOCK_DGRAM)
            while waiting and again < until:
                for data, (_, address) in waiting.items():
                    try:
                        sock.sendto(data, (address, UDP_PORT))
                    except BlockingIOError:  # the queue is full; there is a second time
                        continue
                    except OSError as problem:
                        errors[data] = words(problem)
                again = min(again + every, until)
                with contextlib.suppress(TimeoutError):
                    while waiting:
                        yield sock, READ, again
                        self._echoes(sock, waiting, began)
        except OSError as problem:  # nothing can be opened
            errors = dict.fromkeys(waiting, words(problem))
        finally:
            if sock is not None:
                self.loop.close(sock)
        for data, (name, _) in waiting.items():
            heard = self.heard.get(name.encode(), 0.0) > began
            self.results.note(name, "primary", "udp", errors.get(data, HEARD if heard else "timeout"))

    def _echoes(self, sock: socket.socket, waiting: dict[bytes, tuple[str, str]], began: float) -> None:
        with contextlib.suppress(OSError):
            while waiting:
                data, source = sock.recvfrom(512)
                if data in waiting and source[0] == waiting[data][1]:
                    self.results.note(waiting.pop(data)[0], "primary", "udp", "", 200, (monotonic() - began) * 1000)
