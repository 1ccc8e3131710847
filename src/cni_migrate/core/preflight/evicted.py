"""Which pods the drains of a migration will evict, and which will go to other nodes at all."""

from collections.abc import Collection, Iterator

from cni_migrate.core.model.objects import Pod
from cni_migrate.core.preflight.registry import Facts
from cni_migrate.core.steps.drain import MOVES, Verdict, classify_all


def evicted(facts: Facts) -> Iterator[Pod]:
    """The pods that drains will evict, within their budgets."""
    yield from _ruled(facts, (Verdict.EVICT,))


def moved(facts: Facts) -> Iterator[Pod]:
    """The pods that will go to other nodes, in whatever way."""
    yield from _ruled(facts, MOVES)


def _ruled(facts: Facts, verdicts: Collection[Verdict]) -> Iterator[Pod]:
    for node in facts.seen.nodes:
        for classified in classify_all(facts.seen.pods_on(node), facts.taint, facts.config.drain):
            if classified.verdict in verdicts and not classified.pod.finished:
                yield classified.pod
