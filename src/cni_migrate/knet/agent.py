"""The knet-stress agent: probes its peers round after round and prints one JSON line for each.

One file, standard library only, Python 3.9 or newer: it runs from a ConfigMap in a stock Python image.
`serve` answers the other agents and probes them; `status` asks the agent of its own pod and exits with 0 when the
last round was clean. docs/reference/knet-report.md describes the report, the probes and the settings.

One thread and one epoll, as an agent may have hundreds of peers and little of a processor: servers are handlers of
sockets, probes are generators that say which socket they wait for and until when.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import hashlib
import heapq
import ipaddress
import itertools
import json
import os
import random
import re
import resource
import select
import signal
import socket
import ssl
import struct
import sys
import time
import urllib.parse
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from typing import Any

SCHEMA = 1
HTTP_PORT, UDP_PORT, TCP_PORT, GUARD_PORT, NODE_PORT = 8080, 8081, 8082, 8089, 1
LARGE = 8192  # bytes each way: more than any MTU, so full-sized packets go both ways
BEAT, CALM_BEAT = 0.25, 2.0  # seconds between the beats of a long-lived connection
STALL = 0.25  # a pause of a long-lived connection from which on it is reported
RARELY = 2.0  # seconds, at most, between probes of what many share and that seldom breaks alone: API server, nodes
CROWD = 100  # nodes whose agents may probe one in transit each second: with more of them each does so less often
DENIED = 0.2  # seconds after which a forbidden connection counts as blocked: a round takes so long
LOOK, LOOK_AGAIN = 30.0, 600.0  # at most so many seconds until a node port that fails is read anew; and once more
FAST = 60.0  # seconds of fast rounds after something changed
NEW = 10.0  # seconds in which an agent tells its address: the API does so only when the kubelet looks, a second later
SOON = 0.1  # seconds from the beginning of a round until the next one may begin because of such a change
TOGETHER = 0.05  # seconds of changes that are taken in together
CALM_LARGE = 3  # of so many calm rounds one has the large probes
BATCH, APART = 8, 0.005  # so many peers are probed at once, the next ones so many seconds later
KEPT, SHOWN = 24, 12  # rounds that `/report` keeps, and shows unless it is told how many
NONCE = 12  # bytes at the beginning of a datagram; the rest is the network and the sender's name
GRID = 0.05  # seconds by which a deadline may be late
IDLE = 30.0  # seconds without a byte after which a caller is gone
BUCKETS = 40  # of 5 ms each, in the histogram
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
READ, WRITE = select.EPOLLIN, select.EPOLLOUT
TROUBLE = (OSError, EOFError, ValueError)
ODD = (*TROUBLE, LookupError, TypeError, AttributeError)  # also what was said in good form may make no sense
NOT_YET = (BlockingIOError, ssl.SSLWantReadError)
HEARD = "unanswered, though it is heard"  # a datagram to a peer whose own ones arrive: the way there is broken
HELLO_REQUEST = b"GET /hello HTTP/1.1\r\nHost: knet\r\n\r\n"
HELLO_LAST = b"GET /hello HTTP/1.1\r\nHost: knet\r\nConnection: close\r\n\r\n"
LARGE_REQUEST = b"POST /large HTTP/1.1\r\nHost: knet\r\nContent-Length: %d\r\n\r\n" % LARGE + b"x" * LARGE
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
HERE = re.compile(rb"\r\nx-knet-here: *(\S+) (\S+)\r\n", re.IGNORECASE)
LAST = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)

Key = tuple[str, str, str]
"""A direction: peer, network, kind."""
Steps = Generator[tuple[Any, int, float], None, Any]
"""What takes a while: yields the socket it waits for (or None: it sleeps), the events, and until when."""


class Settings:
    """What the agent is told by its environment and its configuration file."""

    def __init__(self, env: dict[str, str]) -> None:
        self.node, self.mesh = env.get("NODE_NAME", "local"), env.get("KNET_MESH", "a")
        self.pod, self.uid = env.get("POD_NAME", f"local-{self.mesh}"), env.get("POD_UID", str(os.getpid()))
        self.namespace, self.address = env.get("POD_NAMESPACE", "knet-stress"), env.get("POD_IP", "127.0.0.1")
        self.fixed = "KNET_LISTEN" in env
        self.listen = env.get("KNET_LISTEN") or ("::" if ":" in self.address else "0.0.0.0")  # noqa: S104 - a pod
        self.node_address = env.get("NODE_IP", "")
        self.peers_file = env.get("KNET_PEERS_FILE", "")
        self.skip = frozenset(env.get("KNET_SKIP", "").split(","))
        self.api = (env.get("KUBERNETES_SERVICE_HOST", ""), int(env.get("KUBERNETES_SERVICE_PORT", "443")))
        self.service = (env.get("KNET_STRESS_SERVICE_HOST", ""), int(env.get("KNET_STRESS_SERVICE_PORT", "80")))
        path = env.get("KNET_CONFIG", "")
        config: dict[str, Any] = json.loads(text_of(path)) if path else {}
        self.interval, self.timeout = float(config.get("interval_s", 0.5)), float(config.get("timeout_s", 1.0))
        self.idle_interval = max(self.interval, float(config.get("idle_interval_s", self.interval)))
        self.full_mesh_max, self.degree = int(config.get("full_mesh_max", 12)), int(config.get("degree", 4))
        self.seed, self.cilium_cidr = str(config.get("seed", "")), str(config.get("cilium_cidr", ""))

    @property
    def name(self) -> str:
        """This agent as its peers know it."""
        return f"{self.node}/{self.mesh}"

    def of_cilium(self, addresses: Iterable[str]) -> str:
        """The address among these that is Cilium's, or ''."""
        network = ipaddress.ip_network(self.cilium_cidr) if self.cilium_cidr else None
        found = (a for a in addresses if network is not None and a and ipaddress.ip_address(a) in network)
        return next(found, "")


