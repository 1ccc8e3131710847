"""Time in the simulator: one clock read from the event loop, and an event loop whose time jumps.

Everything in the simulator asks `SimClock` for the time and `asyncio.sleep` for a delay, so that the same code runs
on wall time (served on a port) and on virtual time (in tests).
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
"""Where virtual time starts: a fixed instant, so that the same seed gives the same history byte for byte."""


TICK = 1e-6
"""The shortest time that passes, in seconds. asyncio runs a timer up to a nanosecond early; who then waits for the rest
would be woken at the same instant, for ever, while time stood still."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time: when nothing is ready, time jumps to the next timer.

    It never sleeps, so code that waits on a real socket or thread must not run on it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._virtual_now = 0.0

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_now

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio's; a delay is a tick at the least, or none."""
        return super().call_later(max(delay, TICK) if delay > 0 else delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio's; what is to come is a tick away at the least."""
        now = self._virtual_now
        return super().call_at(max(when, now + TICK) if when > now else when, callback, *args, context=context)

    def _run_once(self) -> None:
        # The base class drops cancelled timers only after this, and would then really wait for the next one.
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0].cancelled():
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
            heapq.heappop(timers)._scheduled = False  # type: ignore[attr-defined] # noqa: SLF001 - as the base does
        if not self._ready and timers:  # type: ignore[attr-defined]
            self._virtual_now = max(self._virtual_now, timers[0].when())
        super()._run_once()  # type: ignore[misc]


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a fresh virtual loop; what is still running then is cancelled."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class SimClock:
    """The simulated cluster's clock: `epoch` plus the running loop's time since the clock was made."""

    def __init__(self, epoch: datetime = EPOCH) -> None:
        self._epoch = epoch
        self._start = asyncio.get_running_loop().time()

    def now(self) -> datetime:
        """The present instant, in UTC."""
        return self._epoch + timedelta(seconds=self.seconds())

    def seconds(self) -> float:
        """Seconds since the clock was made."""
        return asyncio.get_running_loop().time() - self._start
