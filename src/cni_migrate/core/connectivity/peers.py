"""Who probes whom: the graph of the knet-stress agents.

The agents compute the same from their pods (docs/reference/knet-report.md), here it is computed from the nodes: with
few nodes every agent probes every other one; with many, the agents of the nearest nodes in a ring that is ordered by
hash, so that a node that joins or leaves changes the peers of its neighbours in the ring only.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache

from cni_migrate.config import Config

MESHES = ("a", "b")
"""The two agents of each node."""


def seed(config: Config) -> str:
    """What the ring's order is derived from: the same for the agents and for the driver, on every resume."""
    return config.knet.namespace


@lru_cache(maxsize=65_536)
def _place(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Graph:
    """The graph over a set of nodes."""

    def __init__(self, nodes: Iterable[str], *, full_mesh_max: int, degree: int, seed: str) -> None:
        self._seed = seed
        self._half = degree // 2
        self.nodes = frozenset(nodes)
        self.full = len(self.nodes) <= full_mesh_max
        self._ring = sorted((_place(f"{seed}/{node}"), node) for node in self.nodes)

    def neighbours(self, node: str) -> frozenset[str]:
        """The other nodes whose agents `node`'s agents probe: all of them, or the nearest in the ring, both ways."""
        return self.nodes - {node} if self.full else frozenset(self._around(node))

    def _around(self, node: str) -> list[str]:
        """The neighbours, in the order of the ring."""
        at = bisect_left(self._ring, (_place(f"{self._seed}/{node}"), node))
        size = len(self._ring)
        steps = range(1, size) if self.full else [step for step in range(-self._half, self._half + 1) if step]
        found = (self._ring[(at + step) % size][1] for step in steps)
        return list(dict.fromkeys(other for other in found if other != node))

    def peers(self, agent: str) -> frozenset[str]:
        """The agents ("node/mesh") that an agent probes: those of its neighbours and the other one of its own node."""
        node, _, mesh = agent.rpartition("/")
        others = {f"{other}/{m}" for other in self.neighbours(node) for m in MESHES}
        return frozenset(others | {f"{node}/{m}" for m in MESHES if m != mesh})

    def observers(self, node: str) -> frozenset[str]:
        """The agents on other nodes that tell of this node: of each neighbour one, by turns along the ring.

        Both agents of a node probe the same agents over the same way. The second would tell of the node nothing that
        the first does not, but for the pair that a policy forbids, which half of the neighbours' agents tell of. An
        only neighbour tells by both.
        """
        around = self._around(node)
        if len(around) == 1:
            return frozenset(f"{around[0]}/{mesh}" for mesh in MESHES)
        return frozenset(f"{other}/{MESHES[turn % 2]}" for turn, other in enumerate(around))


@lru_cache(maxsize=16)
def _graph(nodes: frozenset[str], full_mesh_max: int, degree: int, seed: str) -> Graph:
    return Graph(nodes, full_mesh_max=full_mesh_max, degree=degree, seed=seed)


def graph(nodes: Iterable[str], config: Config) -> Graph:
    """The graph over these nodes, as configured; made once per set of nodes."""
    return _graph(frozenset(nodes), config.knet.full_mesh_max, config.knet.degree, seed(config))


def observers(node: str, nodes: Iterable[str], config: Config) -> frozenset[str]:
    """The agents on other nodes that probe the agents of `node`."""
    return graph(nodes, config).observers(node)
