"""What others are told of nodes: each thing once, and nothing that was so before."""

from datetime import UTC, datetime

from cni_migrate.config import Config
from cni_migrate.core.decision.begin import new_record
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState
from cni_migrate.core.model.news import Newspaper
from cni_migrate.core.model.record import Held, NodeRecord, Record

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(**changes: object) -> Record:
    """A record with one node."""
    entry = NodeRecord(state=NodeState.DUAL, uid="u1", since=NOW).model_copy(update=changes)
    return new_record(Config(), 1, "test").with_node("w1", entry)


def test_each_change_is_told_once() -> None:
    """A state, a hold, a way back: one piece of news each, and none when nothing has changed."""
    paper = Newspaper()
    assert [n.reason for n in paper.take(record())] == ["CNIMigrationDual"]
    assert list(paper.take(record())) == []
    held = record(held=Held(why="a budget", next="", since=NOW), event=NodeEvent.DRAIN, step="evict_pods")
    (told,) = paper.take(held)
    assert (told.reason, told.warning, told.uid) == ("CNIMigrationHeld", True, "u1")
    assert "a budget" in told.message
    assert list(paper.take(held)) == []
    (back,) = paper.take(record(event=NodeEvent.RESTORE, step="cordon"))
    assert (back.reason, back.warning) == ("CNIMigrationRollback", True)


def test_what_is_so_already_is_no_news() -> None:
    """A driver that takes over tells only what happens from then on."""
    paper = Newspaper()
    paper.begin(record())
    assert list(paper.take(record())) == []
    assert [n.message for n in paper.take(record(state=NodeState.MIGRATED))] == ["CNI migration: dual -> migrated"]


def test_why_a_node_goes_back_by_itself_is_told() -> None:
    """With auto_rollback no decision shows it held: it goes back in the same one."""
    paper = Newspaper()
    paper.begin(record())
    why = Held(why="an agent is not Ready", next="", since=NOW)
    back = record(event=NodeEvent.RESTORE, step="cordon", failure=why)
    assert [(n.reason, n.message) for n in paper.take(back)] == [
        ("CNIMigrationHeld", "held: an agent is not Ready"),
        ("CNIMigrationRollback", "goes back towards Canal (restore)"),
    ]
    assert list(paper.take(record(failure=why))) == []
