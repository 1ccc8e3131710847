"""Where the record is kept: shards, what a write touches, and what happens when somebody else has written."""

import asyncio
import contextlib
import json
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_migrate.core.model.lifecycle import NodeState, Phase
from cni_migrate.core.model.record import Held, Record, closed, noted
from cni_migrate.engine.store import RecordStore, shard_of
from cni_migrate.errors import ClusterUnreachable, LockLost, RecordCorrupt, RecordError, RecordNewer
from tests.unit.core.builders import NOW, a_plan, a_record, after, an_entry
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
        assert all(documents.data(f"cni-migrate-nodes-{n}")["_epoch"] == "1" for n in range(3))
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


def _line(record: Record, what: str, seconds: float = 0) -> Record:
    return record.with_cluster(noted(record.cluster, after(seconds), what))


def _said(record: Record | None) -> list[str]:
    assert record is not None
    return [line.what for line in record.cluster.history]


def test_lines_of_history_are_written_with_the_entries_they_are_about() -> None:
    """A line costs no request of its own when a shard is written anyway, and no reader misses it."""

    async def main() -> None:
        documents = FakeDocuments()
        store = _store(documents)
        record = await store.seize(_record())
        documents.writes.clear()
        record = _line(record.with_node("node-1", an_entry("node-1", NodeState.DUAL)), "node-1: attach done")
        assert store.differs(record)
        record = await store.write(record)
        assert documents.writes == [f"cni-migrate-nodes-{shard_of('node-1', 3)}"]
        assert not store.differs(record)
        assert _said(await _store(documents).load()) == ["node-1: attach done"]
        record = await store.write(_line(record, "on request", 1))
        assert documents.writes[1:] == ["cni-migrate-record"], "a line without an entry is written at once, too"
        record = _line(record.with_node("node-2", an_entry("node-2", NodeState.DUAL)), "node-2: attach done", 2)
        record = await store.write(record)
        assert len(documents.writes) == 3
        assert _said(await _store(documents).load()) == ["node-1: attach done", "on request", "node-2: attach done"]

    _run(main())


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["node", "cluster", "line", "restart"])), max_size=60)
)
def test_no_line_of_history_is_lost(moves: list[tuple[str, str]]) -> None:
    """Whatever is written together, and whoever takes over: a reader finds every line once, in order."""

    async def main() -> None:
        documents = FakeDocuments()
        store = _store(documents)
        record = await store.seize(_record())
        for number, (name, what) in enumerate(moves):
            if what == "restart":
                store = _store(documents)
                loaded = await store.load()
                assert loaded is not None
                record = await store.seize(loaded)
                continue
            if what == "node":
                record = record.with_node(name, an_entry(name, attempt=number))
            elif what == "cluster":
                record = record.with_cluster(record.cluster.model_copy(update={"position": number}))
            record = await store.write(_line(record, f"line {number}", number // 3))
            assert _said(await _store(documents).load()) == _said(record)
        expected = [f"line {number}" for number, (_, what) in enumerate(moves) if what != "restart"]
        assert _said(await _store(documents).load()) == expected

    _run(main())


def test_old_lines_are_archived_and_every_object_stays_small() -> None:
    """Ten thousand lines: all are there, in order; a part that is missing is named."""

    async def main() -> None:
        documents = FakeDocuments()
        store = _store(documents)
        record = await store.seize(_record(shards=1, names=["node-1"]))
        for number in range(10_000):
            record = _line(record, f"node node-1: drain done, draining, {number} s", number)
            if number % 50 == 0:
                record = await store.write(record.with_node("node-1", an_entry("node-1", attempt=number)))
        await store.write(record)
        found = await _store(documents).load()
        assert found is not None
        assert [line.at for line in await store.history(found)] == [after(number) for number in range(10_000)]
        assert found.cluster.history_parts > 5
        sizes = {name: len(json.dumps(one)) for (_, _, name), one in documents.objects.items()}
        assert max(sizes.values()) < 128 * 1024, sizes
        documents.remove("cni-migrate-history-2")
        with pytest.raises(RecordCorrupt, match="cni-migrate-history-2 is missing"):
            await store.history(found)

    _run(main())


def test_a_driver_that_dies_while_it_archives_loses_and_repeats_nothing() -> None:
    """The part of old lines is written, the cluster's part that says so is not: it is written again."""

    async def main() -> None:
        documents = FakeDocuments()
        record = await _store(documents).seize(_record())
        store = _store(documents)
        loaded = await store.load()
        assert loaded is not None
        seized = await store.seize(loaded)
        documents.dies_after = len(documents.writes) + 1
        with pytest.raises(ClusterUnreachable):
            await store.write(_long(seized))
        documents.dies_after = None
        assert "cni-migrate-history-0" in documents.writes
        store = _store(documents)
        loaded = await store.load()
        assert loaded is not None
        record = await store.write(_long(await store.seize(loaded)))
        assert record.cluster.history_parts == 1
        assert [line.at for line in await store.history(record)] == [after(number) for number in range(40)]

    _run(main())


def _long(record: Record) -> Record:
    """The record with so much history that some has to be archived."""
    for number in range(40):
        record = _line(record, "x" * 2000, number)
    return record


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
        documents.remove("cni-migrate-nodes-1")
        with pytest.raises(RecordCorrupt, match="nodes-1 is missing"):
            await _store(documents).load()

    _run(main())


@pytest.mark.parametrize("shards", [1, 3])
def test_a_record_without_its_first_part_is_refused(shards: int) -> None:
    """With shards still there the cluster's part was removed: nobody begins a new migration over the old one."""

    async def main() -> None:
        documents = FakeDocuments()
        await _store(documents).seize(_record(shards=shards))
        documents.remove("cni-migrate-record")
        for number in range(shards):
            documents.writes.clear()
            with pytest.raises(RecordCorrupt, match=f"cni-migrate-record is missing, while cni-migrate-nodes-{number}"):
                await _store(documents).load()
            assert documents.writes == []
            documents.remove(f"cni-migrate-nodes-{number}")
        assert await _store(documents).load() is None

    _run(main())


@pytest.mark.parametrize("lost", NAMES[:5])
def test_a_missing_entry_is_refused(lost: str) -> None:
    """A migrated node would be taken for a newcomer, and its pods would be removed."""

    async def main() -> None:
        documents = FakeDocuments()
        await _store(documents).seize(_record(shards=2))
        name = f"cni-migrate-nodes-{shard_of(lost, 2)}"
        del documents.objects["ConfigMap", "cni-migrate", name]["data"][lost]
        with pytest.raises(RecordCorrupt, match=f"{name}: the entry of node {lost} is missing"):
            await _store(documents).load()

    _run(main())


def test_a_node_may_be_called_as_the_stores_own_keys_were() -> None:
    """No name of a node begins with an underscore, so no node can be mistaken for one of them."""

    async def main() -> None:
        documents = FakeDocuments()
        await _store(documents).seize(_record(shards=1, names=["epoch", "nodes", "history"]))
        found = await _store(documents).load()
        assert found is not None
        assert sorted(found.nodes) == ["epoch", "history", "nodes"]

    _run(main())


@pytest.mark.parametrize("dies_after", range(11))
def test_a_closed_record_is_kept_and_a_new_one_may_begin(dies_after: int) -> None:
    """Killed anywhere on the way, the next one closes it again; every part is kept as it was.

    What operators have asked for was meant for this migration: the next one is neither paused nor leaves nodes out.
    """

    async def main() -> None:
        documents = FakeDocuments()
        store = _store(documents)
        record = _line(_record().with_cluster(_record().cluster.model_copy(update=ROLLED_BACK)), "phase preflight")
        await store.seize(record)
        meta = {"name": "cni-migrate-requests", "namespace": "cni-migrate"}
        asked = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"paused": "2030-01-01"}}
        await documents.create(asked)
        parts = {name: documents.data(name) for _, _, name in documents.objects}
        loaded = await store.load()
        assert loaded is not None
        documents.dies_after = len(documents.writes) + dies_after
        with contextlib.suppress(ClusterUnreachable):
            await store.close(loaded)
        documents.dies_after = None
        again = await _store(documents).load()
        if again is not None:
            assert closed(again)
            await _store(documents).close(again)
        assert await _store(documents).load() is None
        kept = await _store(documents).last_closed()
        assert kept is not None
        assert kept.name == "cni-migrate-record-20300101-120000"
        assert kept.cluster.history[-1].what == "phase preflight"
        assert {f"{name}-20300101-120000": data for name, data in parts.items()} == {
            name: documents.data(name) for _, _, name in documents.objects
        }
        await _store(documents).seize(_unbegun())

    _run(main())


