"""Long-lived connections to the peers."""

from __future__ import annotations

import contextlib
import socket
from time import monotonic
from typing import Any

from .eventloop import READ, WRITE, Loop
from .peers import Peer
from .results import Results
from .settings import TCP_PORT, Settings
from .sockets import TROUBLE, opened
from .wording import words

BEAT, CALM_BEAT = 0.25, 2.0  # seconds between the beats of a long-lived connection
STALL = 0.25  # a pause of a long-lived connection from which on it is reported


class Stream:
    """A long-lived connection to a peer: it beats, and keeps the longest wait for an echo."""

    def __init__(self, peer: Peer, timeout: float, loop: Loop) -> None:
        self.peer, self.timeout, self.loop = peer, timeout, loop
        self.address = peer.address
        self.sock: socket.socket | None = None
        self.up, self.error = False, ""
        self.since, self.tried, self.worst, self.reset = monotonic(), 0.0, 0.0, False
        self.beat()

    def beat(self) -> None:
        """Send a beat unless an echo is missing still; connect when there is no connection."""
        now = monotonic()
        if self.sock is None:
            self._connect(now)
        elif self.up and not self.since:
            self.since = now
            with contextlib.suppress(OSError):  # an error is told by the next event
                self.sock.send(b".")
        elif now - self.tried > self.timeout and (not self.up or now - self.since > 3 * self.timeout):
            # A path that was broken for long is tried anew: TCP itself would wait for minutes.
            self._drop("timeout", now)
            self._connect(now)

    def close(self) -> None:
        """End it."""
        if self.sock is not None:
            self.loop.close(self.sock)
            self.sock = None

    def _connect(self, now: float) -> None:
        self.tried, self.since = now, self.since or now
        try:
            self.sock = opened(self.address)
            self.loop.watch(self.sock, WRITE, self._ready)
            with contextlib.suppress(BlockingIOError):
                self.sock.connect((self.address, TCP_PORT))
        except OSError as problem:
            self._drop(words(problem), now)

    def _drop(self, error: str, now: float) -> None:
        self.error, self.reset, self.since = error, self.reset or self.up, self.since or now
        self.close()
        self.up = False

    def _ready(self) -> None:
        sock, now = self.sock, monotonic()
        if sock is None:
            return
        try:
            if not self.up:
                sock.send(b".")  # what was missed before ends with its echo
                self.up, self.error = True, ""
                self.loop.watch(sock, READ, self._ready)
            elif not sock.recv(64):
                raise EOFError
            elif self.since:
                self.worst, self.since, self.error = max(self.worst, now - self.since), 0.0, ""
        except BlockingIOError:
            return
        except TROUBLE as problem:
            cut = self.up and now - self.tried > BEAT
            self._drop(words(problem), now)
            if cut:  # what the cut itself takes is told, not the time to the next beat
                self._connect(now)

    def undecided(self, now: float) -> bool:
        """Whether an echo is missing that may come in time."""
        return bool(self.since) and not self.reset and not self.error and now - self.since <= self.timeout

    def look(self, now: float) -> tuple[str, dict[str, Any] | None]:
        """What is wrong, or '', and the stall that ended or grew since the last look."""
        pause = now - self.since if self.since else 0.0
        worst, reset, error = max(self.worst, pause), self.reset, self.error
        self.worst, self.reset = 0.0, False
        if not error and (reset or pause > self.timeout):
            error = "reset" if reset else f"no echo for {pause:.1f} s"
        stall = {"peer": self.peer.name, "net": "primary", "ms": round(worst * 1000), "reset": reset}
        return error, stall if worst > STALL or reset else None


class Streams:
    """One long-lived connection to each peer."""

    def __init__(self, settings: Settings, results: Results, loop: Loop) -> None:
        self.settings, self.results, self.loop = settings, results, loop
        self.open: dict[str, Stream] = {}

    def beat(self) -> None:
        """A beat on each."""
        for stream in self.open.values():
            stream.beat()

    def keep(self, peers: dict[str, Peer]) -> None:
        """Have a connection to exactly the present peers; each has a beat under way."""
        for name, stream in list(self.open.items()):
            if peers.get(name) is stream.peer:
                stream.beat()
            else:
                stream.close()
                del self.open[name]
        for name, peer in peers.items() if "tcp" not in self.settings.skip else ():
            if peer.address and name not in self.open:
                self.open[name] = Stream(peer, self.settings.timeout, self.loop)

    @property
    def undecided(self) -> bool:
        """Whether an echo is missing that may come in time."""
        return any(stream.undecided(monotonic()) for stream in self.open.values())

    def look(self) -> list[dict[str, Any]]:
        """Note what is wrong with each; the stalls since the last look."""
        stalls = []
        for name, stream in self.open.items():
            error, stall = stream.look(monotonic())
            self.results.note(name, "primary", "tcp", error, 200 if not error else 0)
            stalls += [stall] if stall else []
        return stalls
