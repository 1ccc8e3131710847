"""The record's text form: what goes in comes out, and nothing that `migrate` did not write is guessed at."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.record import (
    HISTORY_BYTES,
    LINE_MOST,
    Before,
    ClusterRecord,
    Entry,
    GateResult,
    Held,
    NodeRecord,
    archived,
    dump_cluster,
    dump_lines,
    dump_node,
    load_cluster,
    load_lines,
    load_node,
    noted,
)
from cni_migrate.errors import RecordCorrupt, RecordNewer

NOW = datetime(2030, 1, 1, tzinfo=UTC)
CLUSTER = ClusterRecord(strategy="overlay", identity="abc")
WHERE = "ConfigMap cni-migrate/cni-migrate-nodes-0, key w1"

instants = st.datetimes(datetime(2025, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
words = st.text(max_size=20)
helds = st.builds(Held, why=words, next=words, since=instants, gate=st.booleans())
gates = st.builds(
    GateResult, sent=st.integers(0, 9999), lost=st.integers(0, 99), stall_ms=st.floats(0, 1e6, allow_nan=False)
)
few_words = st.lists(words, max_size=3).map(tuple)
word = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8)


def sentences(length: int) -> st.SearchStrategy[tuple[str, ...]]:
    """Texts of so many words."""
    return st.lists(st.lists(word, min_size=length, max_size=length).map(" ".join), max_size=3).map(tuple)


nodes = st.builds(
    NodeRecord,
    state=st.sampled_from(NodeState),
    uid=words,
    event=st.none() | st.sampled_from(NodeEvent),
    step=words,
    attempt=st.integers(0, 50),
    since=st.none() | instants,
    started=st.none() | instants,
    before=st.none() | st.builds(Before, unschedulable=st.booleans()),
    held=st.none() | helds,
    gate=st.none() | gates,
    displaced=sentences(3),
    files=few_words,
    old_uid=words,
    targets=st.none() | few_words,
    cleaned=st.booleans(),
    joined=st.booleans(),
    skipped=st.booleans(),
    gone=st.booleans(),
    rolled_back=words,
    failure=st.none() | helds,
    took=st.dictionaries(
        st.sampled_from([event.value for event in NodeEvent]), st.floats(0, 1e6, allow_nan=False), max_size=3
    ),
)
clusters = st.builds(
    ClusterRecord,
    phase=st.sampled_from(Phase),
    direction=st.sampled_from(["forward", "back"]),
    strategy=st.sampled_from(["multus", "overlay"]),
    identity=words,
    identity_values=st.dictionaries(words, words | st.integers() | st.dictionaries(words, words), max_size=3),
    epoch=st.integers(0, 1000),
    shards=st.integers(1, 20),
    list_name=words,
    position=st.integers(0, 20),
    step=words,
    since=st.none() | instants,
    held=st.none() | helds,
    canal_before=st.none() | st.dictionaries(words, st.none() | words, max_size=2),
    baseline=sentences(4),
    gate=st.none() | gates,
    history=st.lists(st.builds(Entry, at=instants, what=words), max_size=3).map(tuple),
    tool=words,
)


@given(nodes)
def test_a_node_comes_back_as_it_went(node: NodeRecord) -> None:
    """Dump and load are inverse for every node entry, though defaults are left out."""
    assert node == load_node(dump_node(node), WHERE)


@given(clusters)
def test_a_cluster_comes_back_as_it_went(cluster: ClusterRecord) -> None:
    """Dump and load are inverse for every cluster entry."""
    assert cluster == load_cluster(dump_cluster(cluster), WHERE)


def test_an_untouched_node_is_small() -> None:
    """Thousands of nodes fit, because an entry that says nothing is nearly empty."""
    assert len(dump_node(NodeRecord(uid="0d7bd7e2-64c7-4e5e-9f0f-9d1f5d2f6c11"))) < 60


def test_a_busy_node_leaves_room_for_a_whole_shard() -> None:
    """150 entries with all that a node can have in them stay under 256 KiB."""
    owners = tuple(f"ReplicaSet default/a-rather-long-deployment-name-{i}-7c9d5b 0d7bd7e2-64c7-4e5e" for i in range(12))
    held = Held(why="x" * 300, next="y" * 100, since=datetime(2030, 1, 1, tzinfo=UTC))
    busy = NodeRecord(uid="0" * 36, event=NodeEvent.DRAIN, step="evict_pods", displaced=owners, held=held)
    assert len(dump_node(busy)) * 150 < 256 * 1024


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ('{"state":"flannel"}', "state"),
        ('{"event":"explode"}', "event"),
        ('{"state":"dual","mood":"good"}', "mood"),
        ('{"since":"yesterday"}', "since"),
        ('{"since":"2030-01-01T00:00:00"}', "since"),
        ('{"started":"0001-01-01T00:00:00Z"}', "started"),
        ('{"held":{"why":"x","next":"y","since":"2030-01-01"}}', "held.since"),
        ('{"failure":{"why":"x","next":"y","since":"9999-12-31T23:59:59Z"}}', "failure.since"),
        ('{"took":{"nap":1}}', "took.nap"),
        ('{"took":{"drain":NaN}}', "took.drain"),
        ('{"gate":{"stall_ms":Infinity}}', "gate.stall_ms"),
        ('{"displaced":["web"]}', "displaced.0"),
        ('{"held":{"why":"x"}}', "held.next"),
    ],
)
def test_a_damaged_node_entry_is_refused(text: str, says: str) -> None:
    """Unknown fields, states and events, and text that is no JSON, are refused naming the ConfigMap's key."""
    with pytest.raises(RecordCorrupt) as caught:
        load_node(text, WHERE)
    assert caught.value.exit_code == 7
    assert WHERE in caught.value.message
    assert says in caught.value.message
    assert caught.value.next


