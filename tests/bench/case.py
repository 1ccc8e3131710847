"""One migration on virtual time, measured: run as a process of its own, so that its memory is its own.

    python -m tests.bench.case --nodes 100 --strategy overlay --max-unavailable 5%

prints one JSON object.
"""

import argparse
import asyncio
import json
import resource
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass

from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model.lifecycle import NodeState
from cni_migrate.core.model.news import Newspaper
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.kube.events import NodeEvents
from cni_migrate.kube.inprocess import close_api, in_process_api
from cni_migrate.kube.request import Client
from cni_migrate.sim.apiserver.hooks import Answer, Call
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import load
from cni_migrate.sim.simulation import Simulation
from tests.simulation.harness import Process, SimulatedClock, config_for

CANAL, CILIUM = "10.0.0.0/12", "10.64.0.0/12"
"""Room for 4,096 nodes; the default /16 is full at 256."""


@dataclass(frozen=True)
class Measured:
    """What a migration cost."""

    strategy: str
    nodes: int
    outcome: str
    why: str
    real_seconds: float
    virtual_seconds: float
    memory_mib: float
    requests: int
    writes: int
    log_reads: int
    events: int
    """Requests for Events on Nodes; metrics ask nobody."""
    evicted: int
    blocked: int
    bytes_sent: int
    bytes_received: int
    turns: int
    by_kind: dict[str, int]
    """Requests by method and resource, the most first."""

    @property
    def aim(self) -> float:
        """Requests per node that it aims at: 40, and 3 for each evicted pod."""
        return 40 + 3 * self.evicted / self.nodes


async def migrate(nodes: int, strategy: str, scenario: str, max_unavailable: str) -> Measured:
    """Migrate a simulated cluster from beginning to end."""
    config = config_for(
        strategy, max_unavailable=max_unavailable, canal={"pod_cidr": CANAL}, cilium={"pod_cidr": CILIUM}
    )
    cluster = load(scenario).model_copy(update={"pod_cidr": CANAL})
    async with Simulation(cluster, nodes=nodes) as sim:
        loop = asyncio.get_running_loop()
        before = {key: (c.requests, c.bytes_in, c.bytes_out) for key, c in sim.app.hooks.snapshot().items()}
        evictions: Counter[int] = Counter()

        def watch(call: Call, answer: Answer | None) -> None:
            if answer is not None and call.path.endswith("/eviction"):
                evictions[answer.code] += 1

        sim.app.hooks.observers.append(watch)
        clock, newspaper = SimulatedClock(sim), Newspaper()
        api = await in_process_api(sim.app, timeout=config.deadlines.request)
        events = NodeEvents(Client(api, clock), clock, "bench")

        def tell(decision: Decision, _: Snapshot) -> None:
            for news in newspaper.take(decision.record):
                events.tell(news)

        process = Process(sim, config, on_turn=tell)
        virtual, real = loop.time(), time.perf_counter()
        async with events.sending():
            final = await process.run()
        await close_api(api)
        real, virtual = time.perf_counter() - real, loop.time() - virtual
        by_kind: Counter[str] = Counter()
        received = sent = writes = 0
        for (method, kind), count in sim.app.hooks.snapshot().items():
            old = before.get((method, kind), (0, 0, 0))
            number = count.requests - old[0]
            by_kind[f"{method} {kind}"] += number
            sent += count.bytes_in - old[1]
            received += count.bytes_out - old[2]
            writes += number if method in ("POST", "PUT", "PATCH", "DELETE") else 0
        done = sum(1 for e in process.turns[-1].record.nodes.values() if e.state is NodeState.MIGRATED)
        outcome = f"{final.outcome if final else 'killed'}, {done} migrated"
        why = final.message if final is not None and final.outcome != "done" else ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Measured(
        strategy=strategy,
        nodes=nodes,
        outcome=outcome,
        why=why,
        real_seconds=round(real, 1),
        virtual_seconds=round(virtual, 1),
        memory_mib=round(peak, 1),
        requests=by_kind.total(),
        writes=writes,
        log_reads=sum(number for name, number in by_kind.items() if name.endswith("/log")),
        events=sum(number for name, number in by_kind.items() if name == "POST events"),
        evicted=evictions[201],
        blocked=evictions[429],
        bytes_sent=sent,
        bytes_received=received,
        turns=len(process.turns),
        by_kind=dict(by_kind.most_common()),
    )


def main() -> None:
    """Run one case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--strategy", choices=["multus", "overlay"], default="overlay")
    parser.add_argument("--scenario", default="calm")
    parser.add_argument("--max-unavailable", default="1")
    options = parser.parse_args()
    found = run_virtual(migrate(options.nodes, options.strategy, options.scenario, options.max_unavailable))
    sys.stdout.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main()
