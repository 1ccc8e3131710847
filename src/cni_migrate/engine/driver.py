"""The driver: look, decide, write the record, act, look again. Nothing is decided here."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from cni_migrate.core.decision.begin import begin, new_record
from cni_migrate.core.decision.decide import Decision, decide
from cni_migrate.core.model.effects import PutObject, RunHostTask
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.objects import GateReading, Snapshot
from cni_migrate.core.model.record import Record
from cni_migrate.core.steps.view import Plan
from cni_migrate.engine.lease import Lock
from cni_migrate.engine.store import RecordStore
from cni_migrate.errors import UsageError
from cni_migrate.ports import Clock, Cluster, Prober

Observer = Callable[[Decision, Snapshot], None]
"""Is shown every decision, for the screen and the log."""


STALE = timedelta(seconds=10)
"""For so long the record in the cluster may lag behind a step that only waits; `status` reads it there."""

UNTOLD = timedelta(seconds=30)
"""The same for lines of history that nothing else goes along with."""


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
            raise _nothing_to_undo()
        await self.lock.take(takeover=self.takeover)
        try:
            record = await self._begin()
            return await self._drive(record)
        finally:
            await self.lock.release()

    async def _begin(self) -> Record:
        """Read the record after the lock was taken, check it, and make it ours by a new epoch."""
        nodes = self.cluster.snapshot().nodes
        record = await self.store.load()
        if record is None:
            if self.goal.kind != "forward":
                raise _nothing_to_undo()
            record = new_record(self.plan.config, len(nodes), self.tool)
        record = begin(self.plan, self.goal, record, nodes, self.clock.now())
        return await self.store.seize(record)

    async def _drive(self, record: Record) -> Final:
        readings: dict[str, GateReading] = {}
        written = told = self.clock.now()
        while True:
            self.cluster.note_readings(readings)
            seen = self.cluster.snapshot()
            decision = decide(self.plan, self.goal, record, seen, self.clock.now(), stopping=self._stopping.is_set())
            record = decision.record
            self.lock.check()
            stale = self.clock.now() - written >= STALE
            if decision.effects or decision.durable or stale:
                whole = decision.final is not None or self.clock.now() - told >= UNTOLD
                await self.store.write(record, whole=whole)
                written = self.clock.now()
                told = self.clock.now() if whole else told
            self.observer(decision, seen)
            if decision.final is not None:
                return decision.final
            # Host tasks come last, behind another look at the lock: they may run ahead, beside other effects, and a
            # holder that was stopped meanwhile must not start one late.
            tasks = [effect for effect in decision.effects if isinstance(effect, RunHostTask)]
            for effects in ([effect for effect in decision.effects if not isinstance(effect, RunHostTask)], tasks):
                self.lock.check()
                if effects:
                    await self.cluster.perform(effects)
            readings = {key: one for key, one in readings.items() if self.clock.now() - one.at < KEPT}
            if decision.asks:
                for key, later in (await self.prober.read(decision.asks)).items():
                    readings[key] = readings[key].then(later) if key in readings else later
            if not decision.asks or any(ask.key not in readings for ask in decision.asks):
                await self._changed(decision)

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


def _nothing_to_undo() -> UsageError:
    return UsageError("no migration was begun in this cluster: there is nothing to roll back", next="migrate status")
