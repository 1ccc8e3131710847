"""What operators ask of a run: nothing is accepted that nobody would ever read."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from cni_migrate.cli import drive
from cni_migrate.cli.driver_run import DriverRun
from cni_migrate.core.model.goal import Final
from cni_migrate.core.model.record import Entry, dump_lines
from cni_migrate.sim.client import Kind
from tests.cli.conftest import CONFIG_MAPS, Served, Typed, a_record, a_shard

NODES = Kind("", "v1", "nodes", "Node", namespaced=False)

Make = Callable[..., Served]
On = Callable[[Served], Typed]

HELD: dict[str, Any] = {
    "event": "drain",
    "step": "baseline_gate",
    "held": {"why": "lost", "next": "x", "since": "2030-01-01T00:00:00Z"},
}
FAILED = {"failure": HELD["held"]}


def _with(served: Make, nodes: dict[str, Any], **cluster: Any) -> Served:
    there = served(nodes=2)
    there.config_map("cni-migrate-record", a_record(**cluster))
    there.config_map("cni-migrate-nodes-0", a_shard(**nodes))
    return there


@pytest.mark.parametrize(
    ("arguments", "cluster", "says", "following"),
    [
        (("pause",), {"phase": "done"}, "the migration is done", "migrate status"),
        (("resume",), {"phase": "done"}, "the migration is done", "migrate status"),
        (("skip-node", "w1"), {"phase": "done"}, "the migration is done", "migrate status"),
        (("retry-node", "w1"), {"phase": "done"}, "the migration is done", "migrate status"),
        (("pause",), {"phase": "cleaning"}, "a pause would stop nothing", "Ctrl-C"),
        (("pause",), {"phase": "preflight"}, "no migration is under way", "migrate status"),
        (("retry-node", "w1"), {}, "node w1 is not held: there is nothing to try again", "migrate status"),
        (("retry-node", "w3"), {}, "w3 is not held: it was rolled back by itself", "migrate run  (takes it up again)"),
        (
            ("skip-node", "w1"),
            {"phase": "cleaning"},
            "clean-up is under way, and takes every node along",
            "migrate run",
        ),
        (("skip-node", "w4"), {}, "node w4 is gone", "migrate status"),
        (("skip-node", "w9"), {}, "there is no node w9; there are: w1, w2, w3", "migrate status"),
    ],
)
def test_what_nobody_would_read_is_refused(
    on: On, served: Make, arguments: tuple[str, ...], cluster: dict[str, Any], says: str, following: str
) -> None:
    """Exit code 2, and nothing is written: who asks is not left to believe that it was heard."""
    nodes = {"w1": {"state": "dual"}, "w2": {"state": "dual", **HELD}, "w3": FAILED, "w4": {"gone": True}}
    there = _with(served, nodes, **cluster)
    ended = on(there)(*arguments)
    assert ended.code == 2, ended.out
    assert says in ended.err
    assert f"next: {following}" in ended.err
    assert there.writes == 0


@pytest.mark.parametrize(
    ("arguments", "key", "direction", "reader", "following"),
    [
        (("pause",), "paused", "forward", "migrate run", "migrate resume"),
        (("retry-node", "w2"), "retry.w2", "forward", "migrate run", "migrate run"),
        (("skip-node", "w1"), "skip.w1", "back", "migrate rollback", "migrate rollback"),
    ],
)
def test_where_nobody_drives_it_is_said_who_will_read_it(
    on: On, served: Make, arguments: tuple[str, ...], key: str, direction: str, reader: str, following: str
) -> None:
    """The request waits for the command that is named."""
    there = _with(served, {"w1": {"state": "dual"}, "w2": {"state": "dual", **HELD}}, direction=direction)
    ended = on(there)(*arguments)
    assert ended.code == 0, ended.err
    assert f"nobody drives the migration now: `{reader}` will read this" in ended.out
    assert ended.out.splitlines()[-1] == f"next: {following}"
    assert key in there.read(CONFIG_MAPS, "cni-migrate-requests", "cni-migrate")["data"]


@pytest.mark.parametrize(("clock", "skipped", "anew"), [("", False, True), ("", True, False), ("ahead", False, True)])
def test_a_node_that_was_skipped_before_the_rollback_is_skipped_again(
    on: On, served: Make, clock: str, skipped: bool, anew: bool
) -> None:
    """What was asked for on the way forward counts no more then, so it is asked for anew: by a time that counts."""
    turned = "2030-01-01T00:00:00Z" if clock else "2026-01-01T00:00:00Z"
    entry = {"state": "migrated", "skipped": skipped}
    there = _with(served, {"w1": entry}, direction="back", back_since=turned)
    old = "2025-01-01T00:00:00Z"
    there.config_map("cni-migrate-requests", {"skip.w1": old})
    ended = on(there)("skip-node", "w1")
    assert ended.code == 0, ended.err
    stamp = there.read(CONFIG_MAPS, "cni-migrate-requests", "cni-migrate")["data"]["skip.w1"]
    assert (datetime.fromisoformat(stamp) > datetime.fromisoformat(turned)) is anew
    assert (stamp != old) is anew


def test_a_retry_counts_although_the_drivers_clock_is_ahead(on: On, served: Make) -> None:
    """The node was held in what is the future here: the request is later all the same."""
    there = _with(served, {"w2": {"state": "dual", **HELD}})
    ended = on(there)("retry-node", "w2")
    assert ended.code == 0, ended.err
    stamp = there.read(CONFIG_MAPS, "cni-migrate-requests", "cni-migrate")["data"]["retry.w2"]
    assert datetime.fromisoformat(stamp) > datetime.fromisoformat(HELD["held"]["since"])


@pytest.mark.parametrize(("direction", "waits"), [("forward", "clean-up waits"), ("back", "the rollback ends when")])
def test_what_waits_for_a_skipped_node_is_said(on: On, served: Make, direction: str, waits: str) -> None:
    """On the way back there is no clean-up to come."""
    there = _with(served, {"w1": {"state": "migrated"}, "w2": {"state": "dual"}}, direction=direction)
    said = on(there)("skip-node", "w1").out.splitlines()[0]
    assert said.startswith("node w1 is skipped; ")
    assert [one for one in ("clean-up waits", "the rollback ends when") if one in said] == [waits]


@pytest.mark.parametrize(("state", "told"), [("canal", True), ("dual", False), ("migrated", False)])
def test_what_it_costs_to_skip_a_node_is_said(on: On, served: Make, state: str, told: bool) -> None:
    """One that has no Cilium is cut off from those that have nothing else any more."""
    ended = on(_with(served, {"w1": {"state": state}, "w2": {"state": "dual"}}))("skip-node", "w1")
    assert ended.code == 0, ended.err
    assert ("its pods and those of migrated nodes lose each other" in ended.out) is told


def test_a_plan_of_what_is_done_promises_nothing_more(on: On, served: Make) -> None:
    """No node, no minutes, and no command that would do nothing."""
    there = served(nodes=2)
    there.config_map("cni-migrate-record", a_record(phase="done"))
    uids = {name: there.read(NODES, name)["metadata"]["uid"] for name in ("cp1", "w1")}
    there.config_map("cni-migrate-nodes-0", a_shard(**{n: {"state": "migrated", "uid": u} for n, u in uids.items()}))
    ended = on(there)("plan")
    assert ended.code == 0, ended.err
    assert "no node to go" in ended.out
    assert "about" not in ended.out
    assert ended.out.splitlines()[-1] == "next: migrate status"


def test_requests_that_were_written_by_hand_without_a_time(on: On, served: Make) -> None:
    """An empty pause pauses nobody, and one that is typed then is one; an empty skip skips."""
    there = _with(served, {"w1": {"state": "dual"}, "w2": {"state": "dual"}})
    there.config_map("cni-migrate-requests", {"paused": "", "skip.w1": ""})
    typed = on(there)
    assert typed("pause").code == 0
    assert "paused since 20" in typed("status").out
    assert "w1 takes part again" in typed("skip-node", "w1", "--undo").out


def test_the_lock_is_taken_over_once(on: On, served: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """While clean-up was asked about, a colleague may have begun it: nobody has said that this one is dead."""
    there = served(nodes=3)
    there.config_map("cni-migrate-record", a_record())
    uids = {name: there.read(NODES, name)["metadata"]["uid"] for name in ("cp1", "w1", "w2")}
    there.config_map("cni-migrate-nodes-0", a_shard(**{n: {"state": "migrated", "uid": u} for n, u in uids.items()}))
    taken: list[bool] = []

    class Driven(DriverRun):
        """It ends at once: where clean-up would begin, then at the end."""

        def __init__(self, *given: Any, takeover: bool, **more: Any) -> None:
            taken.append(takeover)
            super().__init__(*given, takeover=takeover, **more)

        async def run(self) -> Final:
            return Final("consent" if len(taken) == 1 else "done", "every node is migrated")

    async def yes(*_: Any, **__: Any) -> bool:
        return True

    monkeypatch.setattr(drive, "DriverRun", Driven)
    monkeypatch.setattr(drive, "confirm", yes)
    monkeypatch.setattr(drive, "asked", yes)
    assert on(there)("run", "--takeover").code == 0
    assert taken == [True, False]


def test_a_plan_in_the_middle_names_what_goes_on(on: On, served: Make) -> None:
    """Not preflight, whose checks are for the time before."""
    there = _with(served, {"cp1": {"state": "migrated"}, "w1": {"state": "dual"}})
    typed = on(there)
    assert typed("pause").code == 0
    ended = typed("plan")
    assert ended.code == 0, ended.err
    assert "no further node, nor clean-up, begins until `migrate resume`" in ended.out
    assert ended.out.splitlines()[-1] == "next: fix what is named above, then `migrate run`"


@pytest.mark.parametrize("command", [("preflight",), ("knet", "remove")])
def test_in_a_rollback_nobody_is_sent_forward(on: On, served: Make, command: tuple[str, ...]) -> None:
    """`migrate run` is refused then."""
    ended = on(_with(served, {"cp1": {"state": "migrated"}, "w1": {"state": "dual"}}, direction="back"))(*command)
    said = ended.out + ended.err
    assert "migrate rollback" in said
    assert "migrate run" not in said


def test_the_whole_history_is_shown(on: On, served: Make) -> None:
    """The parts that were archived, too, the oldest line first; `status` alone shows the latest."""
    old, new = ([Entry(at=f"2030-01-0{day}T10:00:00Z", what=f"day {day}")] for day in (1, 2))  # type: ignore[arg-type]
    there = _with(served, {}, history_parts=1, history=[line.model_dump(mode="json") for line in new])
    there.config_map("cni-migrate-history-0", {"lines": dump_lines(old)})
    typed = on(there)
    shown = typed("status", "--history")
    assert shown.code == 0, shown.err
    assert [line.rpartition("  ")[2] for line in shown.out.splitlines()] == ["day 1", "day 2"]
    assert "day 1" not in typed("status").out
    assert '"what": "day 1"' in typed("status", "--history", "-o", "json").out


def test_a_configuration_that_has_changed_is_named_as_it_was_typed(on: On, served: Make, tmp_path: Any) -> None:
    """What is to be put back where, and the command that goes on then, with its file."""
    there = _with(served, {})
    file = tmp_path / "mine.yaml"
    file.write_text("cilium: {pod_cidr: 10.99.0.0/16}\n", encoding="utf-8")
    ended = on(there)("run", "--yes", "--config", str(file))
    assert ended.code == 7
    assert f"put these keys back in {file}, then `migrate run --config {file}`" in ended.err
    assert there.writes == 0
