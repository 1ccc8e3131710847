"""The agents there are, by the pods of the own namespace or by a file, and what a driver asks of them."""

from __future__ import annotations

import ipaddress
import json
import random
import time
import urllib.parse
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from .apiserver import Namespace
from .eventloop import Loop, Steps
from .peers import Peer, close, entry, neighbours
from .settings import Settings
from .sockets import ODD
from .wording import instant, say, text_of, words

TOGETHER = 0.05  # seconds of changes that are taken in together


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
        self.api = Namespace(settings, loop)
        self.entries: dict[str, dict[str, str]] = {}
        self.heard: dict[str, str] = {}  # addresses that were told by agents and not by the API yet, by uid
        self.peers: dict[str, Peer] = {}
        self.hosts: dict[str, str] = {}  # the addresses of the peers' nodes, but for the own one
        self.transit: frozenset[str] = frozenset()  # the nodes that ConfigMap says are in transit
        self.far: frozenset[str] = frozenset()  # those of them that are peers for that reason alone
        self.size = 1  # how many nodes there are
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

        version = yield from self.api.listed(
            f"pods?{selector}", lambda p: found.update({p["metadata"]["uid"]: entry(p)})
        )
        self.entries = found
        self.heard.clear()
        self.tell(self.heard)
        self.take(found.values())
        yield from self.api.watched(f"pods?{selector}", version, changed)

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

        version = yield from self.api.listed(selector, lambda found: changed("ADDED", found))
        yield from self.api.watched(selector, version, changed)

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
