"""How a run is shown on stderr: redrawn in place on a terminal, or in lines that follow one another."""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from typing import Final, Protocol

from rich.console import Group, RenderableType
from rich.text import Text

from cni_migrate.cli.ui import colours, output, progress
from cni_migrate.cli.ui.frame import Frame
from cni_migrate.cli.ui.progress import Progress
from cni_migrate.cli.ui.typeable import typeable
from cni_migrate.core.decision.advance import Waiting
from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model.record import Record
from cni_migrate.core.reports.eta import Left
from cni_migrate.ports import Clock

REDRAW_SECONDS: Final = 0.25

LAST_LINES: Final = 5
"""So many lines of what happened last stay on the screen above the table."""

SUM_EVERY: Final = timedelta(seconds=30)
"""How often the sum is told where nothing is redrawn."""

PATIENCE: Final = timedelta(seconds=5)
"""What is waited for is told there once it takes longer than this."""

TimeLeft = Callable[[Record], Left | None]


class Display(Protocol):
    """What shows a run to people."""

    def shown(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Show it while inside."""
        ...

    def decision(self, decision: Decision, order: Iterable[str]) -> None:
        """Take the latest decision in, and the order in which nodes are migrated."""
        ...

    def say(self, at: datetime, text: str, *, bad: bool = False) -> None:
        """A line that stays."""
        ...

    def note(self, text: str) -> None:
        """A line about this very program, until another comes."""
        ...


class Screen:
    """Shows the latest decision, redrawn at most four times a second, and above it what has happened, line by line."""

    def __init__(self, clock: Clock, left: TimeLeft) -> None:
        """A screen on stderr; `left` tells how long the rest takes."""
        self._clock = clock
        self._left = left
        self._started = clock.now()
        self._console = output.console(sys.stderr)
        self._frame = Frame(self._console, transient=True, overflow="crop", again=self._say_again)
        self._said: deque[tuple[Text, Text]] = deque(maxlen=LAST_LINES)
        self._decision: Decision | None = None
        self._order: dict[str, int] = {}
        self._note = "taking the lock"

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show it while inside; the table is gone at the end."""
        with self._frame:
            task = asyncio.create_task(self._redraw(), name="screen")
            try:
                yield
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                self._frame.show(Text(""), now=False)

    def decision(self, decision: Decision, order: Iterable[str]) -> None:
        """Take the latest decision in, and the order in which nodes are migrated."""
        if self._decision is None:
            self._note = ""
        self._decision = decision
        self._order = {name: place for place, name in enumerate(order)}

    def say(self, at: datetime, text: str, *, bad: bool = False) -> None:
        """A line that stays above the table."""
        stamp = Text(f"{output.clock(at, self._started)}  ", style=colours.QUIET)
        self._frame.fit()
        self._said.append((stamp, Text(text, style=colours.BAD if bad else "")))
        self._print(*self._said[-1])

    def _print(self, stamp: Text, line: Text) -> None:
        output.say(self._console, line, stamp, by=10)

    def _say_again(self) -> None:
        for stamp, line in self._said:
            self._print(stamp, line)

    def note(self, text: str) -> None:
        """A line under the table, until another comes."""
        self._note = text

    async def _redraw(self) -> None:
        while True:
            self._frame.show(self._drawn())
            await asyncio.sleep(REDRAW_SECONDS)

    def _drawn(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._decision is not None:
            run = Progress(
                self._started, self._clock.now(), self._decision, self._order, self._left(self._decision.record)
            )
            height = self._console.height - LAST_LINES - 2
            parts += [Text(""), *progress.drawn(run, self._console.width, height)]
        if self._note:
            parts.append(Text(self._note, style=colours.CAUTION))
        return Group(*parts)


class Lines:
    """Tells people what happens where there is no terminal: each thing once, and the sum from time to time."""

    def __init__(self, clock: Clock, left: TimeLeft) -> None:
        """Lines on stderr; `left` tells how long the rest takes."""
        self._clock = clock
        self._left = left
        self._started = clock.now()
        self._summed = self._started
        self._waits: dict[tuple[str, str, str], _Told] = {}

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Nothing is to be opened."""
        yield

    def decision(self, decision: Decision, order: Iterable[str]) -> None:
        """Tell what is waited for by now, and the sum when it is time for it."""
        now = self._clock.now()
        current = {(wait.node, wait.step, wait.on): wait for wait in decision.waits}
        self._waits = {key: self._waits.get(key, _Told(now)) for key in current}
        for key, wait in current.items():
            if self._waits[key].due(wait, now):
                self.say(now, f"{f'node {wait.node} ' if wait.node else ''}waits for {progress.words(wait)}")
        if now - self._summed >= SUM_EVERY:
            self._summed = now
            places = {name: place for place, name in enumerate(order)}
            run = Progress(self._started, now, decision, places, self._left(decision.record))
            self.say(now, progress.line(run))

    def say(self, at: datetime, text: str, *, bad: bool = False) -> None:
        """A line; there are no colours here."""
        sys.stderr.write(f"{output.clock(at, self._started)}  {typeable(text)}\n")
        sys.stderr.flush()

    def note(self, text: str) -> None:
        """A line as any other."""
        self.say(self._clock.now(), text)


class _Told:
    """A wait: since when, and what was told of it last."""

    def __init__(self, since: datetime) -> None:
        self._next = since + PATIENCE
        self._seen = ""

    def due(self, wait: Waiting, now: datetime) -> bool:
        """Whether it is to be told now."""
        if now < self._next or wait.observed == self._seen:
            return False
        self._next, self._seen = now + PATIENCE * 2, wait.observed or "-"
        return True
