"""What is probed, and how: the other agents, what all agents share, and nodes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from time import monotonic

from . import dns
from .apiserver import Secure
from .datagrams import Datagrams
from .discovery import Directory
from .eventloop import READ, Steps
from .peers import Peer
from .protocol import HELLO_LAST, HELLO_REQUEST, LARGE, LARGE_REQUEST, OPEN, check, told
from .results import Results
from .server import Server
from .services import Services
from .settings import GUARD_PORT, HTTP_PORT
from .sockets import TROUBLE, connected, exchanged, opened
from .wording import words

DENIED = 0.2  # seconds after which a forbidden connection counts as blocked: a round takes so long
NEW = 10.0  # seconds in which an agent tells its address: the API does so only when the kubelet looks, a second later
SILENT = 5.0  # seconds in which the kubelet asks a pod several times: the period of its readinessProbe is 1
UNKNOWN = 5.0  # seconds after which a Service's address should be known
NODE_PORT = 1  # of a node, on which nobody listens


class Probes:
    """Each probe as steps that note how they ended."""

    def __init__(self, server: Server, results: Results, directory: Directory, services: Services) -> None:
        self.server, self.settings, self.loop = server, server.settings, server.loop
        self.results, self.directory, self.services = results, directory, services
        self.datagrams = Datagrams(self.settings, results, self.loop, server.heard)
        self.here = f"\r\nX-Knet-Here: {self.settings.uid} {self.settings.address}\r\n\r\n".encode()
        self.new_until = monotonic() + NEW
        self.known_by = monotonic() + UNKNOWN
        self.asked: set[str] = set()
        """What of all that agents share has been probed yet: a gate wants to know that, too."""

    def common(self) -> list[Steps]:
        """The probes of what all agents share, and of the own node."""
        me, work, results = self.settings, [], self.results
        if "dns" not in me.skip:
            self.asked.add("dns")
            work.append(results.attempt("dns", "primary", "dns", dns.asked(self.loop, me.timeout)))
        if self._known("service", "service", self.services.service):
            work.append(results.attempt("service", "primary", "service", self._service(self.services.service)))
        if self._known("guard", self.guarded, self.services.guard):
            work.append(self._by_service(self.services.guard))
        if me.node_address:
            work.append(results.attempt(f"node:{me.node}", "host", "tcp", self._node(me.node_address)))
        self._kubelet()
        return work

    @property
    def guarded(self) -> str:
        """What this agent finds out at the guarded port of mesh b."""
        return "policy_allow" if self.settings.mesh == "a" else "policy_deny"

    def _known(self, peer: str, kind: str, address: tuple[str, int]) -> bool:
        """Whether a Service can be probed; one whose address does not come to be known is as bad as one that fails."""
        if kind in self.settings.skip:
            return False
        if address[0]:
            self.asked.add(peer)
            return True
        if not self.settings.peers_file and monotonic() > self.known_by:
            self.asked.add(peer)
            self.results.note(peer, "primary", kind, "its address is not known")
        return False

    def _kubelet(self) -> None:
        """Whether the kubelet's own probes arrive: it asks from the node's address, and hears no answer otherwise."""
        now, server = monotonic(), self.server
        if "kubelet" in self.settings.skip or self.settings.peers_file:
            return
        if now - max(server.probed, server.began) > SILENT:
            error = f"not heard for {now - server.probed:.0f} s" if server.probed else "never heard"
        elif server.probed:
            error = ""
        else:
            return
        self.asked.add("kubelet")
        self.results.note("kubelet", "primary", "kubelet", error, 0 if error else 200)

    def rare(self) -> list[Steps]:
        """The probes that are not for every round: the API server and the node port."""
        work: list[Steps] = []
        if self.settings.api[0] and "api" not in self.settings.skip:
            self.asked.add("api")
            work.append(self.results.attempt("api", "primary", "api", self._api()))
        address = (self.settings.node_address if self.services.node_port else "", self.services.node_port)
        if self._known("nodeport", "nodeport", address):
            work.append(self._node_port(address))
        return work

    def hosts(self, hosts: dict[str, str]) -> list[Steps]:
        """The probes of the peers' nodes."""
        return [
            self.results.attempt(f"node:{node}", "host", "tcp", self._node(address)) for node, address in hosts.items()
        ]

    def of(self, peer: Peer, large: bool) -> list[Steps]:
        """The probes of one peer, but for datagrams."""
        if not peer.address:
            self.results.note(peer.name, "primary", "http", "it has no address yet")
            return []
        work = [self._http(peer, large)]
        if peer.mesh == "b" and self.guarded not in self.settings.skip:
            probe = self._guarded((peer.address, GUARD_PORT))
            work.append(self.results.attempt(peer.name, "primary", self.guarded, probe))
        return work

    def by_datagram(self, peers: Iterable[Peer]) -> list[Steps]:
        """The probes of all peers by UDP."""
        if "udp" in self.settings.skip:
            return []
        return [self.datagrams.probe([(peer.name, peer.address) for peer in peers if peer.address])]

    def _http(self, peer: Peer, large: bool) -> Steps:
        """A small request, then a large one over the same connection: the second is not tried without the first."""
        results, net = self.results, "primary"
        try:
            sock = opened(peer.address)
        except OSError as problem:
            results.note(peer.name, net, "http", words(problem))
            return
        try:
            if (yield from results.attempt(peer.name, net, "http", self._small(sock, peer, large))) and large:
                yield from results.attempt(peer.name, net, "http_large", self._large(sock))
        finally:
            self.loop.close(sock)

    def _small(self, sock: socket.socket, peer: Peer, large: bool) -> Steps:
        until, hello = monotonic() + self.settings.timeout, HELLO_REQUEST if large else HELLO_LAST
        if monotonic() < self.new_until:
            hello = hello[:-4] + self.here
        head, _ = yield from exchanged(sock, hello, until, (peer.address, HTTP_PORT))
        check(head)
        if peer.sign not in head:
            raise ValueError(f"answered by {told(head, 'Agent') or 'somebody else'}")
        for uid, _, where in (one.partition("=") for one in told(head, "Heard").split(",")):
            self.directory.introduced(uid, where)

    def _large(self, sock: socket.socket) -> Steps:
        head, body = yield from exchanged(sock, LARGE_REQUEST, monotonic() + self.settings.timeout)
        check(head)
        if len(body) != LARGE:
            raise ValueError(f"{len(body)} of {LARGE} bytes")

    def _guarded(self, address: tuple[str, int]) -> Steps:
        """The guarded port has to answer mesh a, and nobody else."""
        if self.settings.mesh == "a":
            yield from self._answers(address, self.settings.timeout)
        elif (yield from self._gets_through(address)):
            raise ValueError("not blocked")

    def _by_service(self, address: tuple[str, int]) -> Steps:
        """The same by ClusterIP, which leads to any agent of mesh b. If that is this one, nothing is learnt."""
        if self.settings.mesh == "a":
            yield from self.results.attempt("guard", "primary", "policy_allow", self._guarded(address))
            return
        who = yield from self._gets_through(address)
        if who != self.settings.name:
            self.results.note("guard", "primary", "policy_deny", "not blocked" if who else "", 0 if who else 200)

    def _gets_through(self, address: tuple[str, int]) -> Steps:
        """Whose guarded port answers, or '' when none does soon."""
        try:
            return (yield from self._answers(address, DENIED)) or "somebody"
        except TROUBLE:
            return ""

    def _answers(self, address: tuple[str, int], within: float) -> Steps:
        """Whose guarded port this is."""
        until, sock = monotonic() + within, opened(address[0])
        try:
            yield from connected(sock, address, until)
            yield sock, READ, until
            said = sock.recv(300)
            if not said:
                raise EOFError
            return said[len(OPEN) :].decode("latin-1").strip()
        finally:
            self.loop.close(sock)

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
        good = yield from self.results.attempt("nodeport", "primary", "nodeport", self._service(address))
        self.services.doubted = not good

    def _node(self, address: str) -> Steps:
        """A node answers on a port that nobody listens on: a refusal is an answer."""
        sock = opened(address)
        try:
            with contextlib.suppress(ConnectionRefusedError):
                yield from connected(sock, (address, NODE_PORT), monotonic() + self.settings.timeout)
        finally:
            self.loop.close(sock)