def _cluster_text(**changes: object) -> str:
    data = json.loads(dump_cluster(ClusterRecord(strategy="overlay", identity="abc")))
    return json.dumps({**data, **changes})


def test_a_newer_format_is_refused() -> None:
    """A record of a later version is left alone, and says which program wrote it."""
    with pytest.raises(RecordNewer, match="format 2, this migrate knows 1") as caught:
        load_cluster(_cluster_text(schema=2, tool="migrate 9.9", novelty=True), WHERE)
    assert "migrate 9.9" in caught.value.next


@pytest.mark.parametrize("schema", ["2", "1", None, 0, -1, True, 1.5, []])
def test_a_format_that_is_no_known_number_is_refused(schema: object) -> None:
    """The format is the whole number 1 or the record is not ours: nothing is coerced."""
    with pytest.raises((RecordCorrupt, RecordNewer)):
        load_cluster(_cluster_text(schema=schema), WHERE)


def test_a_missing_format_is_refused() -> None:
    """A cluster entry without `schema` was not written by `migrate`."""
    data = json.loads(_cluster_text())
    del data["schema"]
    with pytest.raises(RecordCorrupt, match="schema"):
        load_cluster(json.dumps(data), WHERE)


@pytest.mark.parametrize(
    ("key", "value"),
    [("since", "2030-01-01T00:00:00"), ("back_since", "2030-01-01"), ("idle_since", "9999-12-31T23:59:59Z"),
     ("history", [{"at": "2030-01-01T00:00:00", "what": "x"}]), ("canal_objects", ["canal-config"]), ("baseline", ["w1"]),
     ("phase", "holiday"), ("direction", "sideways"), ("shards", 0), ("shards", -2), ("epoch", -1), ("position", -1),
     ("strategy", 7), ("color", "red")],
)  # fmt: skip
def test_a_damaged_cluster_entry_is_refused(key: str, value: object) -> None:
    """A value that cannot be is refused with its key, before anything divides by it."""
    with pytest.raises(RecordCorrupt, match=key):
        load_cluster(_cluster_text(**{key: value}), WHERE)


def test_the_history_keeps_every_line_and_its_order() -> None:
    """Nothing is cut at a number of lines; what is too long for one is."""
    cluster = CLUSTER
    for number in range(300):
        cluster = noted(cluster, NOW + timedelta(seconds=number), f"line {number}")
    assert [f"line {n}" for n in range(300)] == [entry.what for entry in cluster.history]
    long = noted(cluster, NOW, "x" * 9999).history[-1].what
    assert (len(long), long[-1]) == (LINE_MOST, "…")


def test_too_much_history_gives_its_older_half_away() -> None:
    """What is left and what was given away are the whole, in order, and each is far from too large for a ConfigMap."""
    cluster = CLUSTER
    for number in range(2000):
        cluster = noted(cluster, NOW + timedelta(seconds=number), f"node w{number}: drain done, draining, 12.5 s")
    assert archived(CLUSTER) == ((), CLUSTER)
    old, left = archived(cluster)
    assert (*old, *left.history) == cluster.history
    assert left.history_parts == 1
    assert HISTORY_BYTES / 3 < len(dump_lines(old)) < HISTORY_BYTES
    assert load_lines(dump_lines(old), "here") == old
