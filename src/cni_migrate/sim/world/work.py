"""The world's only worker: a queue of keyed jobs, now or later, done one at a time in a reproducible order."""

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

Job = tuple[Hashable, ...]
"""The name of a handler and its arguments."""

_YIELD_EVERY = 8


class Work:
    """Jobs by key. A key that is queued already is not queued twice; of two delays of one key the earlier counts.

    One job runs at a time, ready jobs first in, first out and due ones in the order of their times, so that one seed
    gives one history. `background` delays (retries, faults, long tolerations) are not waited for by `settled`.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Callable[..., Awaitable[None]]] = {}
        self._ready: deque[Job] = deque()
        self._queued: set[Job] = set()
        self._heap: list[tuple[float, int, Job]] = []
        self._delayed: dict[Job, tuple[float, bool]] = {}
        self._foreground = 0
        self._sequence = 0
        self._busy = False
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self.done = 0
        """How many jobs ran so far."""

    def handle(self, name: str, handler: Callable[..., Awaitable[None]]) -> None:
        """Register what does the jobs `(name, ...)`."""
        if name in self._handlers:
            raise ValueError(f"two handlers for {name!r}")
        self._handlers[name] = handler

    def add(self, *job: Any) -> None:
        """Do the job as soon as possible; a delay of the same key is dropped."""
        if job in self._delayed:
            self._forget(job)
        if job not in self._queued:
            self._queued.add(job)
            self._ready.append(job)
            self._idle.clear()
            self._wake.set()

    def add_after(self, delay: float, *job: Any, background: bool = False) -> None:
        """Do the job after `delay` seconds, unless it is queued earlier already."""
        if delay <= 0:
            self.add(*job)
            return
        when = asyncio.get_running_loop().time() + delay
        known = self._delayed.get(job)
        if job in self._queued or (known is not None and known[0] <= when):
            return
        if known is not None:
            self._forget(job)
        self._delayed[job] = (when, background)
        if not background:
            self._foreground += 1
            self._idle.clear()
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, job))
        self._wake.set()

    def cancel(self, *job: Any) -> None:
        """Forget a delayed job; one that is ready or running is done all the same."""
        if job in self._delayed:
            self._forget(job)
            self._note_idle()

    def _forget(self, job: Job) -> None:
        """Drop a delay; its heap entry is skipped when it comes up."""
        if not self._delayed.pop(job)[1]:
            self._foreground -= 1

    def _take_due(self) -> float | None:
        """Move due delays to the ready queue; the time of the next one, if any."""
        now = asyncio.get_running_loop().time()
        while self._heap:
            when, _, job = self._heap[0]
            known = self._delayed.get(job)
            if known is None or known[0] != when:
                heapq.heappop(self._heap)
                continue
            if when > now + 1e-9:
                return when
            heapq.heappop(self._heap)
            self._forget(job)
            if job not in self._queued:
                self._queued.add(job)
                self._ready.append(job)
        return None

    async def run(self) -> None:
        """Work until cancelled. A job's exception ends this task: whoever owns it must not swallow that."""
        count = 0
        while True:
            soonest = self._take_due()
            if not self._ready:
                self._note_idle()
                await self._sleep(soonest)
                continue
            job = self._ready.popleft()
            self._queued.discard(job)
            self._busy = True
            await self._handlers[str(job[0])](*job[1:])
            self._busy = False
            self.done += 1
            count += 1
            if count % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _sleep(self, until: float | None) -> None:
        """Wait for a new job or for the next delay."""
        self._wake.clear()
        timer = None
        if until is not None:
            timer = asyncio.get_running_loop().call_at(until, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def _note_idle(self) -> None:
        if self.quiet:
            self._idle.set()

    @property
    def quiet(self) -> bool:
        """Whether nothing is running, ready, or delayed in the foreground."""
        return not self._busy and not self._ready and not self._foreground

    async def wait_quiet(self) -> None:
        """Return once `quiet` holds; what watches still have to deliver is not known here."""
        while not self.quiet:
            self._idle.clear()
            await self._idle.wait()
