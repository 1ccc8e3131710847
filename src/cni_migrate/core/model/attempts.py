"""How tries of effects end."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Result = Literal["applied", "gone", "blocked", "conflict", "failed"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """How the latest try of an effect ended.

    applied: the API server accepted it; gone: its target is not there (or another uid is); blocked: it may be tried
    again after a while (a disruption budget: `message` names it); conflict: the object had changed; failed: it will
    not work as it is, `message` is the API server's. `budgets` are, of an eviction, the budgets that select the pod as
    they were known when it was sent: (namespace, name, resourceVersion).
    """

    result: Result
    message: str
    at: datetime
    budgets: frozenset[tuple[str, str, str]] = frozenset()
