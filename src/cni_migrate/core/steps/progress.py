"""Objects that a cluster step writes or deletes, a few at a time.

The cluster does not tell, when looked at, which of them were written already. So it is in the record before the next
few are: a driver that takes over goes on behind them, however short the lives of drivers are.
"""

from collections.abc import Collection, Sequence
from typing import Final, TypeVar

from cni_migrate.core.model.effects import DeleteObject, PutObject
from cni_migrate.core.model.ranks import rank
from cni_migrate.core.model.words import many
from cni_migrate.core.steps.answers import Apply, ClusterChanges
from cni_migrate.core.steps.view import ClusterView

AT_ONCE: Final = 6
"""So many between two writes of the record: a driver that lives for sixteen writes gets on."""

E = TypeVar("E", PutObject, DeleteObject)


def missing(view: ClusterView, effects: Sequence[E], good: Collection[str]) -> list[E]:
    """Those that were not performed with a good result, by this driver or by one before it in this step."""
    before, attempts = set(view.record.cluster.performed), view.outcomes.attempts
    return [
        effect
        for effect in effects
        if effect.key not in before and (effect.key not in attempts or attempts[effect.key].result not in good)
    ]


def next_few(view: ClusterView, on: str, effects: Sequence[E], left: Sequence[E], few: Sequence[E]) -> Apply:
    """Apply the next of `few`, which are to come before the others that are left, and remember what was performed.

    They come in the order of their ranks, and what was not tried yet comes first.
    """
    back = -1 if any(isinstance(effect, DeleteObject) for effect in few) else 1
    chosen = sorted(few, key=lambda one: (back * rank(one.ref.kind), one.key in view.outcomes.attempts))[:AT_ONCE]
    waiting = {effect.key for effect in left}
    done = tuple(effect.key for effect in effects if effect.key not in waiting)
    return Apply(
        tuple(chosen),
        on=on,
        observed=f"{len(effects) - len(left)} of {many(len(effects), 'object')}",
        retry_in=0.0 if any(effect.key not in view.outcomes.attempts for effect in chosen) else None,
        remember=ClusterChanges(performed=done),
    )
