"""Two runners at once, and a holder that was stopped and wakes up later."""

import asyncio

import pytest

from cni_migrate.errors import LockHeld, LockLost
from cni_migrate.sim.clock import run_virtual
from tests.simulation.harness import SMALL, Process, config_for, simulated
from tests.simulation.outcome import outcome
from tests.simulation.test_kills import undisturbed

STRATEGIES = ["multus", "overlay"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_second_runner_says_who_holds_the_lock(strategy: str) -> None:
    """One works on undisturbed; the other one names the holder, since when, and changes nothing."""

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, _):
            first = asyncio.create_task(Process(sim, config, holder="ann@alpha/11/5/there").run())
            await asyncio.sleep(20)
            with pytest.raises(LockHeld, match=r"ann@alpha \(process 11\), since 2030-01-01T00:00:00"):
                await Process(sim, config, holder="bob@beta/12/6/elsewhere").run()
            final = await first
            assert final is not None
            assert final.outcome == "done"
            assert outcome(sim, config) == undisturbed(strategy)[1]

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("after", [10, 25, 40, 50, 60, 70])
def test_a_stopped_holder_can_at_most_repeat_one_effect(strategy: str, after: int) -> None:
    """SIGSTOP, a second driver takes over when the lock has expired, SIGCONT: the first one writes nothing new and ends.

    What was in flight when it was stopped may arrive; whatever it sends later is refused or never sent.
    """

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, watch):
            first = Process(sim, config, holder="ann@alpha/11/5/there")
            running = asyncio.create_task(first.run())
            await asyncio.sleep(after)
            assert first.mortal is not None
            first.mortal.freeze()
            second = Process(sim, config, holder="bob@beta/12/6/elsewhere")
            working = asyncio.create_task(second.run())
            await asyncio.sleep(45)  # longer than the lock lasts, shorter than a request is retried

            before = len(first.mortal.written)
            first.mortal.thaw()
            with pytest.raises(LockLost):
                await running
            final = await working
            assert final is not None
            assert final.outcome == "done", final
            assert outcome(sim, config) == undisturbed(strategy)[1]
            assert len(first.mortal.written) - before <= 1, first.mortal.written[before:]
            watch.check()

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_takeover_stops_the_former_holder(strategy: str) -> None:
    """`--takeover` works at once, and the former holder stops at its next write."""

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, watch):
            first = asyncio.create_task(Process(sim, config, holder="ann@alpha/11/5/there").run())
            await asyncio.sleep(30)
            final = await Process(sim, config, holder="bob@beta/12/6/elsewhere", takeover=True).run()
            assert final is not None
            assert final.outcome == "done", final
            with pytest.raises(LockLost):
                await first
            # Until that write both may try again, at the same instant, what a budget had refused: by uid, so it is one end.
            twice = [what for what in watch.broken if "was evicted 2 times" in what]
            assert len(twice) <= 1, twice
            watch.broken[:] = [what for what in watch.broken if what not in twice]
            watch.check()

    run_virtual(main())
