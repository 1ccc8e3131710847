"""Virtual time: it jumps, in order, and never waits."""

import asyncio
import time

from cni_migrate.sim.clock import run_virtual


def test_an_hour_takes_no_time() -> None:
    """Sleeping moves the loop's clock, not ours."""

    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run_virtual(main()) == 3600
    assert time.monotonic() - began < 1


def test_a_cancelled_timer_costs_no_time_either() -> None:
    """A timeout that did not strike leaves a cancelled timer in front: nobody waits for the next one."""

    async def main() -> float:
        for _ in range(100):
            async with asyncio.timeout(5):
                await asyncio.sleep(0.001)
            await asyncio.sleep(60)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert abs(run_virtual(main()) - 100 * 60.001) < 0.01
    assert time.monotonic() - began < 2


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
