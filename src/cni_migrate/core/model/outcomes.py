"""What this process itself has done and heard: no part of the cluster, and gone with the process."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cni_migrate.core.model.attempts import Attempt
from cni_migrate.core.model.rounds import GateReading


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How the latest try of each effect ended, by the effect's key, and the latest reading for each `GateAsk`, by its.

    The maps are read-only and may be live: do not keep them.
    """

    attempts: Mapping[str, Attempt] = field(default_factory=dict)
    readings: Mapping[str, GateReading] = field(default_factory=dict)
