"""The driver: look, decide, write the record, act, look again. Nothing is decided here."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from cni_migrate.core.decision.begin import begin, new_record
from cni_migrate.core.decision.decide import Decision, decide
from cni_migrate.core.decision.installed import installed, put_back
from cni_migrate.core.model.effects import Effect, PutObject, RunHostTask
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.core.model.outcomes import Outcomes
from cni_migrate.core.model.record import Record, closed
from cni_migrate.core.model.rounds import GateReading
from cni_migrate.core.steps.view import Plan
from cni_migrate.engine.closing import nothing_to_undo
from cni_migrate.engine.lease import Lock
from cni_migrate.engine.store import RecordStore
from cni_migrate.errors import MigrateError
from cni_migrate.ports import Clock, Cluster, Prober

T = TypeVar("T")

Observer = Callable[[Decision, Snapshot], None]
"""Is shown every decision, for the screen and the log."""


LAG = 0.7
"""Seconds for which the record in the cluster may lag behind what was shown; `status` reads it there."""

LAST = 0.9
"""Seconds for the last write of a driver that is stopped at once (`cli.session.INSIST` is a little more)."""

LOOK = 0.5
"""Seconds between two looks at the lock while effects are under way."""

KEPT = timedelta(seconds=10)
"""For so long what was read is kept: a step asks again long before, or is done with it."""


@dataclass
class Driver:
    """Drives a cluster towards a goal."""

    plan: Plan
    goal: Goal
    cluster: Cluster
    prober: Prober
    clock: Clock
    store: RecordStore
    lock: Lock
    observer: Observer
    tool: str
    takeover: bool = False
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _record: Record | None = None
    """What was decided last; `_since` is since when the cluster's record has not said the same."""
    _since: datetime | None = None

    def stop(self) -> None:
        """Finish the current step, record it, and end."""
        self._stopping.set()

    async def run(self) -> Final:
        """Drive until the goal is reached, or until a human is needed.

        Raises:
            MigrateError: see `errors`; whatever is raised, the record in the cluster is safe to go on from.
        """
        if self.goal.kind == "forward":
            await self.cluster.perform([PutObject(m) for m in self.plan.manifests.namespaces()[:1]])
        elif await self.store.load() is None:
            return await self._nothing_to_undo()
        await self.lock.take(takeover=self.takeover)
        try:
            record = await self.store.load()
            if record is None and self.goal.kind != "forward":  # somebody else was faster
                return await self._nothing_to_undo()
            return await self._drive(await self._begin(record))
        except asyncio.CancelledError:
            await self._save_at_last()
            raise
        finally:
            await self.lock.release()

    async def _nothing_to_undo(self) -> Final:
        return nothing_to_undo(await self.store.last_closed(), self.goal.node, self.cluster.snapshot().nodes.keys())

    async def _begin(self, record: Record | None) -> Record:
        """Check the record that was read after the lock was taken, and make it ours by a new epoch."""
        nodes = self.cluster.snapshot().nodes
        if record is not None and closed(record) and self.goal.kind == "forward":
            await self.store.close(record)
            record = await self.store.load()
        if record is None:
            record = new_record(self.plan.config, len(nodes), self.tool)
        record = begin(self.plan, self.goal, record, nodes, self.clock.now())
        record = await self.store.seize(record)
        if looks := installed(self.plan, record, self.cluster.snapshot()):
            await self._perform(looks)
            record = put_back(record, looks, self.cluster.attempts, self.clock.now())
        return record

    async def _drive(self, record: Record) -> Final:
        readings: dict[str, GateReading] = {}
        while True:
            seen = self.cluster.snapshot()
            done = Outcomes(self.cluster.attempts, readings)
            now, stopping = self.clock.now(), self._stopping.is_set()
            decision = decide(self.plan, self.goal, record, seen, now, outcomes=done, stopping=stopping)
            self._decided(decision.record)
            self.lock.check()
            if decision.effects or decision.durable or self._left() <= 0:
                await self._save()
            assert self._record is not None
            record = self._record
            self.observer(decision, seen)
            if decision.final is not None:
                if closed(record):
                    await self.store.close(record)
                return decision.final
            # Host tasks come last, behind another look at the lock: they may run ahead, beside other effects, and a
            # holder that was stopped meanwhile must not start one late.
            tasks = [effect for effect in decision.effects if isinstance(effect, RunHostTask)]
            for effects in ([effect for effect in decision.effects if not isinstance(effect, RunHostTask)], tasks):
                self.lock.check()
                if effects:
                    await self._perform(effects)
            readings = {key: one for key, one in readings.items() if self.clock.now() - one.at < KEPT}
            if decision.asks:
                for key, later in (await self._meanwhile(self.prober.read(decision.asks))).items():
                    readings[key] = readings[key].then(later) if key in readings else later
            if decision.lookups:
                await self._meanwhile(self.cluster.look_up(decision.lookups))
            if not decision.asks or any(ask.key not in readings for ask in decision.asks):
                await self._meanwhile(self._changed(decision))
            record = self._record

    def _decided(self, record: Record) -> None:
        """Take a decision's record, and note since when it is not what the cluster's record says."""
        self._record = record
        if not self.store.differs(record):
            self._since = None
        elif self._since is None:
            self._since = self.clock.now()

    def _left(self) -> float:
        """Seconds until what was decided has to be written, should nothing else be a reason before."""
        if self._since is None:
            return math.inf
        return LAG - (self.clock.now() - self._since).total_seconds()

    async def _save(self) -> None:
        if self._record is not None:
            self._record = await self.store.write(self._record)
        self._since = None

    async def _save_at_last(self) -> None:
        """Write what was decided before the driver ends, if that can be done at once."""
        if self._since is not None and not self.lock.lost:
            with contextlib.suppress(MigrateError, TimeoutError):
                async with asyncio.timeout(LAST):
                    await self._save()

    async def _perform(self, effects: Iterable[Effect]) -> None:
        """Perform effects for as long as the lock is ours: a request is tried again for longer than the lock lasts."""
        task = asyncio.create_task(self.cluster.perform(effects))
        try:
            while not task.done():
                self.lock.check()
                await asyncio.wait({task}, timeout=LOOK)
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _meanwhile(self, waiting: Coroutine[Any, Any, T]) -> T:
        """Wait for something; where that takes long, what was decided is written meanwhile."""
        task = asyncio.create_task(waiting)
        try:
            if self._since is not None:
                await asyncio.wait({task}, timeout=max(self._left(), 0))
                if not task.done():
                    self.lock.check()
                    await self._save()
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _changed(self, decision: Decision) -> None:
        """Wait for a change, the decision's deadline, or the wish to stop."""
        if self._stopping.is_set():
            await self.cluster.changed(decision.deadline, decision.gather)
            return
        waiting = [
            asyncio.create_task(self.cluster.changed(decision.deadline, decision.gather)),
            asyncio.create_task(self._stopping.wait()),
        ]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        for task in done:
            task.result()
