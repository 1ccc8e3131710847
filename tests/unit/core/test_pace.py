"""The agents are kept fast while a driver is at work, by one small object now and then."""

from datetime import timedelta

from cni_migrate.core import names
from cni_migrate.core.effects import PutObject
from cni_migrate.core.lifecycle import Phase
from cni_migrate.core.pace import SLOT, keep_pace
from tests.unit.core.builders import NOW, Seen, a_daemonset, a_plan, a_record, seen

PLAN = a_plan("overlay")


def _seen() -> Seen:
    agents = [a_daemonset(name, namespace="knet-stress") for name in names.KNET.values()]
    return seen(*agents)


def _asked(found: Seen, later: float = 0, phase: Phase = Phase.MIGRATING, step: str = "") -> PutObject | None:
    record = a_record(PLAN, ["w1"], phase=phase, step=step)
    return keep_pace(PLAN, record, found, NOW + timedelta(seconds=later))


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
