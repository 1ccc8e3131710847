"""Runs whole migrations on a simulated cluster in this process, on virtual time, with the invariants watching.

The driver under test is the real one: kr8s, the adapter, the engine. Only the transport is in process.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cni_migrate.config import Config
from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.decision.order import capacity
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.core.steps.view import Plan
from cni_migrate.engine.driver import Driver
from cni_migrate.engine.lease import Lock
from cni_migrate.engine.store import RecordStore
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.documents import KubeDocuments
from cni_migrate.kube.inprocess import close_api, in_process_api
from cni_migrate.ports import Releases
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.wiring import host_image, plan_for, prober_for
from tests.simulation.invariants import Invariants
from tests.simulation.outcome import outcome

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Killed(BaseException):
    """The driver was killed: raised out of whatever request it was in, and out of every later one."""


class SimulatedClock:
    """The driver's clock on the simulation's time."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim

    def now(self) -> datetime:
        """The present instant."""
        return self._sim.clock.now().astimezone(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


@dataclass
class Mortal:
    """The API server as one process sees it: once dead, nothing it sends arrives any more."""

    sim: Simulation
    dead: bool = False
    frozen: asyncio.Event | None = None
    written: list[tuple[str, str]] = field(default_factory=list)
    task: asyncio.Task[Final] | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on while alive."""
        if self.dead:
            raise Killed
        if self.frozen is not None:
            await self.frozen.wait()

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 300 and scope["method"] != "GET":
                self.written.append((scope["method"], scope["path"]))
            await send(message)

        await self.sim.app(scope, receive, answered)

    def freeze(self) -> None:
        """Stop the process as SIGSTOP does: nothing that it wants to send is sent until it goes on."""
        self.frozen = asyncio.Event()

    def thaw(self) -> None:
        """Let it go on."""
        assert self.frozen is not None
        self.frozen.set()
        self.frozen = None

    def die(self) -> None:
        """End the process as SIGKILL does: from inside a request, at once, with nothing tidied up."""
        self.dead = True
        if self.task is not None:
            self.task.cancel()
        raise Killed


def _but_killed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody has asked about is told, but for requests that ended with the process: that was the test's doing."""
    if not isinstance(context.get("exception"), Killed):
        loop.default_exception_handler(context)


@dataclass
class Process:
    """One `migrate` process."""

    sim: Simulation
    config: Config
    goal: Goal = field(default_factory=Goal)
    holder: str = "first@test/1/1/elsewhere"
    takeover: bool = False
    kill_before: int = 0
    kill_after: int = 0
    turns: list[Decision] = field(default_factory=list)
    driver: Driver | None = None
    on_turn: Callable[[Decision, Snapshot], None] | None = None
    mortal: Mortal | None = None
    releases: Releases | None = None

    def kill(self) -> None:
        """End the process as SIGKILL does, from outside, whatever it is doing."""
        if self.mortal is not None:
            self.mortal.dead = True
            if self.mortal.task is not None:
                self.mortal.task.cancel()

    async def run(self) -> Final | None:
        """Run to the end; None when it was killed on the way.

        Raises:
            MigrateError: as the driver does.
        """
        self.mortal = Mortal(self.sim)
        asyncio.get_running_loop().set_exception_handler(_but_killed)
        hooks = self.sim.app.hooks
        base = hooks.writes

        def before(k: int) -> None:
            if self.kill_before and k - base == self.kill_before:
                assert self.mortal is not None
                self.mortal.die()

        def after(k: int) -> None:
            if self.kill_after and k - base == self.kill_after:
                assert self.mortal is not None
                self.mortal.die()

        if self.kill_before or self.kill_after:
            hooks.before_write, hooks.after_write = before, after
        try:
            self.mortal.task = asyncio.create_task(self._drive(self.mortal))
            with contextlib.suppress(Killed, asyncio.CancelledError):
                return await self.mortal.task
            return None
        finally:
            if self.kill_before or self.kill_after:
                hooks.before_write = hooks.after_write = None

    async def _drive(self, mortal: Mortal) -> Final:
        clock = SimulatedClock(self.sim)
        rng = random.Random(1)
        api = await in_process_api(mortal, timeout=self.config.deadlines.request)
        try:
            async with KubeCluster(api, self.config, clock, rng, self.releases) as cluster:
                plan = _plan(self.config.model_dump_json(), cluster.snapshot())
                documents = KubeDocuments(cluster.client, clock)
                self.driver = Driver(
                    plan=plan,
                    goal=self.goal,
                    cluster=cluster,
                    prober=prober_for(cluster.client, clock, self.config),
                    clock=clock,
                    store=RecordStore(documents, self.config.namespace),
                    lock=Lock(
                        documents, clock, self.config.namespace, self.config.lease_seconds, self.holder, lambda _: None
                    ),
                    observer=self._observe,
                    tool="migrate/test",
                    takeover=self.takeover,
                )
                return await self.driver.run()
        finally:
            await close_api(api)

    def _observe(self, decision: Decision, seen: Snapshot) -> None:
        self.turns.append(decision)
        if self.on_turn is not None:
            self.on_turn(decision, seen)


_PLANS: dict[tuple[str, str], Plan] = {}


def _plan(config: str, seen: Snapshot) -> Plan:
    """The plan a driver would make; rendering templates hundreds of times would be most of the tests' time."""
    parsed = Config.model_validate_json(config)
    key = (config, host_image(parsed, seen))
    if key not in _PLANS:
        _PLANS[key] = plan_for(parsed, seen)
    return _PLANS[key]


def config_for(strategy: str, **changes: Any) -> Config:
    """A configuration for tests."""
    return Config.model_validate({"strategy": strategy, **changes})


@contextlib.asynccontextmanager
async def simulated(
    scenario: Scenario | str, config: Config, *, nodes: int | None = None, seed: int | None = None
) -> AsyncIterator[tuple[Simulation, Invariants]]:
    """A running simulation with the invariants watching; on leaving, what did not hold raises."""
    async with Simulation(scenario, nodes=nodes, seed=seed) as sim:
        count = len(sim.store.select(sim.app.catalog.find("", "v1", "nodes")))
        watch = Invariants(sim, config, capacity(config, count))
        yield sim, watch
        watch.check()


SMALL = Scenario.model_validate(
    {
        "name": "small",
        "nodes": [
            {"name": "cp1", "role": "control-plane"},
            {"name": "w1", "labels": {"team": "blue"}, "taints": [{"key": "team", "value": "blue", "effect": "PreferNoSchedule"}]},
            {"name": "w2", "labels": {"team": "green"}},
        ],
        "workloads": [
            {"kind": "deployment", "name": "web", "namespace": "shop", "replicas": 3, "budget": {"min_available": 2}, "grace": 2},
            {"kind": "statefulset", "name": "db", "namespace": "shop", "replicas": 1, "grace": 2},
            {"kind": "daemonset", "name": "logs", "namespace": "shop", "tolerations": [{"operator": "Exists"}]},
            {"kind": "daemonset", "name": "plain", "namespace": "shop"},
        ],
    }
)  # fmt: skip
"""Three nodes with labels and a taint of their operator's, and one workload of each kind."""


async def there_and_back(sim: Simulation, config: Config) -> None:
    """Node w1 is migrated, then the whole cluster rolled back: it has to be as it was found."""
    before = outcome(sim, config)
    await Process(sim, config, goal=Goal(wanted=lambda node: node.name == "w1", partial=True)).run()
    final = await Process(sim, config, goal=Goal(kind="rollback")).run()
    assert final is not None
    assert (final.outcome, final.message) == ("done", "the cluster is as it was found")
    assert outcome(sim, config) == before
