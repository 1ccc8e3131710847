"""Which failures do not count against the migration, because they were there before it. Pure."""

from collections.abc import Collection, Container, Mapping

from cni_migrate.core.connectivity.diagnosis import Known, node_of
from cni_migrate.core.model.lifecycle import NodeState
from cni_migrate.core.model.record import NodeRecord

DENY = "policy_deny"

ANYWHERE = frozenset({"service", "nodeport", "dns", "guard"})
"""What is answered by a pod on any node."""


def enforcing(nodes: Mapping[str, NodeRecord]) -> frozenset[str]:
    """The nodes on which Cilium enforces policies by now, whatever the old network did (strategy multus)."""
    return frozenset(
        name
        for name, entry in nodes.items()
        if entry.state in (NodeState.CILIUM, NodeState.MIGRATED) and (entry.event is None or not entry.event.backwards)
    )


class KnownFailures:
    """The failures of a baseline, and those that follow from them.

    A node that joins later, or that becomes somebody's peer later, is not in the baseline. What was wrong with a node
    for one agent is excused for all where the node alone decides: its firewall in front of its own address, and whether
    policies are enforced there. If they were not on some node, they are not on one that has joined since either; but on
    nodes that are `enforcing` now nothing of that is excused. A Service leads to any of them: what it lets through is
    excused until policies are enforced `everywhere`.
    """

    def __init__(
        self, baseline: Collection[Known], enforcing: Collection[str] = (), *, everywhere: bool = False
    ) -> None:
        words = [known.split(" ") for known in baseline]
        self._baseline = frozenset(baseline)
        self._enforcing = frozenset(enforcing)
        self._everywhere = everywhere
        self._hosts = frozenset(peer for _, peer, net, _ in words if net == "host")
        self._open = frozenset(peer for _, peer, _, kind in words if kind == DENY and peer not in ANYWHERE)
        self._known = frozenset(node_of(agent) for agent, _, _, kind in words if kind == DENY)

    def __contains__(self, known: object) -> bool:
        """Whether a failure, in the words of `Pair.known`, is excused."""
        _, peer, net, kind = str(known).split(" ")
        if kind == DENY and peer in ANYWHERE:
            return (bool(self._open) or known in self._baseline) and not self._everywhere
        if kind == DENY:
            node = node_of(peer)
            return node not in self._enforcing and (
                peer in self._open or (bool(self._open) and node not in self._known)
            )
        return known in self._baseline or (net == "host" and peer in self._hosts)


class OwedByCanal:
    """The failures that do not count on the way back: `known` ones, and those that need Cilium.

    Those are, while a node has left Canal (not `everywhere`), those that are answered by
    any pod. Pairs with an end off Canal are not even asked for.
    """

    def __init__(self, known: Container[Known], *, everywhere: bool) -> None:
        self._known = known
        self._everywhere = everywhere

    def __contains__(self, known: object) -> bool:
        """Whether a failure, in the words of `Pair.known`, is excused."""
        _, peer, _, _ = str(known).split(" ")
        return (peer in ANYWHERE and not self._everywhere) or known in self._known
