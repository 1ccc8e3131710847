"""The knet-stress agent: probes its peers round after round and prints one JSON line for each.

One file, standard library only, Python 3.9 or newer: it runs from a ConfigMap in a stock Python image.
`serve` answers the other agents and probes them; `status` asks the agent of its own pod and exits with 0 when the
last round was clean. docs/reference/knet-report.md describes the report, the probes and the settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import ipaddress
import json
import os
import signal
import socket
import ssl
import struct
import sys
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

SCHEMA = 1
HTTP_PORT, UDP_PORT, TCP_PORT, GUARD_PORT, NODE_PORT = 8080, 8081, 8082, 8089, 1
LARGE = 8192  # bytes each way: more than any MTU, so full-sized packets go both ways
BEAT = 0.1  # seconds between the beats of a long-lived connection
STALL = 0.25  # a pause of a long-lived connection from which on it is reported
RARELY = 2.0  # seconds between probes of what all agents share: the API server
DENIED = 0.4  # seconds after which a forbidden connection counts as blocked: less than a round
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TROUBLE = (OSError, EOFError, ValueError, asyncio.TimeoutError)  # asyncio's is OSError's only since Python 3.11


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


class Peer:
    """Another agent, and its address on Cilium's network once it has told it."""

    def __init__(self, name: str, address: str, uid: str) -> None:
        self.name, self.address, self.uid, self.extra = name, address, uid, ""
        self.mesh = name.rpartition("/")[2]


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


async def connect(
    address: str, port: int, local: str = "", tls: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that leaves nothing behind when it is closed: a reset keeps conntrack and ports free."""
    source = (local, 0) if local else None
    reader, writer = await asyncio.open_connection(address, port, local_addr=source, ssl=tls)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return reader, writer


async def request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes = b"", head: str = ""
) -> tuple[int, bytes]:
    """One request over an open connection: the answer's status and body."""
    method = "POST" if body else "GET"
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: knet\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body)
    await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    length = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
    return int(lines[0].split()[1]), await reader.readexactly(length)


