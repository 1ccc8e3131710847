"""Which node comes next: the canary alone, then workers, the control plane, the driver's own node at the very end."""

import math
import re
from collections.abc import Iterable
from functools import lru_cache

from cni_migrate.config import Config
from cni_migrate.core.model.objects import Node


def canary(config: Config, nodes: Iterable[Node]) -> str:
    """The node that goes first: the configured one, else the first worker by name."""
    if config.canary:
        return config.canary
    ordered = sorted(nodes, key=lambda node: (node.name == config.own_node, node.control_plane, counted(node.name)))
    return ordered[0].name if ordered else ""


@lru_cache(maxsize=100_000)
def counted(name: str) -> tuple[tuple[str, int, str], ...]:
    """What to sort a name by, so that its numbers are in the order in which people count: w2 before w10."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", name)
    return tuple((text, int(number or -1), number) for text, number in parts)


def in_order(config: Config, nodes: Iterable[Node]) -> list[Node]:
    """Nodes in the order in which they are migrated; workers of one zone stay together.

    `nodes` are all nodes: the first of a part of them is not the canary.
    """
    every = list(nodes)
    first = canary(config, every)
    return sorted(
        every,
        key=lambda node: (
            node.name != first,
            node.name == config.own_node,
            node.control_plane,
            node.zone,
            counted(node.name),
        ),
    )


def capacity(config: Config, nodes: int) -> int:
    """How many nodes may be out of service at once: at least one, a percentage is rounded down."""
    text = config.max_unavailable
    if text.endswith("%"):
        return max(1, math.floor(nodes * int(text[:-1]) / 100))
    return int(text)
