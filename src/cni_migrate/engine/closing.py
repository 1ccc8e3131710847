"""After a complete rollback: the record is kept under another name, and a new migration may begin.

The copies are made first, the cluster's part goes last. Whoever dies in between leaves a record that still says that
the rollback is complete, and whoever comes next closes it again.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cni_migrate.core.model import names
from cni_migrate.core.model.goal import Final
from cni_migrate.core.model.record import ClusterRecord, Record, load_cluster
from cni_migrate.errors import Conflict, LockLost, RecordError, UsageError
from cni_migrate.ports import Documents

LABELS = {names.MANAGED_BY: names.TOOL, names.COMPONENT: names.CLOSED_RECORD}


@dataclass(frozen=True, slots=True)
class ClosedRecord:
    """The cluster's part of a migration that was rolled back, and the ConfigMap in which it is kept."""

    name: str
    cluster: ClusterRecord


def _parts(cluster: ClusterRecord) -> Iterable[str]:
    yield from (f"{names.SHARD}{number}" for number in range(cluster.shards))
    yield from (f"{names.HISTORY}{number}" for number in range(cluster.history_parts))
    yield names.REQUESTS  # a pause, or a node that was skipped, was meant for this migration
    yield names.RECORD


async def close(documents: Documents, namespace: str, record: Record) -> None:
    """Keep every part of the record under a name with the time at which the migration began, and take it away.

    Raises:
        LockLost: somebody else writes at the same time.
    """
    began = record.cluster.started
    suffix = f"{began:%Y%m%d-%H%M%S}" if began is not None else f"epoch-{record.cluster.epoch}"
    found: list[Mapping[str, Any]] = []
    for name in _parts(record.cluster):
        part = await documents.get("ConfigMap", namespace, name)
        if part is None:
            continue
        found.append(part)
        meta = {"name": f"{name}-{suffix}", "namespace": namespace, "labels": LABELS}
        copy = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": part.get("data") or {}}
        try:
            await documents.create(copy)
        except Conflict:
            continue  # who died in the middle of this has made it
    for part in found:
        try:
            await documents.delete(part)
        except Conflict as error:
            if part["metadata"]["name"] == names.REQUESTS:
                continue  # an operator asks for something at this very moment
            raise LockLost(f"the record was written by somebody else: {error.message}", next="migrate status") from None


async def last_closed(documents: Documents, namespace: str) -> ClosedRecord | None:
    """The record of the last migration that was rolled back, if one is kept and can be read."""
    kept = await documents.list("ConfigMap", namespace, names.CLOSED_RECORD)
    for part in sorted(kept, key=lambda one: str(one["metadata"]["name"]), reverse=True):
        name, text = str(part["metadata"]["name"]), (part.get("data") or {}).get("cluster")
        if text is None:
            continue
        try:
            return ClosedRecord(name, load_cluster(text, name))
        except RecordError:
            continue
    return None


def nothing_to_undo(kept: ClosedRecord | None, node: str, nodes: Collection[str]) -> Final:
    """How a way back ends where there is no record: it was gone to its end before, which is what was asked for.

    Args:
        kept: the last migration that was rolled back.
        node: the one that is to go back, '' for all.
        nodes: the names of those that are there.

    Raises:
        UsageError: no migration was begun, or there is no such node.
    """
    if kept is None:
        raise UsageError("no migration was begun in this cluster: there is nothing to roll back", next="migrate status")
    if node and node not in nodes:
        raise UsageError(f"there is no node {node}; there are: {', '.join(sorted(nodes)[:10])}", next="migrate status")
    when = f" at {kept.cluster.history[-1].at:%Y-%m-%d %H:%M} UTC" if kept.cluster.history else ""
    return Final(
        "done", f"the migration was rolled back{when}: the cluster is as it was found. Its record is {kept.name}"
    )
