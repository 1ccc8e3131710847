"""Where the record is kept: shards, what a write touches, and what happens when somebody else has written."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_migrate.core.model.lifecycle import NodeState, Phase
from cni_migrate.core.model.record import Record, noted
from cni_migrate.engine.store import RecordStore, shard_of
from cni_migrate.errors import ClusterUnreachable, LockLost, RecordCorrupt, RecordError, RecordNewer
from tests.unit.core.builders import NOW, a_plan, a_record, an_entry
from tests.unit.engine.fakes import FakeDocuments

PLAN = a_plan("overlay")
NAMES = [f"node-{number}" for number in range(20)]


def _run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def _store(documents: FakeDocuments) -> RecordStore:
    return RecordStore(documents, "cni-migrate")


def _record(shards: int = 3, names: list[str] = NAMES) -> Record:
    return a_record(PLAN, names, shards=shards, epoch=0)


def _unbegun(shards: int = 3) -> Record:
    """What the first driver of a cluster seizes: no node is enrolled yet."""
    return a_record(PLAN, shards=shards, epoch=0, phase=Phase.PREFLIGHT)


@given(st.text(min_size=1), st.integers(1, 50))
def test_a_node_stays_in_its_shard(name: str, shards: int) -> None:
    """The shard follows from the name alone."""
    assert 0 <= shard_of(name, shards) < shards
    assert shard_of(name, shards) == shard_of(name, shards)


def test_a_thousand_nodes_spread() -> None:
    """No shard of a large cluster has more than twice its share."""
    counts = [0] * 7
    for number in range(1000):
        counts[shard_of(f"ip-10-0-{number // 250}-{number % 250}.example.internal", 7)] += 1
    assert max(counts) < 2 * 1000 / 7


def test_shards_never_move_between_versions() -> None:
    """The assignment is persisted in running clusters: these values may not change."""
    assert [shard_of(name, 7) for name in ("w1", "w2", "worker-1", "node-17")] == [0, 5, 3, 2]


def test_nothing_there_is_no_record() -> None:
    """A cluster without the ConfigMap was never begun."""

    async def main() -> None:
        assert await _store(FakeDocuments()).load() is None

    _run(main())


def test_what_is_seized_is_loaded_again() -> None:
    """Seizing makes every part, with an epoch one higher than before; another process reads the same record."""

    async def main() -> None:
        documents = FakeDocuments()
        record = await _store(documents).seize(_record())
        assert record.cluster.epoch == 1
        assert sorted(name for _, _, name in documents.objects) == [
            "cni-migrate-nodes-0",
            "cni-migrate-nodes-1",
            "cni-migrate-nodes-2",
            "cni-migrate-record",
        ]
        assert all(documents.data(f"cni-migrate-nodes-{n}")["epoch"] == "1" for n in range(3))
        loaded = await _store(documents).load()
        assert loaded is not None
        assert loaded.cluster == record.cluster
        assert dict(loaded.nodes) == dict(record.nodes)

    _run(main())


def test_only_what_has_changed_is_written() -> None:
    """One node's progress costs one request; an unchanged record none."""

    async def main() -> None:
        documents = FakeDocuments()
        store = _store(documents)
        record = await store.seize(_record())
        documents.writes.clear()
        await store.write(record)
        assert documents.writes == []
        moved = record.with_node("node-4", an_entry("node-4", NodeState.DUAL))
        await store.write(moved)
        assert documents.writes == [f"cni-migrate-nodes-{shard_of('node-4', 3)}"]
        await store.write(moved.with_node("node-4", an_entry("node-4", NodeState.DUAL)))
        assert len(documents.writes) == 1
        await store.write(moved.with_cluster(moved.cluster.model_copy(update={"position": 3})))
        assert documents.writes[1:] == ["cni-migrate-record"]
        assert store.writes == 4 + 2

    _run(main())


def test_lines_of_history_come_with_the_next_write_of_the_clusters_part() -> None:
    """A line alone is no request, unless all is to be written; nothing else waits."""

    async def main() -> None:
        documents = FakeDocuments()
        store = _store(documents)
        record = await store.seize(_record())
        documents.writes.clear()
        record = record.with_cluster(noted(record.cluster, NOW, "node-1: drain done"))
        await store.write(record, whole=False)
        assert documents.writes == []
        record = record.with_cluster(record.cluster.model_copy(update={"step": "sweep"}))
        await store.write(record, whole=False)
        assert documents.writes == ["cni-migrate-record"]
        record = record.with_cluster(noted(record.cluster, NOW, "node-2: drain done"))
        await store.write(record, whole=True)
        assert documents.writes == ["cni-migrate-record"] * 2
        found = await _store(documents).load()
        assert found is not None
        assert [line.what for line in found.cluster.history] == ["node-1: drain done", "node-2: drain done"]

    _run(main())


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NodeState), st.booleans()), max_size=12))
def test_whatever_is_written_is_what_is_read(moves: list[tuple[str, NodeState, bool]]) -> None:
    """After any sequence of writes, also by a driver that loaded in between, a fresh reader sees the last record."""

    async def main() -> None:
        documents = FakeDocuments()
        store = _store(documents)
        record = await store.seize(_record())
        for name, state, restart in moves:
            if restart:
                store = _store(documents)
                loaded = await store.load()
                assert loaded is not None
                record = await store.seize(loaded)
            record = record.with_node(name, an_entry(name, state))
            await store.write(record)
        found = await _store(documents).load()
        assert found is not None
        assert dict(found.nodes) == dict(record.nodes)

    _run(main())


