"""The loop: the record first, then the effects; a lost lock ends it; a wish to stop is granted at a safe point."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model import names
from cni_migrate.core.model.attempts import Attempt
from cni_migrate.core.model.effects import (
    DeletePod,
    Effect,
    EvictPod,
    KeepObject,
    PatchNode,
    PutObject,
    RunHostTask,
)
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase
from cni_migrate.core.model.objects import Pod, Requests, Snapshot
from cni_migrate.core.model.record import NodeRecord, Record
from cni_migrate.core.model.rounds import GateAsk, GateReading
from cni_migrate.engine.driver import Driver
from cni_migrate.engine.lease import Lock
from cni_migrate.engine.store import RecordStore
from cni_migrate.errors import LockHeld, LockLost, UsageError
from cni_migrate.sim.clock import run_virtual
from tests.unit.core.builders import (
    Seen,
    a_daemonset,
    a_node,
    a_plan,
    a_pod,
    a_record,
    an_agent,
    an_entry,
    seen,
    under_way,
)
from tests.unit.engine.fakes import FakeDocuments, VirtualClock

PLAN = a_plan("overlay")


class FakeCluster:
    """Applies what a drain does to a hand-made snapshot, at once; `log` tells the order of everything."""

    def __init__(self, found: Seen, clock: VirtualClock, log: list[str], documents: FakeDocuments) -> None:
        self.found = found
        self.on_effect: Callable[[Effect], None] = lambda _: None
        self._clock = clock
        self._log = log
        self._documents = documents
        self._dirty = False
        self.looked_up: list[str] = []

    def snapshot(self) -> Snapshot:
        """What is known."""
        self._dirty = False
        return self.found

    async def perform(self, effects: Iterable[Effect]) -> None:
        """Do each effect."""
        for effect in effects:
            await asyncio.sleep(0.1)
            self._log.append(f"{self._documents.writes[-1:]} {type(effect).__name__}")
            self.on_effect(effect)
            self._dirty = True
            self.found.tried(effect.key, "applied", at=self._clock.now())
            match effect:
                case PatchNode():
                    node = self.found.nodes[effect.node]
                    annotations = {**node.annotations, **effect.annotations}
                    self.found.nodes[effect.node] = replace(
                        node,
                        resource_version=str(int(node.resource_version) + 1),
                        annotations={key: value for key, value in annotations.items() if value is not None},
                        unschedulable=node.unschedulable if effect.unschedulable is None else effect.unschedulable,
                        taints=node.taints if effect.taints is None else effect.taints,
                    )
                case EvictPod() | DeletePod():
                    self.found.pods[:] = [pod for pod in self.found.pods if pod.uid != effect.uid]
                case _:
                    pass

    async def changed(self, until: datetime, gather: float) -> None:
        """Nothing changes but by effects."""
        if self._dirty:
            return
        await asyncio.sleep(max((until - self._clock.now()).total_seconds(), 0))

    async def look_up(self, pods: Iterable[Pod]) -> None:
        """Nobody tells anything of these pods, but they are counted."""
        self.looked_up.extend(pod.uid for pod in pods)

    @property
    def attempts(self) -> Mapping[str, Attempt]:
        """How everything ended that was tried."""
        return self.found.attempts


class Deaf:
    """A prober that hears nobody."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.times: list[datetime] = []

    async def read(self, asks: Iterable[GateAsk]) -> Mapping[str, GateReading]:
        """An empty reading for each."""
        self.times.append(self._clock.now())
        return {ask.key: GateReading(self._clock.now(), {}, {}) for ask in asks}


