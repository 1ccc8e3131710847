"""Virtual time: it jumps, in order, and never waits."""

import asyncio
import contextlib

import pytest

from cni_migrate.sim.clock import run_virtual


@pytest.mark.timeout(300)
def test_an_hour_takes_no_time() -> None:
    """Sleeping moves the loop's clock, not ours: who waited here, or below, would not end before the test's limit."""

    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 3600


@pytest.mark.timeout(300)
def test_a_cancelled_timer_costs_no_time_either() -> None:
    """A timeout that did not strike leaves a cancelled timer in front: nobody waits for the next one."""

    async def main() -> float:
        for _ in range(100):
            async with asyncio.timeout(50):
                await asyncio.sleep(0.001)
            await asyncio.sleep(60)
        return asyncio.get_running_loop().time()

    assert abs(run_virtual(main()) - 100 * 60.001) < 0.01


def test_things_happen_in_their_order() -> None:
    """Timers fire by their time, whatever the order in which they were set."""
    seen: list[int] = []

    async def later(seconds: int) -> None:
        await asyncio.sleep(seconds)
        seen.append(seconds)

    async def main() -> None:
        await asyncio.gather(later(3), later(1), later(2))

    run_virtual(main())
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("early", [5e-10, 1e-12, 7e-14])
@pytest.mark.parametrize("others", [0, 1, 2, 5])
def test_who_waits_until_an_instant_gets_there(others: int, early: float) -> None:
    """A timer that fires a little early does not fire for ever at the same instant, however many wait with it.

    Each of them has something ready while another's timer is set: nothing was ever idle, so time never jumped.
    """

    async def waits(until: float, lag: int) -> int:
        loop = asyncio.get_running_loop()
        for _ in range(lag):
            await asyncio.sleep(0)
        turns = 0
        while loop.time() < until and turns < 100:
            turns += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(loop.create_future(), until - loop.time())
        return turns

    async def main() -> int:
        await asyncio.sleep(127.218)
        until = asyncio.get_running_loop().time() + early
        return max(await asyncio.gather(*(waits(until, lag) for lag in range(1 + others))))

    assert run_virtual(main()) <= 2
