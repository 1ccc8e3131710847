"""How long the rest will take, learned from what this run's nodes took; None while there is nothing to go by."""

from collections.abc import Iterable
from datetime import datetime
from statistics import mean

from cni_migrate.core.model.lifecycle import NodeEvent, NodeLifecycle, Phase, ahead
from cni_migrate.core.model.record import NodeRecord, Record


def learned(entries: Iterable[NodeRecord]) -> dict[NodeEvent, float]:
    """Seconds that each event took on average."""
    samples: dict[NodeEvent, list[float]] = {}
    for entry in entries:
        for name, seconds in entry.took.items():
            samples.setdefault(NodeEvent(name), []).append(seconds)
    return {event: mean(found) for event, found in samples.items()}


def eta_seconds(
    lifecycle: NodeLifecycle, record: Record, at_once: int, in_service: Iterable[NodeEvent], now: datetime
) -> int | None:
    """Seconds until the last node is migrated, clean-up not included.

    Events that leave nodes in service happen on many at once and count once; the others count per node, `at_once` side
    by side. None: an event that is still to come was never seen, or the cluster goes back, or is paused by a held node.
    """
    entries = [entry for entry in record.nodes.values() if not entry.gone and not entry.skipped]
    if record.cluster.direction == "back" or record.cluster.held is not None or any(e.held for e in entries):
        return None
    if record.cluster.phase in (Phase.PREFLIGHT, Phase.PREPARING, Phase.CLEANING, Phase.DONE):
        return 0 if record.cluster.phase in (Phase.CLEANING, Phase.DONE) else None
    known = learned(record.nodes.values())
    together = frozenset(in_service)
    alone, side_by_side = 0.0, 0.0
    for entry in entries:
        coming = ahead(lifecycle, entry.state)
        if entry.event is not None and entry.event.backwards:
            return None
        if any(event not in known for event in coming):
            return None
        alone = max(alone, sum(known[event] for event in coming if event in together))
        mine = sum(known[event] for event in coming if event not in together)
        if entry.event in coming and entry.event not in together and entry.started is not None:
            mine -= min(known[entry.event], max(0.0, (now - entry.started).total_seconds()))
        side_by_side += mine
    return round(alone + side_by_side / max(1, at_once))
