"""What knet-stress agents have reported, and what a gate asks of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one knet-stress agent, as it reported it (docs/reference/knet-report.md).

    `shared` is what besides peers it has probed yet; None: it does not tell, as agents of earlier versions.
    """

    round: int
    at: datetime
    node: str
    mesh: str
    uid: str
    interval: float
    peers: frozenset[str]
    sent: int
    lost: int
    bad: tuple["BadProbe", ...]
    stall_ms: float
    shared: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, order=True)
class BadProbe:
    """A probe that failed: to which peer, over which network, of which kind, with what error."""

    peer: str
    net: str
    kind: str
    error: str


@dataclass(frozen=True, slots=True)
class GateAsk:
    """Which agents' reports a gate needs: pods to read, and from when on their rounds count."""

    key: str
    pods: tuple[tuple[str, str, str], ...]
    """(namespace, pod name, "node/mesh") of each agent to read."""
    since: datetime


@dataclass(frozen=True, slots=True)
class GateReading:
    """What was read for a `GateAsk`: each agent's latest rounds, oldest first; `errors` says why one was not read."""

    at: datetime
    rounds: Mapping[str, Sequence[Round]]
    errors: Mapping[str, str]

    def then(self, later: "GateReading") -> "GateReading":
        """This one with what was read later, of all agents or of some."""
        errors = {agent: error for agent, error in self.errors.items() if agent not in later.rounds}
        return GateReading(later.at, {**self.rounds, **later.rounds}, {**errors, **later.errors})
