"""Back to Canal out of a broken Cilium: whatever is dead of its data plane, `rollback` gets every node back."""

import re
from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import NodeState, Phase
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from tests.simulation.harness import SMALL, Process, config_for, simulated
from tests.simulation.outcome import outcome

STRATEGIES = ["multus", "overlay"]
BACK = Goal(kind="rollback")
NODES = ["cp1", "w1", "w2"]

MIGRATED = {"node": "w1", "label": "node-role.kubernetes/migrated"}
DEAD: dict[str, list[dict[str, Any]]] = {
    "agents crash": [{"crash": {"name": "cilium", "message": "unable to mount BPF filesystem"}}],
    "agents are never Ready": [{"never_ready": {"name": "cilium"}}],
    "the tunnel's port is blocked": [{"deaf": {"node": node, "network": "cilium"}} for node in NODES],
    "one node is deaf": [{"deaf": {"node": "w2", "network": "cilium", "direction": "in"}}],
}
"""What may be dead, as faults of the simulated cluster."""


def _config(strategy: str) -> Config:
    return config_for(strategy, deadlines={"agent": 60, "gate": 40})


def _broken(dead: str, when: dict[str, Any]) -> Scenario:
    faults = [{**fault, "when": when} for fault in DEAD[dead]]
    return Scenario.model_validate({**SMALL.model_dump(), "name": "broken", "faults": faults})


def _same(found: dict[str, Any], before: dict[str, Any]) -> bool:
    return all(found[part] == before[part] for part in ("nodes", "daemonsets", "workloads"))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("dead", DEAD)
@pytest.mark.parametrize("until", ["one migrated", "every one migrated"])
def test_the_cluster_goes_back(strategy: str, dead: str, until: str) -> None:
    """From a run that was held by it, or that had stopped before: the cluster is as it was found."""
    goal = Goal() if until == "one migrated" else Goal(until=Phase.MIGRATING)
    when = {**MIGRATED, "node": "w1" if until == "one migrated" else "cp1"}

    async def main() -> None:
        config = _config(strategy)
        async with simulated(_broken(dead, when), config) as (sim, watch):
            before = outcome(sim, config)
            await Process(sim, config, goal=goal).run()
            assert sim.faults.struck
            final = await Process(sim, config, goal=BACK, holder="second@test/2/2/x").run()
            assert final is not None
            assert (final.outcome, final.message) == ("done", "the cluster is as it was found"), final
            assert _same(outcome(sim, config), before)
            watch.check()

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("dead", ["agents crash", "the tunnel's port is blocked"])
@pytest.mark.parametrize("every", [23, 41])
def test_the_cluster_goes_back_although_the_driver_is_killed_on_the_way(strategy: str, dead: str, every: int) -> None:
    """Killed after every so many writes, more than the longest batch of one step, the next driver goes on from there."""

    async def main() -> None:
        config = _config(strategy)
        async with simulated(_broken(dead, MIGRATED), config) as (sim, watch):
            before = outcome(sim, config)
            await Process(sim, config).run()
            for number in range(2, 200):
                holder = f"h{number}@test/{number}/{number}/x"
                process = Process(sim, config, goal=BACK, holder=holder, takeover=True, kill_after=every)
                final = await process.run()
                if final is not None:
                    assert final.outcome == "done", final
                    break
            else:
                raise AssertionError("it did not get back")
            assert _same(outcome(sim, config), before)
            watch.check()

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_needs_cilium_is_told(strategy: str) -> None:
    """Pairs with an end that is still on Cilium hold nobody, and are in the history."""

    async def main() -> None:
        config = _config(strategy)
        # w2 hears nothing from when it is switched: a node that is held before anything was done to it has no gate back.
        switched = config.labels.switched if strategy == "overlay" else config.labels.cilium
        async with Simulation(_broken("one node is deaf", {"node": "w2", "label": switched.key})) as sim:
            first = await Process(sim, config).run()
            assert first is not None
            assert first.outcome == "gate"
            back = Process(sim, config, goal=BACK)
            final = await back.run()
            assert final is not None
            assert final.outcome == "done", final
            lines = [line.what for turn in back.turns for line in turn.record.cluster.history]
            assert any("not asked for, as it needs Cilium: w" in line for line in lines)

    run_virtual(main())


WITNESS = "somebody@test"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_failing_gate_is_accepted_by_name(strategy: str) -> None:
    """The run goes on past the node that is named, and the history tells by whom, when and what was failing."""

    async def main() -> None:
        config = _config(strategy)
        async with Simulation("deaf-peer") as sim:
            first = await Process(sim, config).run()
            assert first is not None
            assert first.outcome == "gate"
            goal = Goal(accept=frozenset({"w2"}), by=WITNESS)
            process = Process(sim, config, goal=goal)
            final = await process.run()
            assert process.turns[-1].record.nodes["w2"].state is NodeState.MIGRATED
            assert final is not None  # names and services that are answered by w2 fail elsewhere: that is not accepted
            assert final.message.startswith("node w3, step "), final
            lines = {line.what for turn in process.turns for line in turn.record.cluster.history}
            said = f"node w2: its failing gate is accepted by {WITNESS}: drain/baseline_gate: "
            (line,) = [line for line in lines if line.startswith(said)]
            assert re.search(r"w1/\w -> w2/|w2/\w -> w1/", line), "who does not reach whom"
            assert f"node w2: a failing gate will be accepted, says {WITNESS}" in lines

    run_virtual(main())


def test_a_gate_is_accepted_for_one_invocation_and_one_node() -> None:
    """The next run, without it, asks again."""

    async def main() -> None:
        config = _config("overlay")
        async with Simulation("deaf-peer") as sim:
            await Process(sim, config).run()
            other = await Process(sim, config, goal=Goal(accept=frozenset({"w3"}), by=WITNESS)).run()
            assert other is not None
            assert other.outcome == "gate"
            again = await Process(sim, config).run()
            assert again is not None
            assert again.outcome == "gate"

    run_virtual(main())
