"""The record's list of nodes follows the cluster: newcomers, nodes gone or made anew, operators' requests."""

from datetime import datetime

import pytest

from cni_migrate.core.decision.advance import Work
from cni_migrate.core.decision.membership import sync_membership
from cni_migrate.core.model.effects import PatchNode
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import Requests
from cni_migrate.core.model.record import Before, Held, Record
from tests.unit.core.builders import NOW, Seen, a_node, a_plan, a_record, after, an_entry, seen, under_way

MULTUS, OVERLAY = a_plan(), a_plan("overlay")
LABEL = MULTUS.config.labels.canal_cilium


def _history(record: Record) -> list[str]:
    return [entry.what for entry in record.cluster.history]


def _enrol(record: Record, found: Seen, now: datetime = NOW) -> tuple[Record, Work]:
    work = Work(outcomes=found.outcomes)
    plan = MULTUS if record.cluster.strategy == "multus" else OVERLAY
    return sync_membership(plan, record, found, now, work), work


def test_nodes_that_are_there_at_the_start_have_not_joined() -> None:
    """While preparing, every node belongs to the migration from its beginning."""
    record, _ = _enrol(a_record(OVERLAY, phase=Phase.PREPARING), seen(a_node("w1"), a_node("w2")))
    assert {name: (e.uid, e.joined) for name, e in record.nodes.items()} == {
        "w1": ("uid-w1", False),
        "w2": ("uid-w2", False),
    }
    assert _history(record) == []


@pytest.mark.parametrize("phase", [Phase.ATTACHING, Phase.MIGRATING, Phase.CLEANING])
def test_a_newcomer_is_enrolled_and_said(phase: Phase) -> None:
    """A node that appears later is marked as joined, in state canal, in the history."""
    record, _ = _enrol(a_record(OVERLAY, ["w1"], phase=phase), seen(a_node("w1"), a_node("w2")))
    assert record.nodes["w2"].joined
    assert record.nodes["w2"].state is NodeState.CANAL
    assert _history(record) == ["node w2 joined"]


def test_a_node_that_vanishes_is_gone() -> None:
    """Whatever was under way on it ends; its state is kept for the story."""
    entry = under_way("w2", NodeState.DRAINING, NodeEvent.SWITCH, "gate", before=Before(),
                      held=Held(why="x", next="y", since=NOW))  # fmt: skip
    record, _ = _enrol(a_record(OVERLAY, {"w1": an_entry(), "w2": entry}), seen(a_node("w1")))
    gone = record.nodes["w2"]
    assert gone.gone
    assert (gone.event, gone.step, gone.held, gone.before) == (None, "", None, None)
    assert _history(record) == ["node w2 is gone (it was draining)"]
    again, _ = _enrol(record, seen(a_node("w1")))
    assert again == record


def test_a_node_that_was_recreated_starts_over() -> None:
    """Another uid under the same name is another machine: nothing of the old one's progress counts."""
    record, _ = _enrol(
        a_record(OVERLAY, {"w1": an_entry(state=NodeState.MIGRATED)}), seen(a_node("w1", uid="uid-other"))
    )
    assert record.nodes["w1"].state is NodeState.CANAL
    assert record.nodes["w1"].uid == "uid-other"
    assert record.nodes["w1"].joined
    assert "was recreated" in _history(record)[0]


def test_a_node_that_comes_back_after_it_was_gone_starts_over() -> None:
    """Even with the uid it had: what happened to its disk meanwhile is unknown."""
    record, _ = _enrol(a_record(OVERLAY, {"w1": an_entry(state=NodeState.DUAL, gone=True)}), seen(a_node("w1")))
    assert not record.nodes["w1"].gone
    assert record.nodes["w1"].state is NodeState.CANAL


def test_nothing_changes_when_nothing_has_changed() -> None:
    """The very same record is answered, so that no write follows."""
    record = a_record(OVERLAY, ["w1"])
    found, work = _enrol(record, seen(a_node("w1")))
    assert found is record
    assert work.effects == []


