"""Removes what Canal has left in the API, behind the end of a migration: asked for, recorded, and safe to repeat."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from cni_migrate.core.model.effects import DeleteObject
from cni_migrate.core.model.leftovers import Leftover, commands
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.record import Record, noted
from cni_migrate.engine.lease import Lock
from cni_migrate.engine.store import RecordStore
from cni_migrate.errors import Halted
from cni_migrate.ports import Clock, Cluster

Find = Callable[[], Awaitable[tuple[Leftover, ...]]]
"""Looks what is left."""


@dataclass
class Removal:
    """Deletes leftovers that nobody else owns or uses. Typed again, it goes on with what is there."""

    cluster: Cluster
    store: RecordStore
    lock: Lock
    clock: Clock
    find: Find
    by: str
    seconds: float

    async def run(self, *, takeover: bool = False) -> None:
        """Delete them; what is to go is in the history before the first of them goes.

        Raises:
            Halted: the migration is not done, or they are still there after the deadline.
            MigrateError: the lock is somebody else's, or the API server refuses.
        """
        await self.lock.take(takeover=takeover)
        try:
            record = await self.store.load()
            if record is None or record.cluster.phase is not Phase.DONE:
                raise Halted("what Canal has left can go when the migration is done", next="migrate run")
            wanted = [one for one in await self.find() if one.removable]
            if wanted:
                record = await self.store.seize(record)
                listed = "; ".join(commands(wanted))
                record = await self._note(
                    record, f"removing {_many(wanted)} that Canal left, as {self.by} asks: {listed}"
                )
                await self._delete(wanted)
                await self._note(record, f"removed {_many(wanted)} that Canal left")
        finally:
            await self.lock.release()

    async def _note(self, record: Record, what: str) -> Record:
        self.lock.check()
        return await self.store.write(record.with_cluster(noted(record.cluster, self.clock.now(), what)))

    async def _delete(self, wanted: list[Leftover]) -> None:
        until = self.clock.now() + timedelta(seconds=self.seconds)
        while wanted:
            if self.clock.now() > until:
                raise Halted(
                    f"{_many(wanted)} that Canal left still there after {self.seconds:g} s: {wanted[0].ref}",
                    next="migrate cleanup --remove-leftovers  (tries again)",
                )
            self.lock.check()
            effects = [DeleteObject(one.ref, one.uid) for one in wanted]
            await self.cluster.perform(effects)
            attempts = self.cluster.attempts
            for effect in effects:
                attempt = attempts.get(effect.key)
                if attempt is not None and attempt.result == "failed":
                    raise Halted(f"deleting {effect.ref}: {attempt.message}", next="migrate cleanup --remove-leftovers")
            uids = {one.uid for one in wanted}
            wanted = [one for one in await self.find() if one.removable and one.uid in uids]
            if wanted:
                await self.clock.sleep(1)


def _many(found: list[Leftover]) -> str:
    return f"{len(found)} object{'' if len(found) == 1 else 's'}"