class Loop:
    """What waits: sockets with their handlers, calls at a time, and tasks."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.handlers: dict[int, Callable[[], None]] = {}
        self.calls: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.closing: list[socket.socket] = []

    def watch(self, sock: socket.socket, events: int, handler: Callable[[], None]) -> None:
        """Call the handler whenever one of the events comes: this handler alone."""
        number = sock.fileno()
        (self.epoll.modify if number in self.handlers else self.epoll.register)(number, events)
        self.handlers[number] = handler

    def close(self, sock: socket.socket) -> None:
        """Close a socket, after the events at hand: its number must not mean another one among them."""
        self.handlers.pop(sock.fileno(), None)
        self.closing.append(sock)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call at this time (monotonic)."""
        heapq.heappush(self.calls, (when, next(self.order), call))

    def turn(self) -> None:
        """Wait for the next event or call, and do what is due."""
        for sock in self.closing:
            sock.close()
        self.closing.clear()
        found = self.epoll.poll(max(0.0, self.calls[0][0] - monotonic()) if self.calls else 1.0)
        # What is due later than this has not been looked for: an agent that gets no processor blames nobody for it.
        now = monotonic()
        for number, _ in found:
            handler = self.handlers.get(number)
            if handler:
                handler()
        while self.calls and self.calls[0][0] <= now:
            heapq.heappop(self.calls)[2]()


class Task:
    """Steps on the loop. When an event has not come in time, they are thrown a TimeoutError."""

    __slots__ = ("events", "loop", "sock", "steps", "until")

    def __init__(self, loop: Loop, steps: Steps) -> None:
        self.loop, self.steps, self.sock, self.events, self.until = loop, steps, None, 0, 0.0
        self.go()

    def go(self, problem: BaseException | None = None) -> None:
        """Take the next step."""
        try:
            sock, events, until = self.steps.throw(problem) if problem else next(self.steps)
        except StopIteration:
            self.until = float("inf")
            return
        if sock is not None and (sock is not self.sock or events != self.events):
            self.loop.watch(sock, events, self.go)
        self.sock, self.events = sock, events
        if until != self.until:
            self.until = until
            # Deadlines are on a grid, so that many are looked at together.
            self.loop.at(until if sock is None else until + GRID - until % GRID, self._due)

    def _due(self) -> None:
        if monotonic() >= self.until:  # otherwise it waits for something else by now
            self.until = 0.0
            self.go(None if self.sock is None else TimeoutError())

    def wake(self, when: float = 0.0) -> None:
        """End its sleep at this time, if it sleeps longer."""
        if self.sock is None and when < self.until:
            self.until = when
            self.loop.at(when, self._due)