class Bench:
    """A driver on fakes, with one node in the middle of its drain."""

    def __init__(self, entries: Mapping[str, NodeRecord] | None = None, goal: Goal | None = None) -> None:
        self.documents, self.clock = FakeDocuments(), VirtualClock()
        self.log: list[str] = []
        self.turns: list[Decision] = []
        self.cluster = FakeCluster(seen(a_node("w1"), a_pod()), self.clock, self.log, self.documents)
        self.entries = entries
        self.prober = Deaf(self.clock)
        self.driver = self.make("me", goal or Goal())

    def make(self, holder: str, goal: Goal) -> Driver:
        """Another process's driver on the same cluster."""
        lock = Lock(self.documents, self.clock, "cni-migrate", 30, f"{holder}@x/1/2/3", lambda _: None)
        store = RecordStore(self.documents, "cni-migrate")
        return Driver(
            PLAN,
            goal,
            self.cluster,
            self.prober,
            self.clock,
            store,
            lock,
            lambda decision, _: self.turns.append(decision),
            "test",
        )

    async def prepare(self) -> None:
        """Put the record of an earlier driver into the cluster."""
        if self.entries is not None:
            await RecordStore(self.documents, "cni-migrate").seize(a_record(PLAN, self.entries, epoch=0))
            self.documents.writes.clear()

    @property
    def holder(self) -> str:
        """Who holds the lock."""
        return str(self.documents.objects["Lease", "cni-migrate", names.LEASE]["spec"]["holderIdentity"])


DRAINING = {"w1": under_way("w1", NodeState.DUAL, NodeEvent.DRAIN, "cordon")}


def _run(main: Coroutine[Any, Any, None]) -> None:
    run_virtual(main)


def test_agents_are_read_after_the_pause_not_before_it() -> None:
    """A gate that is not proven is judged by what the agents have said since, and they are read once per pause."""

    async def main() -> None:
        bench = Bench({"w1": under_way("w1", NodeState.DRAINING, NodeEvent.SWITCH, "gate")})
        await bench.prepare()
        running = asyncio.create_task(bench.driver.run())
        await asyncio.sleep(30)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        times = bench.prober.times
        pauses = [(after - before).total_seconds() for before, after in pairwise(times)]
        interval = PLAN.config.knet.interval
        assert len(times) > 10
        assert pauses[:4] == pytest.approx([interval / 2, interval, interval, interval], abs=0.05)
        assert all(pause == pytest.approx(max(1, 2 * interval), abs=0.05) for pause in pauses[-5:])
        judged = [decision for decision in bench.turns if decision.waits and not decision.asks]
        assert len(judged) >= len(times) - 1, "what was read is judged at once"

    _run(main())


def test_the_intent_is_written_before_the_effect() -> None:
    """Each effect finds its step in the cluster's record already."""

    async def main() -> None:
        bench = Bench(DRAINING)
        await bench.prepare()
        seen_steps: list[tuple[str, str]] = []

        def look(effect: Effect) -> None:
            if isinstance(effect, PutObject | KeepObject):
                return
            text = bench.documents.data("cni-migrate-nodes-0")["w1"]
            seen_steps.append((type(effect).__name__, NodeRecord.model_validate_json(text).step))

        bench.cluster.on_effect = look
        task = asyncio.create_task(bench.driver.run())
        await asyncio.sleep(5)
        assert seen_steps[:3] == [("PatchNode", "cordon"), ("EvictPod", "evict_pods"), ("PatchNode", "taint")]
        task.cancel()

    _run(main())


def test_a_stop_ends_at_a_safe_point_and_gives_the_lock_back() -> None:
    """The step that is under way is finished first, the next one is recorded and not begun."""

    async def main() -> None:
        bench = Bench(DRAINING)
        await bench.prepare()
        bench.cluster.on_effect = lambda effect: bench.driver.stop() if isinstance(effect, EvictPod) else None
        final = await bench.driver.run()
        assert final.outcome == "interrupted"
        assert bench.holder == ""
        entry = NodeRecord.model_validate_json(bench.documents.data("cni-migrate-nodes-0")["w1"])
        assert (entry.event, entry.step) == (NodeEvent.DRAIN, "taint")
        assert bench.cluster.found.nodes["w1"].taints == ()
        assert bench.cluster.found.pods == []

    _run(main())


async def _run_into_a_lost_lock(bench: Bench, beside: type[PatchNode | DeletePod]) -> None:
    """Drive while somebody takes the lock during an effect of this kind."""

    def steal(effect: Effect) -> None:
        if isinstance(effect, beside):
            bench.driver.lock.lost = "somebody took it"

    bench.cluster.on_effect = steal
    with pytest.raises(LockLost, match="somebody took it"):
        await bench.driver.run()


def test_a_lost_lock_stops_every_effect() -> None:
    """Noticed before the next write, whatever was decided meanwhile."""

    async def main() -> None:
        bench = Bench(DRAINING)
        await bench.prepare()
        await _run_into_a_lost_lock(bench, PatchNode)
        assert [line for line in bench.log if "EvictPod" in line] == []

    _run(main())


