"""The guards that `states/*.yaml` name: what must hold of the whole cluster before an event begins."""

from collections.abc import Callable

from cni_migrate.core.model.lifecycle import NodeEvent, NodeState
from cni_migrate.core.model.record import NodeRecord, Record


def _counting(record: Record) -> list[tuple[str, NodeRecord]]:
    return [(name, entry) for name, entry in record.nodes.items() if not entry.gone]


def not_dual_yet(record: Record) -> list[str]:
    """The nodes that are neither dual or beyond nor waived by name."""
    return [name for name, entry in _counting(record) if entry.state is NodeState.CANAL and not entry.skipped]


def beyond_dual(record: Record) -> list[str]:
    """The nodes that have left dual, or are about to."""
    return [
        name
        for name, entry in _counting(record)
        if entry.state.beyond_dual or (entry.event is not None and entry.event is NodeEvent.DRAIN)
    ]


def not_migrated(record: Record) -> list[str]:
    """The nodes that are not migrated, waived ones included."""
    return [name for name, entry in _counting(record) if entry.state is not NodeState.MIGRATED]


def not_canal(record: Record) -> list[str]:
    """The nodes that are not back on Canal."""
    return [name for name, entry in _counting(record) if entry.state is not NodeState.CANAL or entry.event is not None]


def joined_late(entry: NodeRecord) -> bool:
    """Whether a node was taken straight to Cilium, or is being so: it joined while others had left Canal already."""
    return entry.event is NodeEvent.ADOPT or NodeEvent.ADOPT in entry.took


WORDS = {
    "every_node_dual": "not on both networks yet",
    "no_node_beyond_dual": "beyond dual",
    "every_node_migrated": "not migrated",
    "every_node_canal": "not back on Canal",
}
"""What is said of the nodes that stand against a guard."""

_FACTS: dict[str, Callable[[Record], list[str]]] = {
    "every_node_dual": not_dual_yet,
    "no_node_beyond_dual": beyond_dual,
    "every_node_migrated": not_migrated,
    "every_node_canal": not_canal,
}


def facts(record: Record) -> Callable[[str], bool]:
    """Answers guards by name: a guard holds when no node stands against it."""
    return lambda name: not _FACTS[name](record)


def against(record: Record, guard: str) -> list[str]:
    """The nodes that stand against a guard, for messages."""
    return _FACTS[guard](record)
