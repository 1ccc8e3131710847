"""What `pause`, `resume`, `retry-node` and `skip-node` leave in the ConfigMap that only operators write.

One data key per request (`paused`, `retry.NODE`, `skip.NODE`), so that two operators never overwrite each other;
written by compare-and-set. The driver reads it and never writes it.
"""

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from cni_migrate.cli.options import Common
from cni_migrate.cli.session import Session, configured, run_async, session
from cni_migrate.cli.ui.typeable import typeable
from cni_migrate.core.model import names
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.record import Record
from cni_migrate.core.model.words import command_with
from cni_migrate.errors import Conflict, UsageError

Data = dict[str, str]

Change = Callable[[Data, str, Record], str]
"""Changes the requests, given the time as text and the record; answers what to say about it."""

LABELS = {names.MANAGED_BY: names.TOOL, names.COMPONENT: "requests"}


Check = Callable[[Record], None]
"""Refuses what would have no effect on this record.

Raises:
    UsageError: it would not.
"""


def later(now: str, than: datetime | None) -> str:
    """The time of a request that a driver obeys if it was made after an instant.

    That instant was told by another machine's clock, which may be ahead of ours.
    """
    if than is None or datetime.fromisoformat(now) > than:
        return now
    return (than + timedelta(microseconds=1)).isoformat()


def request(
    common: Common,
    change: Change,
    *,
    node: str = "",
    check: Check = lambda _: None,
    next: str = "",  # noqa: A002
) -> None:
    """Change the requests, and say so; who reads it, and when, is said where nobody drives. `next` takes it back.

    Raises:
        UsageError: nobody would ever read it, or it would have no effect: nothing was changed.
    """
    said, waiting = run_async(_write(common, change, node, check))
    sys.stdout.write(f"{said}\n")
    if waiting:
        sys.stdout.write(f"nobody drives the migration now: `{typeable(waiting)}` will read this\n")
    if next or waiting:
        sys.stdout.write(f"next: {typeable(next or waiting)}\n")


async def _write(common: Common, change: Change, node: str, check: Check) -> tuple[str, str]:
    """What to say, and which command will read it where nobody drives now."""
    config = configured(common, {}).config
    async with session(common, config) as here:
        record = await here.record()
        waiting = _reader(record, node)
        assert record is not None
        check(record)
        lease = await here.lease()
        said = await _changed(here, change, record)
        return said, "" if lease is not None and lease.driver(here.clock.now()).alive else waiting


def _reader(record: Record | None, node: str) -> str:
    """The command that reads a request about this node, or about all.

    Raises:
        UsageError: none does.
    """
    if record is None or record.cluster.phase is Phase.PREFLIGHT:
        raise UsageError("no migration is under way in this cluster: nobody would read this", next="migrate status")
    if record.cluster.phase is Phase.DONE:
        raise UsageError("the migration is done: nobody would read this, nothing was changed", next="migrate status")
    if node and (node not in record.nodes or record.nodes[node].gone):
        known = sorted(name for name, entry in record.nodes.items() if not entry.gone)
        more = "" if len(known) <= 10 else f" and {len(known) - 10} more"
        what = f"node {node} is gone" if node in record.nodes else f"there is no node {node}"
        raise UsageError(f"{what}; there are: {', '.join(known[:10])}{more}", next="migrate status")
    return command_with("migrate run", record.cluster.drain, record.cluster.onward)


async def _changed(here: Session, change: Change, record: Record) -> str:
    """Change the ConfigMap; when somebody else changed it meanwhile, look again."""
    namespace = here.config.namespace
    while True:
        found = await here.documents.get("ConfigMap", namespace, names.REQUESTS)
        data: Data = dict((found or {}).get("data") or {})
        before = dict(data)
        said = change(data, here.clock.now().isoformat(), record)
        if data == before:
            return said
        meta: dict[str, Any] = {"name": names.REQUESTS, "namespace": namespace, "labels": LABELS}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
        try:
            if found is None:
                await here.documents.create(manifest)
            else:
                meta["resourceVersion"] = found["metadata"]["resourceVersion"]
                await here.documents.replace(manifest)
        except Conflict:
            continue
        return said
