"""What the other agents, the kubelet and people ask."""

from __future__ import annotations

import contextlib
import socket
import time
import urllib.parse
from collections import deque
from collections.abc import Callable
from time import monotonic

from .eventloop import READ, WRITE, Loop
from .metrics import Metrics
from .protocol import HELLO_LAST, HELLO_REQUEST, HERE, KUBELET, LARGE, LAST, NONCE, OPEN, answer_of
from .settings import GUARD_PORT, HTTP_PORT, TCP_PORT, UDP_PORT, Settings
from .sockets import LENGTH, TROUBLE, opened

KEPT, SHOWN = 24, 12  # rounds that `/report` keeps, and shows unless it is told how many
IDLE = 30.0  # seconds without a byte after which a caller is gone

Answer = Callable[[bytes], "tuple[bytes, bytes | None]"]
"""From what was heard and not answered yet to what to say and what is left of it, None to hang up."""


class Caller:
    """A connection that somebody made to this agent."""

    __slots__ = ("active", "answer", "events", "heard", "loop", "out", "sock")

    def __init__(self, loop: Loop, sock: socket.socket, answer: Answer, out: bytes = b"") -> None:
        self.loop, self.sock, self.answer, self.out, self.events = loop, sock, answer, out, 0
        self.heard: bytes | None = b""  # None: nothing more is of interest
        self.active = monotonic()
        self.ready()

    def ready(self) -> None:
        """Take what has come, send as much as goes, and wait for what comes next."""
        try:
            if not self.out:
                data = self.sock.recv(65536, socket.MSG_DONTWAIT)
                if not data:
                    raise EOFError
                self.active = monotonic()
                self.out, self.heard = self.answer((self.heard or b"") + data)
            if self.out:
                self.out = self.out[self.sock.send(self.out, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            pass
        except TROUBLE:
            self.end()
            return
        events = WRITE if self.out else READ
        if self.heard is None and not self.out:
            self.end()
        elif events != self.events:
            self.events = events
            self.loop.watch(self.sock, events, self.ready)

    def end(self) -> None:
        """Close it."""
        self.loop.close(self.sock)
        self.active = 0.0


class Server:
    """Listens on every port of the agent."""

    def __init__(self, settings: Settings, loop: Loop) -> None:
        self.settings, self.loop = settings, loop
        self.rounds: deque[str] = deque(maxlen=KEPT)
        self.metrics = Metrics(settings)
        self.heard: dict[bytes, float] = {}
        self.began, self.probed = monotonic(), 0.0  # when the kubelet has last asked; 0: not yet
        self.guard = OPEN + f"{settings.name}\n".encode()
        self.callers: list[Caller] = []
        self.hello = b""
        self.tell({})
        self.large = f"HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n".encode() + b"x" * LARGE
        self.introduced: Callable[[str, str], None] = lambda uid, address: None

    def tell(self, heard: dict[str, str]) -> None:
        """Say in every hello who this agent is, and which addresses it has heard of that the API does not tell yet."""
        head = f"HTTP/1.1 200 OK\r\nX-Knet-Agent: {self.settings.name}\r\n"
        more = f"X-Knet-Heard: {','.join(f'{uid}={one}' for uid, one in heard.items())}\r\n" if heard else ""
        self.hello = f"{head}{more}Content-Length: 19\r\n\r\n".encode()

    def start(self) -> None:
        """Listen on every port; for UDP on one address, as an answer must come from the one that was asked."""
        for port, answer in ((HTTP_PORT, self.http), (TCP_PORT, self._echo), (GUARD_PORT, self._silent)):
            sock = opened(self.settings.listen)
            # Callers would inherit the reset at the end, and lose what they have not read yet.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes(8))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if port == HTTP_PORT:  # who connects speaks first: one event instead of two
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
            sock.bind((self.settings.listen, port))
            sock.listen(1024)
            self.loop.watch(sock, READ, self._acceptor(sock, answer))
        address = self.settings.listen if self.settings.fixed else self.settings.address
        sock = opened(address, socket.SOCK_DGRAM)
        sock.bind((address, UDP_PORT))
        self.loop.watch(sock, READ, self._repeater(sock))
        self._sweep()

    def _acceptor(self, listener: socket.socket, answer: Answer) -> Callable[[], None]:
        def accept() -> None:
            with contextlib.suppress(OSError):  # nobody more, or gone again
                for _ in range(64):
                    sock, _ = listener.accept()
                    caller = Caller(self.loop, sock, answer, self.guard if answer == self._silent else b"")
                    if caller.active:
                        self.callers.append(caller)

        return accept

    def _repeater(self, sock: socket.socket) -> Callable[[], None]:
        def repeat() -> None:
            with contextlib.suppress(OSError):
                for _ in range(256):
                    data, caller = sock.recvfrom(512)
                    self.heard[data[NONCE:]] = monotonic()
                    sock.sendto(data, caller)

        return repeat

    def _sweep(self) -> None:
        """Forget callers that have left, and those that vanished without a word."""
        now = monotonic()
        for caller in self.callers:
            if 0 < caller.active < now - IDLE:
                caller.end()
        self.callers = [caller for caller in self.callers if caller.active]
        self.loop.at(now + 2.0, self._sweep)

    def forget(self, most: int) -> None:
        """Begin to count anew when there is more than this, of peers that are no more."""
        if len(self.metrics.counts) > most:
            self.metrics.counts.clear()
            self.heard.clear()

    def _echo(self, data: bytes) -> tuple[bytes, bytes | None]:
        return data, b""

    def _silent(self, data: bytes) -> tuple[bytes, bytes | None]:
        return b"", b""

    def http(self, data: bytes) -> tuple[bytes, bytes | None]:
        """The answers to the requests that are complete, and what is left; None after a last request.

        Raises:
            ValueError: the request cannot be understood.
        """
        if data in (HELLO_REQUEST, HELLO_LAST):  # by far the most frequent ones
            self.metrics.received += 1
            return self.hello + b"%d" % time.time_ns(), b"" if data == HELLO_REQUEST else None
        said = b""
        while data:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4 or (data.startswith(b"POST /large") and len(data) < end + LARGE):
                break
            length = LENGTH.search(data, 0, end - 2)
            end += int(length[1]) if length else 0
            if len(data) < end:
                break
            self.metrics.received += 1
            if KUBELET.search(data, 0, end):
                self.probed = monotonic()
            if here := HERE.search(data, 0, end):
                self.introduced(here[1].decode(), here[2].decode())
            said += self._answer(data.split(b" ", 2)[1])
            if LAST.search(data, 0, end):
                return said, None
            data = data[end:]
        if len(data) > 1 << 20:
            raise ValueError("the request is too long")
        return said, data

    def _answer(self, path: bytes) -> bytes:
        if path == b"/hello":
            return self.hello + b"%d" % time.time_ns()
        if path == b"/large":
            return self.large
        if path == b"/healthz" or (path == b"/readyz" and self.rounds):
            return answer_of("200 OK", "ok")
        if path == b"/readyz":
            return answer_of("503 Service Unavailable", "no round yet")
        if path == b"/metrics":
            return answer_of("200 OK", "\n".join([*self.metrics.lines(), ""]), "text/plain; version=0.0.4")
        if path.partition(b"?")[0] == b"/report":
            asked = urllib.parse.parse_qs(urllib.parse.urlsplit(path.decode("latin-1")).query).get("lines", [""])[-1]
            count = max(1, int(asked)) if asked.isdecimal() else SHOWN
            return answer_of("200 OK", "".join(list(self.rounds)[-count:]), "application/x-ndjson")
        return answer_of("404 Not Found", "")
