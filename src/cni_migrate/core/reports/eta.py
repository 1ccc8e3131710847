"""How long the rest will take, learned from what this run's nodes took; None while there is nothing to go by."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import median_low

from cni_migrate.core.decision.order import capacity
from cni_migrate.core.model.lifecycle import NodeEvent, NodeLifecycle, NodeState, Phase, ahead
from cni_migrate.core.model.record import NodeRecord, Record
from cni_migrate.core.steps.view import Plan
from cni_migrate.strategies import traits


@dataclass(frozen=True, slots=True)
class Left:
    """About how long the rest takes, and what that is known by."""

    seconds: int
    basis: str


def time_left(plan: Plan, record: Record, nodes: int, now: datetime) -> Left | None:
    """The time until the last node is migrated, clean-up not included.

    `nodes` is how many the cluster has. By what its nodes took; before the first one is done, by what a node took on
    the lab. None: the cluster goes back, or something is held.
    """
    if record.cluster.direction == "back" or record.cluster.held is not None:
        return None
    at_once = capacity(plan.config, nodes)
    known = eta_seconds(plan.node_lifecycle, record, at_once, plan.strategy.in_service, now)
    if known is not None:
        return Left(known, "what the nodes took so far")
    entries = [entry for entry in record.nodes.values() if not entry.gone and not entry.skipped]
    if any(entry.held is not None or (entry.event is not None and entry.event.backwards) for entry in entries):
        return None
    to_go = sum(1 for entry in entries if entry.state is not NodeState.MIGRATED)
    return Left(by_default(plan, to_go, at_once), DEFAULT)


DEFAULT = "what a node took on the lab"
"""docs/explanation/real-clusters.md."""


def by_default(plan: Plan, nodes: int, at_once: int) -> int:
    """Seconds for so many nodes, as measured on the lab: pods that shut down slowly, and budgets, come on top."""
    return math.ceil(nodes / max(1, at_once)) * traits(plan.config.strategy).seconds_per_node


def learned(entries: Iterable[NodeRecord]) -> dict[NodeEvent, float]:
    """Seconds that each event took, as a rule: what stood still for a night because nobody drove it counts once."""
    samples: dict[NodeEvent, list[float]] = {}
    for entry in entries:
        for name, seconds in entry.took.items():
            samples.setdefault(NodeEvent(name), []).append(seconds)
    return {event: median_low(found) for event, found in samples.items()}


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
