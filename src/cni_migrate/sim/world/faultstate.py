"""What is wrong at the moment, and what was when: asked by kubelets and by the network."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from cni_migrate.sim.world.programs import Run


@dataclass(slots=True, eq=False)
class Loss:
    """Packets that do not arrive, for a time. Empty fields mean all.

    `direction` is seen from `node`: `in` loses what is sent to it, `out` what it sends. `kinds` are probe kinds. `peer`
    is the other node, `port` the UDP port that the packets are sent to between the nodes.
    """

    node: str = ""
    network: str = "all"
    direction: str = "both"
    kinds: frozenset[str] = frozenset()
    peer: str = ""
    port: int = 0
    since: float = 0.0
    until: float = math.inf

    def hits(self, sender: str, receiver: str, segment: str, kind: str) -> bool:
        """Whether it takes a packet of this kind on its way."""
        if self.kinds and kind not in self.kinds:
            return False
        if segment == "host" or self.network not in ("all", segment):
            return False
        return self.between(sender, receiver)

    def between(self, sender: str, receiver: str) -> bool:
        """Whether it is on the way from one node to another."""
        if not self.node:
            return True
        if self.peer and self.peer not in (sender, receiver):
            return False
        inward = self.direction in ("in", "both") and receiver == self.node
        return inward or (self.direction in ("out", "both") and sender == self.node)


@dataclass(slots=True)
class FaultState:
    """The faults in force. Network faults keep their times, as past rounds of agents are computed late."""

    losses: list[Loss] = field(default_factory=list)
    dns_down: list[Loss] = field(default_factory=list)
    stuck: dict[object, Callable[[Run], bool]] = field(default_factory=dict)
    crashing: dict[object, tuple[Callable[[Run], bool], str]] = field(default_factory=dict)
    slow: dict[object, tuple[str, float]] = field(default_factory=dict)
    clocks: dict[str, float] = field(default_factory=dict)
    """By how many seconds a node's clock is ahead."""
    ports: dict[str, int] = field(default_factory=dict)
    """The UDP port of each tunnel, by its network."""
    flushed: list[str] = field(default_factory=list)
    """Nodes whose firewall is loaded anew again and again: a rule of ours does not stay."""

    def never_ready(self, run: Run) -> bool:
        """Whether the pod must not become Ready."""
        return any(matches(run) for matches in self.stuck.values())

    def crash(self, run: Run) -> str:
        """The message with which the pod's container crashes, empty when it does not."""
        return next((message for matches, message in self.crashing.values() if matches(run)), "")

    def slowness(self, node: str) -> float:
        """The factor on the node's delays."""
        factor = 1.0
        for where, by in self.slow.values():
            if where in ("", node):
                factor *= by
        return factor

    def lost(self, sender: str, receiver: str, segment: str, kind: str, when: float) -> bool:
        """Whether a packet between two nodes is lost at an instant."""
        return any(
            loss.since <= when < loss.until
            and loss.port in (0, self.ports.get(segment))
            and loss.hits(sender, receiver, segment, kind)
            for loss in self.losses
        )

    def closed(self, here: str, there: str, port: int, when: float) -> bool:
        """Whether what is sent to a UDP port of a node's own address does not come back.

        A firewall that lets a request through lets its answer through, too: it remembers who asked.
        """
        return any(
            loss.since <= when < loss.until and loss.port == port and loss.between(here, there) for loss in self.losses
        )

    def no_dns(self, when: float) -> bool:
        """Whether the cluster's DNS does not answer."""
        return any(loss.since <= when < loss.until for loss in self.dns_down)
