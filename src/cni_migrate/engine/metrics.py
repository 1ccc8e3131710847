"""What a monitoring system is told while the driver runs: Prometheus metrics, named by its rules.

Served by prometheus-client on the port that was asked for, and nowhere else. Every name is in `NAMES`, with which the
alert rules and the dashboard in docs/monitoring are checked.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model.attempts import Attempt
from cni_migrate.core.model.lifecycle import NodeState, Phase
from cni_migrate.core.model.record import NodeRecord, Record
from cni_migrate.errors import UsageError

SECONDS: Final = (0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280)
"""Upper bounds of the histograms' buckets: from a label to a drain that waits for a budget."""


class Metrics:
    """The metrics of one run, fed with every decision and every request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        its = self.registry
        self._phase = Gauge("cni_migrate_phase", "1 for the phase the cluster is in", ["phase"], registry=its)
        self._nodes = Gauge("cni_migrate_nodes", "Nodes by state", ["state"], registry=its)
        self._held = Gauge("cni_migrate_nodes_held", "Held nodes by the step they are held at", ["step"], registry=its)
        self._lock = Gauge("cni_migrate_lock_held", "1 while this process holds the lock", registry=its)
        self._event = Histogram(
            "cni_migrate_event_duration_seconds",
            "What an event took on a node",
            ["event"],
            buckets=SECONDS,
            registry=its,
        )
        self._step = Histogram(
            "cni_migrate_step_duration_seconds", "What a step took on a node", ["step"], buckets=SECONDS, registry=its
        )
        self._sent = Counter("cni_migrate_probes_sent", "Probes that gates have looked at", registry=its)
        self._lost = Counter("cni_migrate_probes_lost", "Probes among them that were lost", registry=its)
        self._evictions = Counter("cni_migrate_evictions", "Evictions by the answer", ["result"], registry=its)
        self._requests = Counter(
            "cni_migrate_api_requests", "Requests by verb and code; 0: no answer", ["verb", "code"], registry=its
        )
        self._steps: dict[str, tuple[NodeRecord, str]] = {}
        self._gates: dict[str, tuple[int, int]] = {}
        self._tries: dict[str, datetime] = {}
        for phase in Phase:
            self._phase.labels(phase.value).set(0)
        for state in NodeState:
            self._nodes.labels(state.value).set(0)

    def serve(self, port: int) -> None:
        """Answer on every address of this machine, under `/metrics`.

        Raises:
            UsageError: the port is taken, or may not be used.
        """
        try:
            start_http_server(port, registry=self.registry)
        except OSError as error:
            raise UsageError(
                f"metrics cannot be served on port {port}: {error.strerror}", next="another --metrics-port"
            ) from None

    def begin(self, record: Record) -> None:
        """Leave out what gates have seen before this run: a process that resumes counts from nothing, as all do."""
        self._gates = {name: _seen(entry) for name, entry in record.nodes.items()}

    def request(self, method: str, path: str, status: int, size: int) -> None:
        """A request was answered; the status is 0 when it was not."""
        self._requests.labels(method, str(status)).inc()

    def lock(self, *, held: bool) -> None:
        """Whether the lock is ours."""
        self._lock.set(1 if held else 0)

    def take(self, decision: Decision, attempts: Mapping[str, Attempt], now: datetime) -> None:
        """What one decision shows."""
        record = decision.record
        for phase in Phase:
            self._phase.labels(phase.value).set(1 if phase is record.cluster.phase else 0)
        there = [entry for entry in record.nodes.values() if not entry.gone]
        for state in NodeState:
            self._nodes.labels(state.value).set(sum(1 for entry in there if entry.state is state))
        self._held.clear()
        for entry in there:
            if entry.held is not None and not entry.skipped:
                self._held.labels(entry.step).inc()
        for name, entry in record.nodes.items():
            self._moved(name, entry, now)
        self._tried(attempts.items())

    def _moved(self, name: str, entry: NodeRecord, now: datetime) -> None:
        event = _event(entry)
        known, self._steps[name] = self._steps.get(name), (entry, event)
        if known is not None:
            before, begun = known
            if before.step and (begun, before.step) != (event, entry.step) and before.since is not None:
                self._step.labels(before.step).observe((now - before.since).total_seconds())
            # An event that was given up for the way back has taken nothing; what it took once is in the record still.
            ended = entry.state is not before.state or entry.took != before.took
            if begun and begun != event and ended and begun in entry.took:
                self._event.labels(begun).observe(entry.took[begun])
        gate, seen = _seen(entry), self._gates.get(name, (0, 0))
        if gate != seen:
            # A gate counts anew from its beginning.
            fresh = gate[0] < seen[0] or gate[1] < seen[1]
            self._sent.inc(gate[0] - (0 if fresh else seen[0]))
            self._lost.inc(gate[1] - (0 if fresh else seen[1]))
            self._gates[name] = gate

    def _tried(self, attempts: Iterable[tuple[str, Attempt]]) -> None:
        for key, attempt in attempts:
            if key.startswith("evict:") and self._tries.get(key) != attempt.at:
                self._tries[key] = attempt.at
                self._evictions.labels(attempt.result).inc()


def _event(entry: NodeRecord) -> str:
    return entry.event.value if entry.event is not None else ""


def _seen(entry: NodeRecord) -> tuple[int, int]:
    """Probes that the node's last gate has seen, and those of them that were lost."""
    return (entry.gate.sent, entry.gate.lost) if entry.gate is not None else (0, 0)


def names() -> frozenset[str]:
    """The names under which values appear, for whoever checks rules and dashboards."""
    found = set()
    for metric in Metrics().registry.collect():
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(metric.type, ("",))
        found |= {f"{metric.name}{end}" for end in ends}
    return frozenset(found)
