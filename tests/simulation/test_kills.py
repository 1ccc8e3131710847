"""The driver is killed between each of its writes and the next; another one goes on, and the end is the same.

SIGKILL is played in process: the request in flight is carried out or not, nothing that the process sends later
arrives, and nothing is tidied up. The world runs on until the lock expires and the second driver takes over.

Whoever goes on finds the same cluster behind a death after write k and behind one before write k + 1: nothing of the
process is left that could know the difference. So each of these places is tried once, alternately in both ways.
"""

import asyncio
from functools import cache
from typing import Any

import pytest

from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.sim.clock import run_virtual
from tests.simulation.harness import SMALL, Process, config_for, simulated
from tests.simulation.outcome import outcome

STRATEGIES = ["multus", "overlay"]


@cache
def undisturbed(strategy: str) -> tuple[int, dict[str, Any]]:
    """How many writes a run makes that nobody disturbs, and how it ends."""

    async def main() -> tuple[int, dict[str, Any]]:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, _):
            final = await Process(sim, config).run()
            assert final is not None
            assert final.outcome == "done", final
            return sim.app.hooks.writes, outcome(sim, config)

    return run_virtual(main())


def cases() -> list[Any]:
    """Every place behind a write of both strategies, from the last one on: before and after each second write."""
    return [
        pytest.param(strategy, moment, k, id=f"{strategy}-{moment}-{k}")
        for strategy in STRATEGIES
        for k in range(undisturbed(strategy)[0], 0, -2)
        for moment in ("before", "after")
    ]


@pytest.mark.parametrize(("strategy", "moment", "k"), cases())
def test_killed_between_two_writes(strategy: str, moment: str, k: int) -> None:
    """Killed before or after write k is applied, and resumed: the same end, no pod evicted twice, every invariant held."""

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, watch):
            first = Process(sim, config)
            setattr(first, f"kill_{moment}", k)
            assert await first.run() is None, "it was to be killed"
            second = Process(sim, config, holder="second@test/2/2/elsewhere")
            final = await second.run()
            assert final is not None
            assert final.outcome == "done", final
            watch.check()
            assert outcome(sim, config) == undisturbed(strategy)[1]
            assert max(watch.evicted.values()) == 1

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_short_lives_get_through(strategy: str) -> None:
    """Killed every two and a half seconds, whatever it does, each driver gets a little further: the end is the same."""

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, watch):
            final = None
            for life in range(300):
                process = Process(sim, config, holder=f"life-{life}@test/{life}/1/elsewhere", takeover=True)
                asyncio.get_running_loop().call_later(2.5, process.kill)
                if (final := await process.run()) is not None:
                    break
            assert final is not None, "it never got through"
            assert final.outcome == "done", final
            watch.check()
            assert outcome(sim, config) == undisturbed(strategy)[1]

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("way", ["forward", "back"])
def test_lives_of_a_few_writes_get_through(strategy: str, way: str) -> None:
    """Killed after every sixteenth write, fewer than the objects of one step: what was written is not begun with again."""

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, watch):
            goal = Goal()
            if way == "back":
                assert await Process(sim, config, goal=Goal(until=Phase.MIGRATING)).run() is not None
                goal = Goal(kind="rollback")
            final = None
            for number in range(2, 120):
                holder = f"h{number}@test/{number}/{number}/x"
                process = Process(sim, config, goal=goal, holder=holder, takeover=True, kill_after=16)
                if (final := await process.run()) is not None:
                    break
            assert final is not None, sim.app.hooks.writes
            assert final.outcome == "done", final
            watch.check()
            if way == "forward":
                assert outcome(sim, config) == undisturbed(strategy)[1]

    run_virtual(main())
