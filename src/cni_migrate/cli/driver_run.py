"""One run of the driver: signals, progress on stderr, and its end."""

import asyncio
import contextlib
import platform
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from cni_migrate.cli import interrupts
from cni_migrate.cli.options import ProgressForm
from cni_migrate.cli.session import Session
from cni_migrate.cli.ui import output
from cni_migrate.cli.ui.live import Display, Lines, Screen, TimeLeft
from cni_migrate.cli.version import version
from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.decision.order import in_order
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.news import Newspaper
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.core.model.record import Record
from cni_migrate.core.reports.eta import Left, time_left
from cni_migrate.engine.driver import Driver
from cni_migrate.engine.observers import LogEvent, Narrator
from cni_migrate.errors import Interrupted
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.events import NodeEvents
from cni_migrate.wiring import plan_for

if TYPE_CHECKING:
    from cni_migrate.engine.metrics import Metrics


def _display(here: Session, form: ProgressForm, left: TimeLeft) -> Display | None:
    """What shows the run to people; None: the log's lines do."""
    if form is not ProgressForm.PLAIN and (here.as_json or not sys.stderr.isatty()):
        return None
    redraws = form is not ProgressForm.PLAIN and output.redraws(output.console(sys.stderr))
    return Screen(here.clock, left) if redraws else Lines(here.clock, left)


class DriverRun:
    """Runs the driver once, shows what it does, and stops it on Ctrl-C or SIGTERM."""

    def __init__(
        self,
        here: Session,
        cluster: KubeCluster,
        goal: Goal,
        record: Record | None,
        *,
        takeover: bool,
        metrics: "Metrics | None" = None,
        shown: ProgressForm = ProgressForm.AUTO,
    ) -> None:
        self.began = False
        self._goal = goal
        self._clock = here.clock
        self._cluster = cluster
        self._log = structlog.get_logger()
        self._narrator = Narrator()
        if record is not None:
            self._narrator.begin(record.cluster.history)
        self._display = _display(here, shown, self._time_left)
        self._config = config = here.config
        self._plan = plan_for(config, cluster.snapshot())
        self._nodes = 0
        self._metrics = metrics
        self._news = Newspaper()
        if record is not None:
            self._news.begin(record)
            if metrics is not None:
                metrics.begin(record)
        self._events = NodeEvents(here.client, here.clock, platform.node())
        self._driver = Driver(
            plan=self._plan,
            goal=goal,
            cluster=cluster,
            prober=here.prober(),
            clock=here.clock,
            store=here.store(),
            lock=here.lock(self._notice),
            observer=self._observe,
            tool=f"migrate/{version()}",
            takeover=takeover,
        )
        self._task: asyncio.Task[Final] | None = None
        self._signals = 0

    async def run(self) -> Final:
        """Drive to the end.

        Raises:
            MigrateError: as the driver does.
            Interrupted: it was stopped at once.
        """
        try:
            async with self._shown(), self._events.sending():
                return await self._driven()
        finally:
            if self._metrics is not None:  # who is asked about clean-up now drives nothing
                self._metrics.lock(held=False)

    async def _driven(self) -> Final:
        with interrupts.taken(self._stop):
            self._task = asyncio.create_task(self._driver.run(), name="driver")
            while not self._task.done():
                await asyncio.wait({self._task})
            if self._task.cancelled():
                raise Interrupted("interrupted at once: the record is safe", next=f"{self._goal.command}  (resumes)")
            return self._task.result()

    @contextlib.asynccontextmanager
    async def _shown(self) -> AsyncIterator[None]:
        if self._display is None:
            yield
            return
        async with self._display.shown():
            yield

    def _stop(self) -> None:
        self._signals += 1
        if self._signals == 1 and self.began:
            self._driver.stop()
            text = "finishing the current step; press again to stop at once"
            if self._display is not None:
                self._display.note(text)
            else:
                self._log.warning("stopping", what=text)
        elif self._task is not None:
            self._task.cancel()

    def _time_left(self, record: Record) -> Left | None:
        return time_left(self._plan, record, self._nodes, self._clock.now())

    def _notice(self, text: str) -> None:
        if self._display is not None:
            self._display.note(text)
        else:
            self._log.info("lock", what=text)

    def _observe(self, decision: Decision, seen: Snapshot) -> None:
        self.began, self._nodes = True, len(seen.nodes)
        if self._display is not None:
            self._display.decision(decision, [node.name for node in in_order(self._config, seen.nodes.values())])
        if self._metrics is not None:
            self._metrics.lock(held=True)
            self._metrics.take(decision, self._cluster.attempts, self._clock.now())
        for news in self._news.take(decision.record):
            self._events.tell(news)
        for event in self._narrator.take(decision, self._clock.now()):
            self._tell(event)

    def _tell(self, event: LogEvent) -> None:
        """On a terminal the table shows steps and waits, and history stays above it; the log file gets everything."""
        kind = str(event.pop("event"))
        if self._display is None:
            self._log.info(kind, **event)
            return
        self._log.info(kind, quiet=True, **event)
        if kind == "history":
            what = str(event["what"])
            self._display.say(datetime.fromisoformat(event["noted"]), what, bad=" held: " in what)
