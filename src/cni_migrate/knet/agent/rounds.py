"""The rounds: all probes, then one line; when the next one begins, and what of it waits for another one."""

from __future__ import annotations

import itertools
import json
import random
import time
from time import monotonic

from .discovery import Directory
from .eventloop import Steps, Task
from .metrics import Key
from .peers import close
from .probes import Probes
from .results import Results
from .server import Server
from .services import Services
from .streams import BEAT, CALM_BEAT, Streams
from .wording import say, stamp

SCHEMA = 1
RARELY = 2.0  # seconds, at most, between probes of what many share and that seldom breaks alone: API server, nodes
CROWD = 100  # nodes whose agents may probe one in transit each second: with more of them each does so less often
FAST = 60.0  # seconds of fast rounds after something changed
SOON = 0.1  # seconds from the beginning of a round until the next one may begin because of such a change
CALM_LARGE = 3  # of so many calm rounds one has the large probes
UNTOLD = ("guard", "primary", "policy_deny")  # keeps its last result when the Service leads to this very agent
BATCH, APART = 8, 0.005  # so many peers are probed at once, the next ones so many seconds later


class Rounds:
    """Round after round: at its own pace, or at the one that a driver asks for."""

    def __init__(self, server: Server) -> None:
        self.server, self.settings, self.loop = server, server.settings, server.loop
        self.directory = Directory(self.settings, self.loop, self.hurry, server.tell)
        self.services = Services(self.settings, self.loop, self._rare_soon)
        self.results = Results(server.metrics)
        server.introduced = self.directory.introduced
        self.probes = Probes(server, self.results, self.directory, self.services)
        self.streams = Streams(self.settings, self.results, self.loop)
        self.open, self.rare, self.rarely = 0, 0.0, RARELY
        self.turn_of: dict[str, float] = {}  # when the nodes that are far are probed next
        self.fast_until = monotonic() + FAST
        self.began = self.next = self.changed = 0.0
        self.task: Task | None = None

    def start(self) -> None:
        """Follow the peers, beat, and go from round to round."""
        Task(self.loop, self.directory.run())
        if not self.settings.peers_file:
            Task(self.loop, self.directory.run_pace())
            Task(self.loop, self.services.run())
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
        self.streams.beat()
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
        peers, before = dict(sorted(self.directory.peers.items())), set(self.results.bad)
        rarely = monotonic() - self.rare >= self.rarely
        large = not self.calm or number % CALM_LARGE == 0
        far = self.directory.far
        waiting = far - self._whose_turn(far)
        now = {name: peer for name, peer in peers.items() if peer.node not in waiting}
        known = self.directory.hosts
        hosts = {node: host for node, host in known.items() if (node not in waiting if node in far else rarely)}
        # What is not probed in this round keeps its last result.
        left = {f"node:{node}" for node in known if node not in hosts} | (peers.keys() - now.keys())
        left |= set() if rarely else {"api", "nodeport"}

        def stays(key: Key) -> bool:
            return key[0] in left or (not large and key[2] == "http_large" and key[0] in peers) or key == UNTOLD

        self.results.begin(stays)
        self.streams.keep(close(peers))
        self.server.forget(64 * (len(peers) + 8))
        work = self.probes.common() + self.probes.hosts(hosts) + (self._rare() if rarely else [])
        for peer in random.sample(list(now.values()), len(now)):
            work += self.probes.of(peer, large)
        work += self.probes.by_datagram(now.values())
        for first in range(0, len(work), BATCH):
            for steps in work[first : first + BATCH]:
                self.open += 1
                Task(self.loop, self._counted(steps))
            yield None, 0, monotonic() + APART
        while self.open:
            yield None, 0, monotonic() + 60.0
        while self.streams.undecided:
            yield None, 0, monotonic() + 0.02
        stalls = self.streams.look()
        self._soon_again(far - waiting)
        if before != set(self.results.bad):
            self.fast_until = monotonic() + FAST
        return {
            "v": SCHEMA, "round": number, "at": at, "node": me.node, "mesh": me.mesh, "pod": me.pod, "uid": me.uid,
            "interval_s": self.pace, "peers": list(peers), "shared": sorted(self.probes.asked),
            **self.results.report(at), "stalls": stalls, "ms": self.results.latencies(),
        }  # fmt: skip

    def _counted(self, steps: Steps) -> Steps:
        yield from steps
        self.open -= 1
        if not self.open and self.task is not None:
            self.task.wake()

    def _rare_soon(self) -> None:
        """The next round has the rare probes: something of what they need is known now."""
        self.rare = 0.0

    def _rare(self) -> list[Steps]:
        """The probes that are not for every round.

        Agents that begin their rounds together, after a change, do not go on having these together: the sooner one of
        them finds what is broken.
        """
        self.rare, self.rarely = monotonic(), RARELY * random.uniform(0.5, 1.0)
        return self.probes.rare()

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
        bad = self.results.bad
        ends = (key[0].partition(":")[2] if key[1] == "host" else key[0].rpartition("/")[0] for key in bad)
        for node in probed.intersection(ends):
            self.turn_of[node] = min(self.turn_of.get(node, 0.0), monotonic() + RARELY * random.uniform(0.75, 1.25))