@pytest.mark.parametrize(
    ("phase", "labels", "patched"),
    [
        (Phase.ATTACHING, {}, True),
        (Phase.MIGRATING, {}, False),  # it is adopted: straight to Cilium, in that event's own order
        (Phase.MIGRATING, {LABEL.key: LABEL.value}, False),
        (Phase.PREPARING, {}, False),
        (Phase.CLEANING, {}, False),
    ],
)
def test_a_newcomer_under_multus_is_labelled_at_once(phase: Phase, labels: dict[str, str], patched: bool) -> None:
    """Canal has a node selector by then, so a node without the label would get no network at all."""
    _, work = _enrol(a_record(MULTUS, ["w1"], phase=phase),
                     seen(a_node("w1", labels={LABEL.key: LABEL.value}), a_node("w2", labels=labels)))  # fmt: skip
    wanted = [PatchNode("w2", "uid-w2", "100", {LABEL.key: LABEL.value}, {})] if patched else []
    assert work.effects == wanted


def test_a_newcomer_during_a_rollback_is_left_alone() -> None:
    """The labels are about to go, and Canal's selector with them."""
    record = a_record(MULTUS, ["w1"], phase=Phase.ATTACHING, direction="back")
    _, work = _enrol(record, seen(a_node("w1", labels={LABEL.key: LABEL.value}), a_node("w2")))
    assert work.effects == []


def test_skip_and_its_undo_are_obeyed_once() -> None:
    """The operators' ConfigMap is the truth: named there means skipped, no longer named means no longer skipped."""
    asked = seen(a_node("w1"), requests=Requests(skip={"w1": "2030-01-01T11:00:00Z", "nobody": "x"}))
    record, _ = _enrol(a_record(OVERLAY, ["w1"]), asked)
    assert record.nodes["w1"].skipped
    assert _enrol(record, asked)[0] is record
    record, _ = _enrol(record, seen(a_node("w1")))
    assert not record.nodes["w1"].skipped
    assert _history(record) == ["node w1 is skipped on request", "node w1 is no longer skipped"]


@pytest.mark.parametrize(("direction", "skipped"), [("forward", False), ("back", True)])
def test_clean_up_takes_every_node_along(direction: str, skipped: bool) -> None:
    """Who is skipped then would keep Canal's files, for good; one from before takes part. A rollback leaves it out."""
    entries = {"w1": an_entry(state=NodeState.MIGRATED), "w2": an_entry("w2", NodeState.MIGRATED, skipped=True)}
    record = a_record(OVERLAY, entries, phase=Phase.CLEANING, direction=direction, back_since=NOW)
    stamps = {name: after(1).isoformat() for name in entries}
    record, _ = _enrol(record, seen(a_node("w1"), a_node("w2"), requests=Requests(skip=stamps)))
    assert {entry.skipped for entry in record.nodes.values()} == {skipped}


def test_after_the_end_nobody_is_skipped() -> None:
    """A skip that was left by a node that was deleted would leave out who joins under its name, and nobody could undo it."""
    entries = {"w1": an_entry(state=NodeState.MIGRATED), "w2": an_entry("w2", gone=True, skipped=True)}
    record = a_record(OVERLAY, entries, phase=Phase.DONE)
    asked = Requests(skip={"w2": NOW.isoformat()})
    record, _ = _enrol(record, seen(a_node("w1"), a_node("w2", uid="another"), requests=asked))
    assert not record.nodes["w2"].gone
    assert not record.nodes["w2"].skipped


HELD = Held(why="a budget", next="x", since=after(0.5))


@pytest.mark.parametrize(
    ("description", "stamp", "tried"),
    [
        ("asked later", "2030-01-01T12:00:02Z", True),
        ("asked later, in another spelling", "2030-01-01T12:00:02.000000+00:00", True),
        ("asked later, in another time zone", "2030-01-01T13:00:02+01:00", True),
        ("asked earlier", "2030-01-01T11:59:59Z", False),
        ("asked earlier, by the clock of another time zone", "2030-01-01T12:30:00+01:00", False),
        ("asked in the second before it was held", "2030-01-01T12:00:00Z", False),
        ("something that is no time", "now", False),
        ("nothing", "", False),
    ],
)
def test_retry_counts_when_it_was_asked_after_the_node_was_held(description: str, stamp: str, tried: bool) -> None:
    """An old request does not clear a new reason; instants are compared, not texts."""
    entry = under_way("w1", NodeState.DUAL, NodeEvent.DRAIN, "evict_pods", held=HELD)
    record = a_record(OVERLAY, {"w1": entry})
    found, _ = _enrol(record, seen(a_node("w1"), requests=Requests(retry={"w1": stamp})), after(10))
    assert (found.nodes["w1"].held is None) is tried, description
    if tried:
        assert found.nodes["w1"].since == after(10)
        assert _history(found) == ["node w1 is tried again on request"]
