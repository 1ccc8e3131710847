"""Every shipped scenario, by each strategy: it ends as its first lines say, in words that name what is wrong."""

import re

import pytest

from cni_migrate.core.decision.order import capacity
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import names
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world.kinds import POD
from tests.simulation.harness import Process, config_for
from tests.simulation.invariants import Invariants

STRATEGIES = ["multus", "overlay"]
DONE = ("done", "the audit is clean")

ENDS = {
    "bare-pods": ("halted", r"node w1 cannot be drained: pod shop/.*emptyDir data would be lost"),
    "calico": DONE,
    "calm": DONE,
    "closed-port": ("gate", r"UDP port 8473, .*: of 6 ways that were tried 2 let nothing through: w1 -> w2, w2 -> w1\. Nothing was changed"),
    "crash-loop": DONE,
    "deaf-peer": ("gate", r"node w2, step baseline_gate: .*connectivity of node w2.*(w2/a -> w1/a|between w1 and w2)"),
    "dns-down": DONE,
    "first-hour": ("halted", r"node w\d cannot be drained: pod (lab|shop)/.*(nothing would recreate it|emptyDir data would be lost)"),
    "flaky-api": DONE,
    # Cilium itself carries what migrated nodes send to Canal's pods, which have identities in it: flannel's link is not needed.
    "flannel-gone": DONE,
    "installed-cilium": DONE,
    "migrated-node-reboots": DONE,
    "never-ready": ("halted", r"node w2, step \w+: waited 300 s for .*Ready on node w2; seen last: pod cilium-\S+ Running, not Ready: containers with unready status: .*; last event Unhealthy: Readiness probe failed"),
    "node-joins": DONE,
    "node-leaves": DONE,
    "node-lost": DONE,
    "pdb-deadlock": ("halted", r"node w2, step evict_pods: waited 900 s.*pod bank/ledger-\S+: PodDisruptionBudget bank/ledger allows 0 disruptions: it needs 2 healthy pods and has 2"),
    "plain-flannel": DONE,
    "power-cut": ("gate", r"node w2, step baseline_gate: .*no report from w2/a, w2/b: all on node w2"),
    "reboot-mid-run": DONE,
    "same-port": ("halted", r"Cilium's tunnel could not have UDP port 8473 on 3 nodes: node w1: another program has it"),
    "slow-pods": DONE,
    "small-mtu": ("gate", r"small packets pass and large ones do not: the MTU"),
    "stuck-pod": ("halted", r"node w2, step await_pods_gone: waited 900 s for 1 pod to leave node w2; .*shop/keeper-\S+ terminating, kept by its finalizer example.com/never"),
    "zones": DONE,
}  # fmt: skip


def test_every_shipped_scenario_is_run() -> None:
    """No scenario is shipped without a test."""
    assert set(ENDS) == set(names())


SECTIONS = {"installed-cilium": {"cilium": {"source": "existing"}}}
"""What the configuration says beside the strategy, where a scenario is about that."""

RUNS = [(name, strategy) for name in ENDS for strategy in STRATEGIES if name not in SECTIONS or strategy == "overlay"]


@pytest.mark.parametrize(("name", "strategy"), RUNS)
def test_scenario_ends_as_it_says(name: str, strategy: str) -> None:
    """The outcome, and the words that a human needs."""

    async def main() -> None:
        config = config_for(strategy, **SECTIONS.get(name, {}))
        async with Simulation(name) as sim:
            watch = Invariants(sim, config, capacity(config, len(sim.world.ctx.net.hosts)))
            final = await Process(sim, config).run()
            assert final is not None
            outcome, words = ENDS[name]
            assert final.outcome == outcome, final
            assert re.search(words, final.message), final.message
            if outcome != "done":
                assert "migrate" in final.next
            watch.check()

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", ["never-ready", "pdb-deadlock", "stuck-pod"])
def test_a_held_node_goes_back(name: str, strategy: str) -> None:
    """A node that is held can be rolled back and serves again, the others are untouched."""

    async def main() -> None:
        config = config_for(strategy)
        async with Simulation(name) as sim:
            watch = Invariants(sim, config, 1)
            first = Process(sim, config)
            final = await first.run()
            assert final is not None
            assert final.outcome == "halted"
            (held,) = [node for node, entry in first.turns[-1].record.nodes.items() if entry.held]
            back = Process(sim, config, goal=Goal(kind="rollback_node", node=held))
            final = await back.run()
            assert final is not None
            assert final.outcome == "done", final
            nodes = sim.store.select(sim.app.catalog.find("", "v1", "nodes"))
            assert not any(stored.object["spec"].get("unschedulable") for stored in nodes)
            watch.check()

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_auto_rollback_puts_a_held_node_back_and_stops(strategy: str) -> None:
    """With auto_rollback the node that cannot go on is restored by the same run, which then stops and says why."""

    async def main() -> None:
        config = config_for(strategy, auto_rollback=True, deadlines={"agent": 60})
        async with Simulation("crash-loop") as sim:
            watch = Invariants(sim, config, 1)
            process = Process(sim, config)
            final = await process.run()
            assert final is not None
            assert final.outcome == "halted", final
            assert "rolled back by itself" in final.message
            entry = process.turns[-1].record.nodes["w2"]
            assert entry.event is None
            assert entry.state in ("dual", "canal")
            patient = config.model_copy(update={"auto_rollback": False})
            for _ in range(10):  # the agent crashes for two minutes
                final = await Process(sim, patient).run()
                assert final is not None
                if final.outcome == "done":
                    break
            assert final.outcome == "done", final
            watch.check()

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_node_goes_back_although_a_pod_hangs(strategy: str) -> None:
    """The pod was born on Canal: it stands in nobody's way there, whatever keeps it."""

    async def main() -> None:
        config = config_for(strategy)
        async with Simulation("stuck-pod") as sim:
            watch = Invariants(sim, config, 1)
            final = await Process(sim, config).run()
            assert final is not None
            assert final.outcome == "halted", final
            back = await Process(sim, config, goal=Goal(kind="rollback_node", node="w2")).run()
            home = {"multus": "canal", "overlay": "dual"}[strategy]  # where it hangs in an attach, or in a switch
            assert back == Final("done", f"node w2 is back: {home}", "migrate run")
            pods, _ = await sim.client.list(POD, namespace="shop")
            stuck = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]]
            assert [name.rsplit("-", 2)[0] for name in stuck] == ["keeper"]
            watch.check()

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_cordon_of_somebody_else_stays(strategy: str) -> None:
    """A node that its operator has cordoned is not touched; the run says so, halts, and goes on once it is uncordoned."""

    async def main() -> None:
        config = config_for(strategy)
        async with Simulation("calm", nodes=3) as sim:
            from cni_migrate.sim.world.kinds import NODE

            watch = Invariants(sim, config, 1)
            await sim.client.patch(NODE, "w2", {"spec": {"unschedulable": True}})
            final = await Process(sim, config).run()
            assert final is not None
            assert final.outcome == "halted"
            assert "node w2 was cordoned by somebody else" in final.message
            assert (await sim.client.get(NODE, "w2"))["spec"]["unschedulable"] is True
            await sim.client.patch(NODE, "w2", {"spec": {"unschedulable": None}})
            final = await Process(sim, config).run()
            assert final is not None
            assert final.outcome == "done", final
            watch.check()

    run_virtual(main())
