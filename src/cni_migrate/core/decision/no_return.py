"""Up to where the way back is open: the first step that no rollback can undo is the point of no return."""

from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.record import Record
from cni_migrate.core.steps.again import AGAIN, CLEAN
from cni_migrate.core.steps.registry import ABOUT
from cni_migrate.core.steps.view import Plan

LIST = CLEAN
"""The list of cluster steps in which it lies, for both strategies."""


def point_of_no_return(plan: Plan) -> str:
    """The first step that is registered as irreversible."""
    return next(step for step in plan.strategy.phases[LIST] if ABOUT[step].irreversible)


def passed(plan: Plan, record: Record) -> bool:
    """Whether the point is behind: its step is the recorded intent, so its effects may have been performed."""
    cluster = record.cluster
    if cluster.phase is Phase.DONE:
        return True
    if cluster.list_name == AGAIN:
        return True
    if cluster.phase is not Phase.CLEANING or cluster.list_name != LIST:
        return False
    return cluster.position >= list(plan.strategy.phases[LIST]).index(point_of_no_return(plan))
