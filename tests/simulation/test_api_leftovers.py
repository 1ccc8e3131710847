"""What Canal has left in the API is removed when that is asked for, and only then: killed at every write of it, too."""

import asyncio
import contextlib
import random
from typing import Any, cast

import pytest

from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.engine.lease import Lock
from cni_migrate.engine.leftovers import Removal
from cni_migrate.engine.store import RecordStore
from cni_migrate.errors import Halted
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.documents import KubeDocuments
from cni_migrate.kube.inprocess import close_api, in_process_api
from cni_migrate.kube.leftovers import leftovers
from cni_migrate.sim.client import Kind
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from tests.simulation.harness import Killed, Mortal, Process, SimulatedClock, config_for

CANAL = Scenario.model_validate({"nodes": 2, "canal": {"published": True}})
CONFIG = config_for("overlay")
SMALL = Scenario.model_validate({"nodes": 2})
ROLES = Kind("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
FELIX = Kind("crd.projectcalico.org", "v1", "felixconfigurations", "FelixConfiguration", namespaced=False)


async def _remove(sim: Simulation, mortal: Mortal) -> list[str]:
    """As `migrate cleanup --remove-leftovers` does after the end; what is left then, in words."""
    clock = SimulatedClock(sim)
    api = await in_process_api(mortal, timeout=CONFIG.deadlines.request)
    try:
        async with KubeCluster(api, CONFIG, clock, random.Random(1)) as cluster:
            documents = KubeDocuments(cluster.client, clock)
            store = RecordStore(documents, CONFIG.namespace)
            record = await store.load()
            assert record is not None
            used = [ObjectRef.parse(text) for text in record.cluster.canal_objects]

            async def find() -> Any:
                return await leftovers(cluster.client, used, ["kube-system"])

            lock = Lock(
                documents, clock, CONFIG.namespace, CONFIG.lease_seconds, "one@test/1/1/elsewhere", lambda _: None
            )
            await Removal(cluster, store, lock, clock, find, "somebody@test", 60).run(takeover=True)
            return [str(one.ref) for one in await find()]
    finally:
        await close_api(api)


async def _killed(sim: Simulation, at: int) -> bool:
    """Try to remove, and die behind write number `at`; whether it came to that."""
    mortal, hooks = Mortal(sim), sim.app.hooks
    base = hooks.writes

    def after(number: int) -> None:
        if number - base == at:
            mortal.die()

    hooks.after_write = after
    mortal.task = asyncio.ensure_future(cast(Any, _remove(sim, mortal)))
    try:
        with contextlib.suppress(Killed, asyncio.CancelledError):
            await mortal.task
            return False
        return True
    finally:
        hooks.after_write = None


async def _history(sim: Simulation) -> list[str]:
    api = await in_process_api(sim.app, timeout=5)
    try:
        record = await RecordStore(KubeDocuments(api, SimulatedClock(sim)), CONFIG.namespace).load()
    finally:
        await close_api(api)
    assert record is not None
    return [line.what for line in record.cluster.history if "Canal left" in line.what]


def test_it_goes_on_wherever_it_was_killed() -> None:
    """Behind each of its writes, on a cluster each: what is left then goes at the next try."""

    async def killed_at(at: int) -> bool:
        async with Simulation(SMALL) as sim:
            assert (final := await Process(sim, CONFIG).run()) is not None
            assert final.outcome == "done"
            died = await _killed(sim, at)
            assert await _remove(sim, Mortal(sim)) == []
            assert (await _history(sim))[-1].startswith("removed ") or died
            return died

    async def main() -> None:
        at = 1
        while await killed_at(at):
            at += 1
        assert at > 6, "lock, record, history, two objects, history, lock"

    run_virtual(main())


def test_all_that_the_published_canal_leaves() -> None:
    """Killed again and again: it is all gone in the end, nothing else is, and the history tells it."""

    async def main() -> None:
        async with Simulation(CANAL) as sim:
            await Process(sim, CONFIG).run()
            client = sim.app.client("somebody")
            at = 1
            while await _killed(sim, at):
                at += 1
            assert await _remove(sim, Mortal(sim)) == []
            for name in ("cilium", "cilium-operator"):
                assert await client.get(ROLES, name)
            told = await _history(sim)
            assert told[0].startswith("removing 38 objects that Canal left, as somebody@test asks: kubectl delete")

    run_virtual(main())


def test_what_an_operator_wrote_stays() -> None:
    """A FelixConfiguration that somebody has changed keeps its definition, whatever is asked for."""

    async def main() -> None:
        async with Simulation(CANAL) as sim:
            client = sim.app.client("somebody")
            await client.patch(FELIX, "default", {"spec": {"logSeverityScreen": "Debug"}})
            await Process(sim, CONFIG).run()
            left = await _remove(sim, Mortal(sim))
            assert left == ["CustomResourceDefinition felixconfigurations.crd.projectcalico.org"]
            assert await client.get(FELIX, "default")

    run_virtual(main())


def test_not_before_the_end() -> None:
    """While Canal may still be needed nothing of it goes."""

    async def main() -> None:
        async with Simulation(CANAL) as sim:
            await Process(sim, CONFIG, goal=Goal(consented=False)).run()
            with pytest.raises(Halted, match="when the migration is done"):
                await _remove(sim, Mortal(sim))

    run_virtual(main())
