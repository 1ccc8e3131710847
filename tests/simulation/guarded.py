"""Watches NetworkPolicies through a whole run: every guarded call, several times a second, from outside of the product.

The scenario has a namespace `guarded` with a pod of each role on every node: `server`, which a policy opens to `allowed`
alone, `allowed` and `forbidden`. A call counts when both ends are Ready and nobody has told them to go.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.kinds import POD
from cni_migrate.sim.world.sandbox import Sandbox

NAMESPACE = "guarded"
EVERY = 0.25
"""Seconds between two looks."""


@dataclass
class Guarded:
    """What was seen so far.

    `opened` are forbidden calls that got through, `lost` allowed ones that did not, each with caller, server, way and
    the seconds at which it was so; `looks` counts the calls that were looked at.
    """

    sim: Simulation
    opened: dict[str, list[float]] = field(default_factory=dict)
    lost: dict[str, list[float]] = field(default_factory=dict)
    looks: int = 0

    def look(self) -> None:
        """Look at every call once."""
        pods = self._serving()
        for caller_role, caller in pods:
            for server_role, server in pods:
                if server_role == "server" and caller_role != "server":
                    for service in (False, True):
                        self._call(caller_role, caller, server, service=service)

    def _call(self, role: str, caller: Sandbox, server: Sandbox, *, service: bool) -> None:
        self.looks += 1
        arrives = self.sim.world.reach(caller, server.ip, service=service) == ""
        if arrives is (role == "allowed"):
            return
        way = "by ClusterIP" if service else "by address"
        ends = f"{role} {caller.node} ({caller.primary}) -> {server.node} ({server.primary})"
        found = self.opened if arrives else self.lost
        found.setdefault(f"{ends} {way}", []).append(round(self.sim.clock.seconds(), 2))

    def _serving(self) -> list[tuple[str, Sandbox]]:
        world = self.sim.world.ctx
        return [
            (meta.labels(pod)["app"], world.net.by_uid[meta.uid(pod)])
            for pod in world.cluster[POD].by("namespace", NAMESPACE)
            if meta.ready(pod) and not meta.terminating(pod) and meta.uid(pod) in world.net.by_uid
        ]

    def check(self, patience: float = 1.0) -> None:
        """No policy was ever off, none was in the way for longer than `patience`, and that was really looked at.

        A pod that has just become Ready may be a stranger for a moment, until its identity is known everywhere.
        """
        assert self.opened == {}
        assert {call: times for call, times in self.lost.items() if _longest(times) > patience} == {}
        assert self.looks > 0


def _longest(times: list[float]) -> float:
    """How long a call was lost without a break."""
    since, longest = times[0], 0.0
    for before, now in zip([times[0], *times], times, strict=False):
        since = now if now - before > EVERY * 1.5 else since
        longest = max(longest, now - since + EVERY)
    return longest


@asynccontextmanager
async def guarded(sim: Simulation) -> AsyncIterator[Guarded]:
    """Look again and again while the block runs."""
    watch = Guarded(sim)

    async def look() -> None:
        while True:
            watch.look()
            await asyncio.sleep(EVERY)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(look())
        try:
            yield watch
        finally:
            task.cancel()
