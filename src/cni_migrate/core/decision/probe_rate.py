"""What the driver asks of the knet-stress agents while it is at work, by one small ConfigMap.

Agents left alone go slowly, to cost next to nothing. The driver writes until when it wants them fast, well ahead and
again in time. In a cluster that is too large for everybody to probe everybody it also names the nodes in transit, for
every agent to look at. When it has stopped or was killed, the agents let go of both by themselves
(docs/reference/knet-report.md).
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cni_migrate.core.connectivity.peers import graph
from cni_migrate.core.model import names
from cni_migrate.core.model.attempts import Attempt
from cni_migrate.core.model.effects import PutObject
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.core.model.record import Record
from cni_migrate.core.steps.registry import ends_probing
from cni_migrate.core.steps.view import Plan, in_transit

SLOT = 300
"""Seconds after which the ConfigMap is written again; it holds for one to two slots from then."""

BATCH = timedelta(seconds=5)
"""The least time from one write to the next: each is news to every agent, so changes are told together."""

MOST = 20
"""So many nodes in transit are named. Each is work for every agent; its neighbours in the ring see it in any case."""


def keep_pace(
    plan: Plan, record: Record, seen: Snapshot, attempts: Mapping[str, Attempt], now: datetime
) -> PutObject | None:
    """What asks the agents for that, unless it is what was written last or the last write is too new.

    Nothing either while there are no agents.
    """
    if record.cluster.phase in (Phase.PREFLIGHT, Phase.DONE) or ends_probing(record.cluster.step):
        return None
    if not all((plan.config.knet.namespace, agents) in seen.daemonsets for agents in names.KNET.values()):
        return None
    until = datetime.fromtimestamp((now.timestamp() // SLOT + 2) * SLOT, UTC)
    asked = plan.manifests.pace(until)
    if nodes := transit(plan, record, seen):
        asked = {**asked, "data": {**asked["data"], "transit": "\n".join(nodes)}}
    effect = PutObject(asked)
    key, last = _last(effect, attempts)
    return None if key == effect.key or (last is not None and now < last.at + BATCH) else effect


def transit(plan: Plan, record: Record, seen: Snapshot) -> tuple[str, ...]:
    """The nodes that every agent is to look at; none where it does so anyway."""
    if graph(seen.nodes, plan.config).full:
        return ()
    found = sorted(name for name, entry in record.nodes.items() if name in seen.nodes and in_transit(plan, entry))
    return tuple(found[:MOST])


def _last(effect: PutObject, attempts: Mapping[str, Attempt]) -> tuple[str, Attempt | None]:
    """The latest write of this object, whatever its content: what was written before that is not there any more."""
    prefix = effect.key.partition("#")[0] + "#"
    tries = [(attempt.at, key) for key, attempt in attempts.items() if key.startswith(prefix)]
    key = max(tries)[1] if tries else ""
    return key, attempts.get(key)
