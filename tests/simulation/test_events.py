"""What Events on Nodes cost: fewer than three requests per node in a whole migration. Metrics cost none: nobody is asked."""

import asyncio
from collections import Counter

import pytest

from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model.news import Newspaper
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.engine.metrics import Metrics
from cni_migrate.kube.events import NodeEvents
from cni_migrate.kube.inprocess import close_api, in_process_api
from cni_migrate.kube.request import Client
from cni_migrate.sim.apiserver.hooks import Answer, Call
from cni_migrate.sim.clock import run_virtual
from tests.simulation.harness import Process, SimulatedClock, config_for, simulated

NODES = 6


@pytest.mark.parametrize("strategy", ["multus", "overlay"])
def test_events_are_few(strategy: str) -> None:
    """Every node has some, and their requests are fewer than three per node; with metrics the others are as many."""

    async def main(told: bool) -> tuple[Counter[str], set[str]]:
        config = config_for(strategy)
        requests: Counter[str] = Counter()
        nodes: set[str] = set()
        async with simulated("zones", config, nodes=NODES) as (sim, _):

            def count(call: Call, answer: Answer | None) -> None:
                if answer is not None:
                    requests["events" if call.path.endswith("/namespaces/default/events") else "other"] += 1

            sim.app.hooks.observers.append(count)
            clock, newspaper, metrics = SimulatedClock(sim), Newspaper(), Metrics()
            api = await in_process_api(sim.app, timeout=10)
            events = NodeEvents(Client(api, clock), clock, "here")

            def observe(decision: Decision, seen: Snapshot) -> None:
                if told:
                    metrics.take(decision, {}, clock.now())
                for news in newspaper.take(decision.record):
                    nodes.add(news.node)
                    if told:
                        events.tell(news)

            async with events.sending():
                final = await Process(sim, config, on_turn=observe).run()
                await asyncio.sleep(30)
            await close_api(api)
            assert final is not None
            assert final.outcome == "done"
        return requests, nodes

    with_them, nodes = run_virtual(main(told=True))
    without, _ = run_virtual(main(told=False))
    assert len(nodes) == NODES
    assert NODES <= with_them["events"] < 3 * NODES
    assert without["events"] == 0
    assert abs(with_them["other"] - without["other"]) <= 0.02 * without["other"]
