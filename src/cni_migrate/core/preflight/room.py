"""Is there room on the other nodes for the pods of those that are drained, by what they request?

Counted as the scheduler counts: what a node has for pods, less what those on it request. Taints are looked at; node
selectors, affinity and spreading are not, so there may be less room than is found here, and never more.
"""

from collections.abc import Iterable, Iterator

from cni_migrate.core.decision.order import capacity
from cni_migrate.core.model.objects import Amount, Node, Pod, Taint, Toleration
from cni_migrate.core.model.words import many
from cni_migrate.core.preflight.evicted import moved
from cni_migrate.core.preflight.registry import Facts, Finding, blocker, check


@check
def room(facts: Facts) -> Iterator[Finding]:
    """What a drained node's pods request is free on the other nodes."""
    nodes = [node for node in facts.seen.nodes.values() if node.ready and not node.unschedulable]
    together = max(1, min(capacity(facts.config, len(facts.seen.nodes)), len(nodes) - 1))
    if len(nodes) < 2:
        return  # that is another finding
    leaving: dict[str, list[Pod]] = {}
    for pod in moved(facts):
        leaving.setdefault(pod.node, []).append(pod)
    free = {node.name: _free(facts, node) for node in nodes}
    house = _House(nodes, free)
    groups = [[node.name] for node in nodes]
    if together > 1:
        heaviest = sorted(nodes, key=lambda node: -sum(pod.needs.memory for pod in leaving.get(node.name, ())))
        groups = [[node.name for node in heaviest[:together]]]
    lacking: dict[str, Pod] = {}
    for group in groups:
        pods = [pod for name in group for pod in leaving.get(name, ())]
        lacking |= {pod.key: pod for pod in house.without_room(pods, frozenset(group))}
    if lacking:
        yield blocker(
            "ROOM",
            f"{many(len(lacking), 'pod')} of {'nodes that are drained together' if together > 1 else 'a drained node'}"
            " would find no room on the others, by their requests (CPU, memory, number of pods)",
            "add a worker for the migration, "
            + ("lower max_unavailable, " if together > 1 else "")
            + "or lower the requests or the replicas; --waive ROOM when they may wait until their node is back",
            [f"{key} on {pod.node}: {pod.needs}" for key, pod in sorted(lacking.items())],
        )


def _free(facts: Facts, node: Node) -> Amount | None:
    """What nobody on a node has requested; None: it does not say what it has, so there is room."""
    if node.allocatable is None:
        return None
    left = node.allocatable
    for pod in facts.seen.pods_on(node.name):
        if not pod.finished:
            left = left - pod.needs
    return left


class _House:
    """Where pods could go: nodes with what is free, the emptiest first."""

    def __init__(self, nodes: Iterable[Node], free: dict[str, Amount | None]) -> None:
        self._free = free
        self._taints: dict[str, tuple[Taint, ...]] = {
            node.name: tuple(one for one in node.taints if one.effect in ("NoSchedule", "NoExecute")) for node in nodes
        }
        self._emptiest = sorted(self._taints, key=lambda name: self._order(free[name]))
        self._tolerated: dict[tuple[tuple[Taint, ...], tuple[Toleration, ...]], bool] = {}

    @staticmethod
    def _order(free: Amount | None) -> tuple[int, int, int]:
        return (-free.memory, -free.cpu, -free.pods) if free is not None else (-(2**62), 0, 0)

    def without_room(self, pods: list[Pod], gone: frozenset[str]) -> list[Pod]:
        """Those that find no room on any node that they tolerate, the largest placed first."""
        left: dict[str, Amount] = {}
        found = []
        for pod in sorted(pods, key=lambda pod: (-pod.needs.memory, -pod.needs.cpu, pod.key)):
            taken, homes = False, False
            for place in self._places(pod, gone):
                homes = True
                free = left.get(place, self._free[place])
                if free is None or free.holds(pod.needs):
                    if free is not None:
                        left[place] = free - pod.needs
                    taken = True
                    break
            if homes and not taken:  # one that tolerates no other node is another finding
                found.append(pod)
        return found

    def _places(self, pod: Pod, gone: frozenset[str]) -> Iterator[str]:
        for name in self._emptiest:
            if name not in gone and self._tolerates(self._taints[name], pod.tolerations):
                yield name

    def _tolerates(self, taints: tuple[Taint, ...], tolerations: tuple[Toleration, ...]) -> bool:
        if not taints:
            return True
        known = self._tolerated.get((taints, tolerations))
        if known is None:
            known = all(any(one.tolerates(taint) for one in tolerations) for taint in taints)
            self._tolerated[taints, tolerations] = known
        return known
