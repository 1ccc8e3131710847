"""The faults: how each is made, and which words blame it rightly."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from cni_migrate.core.connectivity.gate import Failing
from cni_migrate.knet.agent.settings import TCP_PORT
from tests.knet_faults.mesh import Mesh, now

ROUNDS = 3
"""Fast rounds within which a fault must be found."""
LATE = 4000
"""Milliseconds of delay each way: no answer comes in time, and what was sent does."""


@dataclass(frozen=True)
class Fault:
    """One fault: to make it on a mesh, to undo it, and a pattern that the right diagnosis has."""

    name: str
    make: Callable[[Mesh], None]
    undo: Callable[[Mesh], None]
    right: str


@dataclass(frozen=True)
class Finding:
    """How a fault was found: after how many rounds, with which words, and what is wrong about it, or ''."""

    fault: str
    rounds: int
    said: str
    wrong: str


def _link(name: str, make: Callable[[Mesh], None], right: str, node: str = "n3") -> Fault:
    return Fault(name, make, lambda mesh: mesh.net.heal(node), right)


def _black_hole(mesh: Mesh) -> None:
    for side in ("sport", "dport"):
        mesh.net.lose("n3", "ip", side, str(TCP_PORT), "0xffff", "match", "ip", "protocol", "6", "0xff")


FAULTS = (
    Fault(
        "a stopped process",
        lambda mesh: mesh.stop("n2/a"),
        lambda mesh: mesh.restore("n2/a"),
        r"towards agent n2/a only: its process or its pod",
    ),
    Fault(
        "a killed process",
        lambda mesh: mesh.kill("n2/b"),
        lambda mesh: mesh.restore("n2/b"),
        r"towards agent n2/b only: its process or its pod",
    ),
    _link(
        "a node's packets dropped both ways",
        lambda mesh: mesh.net.lose("n3"),
        r"^probes fail \(to and from node n3: it is cut off\)",
    ),
    _link(
        "packets towards a node lost",
        lambda mesh: mesh.net.lose("n3", into=True, out=False),
        r"^probes fail \(packets towards node n3 are lost, those from it arrive\)",
    ),
    _link(
        "packets from a node lost",
        lambda mesh: mesh.net.lose("n3", into=False, out=True),
        r"^probes fail \(packets from node n3 are lost, those towards it arrive\)",
    ),
    _link(
        "host-cut: a node's own address unreachable from others",
        lambda mesh: mesh.net.lose("n3", "ip", "dst", f"{mesh.net.host('n3')}/32", out=False),
        r"^pods on other nodes do not reach the node n3, at the host's own address",
    ),
    _link(
        "a small MTU that nobody tells",
        lambda mesh: mesh.net.shrink("n3", 1280),
        r"large ones do not: the MTU .* \(to and from node n3\)",
    ),
    _link(
        "UDP blocked",
        lambda mesh: mesh.net.lose("n3", "ip", "protocol", "17", "0xff"),
        r"^only UDP fails.*\(to and from node n3\)",
    ),
    _link(
        "long-lived TCP cut",
        lambda mesh: mesh.net.cut("n3", TCP_PORT),
        r"^only connections that live long fail.*n3",
    ),
    _link(
        "long-lived TCP black-holed",
        _black_hole,
        r"^only connections that live long fail.*\(to and from node n3\)",
    ),
)
DELAY = _link(
    "a delay longer than the timeout",
    lambda mesh: mesh.net.delay("n3", LATE),
    r"answers come too late|to and from node n3",
)


def find(mesh: Mesh, fault: Fault) -> Finding:
    """Make a fault, wait for the gate's right words about it, undo it, and wait until the gate passes again.

    It is found in the rounds that the agents which tell of it first have begun since. What they say is a part of the
    picture as long as not every agent has had its rounds.
    """
    made, said, rounds, slowest = now(), "", 0, 0
    fault.make(mesh)
    try:
        # A connection that is cut shows in one round of each agent: what it says is looked at often.
        while not re.search(fault.right, said) and slowest <= ROUNDS:
            time.sleep(0.05)
            verdict, begun = mesh.judged(made)
            slowest = min(begun.values())
            if isinstance(verdict, Failing):
                said = verdict.diagnosis
                rounds = rounds or max((begun.get(pair.agent, 0) for pair in verdict.pairs), default=slowest)
    finally:
        fault.undo(mesh)
    wrong = ""
    if not said:
        wrong = "missed"
    elif not re.search(fault.right, said):
        wrong = "blamed wrongly"
    elif rounds > ROUNDS:
        wrong = "late"
    if rest := mesh.settle():
        wrong = wrong or f"not over when it is undone: {rest}"
    return Finding(fault.name, rounds, said, wrong)
