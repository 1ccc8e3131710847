"""Where the record is kept: one ConfigMap for the cluster and n for the nodes, compared and set by resourceVersion.

The driver is the only writer. It remembers the version of each ConfigMap it has read or written, and a write against
another version is a `Conflict`: somebody else holds the lock now.
"""

import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cni_migrate.core.model import names
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.record import (
    ClusterRecord,
    NodeRecord,
    Record,
    dump_cluster,
    dump_node,
    load_cluster,
    load_node,
)
from cni_migrate.errors import Conflict, LockLost, RecordCorrupt
from cni_migrate.ports import Documents

LABELS = {names.MANAGED_BY: names.TOOL, names.COMPONENT: "record"}


@lru_cache(maxsize=65_536)
def shard_of(node: str, shards: int) -> int:
    """Which shard holds a node's entry: the same for ever, as `shards` is fixed when the record is made."""
    return zlib.crc32(node.encode()) % shards


def _but_history(cluster: ClusterRecord) -> ClusterRecord:
    return cluster.model_copy(update={"history": ()})


class RecordStore:
    """Reads and writes the record."""

    def __init__(self, documents: Documents, namespace: str) -> None:
        self._documents = documents
        self._namespace = namespace
        self._known: dict[str, Mapping[str, Any]] = {}
        self._entries: dict[str, tuple[NodeRecord, str]] = {}
        self._cluster: ClusterRecord | None = None
        self.writes = 0

    async def load(self) -> Record | None:
        """The record, or None when no migration was begun here.

        Raises:
            RecordCorrupt: it was edited by hand, or a part is missing.
            RecordNewer: a newer `migrate` wrote it.
        """
        self._known.clear()
        self._entries.clear()
        found = await self._read(names.RECORD)
        if found is None:
            return None
        where = f"ConfigMap {self._namespace}/{names.RECORD}"
        text = found.get("data", {}).get("cluster")
        if text is None:
            raise RecordCorrupt(f"{where} has no key `cluster`", next="see docs/how-to/recover-the-record.md")
        cluster = load_cluster(text, f"{where}, key cluster")
        nodes: dict[str, NodeRecord] = {}
        for number in range(cluster.shards):
            nodes |= await self._load_shard(number, cluster)
        return Record(cluster=cluster, nodes=nodes)

    async def _load_shard(self, number: int, cluster: ClusterRecord) -> dict[str, NodeRecord]:
        name = f"{names.SHARD}{number}"
        where = f"ConfigMap {self._namespace}/{name}"
        found = await self._read(name)
        if found is None:
            # The cluster's part is written first: drivers that died in between left this shard unmade and empty. Once
            # a node has been enrolled the phase has moved on, and a shard that is not there was removed.
            if cluster.phase is Phase.PREFLIGHT:
                return {}
            raise RecordCorrupt(f"{where} is missing", next="see docs/how-to/recover-the-record.md")
        nodes: dict[str, NodeRecord] = {}
        for key, text in (found.get("data") or {}).items():
            if key == "epoch":
                continue
            nodes[key] = load_node(text, f"{where}, key {key}")
            if shard_of(key, cluster.shards) != number:
                raise RecordCorrupt(
                    f"{where}: key {key} belongs into {names.SHARD}{shard_of(key, cluster.shards)}",
                    next="see docs/how-to/recover-the-record.md",
                )
            self._entries[key] = (nodes[key], text)
        return nodes

    async def _read(self, name: str) -> Mapping[str, Any] | None:
        found = await self._documents.get("ConfigMap", self._namespace, name)
        if found is not None:
            self._known[name] = found
        return found

    async def seize(self, record: Record) -> Record:
        """Write a new epoch into every part, so that a former holder's next write conflicts; make what is missing.

        Raises:
            LockLost: somebody else writes at the same time.
        """
        record = record.with_cluster(record.cluster.model_copy(update={"epoch": record.cluster.epoch + 1}))
        await self._put(names.RECORD, {"cluster": dump_cluster(record.cluster)})
        self._cluster = record.cluster
        for number in range(record.cluster.shards):
            await self._put(f"{names.SHARD}{number}", self._shard(record, number))
        return record

    async def write(self, record: Record, *, whole: bool = True) -> None:
        """Write what has changed since the last write: usually one shard.

        Unless `whole`, lines of history alone are no reason to write the cluster's part: they come with its next write.

        Raises:
            LockLost: the record was written by somebody else.
        """
        changed = {
            shard_of(n, record.cluster.shards) for n, entry in record.nodes.items() if self._text(n, entry) is None
        }
        for number in sorted(changed):
            await self._put(f"{names.SHARD}{number}", self._shard(record, number))
        if record.cluster == self._cluster:
            return
        if whole or self._cluster is None or _but_history(record.cluster) != _but_history(self._cluster):
            await self._put(names.RECORD, {"cluster": dump_cluster(record.cluster)})
            self._cluster = record.cluster

    def _text(self, name: str, entry: NodeRecord) -> str | None:
        """The persisted text of an entry if this very entry was written already."""
        known = self._entries.get(name)
        return known[1] if known is not None and (known[0] is entry or known[0] == entry) else None

    def _shard(self, record: Record, number: int) -> dict[str, str]:
        data = {"epoch": str(record.cluster.epoch)}
        for name, entry in record.nodes.items():
            if shard_of(name, record.cluster.shards) == number:
                text = self._text(name, entry) or dump_node(entry)
                self._entries[name] = (entry, text)
                data[name] = text
        return data

    async def _put(self, name: str, data: dict[str, str]) -> None:
        meta: dict[str, Any] = {"name": name, "namespace": self._namespace, "labels": LABELS}
        manifest: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
        known = self._known.get(name)
        if known is not None:
            meta["resourceVersion"] = known["metadata"]["resourceVersion"]
            meta["uid"] = known["metadata"]["uid"]
        try:
            written = await (
                self._documents.replace(manifest) if known is not None else self._documents.create(manifest)
            )
        except Conflict as error:
            raise LockLost(
                f"ConfigMap {self._namespace}/{name} was written by somebody else: another migrate has taken over "
                f"({error.message})",
                next="migrate status",
            ) from None
        self.writes += 1
        self._known[name] = written
