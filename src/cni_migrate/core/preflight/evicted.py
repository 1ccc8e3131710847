"""Which pods the drains of a migration will evict."""

from collections.abc import Iterator

from cni_migrate.core.model.objects import Pod
from cni_migrate.core.preflight.registry import Facts
from cni_migrate.core.steps.drain import Verdict, rulings


def evicted(facts: Facts) -> Iterator[Pod]:
    """The pods that drains will evict."""
    for node in facts.seen.nodes:
        for ruling in rulings(facts.seen.pods_on(node), facts.taint, facts.config.drain):
            if ruling.verdict is Verdict.EVICT and not ruling.pod.finished:
                yield ruling.pod
