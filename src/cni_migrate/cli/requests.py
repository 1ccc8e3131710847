"""What `pause`, `resume`, `retry-node` and `skip-node` leave in the ConfigMap that only operators write.

One data key per request (`paused`, `retry.NODE`, `skip.NODE`), so that two operators never overwrite each other;
written by compare-and-set. The driver reads it and never writes it.
"""

import sys
from collections.abc import Callable
from typing import Any

from cni_migrate.cli.options import Common
from cni_migrate.cli.session import Session, configured, run_async, session
from cni_migrate.core.model import names
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.record import Record
from cni_migrate.errors import Conflict, UsageError

Data = dict[str, str]

Change = Callable[[Data, str], str]
"""Changes the requests, given the time as text; answers what to say about it."""

LABELS = {names.MANAGED_BY: names.TOOL, names.COMPONENT: "requests"}


def request(common: Common, change: Change, *, node: str = "", next: str = "") -> None:  # noqa: A002
    """Change the requests, and say so; `next` is what takes it back.

    Raises:
        UsageError: no migration is under way, or it knows no such node.
    """
    said, driven = run_async(_write(common, change, node))
    sys.stdout.write(f"{said}\n")
    if next or not driven:
        sys.stdout.write(f"next: {next or 'migrate run'}\n")


async def _write(common: Common, change: Change, node: str) -> tuple[str, bool]:
    config = configured(common, {}).config
    async with session(common, config) as here:
        record = await here.record()
        _fits(record, node)
        lease = await here.lease()
        said = await _changed(here, change)
        return said, lease is not None and lease.driver(here.clock.now()).alive


def _fits(record: Record | None, node: str) -> None:
    if record is None or record.cluster.phase is Phase.PREFLIGHT:
        raise UsageError("no migration is under way in this cluster: nobody would read this", next="migrate status")
    if node and node not in record.nodes:
        known = sorted(name for name, entry in record.nodes.items() if not entry.gone)
        more = "" if len(known) <= 10 else f" and {len(known) - 10} more"
        raise UsageError(f"there is no node {node}; there are: {', '.join(known[:10])}{more}", next="migrate status")


async def _changed(here: Session, change: Change) -> str:
    """Change the ConfigMap; when somebody else changed it meanwhile, look again."""
    namespace = here.config.namespace
    while True:
        found = await here.documents.get("ConfigMap", namespace, names.REQUESTS)
        data: Data = dict((found or {}).get("data") or {})
        before = dict(data)
        said = change(data, here.clock.now().isoformat())
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
