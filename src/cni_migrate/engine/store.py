"""Where the record is kept: one ConfigMap for the cluster and n for the nodes, compared and set by resourceVersion.

The driver is the only writer. It remembers the version of each ConfigMap it has read or written, and a write against
another version is a `Conflict`: somebody else holds the lock now.

A shard's data has one key per node. Keys that no node can have, as they begin with `_`, are the store's own: `_epoch`;
`_nodes`, the names of all nodes in it, by which an entry that was removed is missed; and `_history`, lines that are not
in the cluster's part yet. So every line is written with the entry it is about, and costs no request of its own.
"""

import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from cni_migrate.core.model import names
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.record import (
    ClusterRecord,
    Entry,
    NodeRecord,
    Record,
    archived,
    conditions,
    dump_cluster,
    dump_lines,
    dump_node,
    load_cluster,
    load_lines,
    load_node,
)
from cni_migrate.engine import closing
from cni_migrate.errors import Conflict, LockLost, RecordCorrupt
from cni_migrate.ports import Documents

LABELS = {names.MANAGED_BY: names.TOOL, names.COMPONENT: names.RECORD_PART}

MOST_PENDING = 30
"""So many lines of history may wait in shards for the cluster's part to be written."""

EPOCH, NODES, HISTORY, LINES = "_epoch", "_nodes", "_history", "lines"