def test_a_former_holders_next_write_fails() -> None:
    """Seizing changes every part's version, so whoever held the lock before conflicts on whatever it writes next."""

    async def main() -> None:
        documents = FakeDocuments()
        first = _store(documents)
        record = await first.seize(_record())
        second = _store(documents)
        loaded = await second.load()
        assert loaded is not None
        taken = await second.seize(loaded)
        assert taken.cluster.epoch == 2
        for name in NAMES:
            with pytest.raises(LockLost, match="another migrate has taken over"):
                await first.write(record.with_node(name, an_entry(name, NodeState.MIGRATED)))
        with pytest.raises(LockLost):
            await first.write(record.with_cluster(record.cluster.model_copy(update={"position": 9})))
        await second.write(taken.with_node("node-1", an_entry("node-1", NodeState.DUAL)))

    _run(main())


def test_two_that_begin_at_once_do_not_both_win() -> None:
    """Without a record yet, creating is the conflict."""

    async def main() -> None:
        documents = FakeDocuments()
        await _store(documents).seize(_record())
        with pytest.raises(LockLost):
            await _store(documents).seize(_record())

    _run(main())


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("second", range(4))
def test_drivers_that_die_while_they_seize_leave_a_record_that_loads(first: int, second: int) -> None:
    """Killed between any two of the first writes, twice in a row, the next one finds a usable record or none."""

    async def main() -> None:
        documents = FakeDocuments()
        for dies_after in (first, second):
            store = _store(documents)
            record = await store.load()
            documents.writes.clear()
            documents.dies_after = dies_after
            with pytest.raises(ClusterUnreachable):
                await store.seize(record or _unbegun())
            documents.dies_after = None
        found = await _store(documents).load()
        assert (found is None) is (first == second == 0)
        if found is not None:
            assert (await _store_after_load(documents)).cluster.epoch == found.cluster.epoch + 1
            assert await _store(documents).load()

    _run(main())


async def _store_after_load(documents: FakeDocuments) -> Record:
    store = _store(documents)
    loaded = await store.load()
    assert loaded is not None
    return await store.seize(loaded)


DAMAGE: list[tuple[str, str, dict[str, str], type[RecordError], str]] = [
    ("a node that is no JSON", "nodes-0", {"node-0": "{"}, RecordCorrupt, "key node-0"),
    ("an unknown state", "nodes-0", {"node-0": '{"state":"flying"}'}, RecordCorrupt, "state"),
    ("an unknown field", "nodes-0", {"node-0": '{"speed":3}'}, RecordCorrupt, "speed"),
    ("the cluster's part", "record", {"cluster": "[]"}, RecordCorrupt, "key cluster"),
    ("a newer record", "record", {"cluster": '{"schema":99,"tool":"migrate 7"}'}, RecordNewer, "format 99"),
]


@pytest.mark.parametrize(("description", "name", "data", "error", "says"), DAMAGE, ids=[row[0] for row in DAMAGE])
def test_a_damaged_record_names_the_configmap_and_key(
    description: str, name: str, data: dict[str, str], error: type[RecordError], says: str
) -> None:
    """Nothing is guessed and nothing is written."""

    async def main() -> None:
        documents = FakeDocuments()
        await _store(documents).seize(_record(shards=1))
        documents.edit(f"cni-migrate-{name}", **data)
        documents.writes.clear()
        with pytest.raises(error) as caught:
            await _store(documents).load()
        assert f"ConfigMap cni-migrate/cni-migrate-{name}" in caught.value.message, description
        assert says in caught.value.message
        assert documents.writes == []

    _run(main())


def test_a_node_in_the_wrong_shard_is_refused() -> None:
    """It was moved by hand; the message says where it belongs."""

    async def main() -> None:
        documents = FakeDocuments()
        await _store(documents).seize(_record(shards=2))
        at = shard_of("node-1", 2)
        documents.edit(f"cni-migrate-nodes-{1 - at}", **{"node-1": "{}"})
        with pytest.raises(RecordCorrupt, match=f"belongs into cni-migrate-nodes-{at}"):
            await _store(documents).load()

    _run(main())


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.PREFLIGHT])
def test_a_missing_part_is_refused(phase: Phase) -> None:
    """A deleted shard is not an empty one: migrated nodes would start over."""

    async def main() -> None:
        documents = FakeDocuments()
        await _store(documents).seize(a_record(PLAN, NAMES, shards=2, epoch=0, phase=phase))
        await documents.delete("ConfigMap", "cni-migrate", "cni-migrate-nodes-1")
        with pytest.raises(RecordCorrupt, match="nodes-1 is missing"):
            await _store(documents).load()

    _run(main())


def test_the_persisted_form_is_readable() -> None:
    """`kubectl get configmap -o yaml` shows one JSON object per node, under its name."""

    async def main() -> None:
        documents = FakeDocuments()
        await _store(documents).seize(_record(shards=1, names=["w1"]))
        assert json.loads(documents.data("cni-migrate-nodes-0")["w1"]) == {"uid": "uid-w1"}
        assert json.loads(documents.data("cni-migrate-record")["cluster"])["schema"] == 1

    _run(main())
