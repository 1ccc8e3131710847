"""Operators who do what they like, at any moment: whatever they type, each run ends, or waits and says for what.

A state machine: commands are begun, killed after some writes, interrupted, met by a second driver; meanwhile somebody
pauses, resumes, skips, retries. The invariants watch. In the end everybody agrees, and the cluster gets there.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from cni_migrate.core.model import names
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.errors import MigrateError
from cni_migrate.sim.client import ApiError, Kind
from cni_migrate.sim.clock import VirtualLoop
from cni_migrate.sim.simulation import Simulation
from tests.simulation.harness import SMALL, Process, config_for, simulated
from tests.simulation.invariants import Invariants

T = TypeVar("T")

CONFIG_MAPS = Kind("", "v1", "configmaps", "ConfigMap")
NODES = ["cp1", "w1", "w2"]
LIMIT = 3600.0
"""Seconds within which a command ends, or waits for what only an operator can give: no sum of deadlines is longer."""

BACK = Goal(kind="rollback")
GOALS = [
    Goal(),
    Goal(until=Phase.PREPARING),
    Goal(until=Phase.ATTACHING),
    Goal(until=Phase.MIGRATING),
    Goal(wanted=lambda node: node.name == "w1", partial=True),
    BACK,
    Goal(kind="rollback_node", node="w1"),
    Goal(kind="rollback_node", node="w2"),
    Goal(kind="rollback_node", node="w1", to="canal"),
]
STARTS = [GOALS[2], GOALS[4], GOALS[4], GOALS[3]]
"""Every node is dual; one is migrated; all are, before clean-up."""

REQUESTS = st.sampled_from(
    [("pause", ""), ("resume", ""), *((what, node) for what in ("skip", "unskip", "retry") for node in NODES)]
)
DELAYS = st.floats(0, 90)


class Operators(RuleBasedStateMachine):
    """One cluster, and what is done to it."""

    strategy = "overlay"

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.sim: Simulation
        self.watch: Invariants
        self.config = config_for(self.strategy, deadlines={"agent": 120, "gate": 60})
        self.over = asyncio.Event()
        self.host: asyncio.Task[None] | None = None
        self.number = 0

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(work)

    @initialize(start=st.sampled_from(STARTS))
    def a_cluster(self, start: Goal) -> None:
        """It is calm: nothing breaks but by what is typed. A part of the migration is done already."""

        async def begin() -> None:
            ready = asyncio.Event()
            self.host = asyncio.get_running_loop().create_task(self._host(ready))
            await ready.wait()
            await self._to_its_end(self._process(start))

        self._do(begin())

    async def _host(self, ready: asyncio.Event) -> None:
        async with simulated(SMALL, self.config) as (self.sim, self.watch):
            ready.set()
            await self.over.wait()

    # -- what is typed

    @rule(
        goal=st.sampled_from([GOALS[3], BACK, *GOALS]),
        requests=st.lists(st.tuples(DELAYS, REQUESTS), max_size=3),
        killed=st.sampled_from([0.0, 0.0, 3.0, 10.0, 20.0, 40.0]),
        interrupt=st.sampled_from([0.0, 0.0, 0.0, 5.0, 40.0]),
        second=st.sampled_from([None, None, None, Goal(), BACK]),
        takeover=st.booleans(),
    )
    def a_command(
        self,
        goal: Goal,
        requests: list[tuple[float, tuple[str, str]]],
        killed: float,
        interrupt: float,
        second: Goal | None,
        takeover: bool,
    ) -> None:
        """It runs to its end, or is killed, interrupted, or met by a second one; others leave their requests meanwhile."""
        self._do(self._typed(goal, requests, killed, interrupt, second, takeover=takeover))
        self.watch.check()

    async def _typed(
        self,
        goal: Goal,
        requests: list[tuple[float, tuple[str, str]]],
        killed: float,
        interrupt: float,
        second: Goal | None,
        *,
        takeover: bool,
    ) -> None:
        process = self._process(goal)
        others: list[Coroutine[Any, Any, object]] = [self._later(delay, what) for delay, what in requests]
        if killed:
            others.append(self._kill(process, killed))
        if interrupt:
            others.append(self._stop(process, interrupt))
        if second is not None:
            others.append(self._second(second, takeover=takeover))
        beside = [asyncio.ensure_future(other) for other in others]
        await self._to_its_end(process)
        await asyncio.gather(*beside)

    def _process(self, goal: Goal, *, takeover: bool = True) -> Process:
        self.number += 1
        holder = f"h{self.number}@test/{self.number}/{self.number}/x"
        return Process(self.sim, self.config, goal=goal, holder=holder, takeover=takeover)

    async def _to_its_end(self, process: Process) -> Final | None:
        """It ends within its deadlines, or waits for `migrate resume` and for nothing else."""
        running = asyncio.ensure_future(process.run())
        done, _ = await asyncio.wait({running}, timeout=LIMIT)
        if not done:
            waits = process.turns[-1].waits
            assert [wait.on for wait in waits] == ["`migrate resume`"], waits
            assert process.driver is not None
            process.driver.stop()
            await asyncio.wait({running}, timeout=LIMIT)
        with contextlib.suppress(MigrateError):
            final = await running
            assert final is None or final.outcome == "done" or final.next, final
            return final
        error = running.exception()
        assert isinstance(error, MigrateError)
        assert error.next, error
        return None

    async def _second(self, goal: Goal, *, takeover: bool) -> None:
        await asyncio.sleep(12)
        await self._to_its_end(self._process(goal, takeover=takeover))

    async def _kill(self, process: Process, delay: float) -> None:
        """As SIGKILL does it: nothing that it sends arrives any more."""
        await asyncio.sleep(delay)
        if process.mortal is not None and process.mortal.task is not None:
            process.mortal.dead = True
            process.mortal.task.cancel()

    async def _stop(self, process: Process, delay: float) -> None:
        await asyncio.sleep(delay)
        if process.driver is not None:
            process.driver.stop()

    async def _later(self, delay: float, what: tuple[str, str]) -> None:
        await asyncio.sleep(delay)
        await self._asked(*what)

    @rule(what=REQUESTS)
    @precondition(lambda self: self.number > 1)
    def a_request(self, what: tuple[str, str]) -> None:
        """It is left while nobody drives."""
        self._do(self._asked(*what))

    async def _asked(self, what: str, node: str) -> None:
        """As `migrate pause` and its like write it."""
        client = self.sim.app.client("somebody")
        now = self.sim.clock.now().isoformat()
        changes: dict[str, dict[str, str | None]] = {
            "pause": {"paused": now}, "resume": {"paused": None}, "skip": {f"skip.{node}": now},
            "unskip": {f"skip.{node}": None}, "retry": {f"retry.{node}": now},
        }  # fmt: skip
        meta = {"name": names.REQUESTS, "namespace": self.config.namespace}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {}}
        try:
            await client.create(CONFIG_MAPS, body, self.config.namespace)
        except ApiError as error:
            if error.reason == "NotFound":
                return  # nothing was begun yet: the command refuses
        await client.patch(CONFIG_MAPS, names.REQUESTS, {"data": changes[what]}, namespace=self.config.namespace)

    # -- and in the end

    def teardown(self) -> None:
        """Everybody's requests are taken back: the migration, or the rollback that was begun, gets to its end."""
        try:
            if self.host is not None and not self.host.done():
                self._do(self._agreed())
                self.watch.check()
        finally:
            if self.host is not None:
                self.over.set()
                with contextlib.suppress(AssertionError):
                    self._do(asyncio.wait_for(self.host, 60))
            self.loop.close()
            asyncio.set_event_loop(None)

    async def _agreed(self) -> None:
        for what, node in [("resume", ""), *(("unskip", node) for node in NODES)]:
            await self._asked(what, node)
        said = []
        for goal in (Goal(), BACK, Goal()):
            try:
                final = await asyncio.wait_for(self._process(goal).run(), LIMIT)
            except MigrateError as error:
                said.append(f"{goal.command}: {error.message}")
                continue
            assert final is not None
            if final.outcome == "done":
                return
            said.append(f"{goal.command}: {final.message}")
        pytest.fail("; ".join(said))


@pytest.mark.parametrize("strategy", ["multus", "overlay"])
def test_whatever_operators_do_each_run_ends_or_says_what_it_waits_for(strategy: str) -> None:
    """And when they agree in the end, the cluster gets there."""
    machine = type("Chosen", (Operators,), {"strategy": strategy})
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=6, stateful_step_count=10, deadline=None, derandomize=True, suppress_health_check=checks
        ),
    )