def test_a_lock_that_is_lost_beside_an_effect_stops_the_task_that_runs_ahead() -> None:
    """A holder that was stopped in between has at most one effect under way."""

    async def main() -> None:
        bench = Bench({"w1": under_way("w1", NodeState.DRAINING, NodeEvent.SWITCH, "restart_cilium")})
        bench.cluster.found.daemonsets["kube-system", "cilium"] = a_daemonset("cilium")
        bench.cluster.found.pods.append(an_agent("cilium"))
        await bench.prepare()
        await _run_into_a_lost_lock(bench, DeletePod)
        assert any(isinstance(effect, RunHostTask) for decision in bench.turns for effect in decision.effects)
        assert [line for line in bench.log if "DeletePod" in line] != []
        assert [line for line in bench.log if "RunHostTask" in line] == []

    _run(main())


def test_a_lost_lock_ends_the_tries_of_an_effect() -> None:
    """A request is tried again for a minute: another driver may be at work for half of it, and what it undoes came back."""

    async def main() -> None:
        bench = Bench(DRAINING)
        await bench.prepare()
        tries: list[float] = []

        async def perform(effects: Iterable[Effect]) -> None:
            for second in range(60):
                tries.append(asyncio.get_running_loop().time())
                if second == 5:
                    bench.driver.lock.lost = "somebody took it"
                await asyncio.sleep(1)

        bench.cluster.perform = perform  # type: ignore[method-assign]
        bench.driver.goal = Goal(kind="rollback_node", node="w1", to="dual")  # nothing is put before the lock is taken
        with pytest.raises(LockLost, match="somebody took it"):
            await bench.driver.run()
        assert len(tries) == 6

    _run(main())


def test_a_record_that_somebody_else_wrote_stops_every_effect() -> None:
    """A takeover writes an epoch into every part: the former holder conflicts before it touches anything else."""

    async def main() -> None:
        bench = Bench(DRAINING)
        await bench.prepare()

        def rewrite(effect: Effect) -> None:
            if isinstance(effect, PatchNode):
                bench.documents.edit("cni-migrate-nodes-0", _epoch="7")

        bench.cluster.on_effect = rewrite
        with pytest.raises(LockLost, match="another migrate has taken over"):
            await bench.driver.run()
        assert [line for line in bench.log if "EvictPod" in line] == []

    _run(main())


def test_a_second_driver_is_told_and_touches_nothing() -> None:
    """While the first one lives."""

    async def main() -> None:
        bench = Bench({"w1": an_entry("w1", NodeState.DUAL)})
        await bench.prepare()
        first = asyncio.create_task(bench.driver.run())
        await asyncio.sleep(1)
        record = bench.documents.data("cni-migrate-record")["cluster"]
        with pytest.raises(LockHeld, match="me@x"):
            await bench.make("other", Goal()).run()
        assert '"epoch":2' in record
        assert '"epoch":2' in bench.documents.data("cni-migrate-record")["cluster"]
        first.cancel()

    _run(main())


def test_where_nothing_was_begun_a_rollback_writes_nothing() -> None:
    """It ends with a message: no namespace, no lock, no record."""

    async def main() -> None:
        bench = Bench(goal=Goal(kind="rollback_node", node="w1"))
        with pytest.raises(UsageError, match="nothing to roll back"):
            await bench.driver.run()
        assert bench.documents.objects == {}
        assert bench.documents.writes == []
        assert bench.log == []

    _run(main())


def test_every_turn_is_shown() -> None:
    """The observer sees them in order, the last one with the end."""

    async def main() -> None:
        bench = Bench(DRAINING)
        await bench.prepare()
        bench.cluster.on_effect = lambda effect: bench.driver.stop() if isinstance(effect, EvictPod) else None
        await bench.driver.run()
        assert bench.turns[-1].final is not None
        assert [decision.final for decision in bench.turns[:-1]] == [None] * (len(bench.turns) - 1)

    _run(main())


WAITING = {"w1": under_way("w1", NodeState.DRAINING, NodeEvent.SWITCH, "gate"), "w2": an_entry("w2", NodeState.DUAL)}