class Server:
    """What the other agents, the kubelet and people ask."""

    def __init__(self, settings: Settings, addresses: list[str]) -> None:
        self.settings, self.addresses = settings, addresses
        self.last = ""
        self.counts: Counter[tuple[str, str, str]] = Counter()

    async def start(self) -> None:
        """Listen on every port; for UDP on each address, as an answer must come from the address that was asked."""
        for port, handler in ((HTTP_PORT, self._http), (TCP_PORT, self._echo), (GUARD_PORT, self._guard)):
            await asyncio.start_server(self._guarded(handler), self.settings.listen, port)
        for address in self.addresses:
            await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=(address, UDP_PORT))

    def _guarded(self, handler: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(*TROUBLE, asyncio.CancelledError):
                await handler(reader, writer)
            writer.close()

        return run

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode("latin-1")
            lower = head.lower().split("\r\n")
            length = next((int(line.partition(":")[2]) for line in lower if line.startswith("content-length:")), 0)
            await reader.readexactly(min(length, 1 << 20))
            status, text = self._answer(head.split()[1])
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
            await writer.drain()

    def _answer(self, path: str) -> tuple[str, bytes]:
        me = self.settings
        if path == "/hello":
            hello = {"node": me.node, "mesh": me.mesh, "uid": me.uid, "addresses": self.addresses}
            return "200 OK", json.dumps(hello).encode()
        if path == "/large":
            return "200 OK", b"x" * LARGE
        if path in ("/healthz", "/readyz"):
            return "200 OK", b"ok"
        if path == "/status":
            return ("200 OK", self.last.encode()) if self.last else ("503 Service Unavailable", b"no round yet")
        if path == "/metrics":
            lines = ["# TYPE knet_stress_probes_total counter"]
            for (net, kind, result), count in sorted(self.counts.items()):
                lines.append(f'knet_stress_probes_total{{net="{net}",kind="{kind}",result="{result}"}} {count}')
            return "200 OK", ("\n".join(lines) + "\n").encode()
        return "404 Not Found", b""

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()

    async def _guard(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"open\n")
        await writer.drain()
        await asyncio.wait_for(reader.read(1), 5)


class Echo(asyncio.DatagramProtocol):
    """Sends every datagram back."""

    def connection_made(self, transport: Any) -> None:
        """Keep the way to answer."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Send it back."""
        self.transport.sendto(data, addr)


class Stream:
    """A long-lived connection to a peer: it beats, and keeps the longest pause between two echoes."""

    def __init__(self, peer: Peer, timeout: float) -> None:
        self.peer, self.timeout, self.error, self.closed = peer, timeout, "", False
        self.last, self.worst, self.reset = time.monotonic(), 0.0, False
        self.task = asyncio.ensure_future(self._run())

    def close(self) -> None:
        """End it. Before Python 3.12 `wait_for` may swallow a cancellation, hence the word besides it."""
        self.closed = True
        self.task.cancel()

    async def _run(self) -> None:
        while not self.closed:
            writer = None
            try:
                reader, writer = await asyncio.wait_for(connect(self.peer.address, TCP_PORT), self.timeout)
                while not self.closed:
                    writer.write(b".")
                    # A path that was broken for long is tried anew: TCP itself would wait for minutes.
                    if not await asyncio.wait_for(reader.read(64), 3 * self.timeout):
                        raise ConnectionResetError
                    now = time.monotonic()
                    self.worst, self.last, self.error = max(self.worst, now - self.last), now, ""
                    await asyncio.sleep(BEAT)
            except TROUBLE as problem:
                self.reset, self.error = self.reset or writer is not None, words(problem)
            finally:
                if writer is not None:
                    writer.close()
            await asyncio.sleep(BEAT)

    def look(self) -> tuple[str, dict[str, Any] | None]:
        """What is wrong now, or '', and the stall that ended or grew since the last look."""
        pause = time.monotonic() - self.last
        worst, reset = max(self.worst, pause), self.reset
        self.worst, self.reset = 0.0, False
        stall = {"peer": self.peer.name, "net": "primary", "ms": round(worst * 1000), "reset": reset}
        error = (self.error or f"no echo for {pause:.1f} s") if pause > self.timeout else ""
        return error, stall if worst > STALL or reset else None


class Directory:
    """The agents there are: from the pods of the own namespace, or from a file outside Kubernetes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pods: dict[str, dict[str, Any]] = {}
        self.peers: dict[str, Peer] = {}

    async def run(self) -> None:
        """Follow the pods for ever: list, then watch; what was known stays known while the API server is away."""
        while True:
            try:
                if self.settings.peers_file:
                    self._take(json.loads(text_of(self.settings.peers_file)))
                else:
                    await self._follow()
            except (*TROUBLE, KeyError) as problem:
                say(f"peers: {words(problem)}")
            await asyncio.sleep(1.0)

    async def _follow(self) -> None:
        listed = b"".join([line async for line in self._lines("resourceVersion=0")])
        content = json.loads(listed)
        self.pods = {pod["metadata"]["uid"]: pod for pod in content["items"]}
        version = content["metadata"]["resourceVersion"]
        while True:
            self._take(map(entry, self.pods.values()))
            async for line in self._lines(
                f"watch=true&timeoutSeconds=60&allowWatchBookmarks=true&resourceVersion={version}"
            ):
                event = json.loads(line)
                pod = event["object"]
                if event["type"] == "ERROR":
                    return
                version = pod["metadata"]["resourceVersion"]
                if event["type"] == "DELETED":
                    self.pods.pop(pod["metadata"]["uid"], None)
                elif event["type"] != "BOOKMARK":
                    self.pods[pod["metadata"]["uid"]] = pod
                self._take(map(entry, self.pods.values()))

    async def _lines(self, query: str) -> Any:
        """The lines of an answer about this namespace's agents; HTTP/1.0, so that it ends with the connection."""
        host, port = self.settings.api
        tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        reader, writer = await asyncio.wait_for(connect(host, port, tls=tls), 10)
        try:
            selector = urllib.parse.quote("app.kubernetes.io/name=knet-stress")
            path = f"/api/v1/namespaces/{self.settings.namespace}/pods?labelSelector={selector}&{query}"
            token = text_of(ACCOUNT / "token").strip()
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise ValueError(f"the API server says {head.split(maxsplit=2)[1].decode('latin-1')}")
            rest = b""
            while data := await asyncio.wait_for(reader.read(1 << 16), 90):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    yield line
            if rest:
                yield rest
        finally:
            writer.close()

    def _take(self, found: Iterable[dict[str, str]]) -> None:
        """Make the peers out of all agents; one that stays the same pod keeps what is known of it."""
        agents: dict[str, dict[str, str]] = {}
        for one in sorted(found, key=lambda e: (bool(e.get("leaving")), not e["address"], e.get("uid", ""))):
            if one["node"]:
                agents.setdefault(f"{one['node']}/{one['mesh']}", one)
        near = neighbours(
            self.settings.node, {a["node"] for a in agents.values()} | {self.settings.node}, self.settings
        )
        peers = {}
        for name, one in agents.items():
            if name != self.settings.name and one["node"] in near | {self.settings.node}:
                known = self.peers.get(name)
                same = known and (known.address, known.uid) == (one["address"], one.get("uid", ""))
                peers[name] = known if known and same else Peer(name, one["address"], one.get("uid", ""))
        self.peers = peers


def entry(pod: dict[str, Any]) -> dict[str, str]:
    """What counts of a pod; one that has ended is on no node."""
    meta, status = pod["metadata"], pod.get("status", {})
    ended = status.get("phase") in ("Succeeded", "Failed")
    return {
        "node": "" if ended else pod["spec"].get("nodeName", ""),
        "mesh": meta.get("labels", {}).get("cni-migrate.io/mesh", ""),
        "address": status.get("podIP", ""),
        "uid": meta["uid"],
        "leaving": "yes" if "deletionTimestamp" in meta else "",
    }


class Probes:
    """The rounds: all probes at once, then one line."""

    def __init__(self, settings: Settings, directory: Directory, server: Server) -> None:
        self.settings, self.directory, self.server = settings, directory, server
        self.extra = "" if settings.of_cilium([settings.address]) else settings.of_cilium(server.addresses)
        self.streams: dict[str, Stream] = {}
        self.since: dict[tuple[str, str, str], str] = {}
        self.bad: dict[tuple[str, str, str], str] = {}
        self.times: list[float] = []
        self.sent, self.lost, self.rare = 0, 0, 0.0

    async def run(self) -> None:
        """Round after round, for ever."""
        number = 0
        while True:
            number += 1
            began = time.monotonic()
            self.server.last = json.dumps(await self.round(number), separators=(",", ":"))
            say(self.server.last)
            await asyncio.sleep(max(0.0, self.settings.interval - (time.monotonic() - began)))

    async def round(self, number: int) -> dict[str, Any]:
        """One round; its report."""
        me, at = self.settings, stamp()
        peers = dict(sorted(self.directory.peers.items()))
        rarely = time.monotonic() - self.rare >= RARELY
        # What is not probed in this round keeps its last result.
        self.bad = {} if rarely else {key: error for key, error in self.bad.items() if key[0] == "api"}
        self.sent, self.lost, self.times = 0, 0, []
        work: list[Awaitable[Any]] = [self._peer(peer) for peer in peers.values()]
        if rarely and me.api[0]:
            self.rare = time.monotonic()
            work.append(self.attempt("api", "primary", "api", self._api()))
        work.append(self.attempt("dns", "primary", "dns", self._dns()))
        if me.service[0]:
            work.append(self.attempt("service", "primary", "service", self._service()))
        if me.node_address:
            work.append(self.attempt(f"node:{me.node}", "host", "tcp", self._node()))
        await asyncio.gather(*work)
        stalls = self._streams(peers)
        self.since = {key: self.since.get(key, at) for key in self.bad}
        ordered = sorted(self.times)
        ms = {name: at_share(ordered, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}
        bad = [
            {"peer": peer, "net": net, "kind": kind, "error": error, "since": self.since[peer, net, kind]}
            for (peer, net, kind), error in sorted(self.bad.items())
        ]
        return {
            "v": SCHEMA, "round": number, "at": at, "node": me.node, "mesh": me.mesh, "pod": me.pod, "uid": me.uid,
            "interval_s": me.interval, "peers": list(peers), "sent": self.sent, "lost": self.lost, "bad": bad,
            "stalls": stalls, "ms": ms,
        }  # fmt: skip

    async def attempt(self, peer: str, net: str, kind: str, probe: Awaitable[Any], within: float = 0) -> bool:
        """Do one probe within its time and note how it ended; whether it succeeded."""
        if kind in self.settings.skip:
            asyncio.ensure_future(probe).cancel()
            return True
        began, error = time.monotonic(), ""
        try:
            await asyncio.wait_for(probe, within or self.settings.timeout)
            self.times.append((time.monotonic() - began) * 1000)
        except TROUBLE as problem:
            error = words(problem)
        self.note(peer, net, kind, error)
        return not error

    def note(self, peer: str, net: str, kind: str, error: str) -> None:
        """Count a probe, and what was wrong with it, if anything."""
        self.sent += 1
        self.server.counts[net, kind, "bad" if error else "ok"] += 1
        if error:
            self.lost += 1
            self.bad[peer, net, kind] = error

    async def _peer(self, peer: Peer) -> None:
        if not peer.address:
            self.note(peer.name, "primary", "http", "it has no address yet")
            return
        ways = [("primary", peer.address, "")]
        if self.extra and peer.extra:
            ways.append(("extra", peer.extra, self.extra))
        work: list[Awaitable[Any]] = []
        for net, address, local in ways:
            work.append(self._http(peer, net, address, local))
            work.append(self.attempt(peer.name, net, "udp", self._udp(address, UDP_PORT, local)))
        if peer.mesh == "b":
            if self.settings.mesh == "a":
                work.append(self.attempt(peer.name, "primary", "policy_allow", self._allowed(peer)))
            else:
                work.append(self.attempt(peer.name, "primary", "policy_deny", self._denied(peer), DENIED + 1))
        await asyncio.gather(*work)

    async def _http(self, peer: Peer, net: str, address: str, local: str) -> None:
        """A small request, then a large one over the same connection: the second is not tried without the first."""
        opened: list[asyncio.StreamWriter] = []

        async def small() -> None:
            reader, writer = await connect(address, HTTP_PORT, local)
            opened.append(writer)
            streams.append(reader)
            status, text = await request(reader, writer, "/hello")
            hello = json.loads(text) if status == 200 else {}
            who = f"{hello.get('node')}/{hello.get('mesh')}"
            if who != peer.name:
                raise ValueError(f"answered by {who}" if hello else f"status {status}")
            peer.extra = self.settings.of_cilium(hello.get("addresses", []))

        async def large() -> None:
            status, text = await request(streams[0], opened[0], "/large", b"x" * LARGE)
            if (status, len(text)) != (200, LARGE):
                raise ValueError(f"status {status}, {len(text)} of {LARGE} bytes")

        streams: list[asyncio.StreamReader] = []
        try:
            if await self.attempt(peer.name, net, "http", small()):
                await self.attempt(peer.name, net, "http_large", large())
        finally:
            for writer in opened:
                writer.close()

    async def _udp(self, address: str, port: int, local: str = "", data: bytes = b"") -> bytes:
        """Send a datagram until it is answered; the second one only after half the time."""
        loop, nonce = asyncio.get_running_loop(), data or os.urandom(16)
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            if local:
                sock.bind((local, 0))
            sock.connect((address, port))
            while True:
                sock.send(nonce)
                with contextlib.suppress(asyncio.TimeoutError):
                    answer = await asyncio.wait_for(loop.sock_recv(sock, 4096), self.settings.timeout / 2.5)
                    if answer[:2] == nonce[:2]:
                        return answer

    async def _allowed(self, peer: Peer) -> None:
        reader, writer = await connect(peer.address, GUARD_PORT)
        try:
            await reader.readexactly(5)
        finally:
            writer.close()

    async def _denied(self, peer: Peer) -> None:
        try:
            await asyncio.wait_for(self._allowed(peer), DENIED)
        except TROUBLE:
            return
        raise ValueError("not blocked")

    async def _api(self) -> None:
        """Any answer will do that comes from the holder of the cluster's certificate."""
        tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        reader, writer = await connect(*self.settings.api, tls=tls)
        try:
            await request(reader, writer, "/version")
        finally:
            writer.close()

    async def _service(self) -> None:
        reader, writer = await connect(*self.settings.service)
        try:
            status, _ = await request(reader, writer, "/hello")
        finally:
            writer.close()
        if status != 200:
            raise ValueError(f"status {status}")

    async def _node(self) -> None:
        """The own node answers on a port that nobody listens on: a refusal is an answer."""
        with contextlib.suppress(ConnectionRefusedError):
            _, writer = await connect(self.settings.node_address, NODE_PORT)
            writer.close()

    async def _dns(self) -> None:
        """Ask the cluster's name server, by hand, as the resolver's own timeouts are far longer than a round."""
        server, name = resolver(text_of("/etc/resolv.conf"))
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        query = os.urandom(2) + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"
        answer = await self._udp(server, 53, data=query)
        if answer[3] & 15:
            raise ValueError(f"{name}: error {answer[3] & 15}")

    def _streams(self, peers: dict[str, Peer]) -> list[dict[str, Any]]:
        """Look at the long-lived connections, and have one to exactly the present peers."""
        stalls = []
        for name, stream in list(self.streams.items()):
            if peers.get(name) is not stream.peer:
                stream.close()
                del self.streams[name]
                continue
            error, stall = stream.look()
            self.note(name, "primary", "tcp", error)
            stalls += [stall] if stall else []
        for name, peer in peers.items():
            if name not in self.streams and peer.address and "tcp" not in self.settings.skip:
                self.streams[name] = Stream(peer, self.settings.timeout)
        return stalls


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
    if isinstance(problem, asyncio.TimeoutError):
        return "timeout"
    if isinstance(problem, ConnectionRefusedError):
        return "refused"
    if isinstance(problem, (ConnectionResetError, BrokenPipeError, EOFError)):
        return "reset"
    return (problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)).lower()[:120]


def text_of(path: str | Path) -> str:
    """The text of a file."""
    return Path(path).read_text(encoding="utf-8")


def stamp() -> str:
    """Now, in UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: UP017 - Python 3.9


def say(text: str) -> None:
    """One line to the log, at once and in one write."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def serve() -> None:
    """Answer and probe until TERM, which ends everything at once: there is nothing to put away."""
    settings = Settings(dict(os.environ))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, os._exit, 0)
    server, directory = Server(settings, own_addresses(settings)), Directory(settings)
    await server.start()
    await asyncio.gather(directory.run(), Probes(settings, directory, server).run())


def status() -> int:
    """Print the last round; 0 when it was clean, 1 when it was not or had no peers, 2 when nobody answers."""
    settings = Settings(dict(os.environ))
    host = settings.listen if settings.listen not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    try:
        with urllib.request.urlopen(f"http://{host}:{HTTP_PORT}/status", timeout=5) as answer:
            text = answer.read().decode()
    except OSError as problem:
        say(f"the agent does not answer: {problem}")
        return 2
    say(text)
    last = json.loads(text)
    return 0 if last["peers"] and not last["bad"] else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["status"]:
        sys.exit(status())
    if sys.argv[1:] != ["serve"]:
        sys.exit("usage: agent.py serve|status")
    asyncio.run(serve())
