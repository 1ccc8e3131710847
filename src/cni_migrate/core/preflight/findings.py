"""Whether a cluster is fit for a migration: pure checks over gathered facts, each with what to do about what it finds.

A blocker means that a run cannot do without; a warning is the operator's choice; an info is worth knowing.
"""

from collections.abc import Iterable

from cni_migrate.core.preflight import (
    actors,
    calico,
    cluster,
    existing,
    networks,
    policies,
    room,
    shapes,
    surroundings,
    taken,
    workloads,
)
from cni_migrate.core.preflight.registry import CHECKS, Facts, Finding, Hook, Severity
from cni_migrate.core.preflight.waiving import waived

__all__ = ["Facts", "Finding", "Hook", "Severity", "blockers", "findings"]

ORDER = (cluster, existing, shapes, taken, networks, calico, policies, room, workloads, actors, surroundings)
"""The modules of checks, in the order in which their findings are shown."""


def findings(facts: Facts) -> list[Finding]:
    """All findings, blockers first, otherwise in the order of the checks; those that are waived say so."""
    modules = [module.__name__ for module in ORDER]
    checks = sorted(CHECKS, key=lambda one: modules.index(one.__module__))
    every = (finding for one in checks for finding in one(facts))
    found = waived(every, facts.config.preflight.waive)
    severities = list(Severity)
    return sorted(found, key=lambda finding: severities.index(finding.severity))


def blockers(found: Iterable[Finding]) -> list[Finding]:
    """The findings that stop a run: those that have to be mended and are not waived."""
    return [finding for finding in found if finding.severity is Severity.BLOCKER and not finding.waived]
