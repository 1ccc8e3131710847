"""A wrong clock is named as a clock, whosever it is: reports that cannot be dated look like agents that are silent."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from cni_migrate.core.model.goal import Final
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from tests.simulation import harness
from tests.simulation.harness import SMALL, Process, config_for, simulated

WRONG = [
    (300, r"the clock of node w2 is (299|300)\.\d s ahead of this machine's: set it by NTP"),
    (-300, r"the clock of node w2 is about 30\d s behind this machine's: set by NTP"),
]


def _run(*clocks: tuple[str, float]) -> Final:
    faults = [{"clock": {"node": node, "seconds": seconds}} for node, seconds in clocks]
    scenario = Scenario.model_validate({**SMALL.model_dump(), "name": "clocks", "faults": faults})

    async def main() -> Final:
        config = config_for("overlay", deadlines={"gate": 30})
        async with simulated(scenario, config) as (sim, _):
            final = await Process(sim, config).run()
            assert final is not None
            return final

    return run_virtual(main())


@pytest.mark.parametrize(("seconds", "said"), WRONG, ids=["fast", "slow"])
def test_a_node_s_clock_that_is_minutes_off_is_named(seconds: int, said: str) -> None:
    """With the node and by how much; nothing was changed, and nobody is called silent."""
    final = _run(("w2", seconds))
    assert final.outcome == "gate"
    assert re.search(said, final.message), final
    assert "no report from" not in final.message


@pytest.mark.parametrize("seconds", [300, -300], ids=["fast", "slow"])
def test_this_machine_s_clock_is_named(seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all nodes agree with each other and not with it."""

    def now(clock: harness.SimulatedClock) -> datetime:
        return clock._sim.clock.now().astimezone(UTC) + timedelta(seconds=seconds)

    monkeypatch.setattr(harness.SimulatedClock, "now", now)
    final = _run()
    assert final.outcome == "gate"
    where = "ahead of" if seconds > 0 else "behind"
    assert f"s {where} those of all nodes: set it by NTP" in final.message, final
    assert "this machine's clock is about" in final.message
