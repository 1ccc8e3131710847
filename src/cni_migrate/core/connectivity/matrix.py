"""The picture of the mesh: for each node how it reaches each other one. Pure; drawing it is the command line's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from cni_migrate.core.connectivity.gate import Expected, Failing, Pair, Verdict
from cni_migrate.core.model.rounds import GateReading

State = Literal["ok", "failing", "silent", "unknown"]
"""ok: every probe that counts succeeded; failing: some did not; silent: an agent of the node does not report; unknown:
nobody probes this direction (each agent has some peers only, or the node is left out), or there is no report yet."""

ORDER: Final = (
    "peer", "http", "http_large", "udp", "tcp", "policy_allow", "policy_deny",
    "service", "nodeport", "api", "dns", "kubelet",
)  # fmt: skip
"""The kinds of probes (docs/reference/knet-report.md) in the order in which they are told; `peer`: it is not listed."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One direction between two nodes, both meshes and all networks together; `kinds` are those that fail."""

    state: State
    kinds: tuple[str, ...] = ()


UNKNOWN: Final = Cell("unknown")


@dataclass(frozen=True, slots=True)
class Row:
    """One node as the source: to how many nodes in which state, where it fails, and which of the services fail."""

    node: str
    count: Mapping[State, int]
    failing: tuple[tuple[str, tuple[str, ...]], ...]
    services: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing of it is failing or silent."""
        return not self.failing and not self.services and not self.count["silent"]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The picture: rows are sources, columns targets. Directions that are not in `cells` are unknown."""

    nodes: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By node the kinds of failing probes of what is no node: `service`, `nodeport`, `api`, `dns`, `kubelet`,
    and those of the policy by ClusterIP."""

    def cell(self, source: str, target: str) -> Cell:
        """One direction."""
        return self.cells.get((source, target), UNKNOWN)

    def rows(self) -> list[Row]:
        """Each node as the source."""
        by: dict[str, list[tuple[str, Cell]]] = {node: [] for node in self.nodes}
        for (source, target), cell in sorted(self.cells.items()):
            by[source].append((target, cell))
        found = []
        for node, cells in by.items():
            count = _count(cell for _, cell in cells)
            count["unknown"] += len(self.nodes) - len(cells)
            failing = tuple((target, cell.kinds) for target, cell in cells if cell.state == "failing")
            found.append(Row(node, count, failing, self.services.get(node, ())))
        return found

    def count(self) -> dict[State, int]:
        """How many directions are in which state, a node to itself included."""
        count = _count(self.cells.values())
        count["unknown"] += len(self.nodes) ** 2 - len(self.cells)
        return count


def _count(cells: Iterable[Cell]) -> dict[State, int]:
    count: dict[State, int] = {"ok": 0, "failing": 0, "silent": 0, "unknown": 0}
    for cell in cells:
        count[cell.state] += 1
    return count


def matrix(nodes: Iterable[str], wanted: Expected, read: GateReading, verdict: Verdict) -> Matrix:
    """The picture of a reading, as the gate has judged it: it shows a failure exactly where the verdict names one.

    A cell is the worst of what the agents of the source say of the target: failing, then silent, then unknown.
    """
    every = tuple(sorted(nodes))
    pairs = verdict.pairs if isinstance(verdict, Failing) else ()
    silent = {agent for agent, _ in verdict.silent} if isinstance(verdict, Failing) else set()
    states: dict[tuple[str, str], set[State]] = {}
    for agent, peers in wanted.items():
        state: State = "silent" if agent in silent else "ok" if read.rounds.get(agent) else "unknown"
        for target in {_node(peer) for peer in peers}:
            states.setdefault((_node(agent), target), set()).add(state)
    failing: dict[tuple[str, str], set[str]] = {}
    services: dict[str, set[str]] = {}
    for pair in pairs:
        source, target = _node(pair.agent), _target(pair)
        kind = pair.kind if pair.net == "primary" else f"{pair.net} {pair.kind}"
        if target:
            failing.setdefault((source, target), set()).add(kind)
        else:
            services.setdefault(source, set()).add(kind)
    cells = {place: Cell(_worst(found)) for place, found in states.items()}
    cells |= {place: Cell("failing", in_order(kinds)) for place, kinds in failing.items()}
    return Matrix(every, cells, {node: in_order(kinds) for node, kinds in services.items()})


def in_order(kinds: Iterable[str]) -> tuple[str, ...]:
    """Kinds of probes, the simplest first; those over another network behind."""
    return tuple(sorted(kinds, key=lambda kind: (ORDER.index(kind) if kind in ORDER else len(ORDER), kind)))


def _worst(states: set[State]) -> State:
    order: tuple[State, ...] = ("silent", "unknown", "ok")
    return next(state for state in order if state in states)


def _target(pair: Pair) -> str:
    """The node that a probe went to, or '' when it went to none."""
    if pair.peer.startswith("node:"):
        return pair.peer.removeprefix("node:")
    return _node(pair.peer)


def _node(agent: str) -> str:
    return agent.rpartition("/")[0]
