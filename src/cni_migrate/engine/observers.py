"""What happens during a run, as events: each told once, for the log and for the screen."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cni_migrate.core.decision.advance import Waiting
from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model.record import Entry, NodeRecord

PAUSE = timedelta(seconds=10)
"""The same wait is told again only when what was seen has changed, and not sooner than this."""

LogEvent = dict[str, Any]


@dataclass
class Narrator:
    """Turns the driver's decisions into events, none twice.

    Each event has `event` (its kind: history, step, wait) and what is known of node, state, step, on, observed, gate.
    A line of history has the instant it was `noted`, which the record keeps.
    """

    _lines: set[tuple[datetime, str]] = field(default_factory=set)
    _steps: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    _cluster: tuple[str, str] = ("", "")
    _waits: dict[tuple[str, str, str], tuple[str, datetime]] = field(default_factory=dict)

    def begin(self, lines: tuple[Entry, ...]) -> None:
        """Leave out what is history from before this run."""
        self._lines |= {(line.at, line.what) for line in lines}

    def take(self, decision: Decision, now: datetime) -> Iterator[LogEvent]:
        """The events of a decision."""
        cluster = decision.record.cluster
        for line in cluster.history:
            if (line.at, line.what) not in self._lines:
                self._lines.add((line.at, line.what))
                noted = line.at.isoformat()
                yield {"event": "history", "what": line.what, "phase": cluster.phase.value, "noted": noted}
        if (at := (cluster.phase.value, cluster.step)) != self._cluster:
            self._cluster = at
            if cluster.step:
                yield {"event": "step", "phase": at[0], "step": at[1]}
        for name, entry in decision.record.nodes.items():
            yield from self._node(name, entry)
        yield from self._waiting(decision.waits, now)

    def _node(self, name: str, entry: NodeRecord) -> Iterator[LogEvent]:
        at = (entry.state.value, entry.event.value if entry.event else "", entry.step)
        if self._steps.get(name) == at:
            return
        known = name in self._steps
        self._steps[name] = at
        if not known and not entry.step:
            return
        told: LogEvent = {"event": "step", "node": name, "state": at[0]}
        if entry.step:
            told |= {"of": at[1], "step": at[2]}
        if entry.gate is not None:
            told["gate"] = {"sent": entry.gate.sent, "lost": entry.gate.lost, "stall_ms": entry.gate.stall_ms}
        yield told

    def _waiting(self, waits: tuple[Waiting, ...], now: datetime) -> Iterator[LogEvent]:
        current = {(wait.node, wait.step, wait.on): wait.observed for wait in waits}
        for key in list(self._waits):
            if key[:2] not in {one[:2] for one in current}:
                del self._waits[key]
        for key, observed in current.items():
            last = self._waits.get(key)
            if last is not None and (last[0] == observed or now - last[1] < PAUSE):
                continue
            self._waits[key] = (observed, now)
            told: LogEvent = {"event": "wait", "on": key[2], "observed": observed or "nothing yet"}
            if key[0]:
                told["node"] = key[0]
            if key[1]:
                told["step"] = key[1]
            yield told
