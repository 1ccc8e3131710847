"""Keeps the knet-stress agents at their fast pace while a driver is at work.

Agents left alone go slowly, to cost next to nothing. The driver writes until when it wants them fast, well ahead and
again in time; when it has stopped or was killed, they fall back by themselves (docs/reference/knet-report.md).
"""

from datetime import UTC, datetime

from cni_migrate.core import names
from cni_migrate.core.effects import PutObject
from cni_migrate.core.lifecycle import Phase
from cni_migrate.core.objects import Snapshot
from cni_migrate.core.record import Record
from cni_migrate.core.view import Plan

SLOT = 300
"""Seconds after which the ConfigMap is written again; it holds for one to two slots from then."""


def keep_pace(plan: Plan, record: Record, seen: Snapshot, now: datetime) -> PutObject | None:
    """What asks the agents for fast rounds, unless that was done in this slot, or there are no agents now."""
    if record.cluster.phase in (Phase.PREFLIGHT, Phase.DONE) or record.cluster.step == "remove_knet":
        return None
    if not all((plan.config.knet.namespace, agents) in seen.daemonsets for agents in names.KNET.values()):
        return None
    until = datetime.fromtimestamp((now.timestamp() // SLOT + 2) * SLOT, UTC)
    effect = PutObject(plan.manifests.pace(until))
    return None if effect.key in seen.attempts else effect