def opened(address: str, kind: int = socket.SOCK_STREAM, local: str = "") -> socket.socket:
    """A socket towards this address that waits for nothing. A TCP one ends with a reset, which keeps ports free."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if local:
            sock.bind((local, 0))
    except OSError:
        sock.close()
        raise
    return sock


def connected(sock: socket.socket, address: tuple[str, int], until: float) -> Steps:
    """Connect."""
    with contextlib.suppress(BlockingIOError):
        sock.connect(address)
    yield sock, WRITE, until
    sock.send(b"")  # raises what went wrong, if anything


def exchanged(sock: socket.socket, data: bytes, until: float, address: tuple[str, int] | None = None) -> Steps:
    """Connect if there is an address, send an HTTP request; the answer's head and body."""
    if address:
        with contextlib.suppress(BlockingIOError):
            sock.connect(address)
        yield sock, WRITE, until
    while data:
        with contextlib.suppress(BlockingIOError):
            data = data[sock.send(data) :]
        if data:
            yield sock, WRITE, until
    found, size = b"", 0
    while not size or len(found) < size:
        yield sock, READ, until
        part = sock.recv(65536)
        if not part:
            raise EOFError
        found += part
        if not size and (end := found.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(found, 0, end + 2)
            size = end + 4 + int(length[1] if length else 0)
    end = found.index(b"\r\n\r\n")
    return found[:end], found[end + 4 :]


class Secure:
    """A connection to the API server, whose certificate is verified; to be closed by who made it."""

    def __init__(self, settings: Settings, loop: Loop, within: float) -> None:
        self.settings, self.loop, self.until = settings, loop, monotonic() + within
        self.sock = opened(settings.api[0])

    def request(self, path: str, head: str = "") -> Steps:
        """Connect and ask; HTTP/1.0, so that the answer ends with the connection."""
        yield from connected(self.sock, self.settings.api, self.until)
        tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        name = self.settings.api[0]
        self.sock = sock = tls.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
        while True:
            try:
                sock.do_handshake()
                break
            except ssl.SSLWantReadError:
                yield sock, READ, self.until
        sock.send(f"GET {path} HTTP/1.0\r\nHost: {name}\r\n{head}\r\n".encode())

    def read(self, within: float) -> Steps:
        """What comes next, b'' at the end."""
        until = monotonic() + within
        while True:
            try:
                return self.sock.recv(65536)
            except NOT_YET:
                yield self.sock, READ, until
            except ssl.SSLEOFError:
                return b""

    def close(self) -> None:
        """Close it."""
        self.loop.close(self.sock)


class Peer:
    """Another agent, and its address on Cilium's network once it has told it.

    `far`: it is probed for its node is in transit, now and then, and it is no neighbour's.
    """

    def __init__(self, name: str, address: str, uid: str) -> None:
        self.name, self.address, self.uid, self.extra, self.far = name, address, uid, "", False
        self.node, _, self.mesh = name.rpartition("/")
        self.sign = f"\r\nX-Knet-Agent: {name}\r\n".encode()


Answer = Callable[[bytes], "tuple[bytes, bytes | None]"]
"""From what was heard and not answered yet to what to say and what is left of it, None to hang up."""


def neighbours(node: str, nodes: set[str], settings: Settings) -> set[str]:
    """The other nodes whose agents to probe: all, or the nearest ones in the ring that a hash orders."""
    if len(nodes) <= settings.full_mesh_max:
        return nodes - {node}
    ring = sorted(nodes, key=lambda n: (hashlib.sha256(f"{settings.seed}/{n}".encode()).hexdigest(), n))
    at, half = ring.index(node), settings.degree // 2
    return {ring[(at + step) % len(ring)] for step in range(-half, half + 1)} - {node}


def own_addresses(settings: Settings) -> list[str]:
    """The addresses of this pod: the one the API knows first, then those of further interfaces (IPv4)."""
    if settings.fixed:
        return [settings.listen]
    found = [settings.address]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an address
                reply = fcntl.ioctl(sock.fileno(), 0x8915, struct.pack("256s", name.encode()[:15]))  # SIOCGIFADDR
                found.append(socket.inet_ntoa(reply[20:24]))
    return [address for address in dict.fromkeys(found) if not address.startswith("127.")]


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
    """What the other agents, the kubelet and people ask."""

    def __init__(self, settings: Settings, addresses: list[str], loop: Loop) -> None:
        self.settings, self.addresses, self.loop = settings, addresses, loop
        self.rounds: deque[str] = deque(maxlen=KEPT)
        self.counts: Counter[tuple[str, str, str, str]] = Counter()
        self.times: dict[tuple[str, str], list[float]] = {}
        self.received = 0
        self.heard: dict[bytes, float] = {}
        self.callers: list[Caller] = []
        self.hello = b""
        self.tell({})
        self.large = f"HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n".encode() + b"x" * LARGE
        self.introduced: Callable[[str, str], None] = lambda uid, address: None

    def tell(self, heard: dict[str, str]) -> None:
        """Say in every hello who this agent is, and which addresses it has heard of that the API does not tell yet."""
        head = (
            f"HTTP/1.1 200 OK\r\nX-Knet-Agent: {self.settings.name}\r\nX-Knet-Addresses: {','.join(self.addresses)}\r\n"
        )
        more = f"X-Knet-Heard: {','.join(f'{uid}={one}' for uid, one in heard.items())}\r\n" if heard else ""
        self.hello = f"{head}{more}Content-Length: 19\r\n\r\n".encode()

    def start(self) -> None:
        """Listen on every port; for UDP on each address, as an answer must come from the address that was asked."""
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
        for address in self.addresses:
            sock = opened(address, socket.SOCK_DGRAM)
            sock.bind((address, UDP_PORT))
            self.loop.watch(sock, READ, self._repeater(sock))
        self._sweep()

    def _acceptor(self, listener: socket.socket, answer: Answer) -> Callable[[], None]:
        def accept() -> None:
            with contextlib.suppress(OSError):  # nobody more, or gone again
                for _ in range(64):
                    sock, _ = listener.accept()
                    caller = Caller(self.loop, sock, answer, b"open\n" if answer == self._silent else b"")
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
            self.received += 1
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
            self.received += 1
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
            return answer_of("200 OK", "\n".join([*self.metrics(), ""]), "text/plain; version=0.0.4")
        if path.partition(b"?")[0] == b"/report":
            asked = urllib.parse.parse_qs(urllib.parse.urlsplit(path.decode("latin-1")).query).get("lines", [""])[-1]
            count = max(1, int(asked)) if asked.isdecimal() else SHOWN
            return answer_of("200 OK", "".join(list(self.rounds)[-count:]), "application/x-ndjson")
        return answer_of("404 Not Found", "")

    def note(self, key: Key, code: str, ms: float = -1.0) -> None:
        """Count a probe for the metrics; `code` is that of its answer, 0 without one, as the original has it."""
        self.counts[(*key, code)] += 1
        if ms >= 0:
            times = self.times.setdefault(key[1:], [0.0] * (BUCKETS + 2))
            times[min(BUCKETS, int(ms / 5))] += 1.0
            times[-1] += ms / 1000

    def metrics(self) -> Iterable[str]:
        """The lines of `/metrics`: the names of the original, with labels for the peer, its network and the kind."""
        me, name = f'instance_id="{self.settings.node}",mesh="{self.settings.mesh}"', "knet_stress_client_requests"
        yield "# TYPE knet_stress_client_api_requests_sent counter"
        for key, count in self.counts.items():
            if key[2] == "api":
                yield f'knet_stress_client_api_requests_sent{{{me},code="{key[3]}"}} {count}'
        yield f"# TYPE {name}_sent counter"
        for (peer, net, kind, code), count in self.counts.items():
            if kind != "api":
                yield f'{name}_sent{{{me},code="{code}",peer="{peer}",net="{net}",kind="{kind}"}} {count}'
        yield f"# TYPE {name}_duration_seconds histogram"
        for (net, kind), times in self.times.items():
            of = f'{me},net="{net}",kind="{kind}"'
            for n, total in enumerate(itertools.accumulate(times[:-1]), 1):
                le = f"{n * 0.005:.3f}" if n <= BUCKETS else "+Inf"
                yield f'{name}_duration_seconds_bucket{{{of},le="{le}"}} {total:.0f}'
            yield f"{name}_duration_seconds_sum{{{of}}} {times[-1]:.6f}"
            yield f"{name}_duration_seconds_count{{{of}}} {sum(times[:-1]):.0f}"
        yield "# TYPE knet_stress_server_requests_received counter"
        yield f"knet_stress_server_requests_received{{{me}}} {self.received}"


class Stream:
    """A long-lived connection to a peer on one network: it beats, and keeps the longest wait for an echo."""

    def __init__(self, peer: Peer, timeout: float, loop: Loop, net: str = "primary", local: str = "") -> None:
        self.peer, self.timeout, self.loop, self.net, self.local = peer, timeout, loop, net, local
        self.address = peer.address if net == "primary" else peer.extra
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
            self.sock = opened(self.address, local=self.local)
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
        stall = {"peer": self.peer.name, "net": self.net, "ms": round(worst * 1000), "reset": reset}
        return error, stall if worst > STALL or reset else None


class Directory:
    """The agents there are: from the pods of the own namespace, or from a file outside Kubernetes."""

    def __init__(
        self,
        settings: Settings,
        loop: Loop,
        changed: Callable[[], None] = lambda: None,
        tell: Callable[[dict[str, str]], None] = lambda heard: None,
    ) -> None:
        self.settings, self.loop, self.changed, self.tell = settings, loop, changed, tell
        self.entries: dict[str, dict[str, str]] = {}
        self.heard: dict[str, str] = {}  # addresses that were told by agents and not by the API yet, by uid
        self.peers: dict[str, Peer] = {}
        self.hosts: dict[str, str] = {}  # the addresses of the peers' nodes, but for the own one
        self.transit: frozenset[str] = frozenset()  # the nodes that ConfigMap says are in transit
        self.far: frozenset[str] = frozenset()  # those of them that are peers for that reason alone
        self.size = 1  # how many nodes there are
        self.node_port, self.doubted = 0, False  # that of the Service, and whether it fails
        self.fast_until = 0.0  # on the clock of the wall, from the ConfigMap knet-stress-pace
        self._waits = False

    def run(self) -> Steps:
        """Follow the pods for ever; what was known stays known while the API server is away."""
        seen = ""
        while self.settings.peers_file:
            try:
                text = text_of(self.settings.peers_file)
                if text != seen:
                    self.take(json.loads(text))
                    seen = text
            except ODD as problem:
                say(f"peers: {words(problem)}")
            yield None, 0, monotonic() + 1.0
        yield from self._ever("pods", self.follow_pods)

    def run_pace(self) -> Steps:
        """Follow the ConfigMap that asks for fast rounds, for ever."""
        yield from self._ever("pace", self.follow_pace)

    def run_port(self) -> Steps:
        """Read the Service's node port, and again when it fails: a Service that was made anew has another one."""
        pause = 15.0
        while True:
            try:
                yield from self.read_port()
            except ODD as problem:
                say(f"service: {words(problem)}")
                self.doubted = True
            # All agents fail together: they do not ask at once, and less and less often.
            pause = min(LOOK_AGAIN, pause * 2) if self.doubted else 15.0
            yield None, 0, monotonic() + pause * random.uniform(0.5, 1.0)
            while not self.doubted:
                yield None, 0, monotonic() + LOOK * random.uniform(0.1, 1.0)

    def read_port(self) -> Steps:
        """Read the Service; one without a node port has 0."""
        text: list[bytes] = []
        yield from self._lines("services/knet-stress", text.append)
        ports = json.loads(b"".join(text))["spec"].get("ports") or []
        self.node_port, self.doubted = next((int(port.get("nodePort", 0)) for port in ports), 0), False

    def _ever(self, what: str, follow: Callable[[], Steps]) -> Steps:
        pause = 0.5
        while True:
            began = monotonic()
            try:
                yield from follow()
            except ODD as problem:
                say(f"{what}: {words(problem)}")
            # A server in trouble is not asked by all agents at once, again and again.
            pause = 1.0 if monotonic() - began > 30.0 else min(30.0, pause * 2)
            yield None, 0, monotonic() + pause * random.uniform(0.5, 1.0)

    def follow_pods(self) -> Steps:
        """List, then watch, until the server asks for a new list."""
        selector = urllib.parse.urlencode({"labelSelector": "app.kubernetes.io/name=knet-stress"})
        found: dict[str, dict[str, str]] = {}

        def changed(kind: str, pod: dict[str, Any]) -> None:
            uid = pod["metadata"]["uid"]
            new = entry(pod) if kind != "DELETED" else None
            if uid in self.heard:
                if new is not None and not new["address"]:
                    new["address"] = self.heard[uid]
                else:
                    del self.heard[uid]
                    self.tell(self.heard)
            if new == self.entries.get(uid):
                return
            if new is None:
                self.entries.pop(uid, None)
            else:
                self.entries[uid] = new
            self._take_soon()

        version = yield from self._list(f"pods?{selector}", lambda p: found.update({p["metadata"]["uid"]: entry(p)}))
        self.entries = found
        self.heard.clear()
        self.tell(self.heard)
        self.take(found.values())
        yield from self._watch(f"pods?{selector}", version, changed)

    def introduced(self, uid: str, address: str) -> None:
        """A new agent has told its address, itself or by another one. Only of a pod that the API has none of yet.

        Raises:
            ValueError: that is no address.
        """
        known = self.entries.get(uid)
        if known is None or known["address"]:
            return
        self.heard[uid] = str(ipaddress.ip_address(address))
        self.entries[uid] = {**known, "address": self.heard[uid]}
        self.tell(self.heard)
        self._take_soon()

    def follow_pace(self) -> Steps:
        """The same for the ConfigMap `knet-stress-pace`, of which there is one or none."""
        selector = "configmaps?fieldSelector=metadata.name%3Dknet-stress-pace"

        def changed(kind: str, found: dict[str, Any]) -> None:
            data = (found.get("data") or {}) if kind != "DELETED" else {}
            text, transit = str(data.get("until", "")), frozenset(str(data.get("transit", "")).split())
            try:
                self.fast_until = instant(text) if text else 0.0
            except ValueError as problem:
                say(f"pace: {words(problem)}")
            if transit != self.transit:
                self.transit = transit
                self._take_soon()
            self.changed()

        version = yield from self._list(selector, lambda found: changed("ADDED", found))
        yield from self._watch(selector, version, changed)

    def _list(self, path: str, take: Callable[[dict[str, Any]], None]) -> Steps:
        """A list in pages, as thousands of pods at once would need much memory; its version."""
        more = ""
        while True:
            text: list[bytes] = []
            yield from self._lines(f"{path}&limit=100{more}", text.append)
            content = json.loads(b"".join(text))
            for one in content["items"]:
                take(one)
            if not content["metadata"].get("continue"):
                return content["metadata"]["resourceVersion"]
            more = "&" + urllib.parse.urlencode({"continue": content["metadata"]["continue"]})

    def _watch(self, path: str, version: str, changed: Callable[[str, dict[str, Any]], None]) -> Steps:
        lost = False

        def take(line: bytes) -> None:
            nonlocal version, lost
            event = json.loads(line)
            lost = lost or event["type"] == "ERROR"
            if lost:
                return
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                changed(event["type"], event["object"])

        while not lost:
            began = monotonic()
            seconds = random.randint(240, 360)
            query = f"&watch=true&timeoutSeconds={seconds}&allowWatchBookmarks=true&resourceVersion={version}"
            yield from self._lines(path + query, take, seconds + 30.0)
            if not lost:  # a server that ends watches at once is not asked in a circle
                yield None, 0, began + 1.0

    def _lines(self, path: str, take: Callable[[bytes], None], within: float = 10.0) -> Steps:
        """Give each line of an answer about this namespace."""
        token = text_of(ACCOUNT / "token").strip()
        connection = Secure(self.settings, self.loop, 10.0)
        try:
            head = f"Authorization: Bearer {token}\r\n"
            yield from connection.request(f"/api/v1/namespaces/{self.settings.namespace}/{path}", head)
            rest = b""
            while b"\r\n\r\n" not in rest:
                part = yield from connection.read(10.0)
                rest += part
                if not part:
                    raise EOFError
            status, _, rest = rest.partition(b"\r\n\r\n")
            if b" 200 " not in status.split(b"\r\n")[0]:
                raise ValueError(f"the API server says {status.split(maxsplit=2)[1].decode('latin-1')}")
            parts = [rest]
            while True:
                if b"\n" in parts[-1]:
                    *lines, rest = b"".join(parts).split(b"\n")
                    parts = [rest]
                    for line in lines:
                        take(line)
                part = yield from connection.read(within)
                if not part:
                    break
                parts.append(part)
            if last := b"".join(parts):
                take(last)
        finally:
            connection.close()

    def _take_soon(self) -> None:
        """Several changes at once are one: the graph of thousands of nodes takes a while."""

        def take() -> None:
            self._waits = False
            self.take(self.entries.values())

        if not self._waits:
            self._waits = True
            self.loop.at(monotonic() + max(TOGETHER, len(self.entries) / 5000), take)

    def take(self, found: Iterable[dict[str, str]]) -> None:
        """Make the peers out of all agents; one that stays the same pod keeps what is known of it."""
        agents: dict[str, dict[str, str]] = {}
        for one in sorted(found, key=lambda e: (bool(e.get("leaving")), not e["address"], e.get("uid", ""))):
            if one["node"]:
                agents.setdefault(f"{one['node']}/{one['mesh']}", one)
        me = self.settings
        nodes = {a["node"] for a in agents.values()} | {me.node}
        near = neighbours(me.node, nodes, me) | {me.node}
        self.far = frozenset() if self.lapsed else (self.transit & nodes) - near
        self.size = len(nodes)
        peers: dict[str, Peer] = {}
        hosts: dict[str, str] = {}
        for name, one in agents.items():
            if name != me.name and (one["node"] in near or one["node"] in self.far):
                if one.get("host") and one["node"] != me.node:
                    hosts.setdefault(one["node"], one["host"])
                known = self.peers.get(name)
                same = known and (known.address, known.uid) == (one["address"], one.get("uid", ""))
                peers[name] = known if known and same else Peer(name, one["address"], one.get("uid", ""))
                peers[name].far = one["node"] in self.far
        before, self.peers, self.hosts = self.peers, peers, hosts
        if close(before) != close(peers):
            self.changed()

    @property
    def lapsed(self) -> bool:
        """Whether nobody asks for anything any more: a driver that stopped leaves its list behind."""
        return time.time() >= self.fast_until

    def let_go(self) -> None:
        """Have done with the nodes in transit once nobody asks for them any more."""
        if self.far and self.lapsed:
            self.take(self.entries.values())


def close(peers: dict[str, Peer]) -> dict[str, Peer]:
    """Those that are probed in every round."""
    return {name: peer for name, peer in peers.items() if not peer.far}


def entry(pod: dict[str, Any]) -> dict[str, str]:
    """What counts of a pod; one that has ended is on no node."""
    meta, status = pod["metadata"], pod.get("status", {})
    ended = status.get("phase") in ("Succeeded", "Failed")
    return {
        "node": "" if ended else pod["spec"].get("nodeName", ""),
        "mesh": meta.get("labels", {}).get("cni-migrate.io/mesh", ""),
        "address": status.get("podIP", ""),
        "host": status.get("hostIP", ""),
        "uid": meta["uid"],
        "leaving": "yes" if "deletionTimestamp" in meta else "",
    }


class Probes:
    """The rounds: all probes, then one line."""

    def __init__(self, settings: Settings, server: Server, loop: Loop) -> None:
        self.settings, self.server, self.loop = settings, server, loop
        self.directory = Directory(settings, loop, self.hurry, server.tell)
        server.introduced = self.directory.introduced
        self.extra = "" if settings.of_cilium([settings.address]) else settings.of_cilium(server.addresses)
        self.streams: dict[tuple[str, str], Stream] = {}
        self.since: dict[Key, str] = {}
        self.bad: dict[Key, str] = {}
        self.times: list[float] = []
        self.sent, self.lost, self.open, self.rare, self.rarely = 0, 0, 0, 0.0, RARELY
        self.turn_of: dict[str, float] = {}  # when the nodes that are far are probed next
        self.fast_until = monotonic() + FAST
        self.here = f"\r\nX-Knet-Here: {settings.uid} {settings.address}\r\n\r\n".encode()
        self.new_until = monotonic() + NEW
        self.began = self.next = self.changed = 0.0
        self.task: Task | None = None

    def start(self) -> None:
        """Follow the peers, beat, and go from round to round."""
        Task(self.loop, self.directory.run())
        if not self.settings.peers_file:
            Task(self.loop, self.directory.run_pace())
        if not self.settings.peers_file and self.settings.node_address and "nodeport" not in self.settings.skip:
            Task(self.loop, self.directory.run_port())
        self._beat()
        self.task = Task(self.loop, self.run())

    @property
    def pace(self) -> float:
        """The pause from round to round at present: the short one for a while after something changed."""
        fast = monotonic() < self.fast_until or time.time() < self.directory.fast_until
        return self.settings.interval if fast else self.settings.idle_interval

    @property
    def calm(self) -> bool:
        """Whether the rounds are slow, so that beats may be too."""
        return self.pace > self.settings.interval

    def hurry(self) -> None:
        """Something changed: look at once, and be fast for a while."""
        self.changed = monotonic()
        self.fast_until = self.changed + FAST
        self.next = min(self.next, self.began + min(SOON, self.settings.interval))
        if self.task is not None:
            self.task.wake(self.next)

    def _beat(self) -> None:
        for stream in self.streams.values():
            stream.beat()
        self.loop.at(monotonic() + (CALM_BEAT if self.calm else BEAT), self._beat)

    def run(self) -> Steps:
        """Round after round, for ever. The first ones of agents that start together do not begin together."""
        self.next = monotonic() + random.uniform(0, min(self.settings.interval, 0.5))
        for number in itertools.count(1):
            while monotonic() < self.next:
                yield None, 0, self.next
            self.began = monotonic()
            report = yield from self.round(number)
            line = json.dumps(report, separators=(",", ":"))
            self.server.rounds.append(line + "\n")
            say(line)
            # Never less: a gate counts so many rounds over so many seconds, and one more would have to be waited for.
            # But what changed during a round may have broken it, and nobody counts by that.
            pause = report["interval_s"] * random.uniform(1.0, 1.04)
            self.next = self.began + (pause if self.changed < self.began else min(SOON, pause))

    def round(self, number: int) -> Steps:
        """One round; its report."""
        me, at = self.settings, stamp()
        self.directory.let_go()
        peers, before, hosts = dict(sorted(self.directory.peers.items())), set(self.bad), self.directory.hosts
        rarely = monotonic() - self.rare >= self.rarely
        large = not self.calm or number % CALM_LARGE == 0
        far = self.directory.far
        waiting = far - self._whose_turn(far)
        now = {name: peer for name, peer in peers.items() if peer.node not in waiting}
        hosts = {node: host for node, host in hosts.items() if (node not in waiting if node in far else rarely)}
        # What is not probed in this round keeps its last result.
        shared = {f"node:{node}" for node in self.directory.hosts if node not in hosts} | (peers.keys() - now.keys())
        shared |= set() if rarely else {"api", "nodeport"}
        self.bad = {
            key: error
            for key, error in self.bad.items()
            if key[0] in shared or (not large and key[2] == "http_large" and key[0] in peers)
        }
        self.sent, self.lost, self.times = 0, 0, []
        self._keep_streams(close(peers))
        if len(self.server.counts) > 64 * (len(peers) + 8):  # of peers that are no more
            self.server.counts.clear()
            self.server.heard.clear()
        work = self._common() + self._hosts(hosts) + (self._rare() if rarely else [])
        for peer in random.sample(list(now.values()), len(now)):
            work += self._of(peer, large)
        work += self._datagrams(now.values())
        for first in range(0, len(work), BATCH):
            for steps in work[first : first + BATCH]:
                self.open += 1
                Task(self.loop, self._counted(steps))
            yield None, 0, monotonic() + APART
        while self.open:
            yield None, 0, monotonic() + 60.0
        while any(stream.undecided(monotonic()) for stream in self.streams.values()):
            yield None, 0, monotonic() + 0.02
        stalls = self._look()
        self._soon_again(far - waiting)
        self.since = {key: self.since.get(key, at) for key in self.bad}
        if before != set(self.bad):
            self.fast_until = monotonic() + FAST
        ordered = sorted(self.times)
        ms = {name: at_share(ordered, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}
        bad = [
            {"peer": peer, "net": net, "kind": kind, "error": error, "since": self.since[peer, net, kind]}
            for (peer, net, kind), error in sorted(self.bad.items())
        ]
        return {
            "v": SCHEMA, "round": number, "at": at, "node": me.node, "mesh": me.mesh, "pod": me.pod, "uid": me.uid,
            "interval_s": self.pace, "peers": list(peers), "sent": self.sent, "lost": self.lost, "bad": bad,
            "stalls": stalls, "ms": ms,
        }  # fmt: skip

    def _counted(self, steps: Steps) -> Steps:
        yield from steps
        self.open -= 1
        if not self.open and self.task is not None:
            self.task.wake()

    def attempt(self, peer: str, net: str, kind: str, probe: Steps) -> Steps:
        """Do one probe and note how it ended; whether it succeeded."""
        began = monotonic()
        try:
            code = yield from probe
        except TROUBLE as problem:
            self.note(peer, net, kind, words(problem))
            return False
        self.note(peer, net, kind, "", code or 200, (monotonic() - began) * 1000)
        return True

    def note(self, peer: str, net: str, kind: str, error: str, code: int = 0, ms: float = -1.0) -> None:
        """Count a probe, how long it took, and what was wrong with it, if anything."""
        self.sent += 1
        key = (peer, net, kind)
        if error:
            self.lost += 1
            self.bad[key] = error
        else:
            self.bad.pop(key, None)
            if ms >= 0:
                self.times.append(ms)
        self.server.note(key, error[7:] if error.startswith("status ") else str(code), ms)

    def _whose_turn(self, far: frozenset[str]) -> set[str]:
        """The nodes in transit to be probed now: each seldom enough that all agents together do not overwhelm it."""
        now, pause = monotonic(), max(RARELY, self.directory.size / CROWD)
        # The first time is any time in the pause: all agents hear of a node at once.
        self.turn_of = {node: self.turn_of.get(node, now + pause * random.random()) for node in far}
        found = {node for node, when in self.turn_of.items() if when <= now}
        self.turn_of.update((node, now + pause * random.uniform(0.75, 1.25)) for node in found)
        return found

    def _soon_again(self, probed: frozenset[str]) -> None:
        """Look again soon at what fails, so that it is not told for long after it has ended."""
        ends = (key[0].partition(":")[2] if key[1] == "host" else key[0].rpartition("/")[0] for key in self.bad)
        for node in probed.intersection(ends):
            self.turn_of[node] = min(self.turn_of.get(node, 0.0), monotonic() + RARELY * random.uniform(0.75, 1.25))

    def _hosts(self, hosts: dict[str, str]) -> list[Steps]:
        """The probes of the peers' nodes."""
        return [self.attempt(f"node:{node}", "host", "tcp", self._node(address)) for node, address in hosts.items()]

    def _rare(self) -> list[Steps]:
        """The probes that are not for every round: the API server and the node port.

        Agents that begin their rounds together, after a change, do not go on having these together: the sooner one of
        them finds what is broken.
        """
        work, self.rare, self.rarely = [], monotonic(), RARELY * random.uniform(0.5, 1.0)
        if self.settings.api[0] and "api" not in self.settings.skip:
            work.append(self.attempt("api", "primary", "api", self._api()))
        port = self.directory.node_port
        if port and "nodeport" not in self.settings.skip:
            work.append(self._node_port((self.settings.node_address, port)))
        return work

    def _common(self) -> list[Steps]:
        """The probes of what all agents share, and of the own node."""
        me, work = self.settings, []
        if "dns" not in me.skip:
            work.append(self.attempt("dns", "primary", "dns", self._dns()))
        if me.service[0] and "service" not in me.skip:
            work.append(self.attempt("service", "primary", "service", self._service(me.service)))
        if me.node_address:
            work.append(self.attempt(f"node:{me.node}", "host", "tcp", self._node(me.node_address)))
        return work

    def _of(self, peer: Peer, large: bool) -> list[Steps]:
        """The probes of one peer, but for datagrams."""
        if not peer.address:
            self.note(peer.name, "primary", "http", "it has no address yet")
            return []
        work = [self._http(peer, "primary", peer.address, "", large)]
        if self.extra and peer.extra:
            work.append(self._http(peer, "extra", peer.extra, self.extra, large))
        kind = "policy_allow" if self.settings.mesh == "a" else "policy_deny"
        if peer.mesh == "b" and kind not in self.settings.skip:
            probe = self._allowed(peer, self.settings.timeout) if kind == "policy_allow" else self._denied(peer)
            work.append(self.attempt(peer.name, "primary", kind, probe))
        return work

    def _http(self, peer: Peer, net: str, address: str, local: str, large: bool) -> Steps:
        """A small request, then a large one over the same connection: the second is not tried without the first."""
        try:
            sock = opened(address, local=local)
        except OSError as problem:
            self.note(peer.name, net, "http", words(problem))
            return
        try:
            if (yield from self.attempt(peer.name, net, "http", self._small(sock, peer, address, large))) and large:
                yield from self.attempt(peer.name, net, "http_large", self._large(sock))
        finally:
            self.loop.close(sock)

    def _small(self, sock: socket.socket, peer: Peer, address: str, large: bool) -> Steps:
        until, hello = monotonic() + self.settings.timeout, HELLO_REQUEST if large else HELLO_LAST
        if monotonic() < self.new_until:
            hello = hello[:-4] + self.here
        head, _ = yield from exchanged(sock, hello, until, (address, HTTP_PORT))
        check(head)
        if peer.sign not in head:
            raise ValueError(f"answered by {told(head, 'Agent') or 'somebody else'}")
        for uid, _, where in (one.partition("=") for one in told(head, "Heard").split(",")):
            self.directory.introduced(uid, where)
        if self.settings.cilium_cidr and not peer.extra:
            peer.extra = self.settings.of_cilium(told(head, "Addresses").split(","))

    def _large(self, sock: socket.socket) -> Steps:
        head, body = yield from exchanged(sock, LARGE_REQUEST, monotonic() + self.settings.timeout)
        check(head)
        if len(body) != LARGE:
            raise ValueError(f"{len(body)} of {LARGE} bytes")

    def _datagrams(self, peers: Iterable[Peer]) -> list[Steps]:
        known = [peer for peer in peers if peer.address]
        extra = [(peer.name, peer.extra) for peer in known if self.extra and peer.extra]
        if "udp" in self.settings.skip:
            return []
        return [self._udp("primary", [(p.name, p.address) for p in known], ""), self._udp("extra", extra, self.extra)]

    def _udp(self, net: str, targets: list[tuple[str, str]], local: str) -> Steps:
        """A datagram to each, and again when it is not answered; all from one socket, a new one in every round."""
        began, every, nonce = monotonic(), self.settings.timeout / 2.5, os.urandom(NONCE - 4)
        sign = f"{net} {self.settings.name}".encode()
        waiting = {nonce + struct.pack("!I", n) + sign: target for n, target in enumerate(targets)}
        errors: dict[bytes, str] = {}
        if not waiting:
            return
        sock, again, until = None, began, began + self.settings.timeout
        try:
            sock = opened(targets[0][1], socket.SOCK_DGRAM, local)
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
                        self._echoes(sock, net, waiting, began)
        except OSError as problem:  # the own address is gone
            errors = dict.fromkeys(waiting, words(problem))
        finally:
            if sock is not None:
                self.loop.close(sock)
        for data, (name, _) in waiting.items():
            heard = self.server.heard.get(f"{net} {name}".encode(), 0.0) > began
            self.note(name, net, "udp", errors.get(data, HEARD if heard else "timeout"))

    def _echoes(self, sock: socket.socket, net: str, waiting: dict[bytes, tuple[str, str]], began: float) -> None:
        with contextlib.suppress(OSError):
            while waiting:
                data, source = sock.recvfrom(512)
                if data in waiting and source[0] == waiting[data][1]:
                    self.note(waiting.pop(data)[0], net, "udp", "", 200, (monotonic() - began) * 1000)

    def _allowed(self, peer: Peer, within: float) -> Steps:
        until, sock = monotonic() + within, opened(peer.address)
        try:
            yield from connected(sock, (peer.address, GUARD_PORT), until)
            yield sock, READ, until
            if not sock.recv(5):
                raise EOFError
        finally:
            self.loop.close(sock)

    def _denied(self, peer: Peer) -> Steps:
        try:
            yield from self._allowed(peer, DENIED)
        except TROUBLE:
            return
        raise ValueError("not blocked")

    def _api(self) -> Steps:
        """Any answer will do that comes from the holder of the cluster's certificate."""
        connection = Secure(self.settings, self.loop, self.settings.timeout)
        try:
            yield from connection.request("/version")
            answer = yield from connection.read(self.settings.timeout)
        finally:
            connection.close()
        if not answer.startswith(b"HTTP/1."):
            raise EOFError
        return int(answer[9:12])

    def _service(self, address: tuple[str, int]) -> Steps:
        until, sock = monotonic() + self.settings.timeout, opened(address[0])
        try:
            check((yield from exchanged(sock, HELLO_LAST, until, address))[0])
        finally:
            self.loop.close(sock)

    def _node_port(self, address: tuple[str, int]) -> Steps:
        good = yield from self.attempt("nodeport", "primary", "nodeport", self._service(address))
        self.directory.doubted = not good

    def _node(self, address: str) -> Steps:
        """A node answers on a port that nobody listens on: a refusal is an answer."""
        sock = opened(address)
        try:
            with contextlib.suppress(ConnectionRefusedError):
                yield from connected(sock, (address, NODE_PORT), monotonic() + self.settings.timeout)
        finally:
            self.loop.close(sock)

    def _dns(self) -> Steps:
        """Ask the cluster's name server, by hand, as the resolver's own timeouts are far longer than a round."""
        server, name = resolver(text_of("/etc/resolv.conf"))
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        query = os.urandom(2) + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"
        began, timeout, sock = monotonic(), self.settings.timeout, opened(server, socket.SOCK_DGRAM)
        try:
            sock.connect((server, 53))
            for share in (0.4, 0.8, 1.0):
                sock.send(query)
                with contextlib.suppress(TimeoutError):
                    while True:
                        yield sock, READ, began + timeout * share
                        answer = sock.recv(4096)
                        if answer[:2] == query[:2] and len(answer) > 3:
                            if answer[3] & 15:
                                raise ValueError(f"{name}: error {answer[3] & 15}")
                            return
        finally:
            self.loop.close(sock)
        raise TimeoutError

    def _keep_streams(self, peers: dict[str, Peer]) -> None:
        """Have a long-lived connection to exactly the present peers, on each network; each has a beat under way."""
        for key, stream in list(self.streams.items()):
            if peers.get(key[0]) is stream.peer:
                stream.beat()
            else:
                stream.close()
                del self.streams[key]
        for name, peer in peers.items() if "tcp" not in self.settings.skip else ():
            if peer.address and (name, "primary") not in self.streams:
                self.streams[name, "primary"] = Stream(peer, self.settings.timeout, self.loop)
            if self.extra and peer.extra and (name, "extra") not in self.streams:
                self.streams[name, "extra"] = Stream(peer, self.settings.timeout, self.loop, "extra", self.extra)

    def _look(self) -> list[dict[str, Any]]:
        stalls = []
        for (name, net), stream in self.streams.items():
            error, stall = stream.look(monotonic())
            self.note(name, net, "tcp", error, 200 if not error else 0)
            stalls += [stall] if stall else []
        return stalls


def told(head: bytes, what: str) -> str:
    """What an agent's answer tells of it in its head, or ''."""
    found = re.search(rf"\r\nX-Knet-{what}: (.*?)\r\n", head.decode("latin-1") + "\r\n")
    return found[1] if found else ""


def check(head: bytes) -> None:
    """The answer is a success.

    Raises:
        ValueError: it is not.
    """
    status = head[9:12].decode("latin-1")
    if status != "200":
        raise ValueError(f"status {status}")


def answer_of(status: str, text: str, kind: str = "text/plain") -> bytes:
    """An HTTP answer."""
    body = text.encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def resolver(text: str) -> tuple[str, str]:
    """The first name server of a resolv.conf, and the API server's name in the cluster's domain."""
    words_of = [line.split() for line in text.splitlines() if line.strip()]
    server = next((line[1] for line in words_of if line[0] == "nameserver"), "")
    if not server:
        raise ValueError("no name server is configured")
    domains = [domain for line in words_of if line[0] == "search" for domain in line[1:] if domain.startswith("svc.")]
    return server, f"kubernetes.default.{domains[0] if domains else 'svc.cluster.local'}".rstrip(".")


def at_share(ordered: list[float], share: float) -> float:
    """The value below which this share of the values is."""
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1) if ordered else 0.0


def words(problem: BaseException) -> str:
    """An exception as the report tells it."""
    if isinstance(problem, (TimeoutError, socket.timeout)):
        return "timeout"
    if isinstance(problem, ConnectionRefusedError):
        return "refused"
    if isinstance(problem, (ConnectionResetError, BrokenPipeError, EOFError)):
        return "reset"
    return (problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)).lower()[:120]