ROLLED_BACK = {"phase": Phase.PREFLIGHT, "direction": "back"}


def test_closing_touches_nothing_of_a_driver_that_took_over() -> None:
    """A former holder deletes only the versions it has read."""

    async def main() -> None:
        documents = FakeDocuments()
        first = _store(documents)
        record = await first.seize(_record().with_cluster(_record().cluster.model_copy(update=ROLLED_BACK)))
        get = documents.get

        async def late(kind: str, namespace: str, name: str) -> Any:
            found = await get(kind, namespace, name)
            if found is not None:
                documents.edit(name, _epoch="9")
            return found

        documents.get = late  # type: ignore[method-assign] # somebody writes between reading and deleting
        with pytest.raises(LockLost):
            await first.close(record)
        assert ("ConfigMap", "cni-migrate", "cni-migrate-record") in documents.objects

    _run(main())


def test_conditions_can_be_waited_for() -> None:
    """`kubectl wait` finds them beside the record, also when it is only a node that is held."""

    async def main() -> None:
        documents = FakeDocuments()
        store = _store(documents)
        record = await store.seize(_record())

        def holding() -> list[str]:
            data = documents.data("cni-migrate-record")
            return [name for name in ("Progressing", "Held", "Completed") if data[name] == "True"]

        assert holding() == ["Progressing"]
        held = Held(why="a budget", next="mend it", since=NOW)
        stuck = await store.write(record.with_node("node-1", an_entry("node-1", NodeState.DUAL, held=held)))
        assert holding() == ["Held"]
        record = await store.write(stuck.with_node("node-1", an_entry("node-1", NodeState.DUAL)))
        assert holding() == ["Progressing"]
        await store.write(record.with_cluster(record.cluster.model_copy(update={"phase": Phase.DONE})))
        assert holding() == ["Completed"]

    _run(main())


def test_the_persisted_form_is_readable() -> None:
    """`kubectl get configmap -o yaml` shows one JSON object per node, under its name."""

    async def main() -> None:
        documents = FakeDocuments()
        await _store(documents).seize(_record(shards=1, names=["w1"]))
        assert json.loads(documents.data("cni-migrate-nodes-0")["w1"]) == {"uid": "uid-w1"}
        assert json.loads(documents.data("cni-migrate-record")["cluster"])["schema"] == 1

    _run(main())