async def _recorded(bench: Bench) -> Record:
    found = await RecordStore(bench.documents, "cni-migrate").load()
    assert found is not None
    return found


@pytest.mark.parametrize("paused", [False, True])
def test_the_record_says_within_a_second_what_was_shown(paused: bool) -> None:
    """Whatever the driver waits for, and while agents are slow to answer: `status` reads the record."""

    async def main() -> None:
        bench = Bench(WAITING)
        bench.cluster.found.nodes["w2"] = a_node("w2")
        if paused:
            bench.cluster.found.requests = Requests(paused_since="2030-01-01T00:00:00Z")
        await bench.prepare()
        shown: list[tuple[datetime, Record]] = []
        bench.driver.observer = lambda decision, _: shown.append((bench.clock.now(), decision.record))
        read = bench.prober.read

        async def slowly(asks: Iterable[GateAsk]) -> Mapping[str, GateReading]:
            await asyncio.sleep(3)
            return await read(asks)

        bench.prober.read = slowly  # type: ignore[method-assign] # the agents' logs come late
        running = asyncio.create_task(bench.driver.run())
        for moment in range(60):
            await asyncio.sleep(0.5)
            if moment == 20:  # a change that no effect follows
                bench.cluster.found.nodes["w3"] = a_node("w3", ready=False)
            found = await _recorded(bench)
            old = [record for at, record in shown if (bench.clock.now() - at).total_seconds() >= 1]
            if old:
                lines = {line.what for line in found.cluster.history}
                assert {line.what for line in old[-1].cluster.history} <= lines
                assert set(old[-1].nodes) <= set(found.nodes)
                assert found.nodes["w1"].step == old[-1].nodes["w1"].step or len(old) < len(shown)
        assert "node w3 joined" in [line.what for line in (await _recorded(bench)).cluster.history]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    _run(main())


def test_a_driver_that_is_stopped_at_once_records_what_it_has_shown() -> None:
    """Ctrl-C twice, right after a line was told: the record has it."""

    async def main() -> None:
        bench = Bench(WAITING)
        bench.cluster.found.nodes["w2"] = a_node("w2")
        await bench.prepare()
        running = asyncio.create_task(bench.driver.run())
        await asyncio.sleep(5)
        bench.cluster.found.nodes["w3"] = a_node("w3", ready=False)

        def stop(decision: Decision, _: Snapshot) -> None:
            if any("w3 joined" in line.what for line in decision.record.cluster.history):
                running.cancel()

        bench.driver.observer = stop
        await asyncio.gather(running, return_exceptions=True)
        assert "node w3 joined" in [line.what for line in (await _recorded(bench)).cluster.history]
        assert bench.holder == ""

    _run(main())


def test_a_complete_rollback_closes_the_record() -> None:
    """It is kept under another name; another strategy may begin."""

    async def main() -> None:
        bench = Bench({"w1": an_entry("w1")}, goal=Goal(kind="rollback"))
        ended = a_record(PLAN, {"w1": an_entry("w1")}, phase=Phase.PREFLIGHT, direction="back", epoch=0)
        await RecordStore(bench.documents, "cni-migrate").seize(ended)
        final = await bench.driver.run()
        assert (final.outcome, final.message) == ("done", "the cluster is as it was found")
        assert await RecordStore(bench.documents, "cni-migrate").load() is None
        kept = await RecordStore(bench.documents, "cni-migrate").last_closed()
        assert kept is not None
        assert kept.cluster.strategy == "overlay"

    _run(main())


def test_a_run_puts_away_what_a_killed_rollback_has_left() -> None:
    """The record says that the rollback is complete: the run begins with a record of its own."""

    async def main() -> None:
        bench = Bench(goal=Goal())
        ended = a_record(a_plan("multus"), {"w1": an_entry("w1")}, phase=Phase.PREFLIGHT, direction="back", epoch=0)
        await RecordStore(bench.documents, "cni-migrate").seize(ended)
        running = asyncio.create_task(bench.driver.run())
        await asyncio.sleep(3)
        found = await _recorded(bench)
        assert (found.cluster.strategy, found.cluster.phase) == ("overlay", Phase.PREPARING)
        kept = await RecordStore(bench.documents, "cni-migrate").last_closed()
        assert kept is not None
        assert kept.cluster.strategy == "multus"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    _run(main())