def text_of(path: str | Path) -> str:
    """The text of a file."""
    return Path(path).read_text(encoding="utf-8")


def instant(text: str) -> float:
    """An ISO instant in seconds since 1970. Python 3.9 knows no Z.

    Raises:
        ValueError: it is none, or has no zone.
    """
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))  # noqa: FURB162 - Python 3.9
    if found.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return found.timestamp()


def stamp() -> str:
    """Now, in UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: UP017 - Python 3.9


def say(text: str) -> None:
    """One line to the log, at once and in one write."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def serve() -> None:
    """Answer and probe until TERM, which ends everything at once: there is nothing to put away."""
    settings, loop = Settings(dict(os.environ)), Loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # four sockets per peer
    server = Server(settings, own_addresses(settings), loop)
    server.start()
    Probes(settings, server, loop).start()
    gc.freeze()  # what was loaded is never garbage
    while True:
        loop.turn()


def status() -> int:
    """Say `STATUS OK`, as the original does; 0 when the last round was clean, 1 when not, 2 when nobody answers."""
    settings = Settings(dict(os.environ))
    host = settings.listen if settings.listen not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    text = b""
    try:
        with socket.create_connection((host, HTTP_PORT), 5) as sock:
            sock.sendall(b"GET /report?lines=1 HTTP/1.1\r\nHost: knet\r\nConnection: close\r\n\r\n")
            while part := sock.recv(65536):
                text += part
        last = json.loads(text.partition(b"\r\n\r\n")[2] or b"null")
    except (OSError, ValueError) as problem:
        return fail(2, f"the agent does not answer: {problem}")
    if not last:
        return fail(2, "the agent has finished no round yet")
    age, allowed = time.time() - instant(last["at"]), 3 * last["interval_s"] + 2 * settings.timeout
    if not last["peers"]:
        return fail(1, "it has no peers: nothing is proven")
    if age > allowed:
        return fail(1, f"the last round is {age:.1f} s old")
    if last["bad"]:
        told = ("{node}/{mesh} -> {peer} {kind} ({net}): {error}".format(**last, **bad) for bad in last["bad"])
        return fail(1, "\n".join(told))
    say("STATUS OK")
    return 0


def fail(code: int, text: str) -> int:
    """Say on the error output what is wrong; the exit code."""
    sys.stderr.write(text + "\n")
    return code


if __name__ == "__main__":
    if sys.argv[1:] == ["status"]:
        sys.exit(status())
    if sys.argv[1:] not in (["serve"], ["server"]):  # the second is the original's name for it
        sys.exit("usage: agent.py serve|status")
    serve()