RECOVER = "see docs/how-to/recover-the-record.md"


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
        """The cluster's part as it was written last."""
        self._conditions: dict[str, str] = {}
        self._lines: tuple[Entry, ...] = ()
        """The history as it was written last, in whatever part."""
        self.writes = 0

    async def load(self) -> Record | None:
        """The record, or None when no migration was begun here, or the last one was rolled back and closed.

        Raises:
            RecordCorrupt: it was edited by hand, or a part is missing.
            RecordNewer: a newer `migrate` wrote it.
        """
        self._known.clear()
        self._entries.clear()
        self._cluster = None
        found = await self._read(names.RECORD)
        if found is None:
            await self._check_nothing_left()
            return None
        where = self._where(names.RECORD)
        text = found.get("data", {}).get("cluster")
        if text is None:
            raise RecordCorrupt(f"{where} has no key `cluster`", next=RECOVER)
        cluster = load_cluster(text, f"{where}, key cluster")
        nodes: dict[str, NodeRecord] = {}
        waiting: list[Entry] = []
        for number in range(cluster.shards):
            entries, lines = await self._load_shard(number, cluster)
            nodes |= entries
            waiting += lines
        return Record(cluster=_with_lines(cluster, waiting), nodes=nodes)

    async def _check_nothing_left(self) -> None:
        """A record whose first part is not there was either never made, or is damaged."""
        left = await self._documents.list("ConfigMap", self._namespace, names.RECORD_PART)
        if left:
            others = ", ".join(sorted(part["metadata"]["name"] for part in left)[:3])
            raise RecordCorrupt(f"{self._where(names.RECORD)} is missing, while {others} is there", next=RECOVER)

    async def _load_shard(self, number: int, cluster: ClusterRecord) -> tuple[dict[str, NodeRecord], tuple[Entry, ...]]:
        name = f"{names.SHARD}{number}"
        where = self._where(name)
        found = await self._read(name)
        if found is None:
            # The cluster's part is written first: drivers that died in between left this shard unmade and empty. Once
            # a node has been enrolled the phase has moved on, and a shard that is not there was removed.
            if cluster.phase is Phase.PREFLIGHT:
                return {}, ()
            raise RecordCorrupt(f"{where} is missing", next=RECOVER)
        nodes: dict[str, NodeRecord] = {}
        data: Mapping[str, str] = found.get("data") or {}
        for key, text in data.items():
            if key.startswith("_") or (key == "epoch" and text.isdigit()):  # so it was called before 1.0
                continue
            nodes[key] = load_node(text, f"{where}, key {key}")
            if shard_of(key, cluster.shards) != number:
                raise RecordCorrupt(
                    f"{where}: key {key} belongs into {names.SHARD}{shard_of(key, cluster.shards)}", next=RECOVER
                )
            self._entries[key] = (nodes[key], text)
        if lost := [node for node in data.get(NODES, "").split() if node not in nodes]:
            raise RecordCorrupt(f"{where}: the entry of node {', '.join(lost[:5])} is missing", next=RECOVER)
        return nodes, load_lines(data.get(HISTORY, "[]"), f"{where}, key {HISTORY}")

    async def history(self, record: Record) -> tuple[Entry, ...]:
        """All lines of history, the oldest first.

        Raises:
            RecordCorrupt: a part of it is missing, or was edited by hand.
        """
        return await self._history(record.cluster, "")

    async def _history(self, cluster: ClusterRecord, suffix: str) -> tuple[Entry, ...]:
        lines: list[Entry] = []
        for number in range(cluster.history_parts):
            name = f"{names.HISTORY}{number}{suffix}"
            found = await self._read(name)
            if found is None:
                raise RecordCorrupt(f"{self._where(name)} is missing: older lines of history were in it", next=RECOVER)
            lines += load_lines((found.get("data") or {}).get(LINES, ""), f"{self._where(name)}, key {LINES}")
        return (*lines, *cluster.history)

    async def whole_history(self) -> tuple[Entry, ...]:
        """Every line of this migration's history, or of the last one where that was rolled back; none without either.

        Raises:
            RecordCorrupt: a part of it is missing, or was edited by hand.
            RecordNewer: a newer `migrate` wrote it.
        """
        record = await self.load()
        if record is not None:
            return await self.history(record)
        kept = await self.last_closed()
        if kept is None:
            return ()
        return await self._history(kept.cluster, kept.name.removeprefix(names.RECORD))

    def _where(self, name: str) -> str:
        return f"ConfigMap {self._namespace}/{name}"

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
        record = await self._put_cluster(record)
        for number in range(record.cluster.shards):
            await self._put(f"{names.SHARD}{number}", self._shard(record, number, ()))
        return record

    async def close(self, record: Record) -> None:
        """Keep the record of a complete rollback under another name: the next migration begins without one.

        Raises:
            LockLost: somebody else writes at the same time.
        """
        await closing.close(self._documents, self._namespace, record)

    async def last_closed(self) -> closing.ClosedRecord | None:
        """The record of the last migration that was rolled back, if one is kept."""
        return await closing.last_closed(self._documents, self._namespace)

    def differs(self, record: Record) -> bool:
        """Whether the record is not what was written last."""
        if self._cluster is None or record.cluster.history != self._lines:
            return True
        return _but_history(record.cluster) != _but_history(self._cluster) or bool(self._changed(record))

    def _changed(self, record: Record) -> set[int]:
        return {shard_of(n, record.cluster.shards) for n, entry in record.nodes.items() if not self._text(n, entry)}

    async def write(self, record: Record) -> Record:
        """Write what has changed since the last write: usually one shard.

        New lines of history go with a shard that is written. Only without one, or when many have gathered, they are a
        reason to write the cluster's part. Answers the record to go on with: too much history is archived.

        Raises:
            LockLost: the record was written by somebody else.
        """
        cluster, before = record.cluster, self._cluster
        pending = _after(before.history if before is not None else (), cluster.history)
        changed = sorted(self._changed(record))
        if changed:
            await self._put(f"{names.SHARD}{changed[0]}", self._shard(record, changed[0], pending))
            self._lines = cluster.history
            for number in changed[1:]:
                await self._put(f"{names.SHARD}{number}", self._shard(record, number, ()))
        due = before is None or _but_history(cluster) != _but_history(before) or len(pending) > MOST_PENDING
        if due or cluster.history != self._lines or conditions(record) != self._conditions:
            return await self._put_cluster(record)
        return record

    async def _put_cluster(self, record: Record) -> Record:
        """Write the cluster's part; what is too much of history goes into a part of its own before."""
        old, cluster = archived(record.cluster)
        if old:
            name = f"{names.HISTORY}{record.cluster.history_parts}"
            await self._read(name)  # one that was written before a driver died holds no more than this one
            await self._put(name, {LINES: dump_lines(old)})
        holding = conditions(record)
        await self._put(names.RECORD, {"cluster": dump_cluster(cluster), **holding})
        self._cluster, self._lines, self._conditions = cluster, cluster.history, holding
        return record.with_cluster(cluster)

    def _text(self, name: str, entry: NodeRecord) -> str | None:
        """The persisted text of an entry if this very entry was written already."""
        known = self._entries.get(name)
        return known[1] if known is not None and (known[0] is entry or known[0] == entry) else None

    def _shard(self, record: Record, number: int, pending: Iterable[Entry]) -> dict[str, str]:
        data: dict[str, str] = {}
        for name, entry in record.nodes.items():
            if shard_of(name, record.cluster.shards) == number:
                text = self._text(name, entry) or dump_node(entry)
                self._entries[name] = (entry, text)
                data[name] = text
        data |= {EPOCH: str(record.cluster.epoch), NODES: " ".join(sorted(data))}
        if lines := tuple(pending):
            data[HISTORY] = dump_lines(lines)
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


def _after(written: tuple[Entry, ...], lines: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The lines that were added to those written."""
    if lines[: len(written)] == written:
        return lines[len(written) :]
    known = {(line.at, line.what) for line in written}
    return tuple(line for line in lines if (line.at, line.what) not in known)


def _with_lines(cluster: ClusterRecord, waiting: Iterable[Entry]) -> ClusterRecord:
    """The cluster's entry with the lines of shards that it does not have yet.

    Those are not older than its last one: what it had once, and has given to an older part, is not new.
    """
    known = {(line.at, line.what) for line in cluster.history}
    since = cluster.history[-1].at if cluster.history else None
    new = {(one.at, one.what): one for one in waiting if (one.at, one.what) not in known}
    lines = sorted((one for one in new.values() if since is None or one.at >= since), key=lambda line: line.at)
    return cluster.model_copy(update={"history": (*cluster.history, *lines)}) if lines else cluster
