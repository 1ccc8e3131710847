"""The agents are kept fast, and told of nodes in transit, while a driver is at work: by one small object now and then."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from cni_migrate.core.decision.probe_rate import MOST, SLOT, keep_pace, transit
from cni_migrate.core.model import names
from cni_migrate.core.model.effects import PutObject
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.record import NodeRecord
from tests.unit.core.builders import NOW, Seen, a_daemonset, a_node, a_plan, a_record, an_entry, seen, under_way

PLAN = a_plan("overlay")


def _seen() -> Seen:
    agents = [a_daemonset(name, namespace="knet-stress") for name in names.KNET.values()]
    return seen(*agents)


def _asked(found: Seen, later: float = 0, phase: Phase = Phase.MIGRATING, step: str = "") -> PutObject | None:
    record = a_record(PLAN, ["w1"], phase=phase, step=step)
    return keep_pace(PLAN, record, found, found.attempts, NOW + timedelta(seconds=later))


def test_it_is_asked_for_well_ahead_and_again_in_time() -> None:
    found = _seen()
    first = _asked(found)
    assert first is not None
    assert first.manifest["metadata"]["name"] == names.PACE
    assert first.manifest["data"] == {"until": "2030-01-01T12:10:00+00:00"}
    found.tried(first.key, "applied", at=NOW)
    assert _asked(found, SLOT - 1) is None
    second = _asked(found, SLOT)
    assert second is not None
    assert second.manifest["data"] == {"until": "2030-01-01T12:15:00+00:00"}


def test_not_where_there_are_no_agents() -> None:
    """Before they are deployed, and while they are removed: the object would be left behind."""
    assert _asked(seen()) is None
    assert _asked(_seen(), phase=Phase.DONE) is None
    assert _asked(_seen(), phase=Phase.CLEANING, step="remove_knet") is None
    assert _asked(_seen(), phase=Phase.CLEANING, step="final_sweep") is not None


LARGE = tuple(f"w{n:02}" for n in range(40))
OUT = under_way("w07", NodeState.DUAL, NodeEvent.DRAIN, "cordon")


def _told(found: Seen, entries: Mapping[str, NodeRecord], later: float = 0) -> str | None:
    """What would be written of the nodes in transit, and is; None: nothing is written."""
    now = NOW + timedelta(seconds=later)
    nodes = {name: an_entry(name, NodeState.DUAL) for name in LARGE} | dict(entries)
    effect = keep_pace(PLAN, a_record(PLAN, nodes), found, found.attempts, now)
    if effect is None:
        return None
    found.tried(effect.key, "applied", at=now)
    return str(effect.manifest["data"].get("transit", ""))


def _large() -> Seen:
    agents = [a_daemonset(name, namespace="knet-stress") for name in names.KNET.values()]
    return seen(*agents, *map(a_node, LARGE))


def test_nodes_in_transit_are_told_once_and_changes_of_a_while_together() -> None:
    """What was told before and is true again is told again; while nothing changes nothing is written."""
    found = _large()
    assert _told(found, {}) == ""
    assert _told(found, {"w07": OUT}, 1) is None  # soon
    assert _told(found, {"w07": OUT}, 10) == "w07"
    assert [_told(found, {"w07": OUT}, 10 + later) for later in (1, 30, 200)] == [None, None, None]
    assert _told(found, {"w07": OUT, "w09": an_entry("w09", NodeState.CILIUM)}, 220) == "w07\nw09"
    assert _told(found, {}, 240) == ""
    assert _told(found, {"w07": OUT}, 260) == "w07"


def test_a_node_in_transit_costs_two_writes_at_most() -> None:
    """One when it goes, one when it is back: of nodes one after the other, one each."""
    found = _large()
    _told(found, {})
    written = [_told(found, {name: OUT}, 20 + 0.5 * turn) for turn, name in enumerate(sorted(LARGE * 50)[:500])]
    assert [told for told in written if told is not None] == list(LARGE[:10])


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (an_entry("w07", NodeState.DUAL), False),
        (an_entry("w07", NodeState.DRAINING), True),
        (under_way("w07", NodeState.CILIUM, NodeEvent.RELEASE, "untaint"), True),
        (under_way("w07", NodeState.CANAL, NodeEvent.ADOPT, "cordon"), True),
        (under_way("w07", NodeState.DUAL, NodeEvent.DETACH, "gate"), True),
        (under_way("w07", NodeState.CANAL, NodeEvent.ATTACH, "await_cilium"), False),  # overlay: in service
        (under_way("w07", NodeState.DUAL, NodeEvent.DRAIN, "cordon", skipped=True), False),
        (under_way("w07", NodeState.DUAL, NodeEvent.DRAIN, "cordon", gone=True), False),
    ],
)
def test_who_is_in_transit(entry: NodeRecord, named: bool) -> None:
    """Whoever is not at rest, but for those that nobody waits for and those whose network nobody touches."""
    assert transit(PLAN, a_record(PLAN, {"w07": entry}), _large()) == (("w07",) if named else ())


def test_where_everybody_probes_everybody_nobody_is_named() -> None:
    found = seen(*map(a_node, LARGE[:12]))
    assert transit(PLAN, a_record(PLAN, {"w07": OUT}), found) == ()


def test_so_many_at_most() -> None:
    """Each is work for every agent."""
    record = a_record(PLAN, dict.fromkeys(LARGE, OUT))
    assert transit(PLAN, record, _large()) == LARGE[:MOST]
