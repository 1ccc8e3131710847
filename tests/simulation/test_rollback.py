"""Going back: one node from every state and every held step, and the whole cluster from every phase."""

from typing import Any

import pytest

from cni_migrate import resources
from cni_migrate.core.model import names
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.lifecycle import NodeEvent, NodeState, Phase, StrategyTable
from cni_migrate.errors import Halted
from cni_migrate.sim.client import Kind
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.simulation import Simulation
from tests.simulation.harness import SMALL, Process, config_for, simulated
from tests.simulation.outcome import outcome

STRATEGIES = ["multus", "overlay"]
NODE = "w1"
CONFIG_MAPS = Kind("", "v1", "configmaps", "ConfigMap")


def steps() -> list[Any]:
    """Every step of a forward event in which a driver can be found when it is killed: those that take a turn."""
    found: dict[tuple[str, NodeEvent, str], None] = {}

    async def main(strategy: str) -> None:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, _):
            process = Process(sim, config)
            await process.run()
            for turn in process.turns:
                entry = turn.record.nodes.get(NODE)
                if entry is not None and entry.event is not None:
                    found[strategy, entry.event, entry.step] = None

    for strategy in STRATEGIES:
        run_virtual(main(strategy))
    return [pytest.param(*each, id="-".join(each)) for each in found]


async def _until_step(process: Process, event: NodeEvent, step: str) -> bool:
    """Run until the node waits in a step, or has it recorded, then kill the driver; whether it came to that."""
    reached = []

    def look(turn: Any, _: Any) -> None:
        entry = turn.record.nodes.get(NODE)
        if entry is not None and entry.event is event and entry.step == step:
            reached.append(True)
            assert process.mortal is not None
            process.mortal.die()

    process.on_turn = look
    await process.run()
    return bool(reached)


@pytest.mark.parametrize(("strategy", "event", "step"), steps())
def test_a_node_goes_back_from_every_step(strategy: str, event: NodeEvent, step: str) -> None:
    """Killed in the step, rolled back: the node is dual (or Canal again), in service; a run then migrates everything."""

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, watch):
            if not await _until_step(Process(sim, config), event, step):
                pytest.fail(f"the driver was never seen in {event}/{step}")
            back = Process(
                sim, config, goal=Goal(kind="rollback_node", node=NODE), holder="second@test/2/2/x", takeover=True
            )
            final = await back.run()
            expected = NodeState.CANAL if event is NodeEvent.ATTACH else NodeState.DUAL
            assert final == Final("done", f"node {NODE} is back: {expected}", "migrate run")
            found = outcome(sim, config)["nodes"][NODE]
            assert found["unschedulable"] is False
            assert found["ours"] == []
            assert found["taints"] == ["team=blue:PreferNoSchedule"]
            first = min(found["files"])
            assert first == (
                "00-multus.conflist" if strategy == "multus" and expected is NodeState.DUAL else "10-canal.conflist"
            )
            again = await Process(sim, config, holder="third@test/3/3/x").run()
            assert again is not None
            assert again.outcome == "done", again
            watch.check()

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_migrated_node_goes_back_to_dual_and_is_migrated_again(strategy: str) -> None:
    """A node that was migrated is dual after rollback-node, its pods on Canal; the next run migrates it again."""

    async def main() -> None:
        config = config_for(strategy)
        goal = Goal(wanted=lambda node: node.name == NODE, partial=True)
        async with simulated(SMALL, config) as (sim, _):
            final = await Process(sim, config, goal=goal).run()
            assert final is not None
            assert "2 more to go" in final.message
            assert _cidrs(sim, NODE) == {"10.245"}
            final = await Process(sim, config, goal=Goal(kind="rollback_node", node=NODE)).run()
            assert final == Final("done", f"node {NODE} is back: dual", "migrate run")
            assert _cidrs(sim, NODE) == {"10.244"}
            final = await Process(sim, config).run()
            assert final is not None
            assert final.outcome == "done", final

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_to_canal_is_refused_while_others_are_beyond_dual(strategy: str) -> None:
    """Detaching a node would cut it off from migrated ones: refused, naming them, and nothing is changed."""

    async def main() -> None:
        config = config_for(strategy)
        goal = Goal(wanted=lambda node: node.name == NODE, partial=True)
        async with simulated(SMALL, config) as (sim, _):
            await Process(sim, config, goal=goal).run()
            before = outcome(sim, config)
            with pytest.raises(Halted, match=f"node w2 cannot go back to Canal alone: {NODE} would lose it"):
                await Process(sim, config, goal=Goal(kind="rollback_node", node="w2", to="canal")).run()
            assert outcome(sim, config) == before

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_dual_node_goes_back_to_canal(strategy: str) -> None:
    """While nobody is beyond dual a node can leave the migration altogether."""

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, _):
            await Process(sim, config, goal=Goal(until=Phase.ATTACHING)).run()
            final = await Process(sim, config, goal=Goal(kind="rollback_node", node=NODE, to="canal")).run()
            assert final == Final("done", f"node {NODE} is back: canal", "migrate run")
            assert min(outcome(sim, config)["nodes"][NODE]["files"]) == "10-canal.conflist"
            final = await Process(sim, config).run()
            assert final is not None
            assert final.outcome == "done", final

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_others_go_on_without_a_skipped_node_that_is_on_canal_alone(strategy: str) -> None:
    """It has no Cilium, so its pods can have no identity there: nobody waits for that, as nobody waits for the node."""

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, _):
            await Process(sim, config, goal=Goal(until=Phase.ATTACHING)).run()
            await Process(sim, config, goal=Goal(kind="rollback_node", node=NODE, to="canal")).run()
            data = {f"skip.{NODE}": sim.clock.now().isoformat()}
            meta = {"name": names.REQUESTS, "namespace": config.namespace}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
            await sim.app.client("somebody").create(CONFIG_MAPS, body, config.namespace)
            process = Process(sim, config)
            final = await process.run()
            assert final is not None
            assert NODE in final.message, final
            states = {name: entry.state for name, entry in process.turns[-1].record.nodes.items()}
            assert states.pop(NODE) is NodeState.CANAL
            assert set(states.values()) == {NodeState.MIGRATED}

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("until", ["prepare", "attach", "one", "two", "three"])
def test_the_whole_cluster_goes_back(strategy: str, until: str) -> None:
    """After any part of a migration `rollback` leaves the cluster as it was found; a new run then succeeds."""
    goals = {
        "prepare": Goal(until=Phase.PREPARING),
        "attach": Goal(until=Phase.ATTACHING),
        "one": Goal(wanted=lambda node: node.name == "w1", partial=True),
        "two": Goal(wanted=lambda node: node.name != "cp1", partial=True),
        "three": Goal(until=Phase.MIGRATING),
    }

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, watch):
            before = outcome(sim, config)
            await Process(sim, config, goal=goals[until]).run()
            final = await Process(sim, config, goal=Goal(kind="rollback")).run()
            assert final is not None
            assert (final.outcome, final.message) == ("done", "the cluster is as it was found")
            assert "kubectl get crd" in final.next
            assert outcome(sim, config) == before
            final = await Process(sim, config).run()
            assert final is not None
            assert final.outcome == "done", final
            watch.check()

    run_virtual(main())


def cleaning() -> list[Any]:
    """The steps of clean-up, by strategy, and whether they lie before the point of no return."""
    found = []
    for strategy in STRATEGIES:
        steps = StrategyTable.load(strategy, resources.read("states", f"strategies/{strategy}.yaml")).phases["clean"]
        point = list(steps).index("delete_canal")
        found += [
            pytest.param(strategy, at, at < point, id=f"{strategy}-{at}-{step}") for at, step in enumerate(steps[:7])
        ]
    return found


@pytest.mark.parametrize(("strategy", "position", "returns"), cleaning())
def test_clean_up_can_be_taken_back_until_canal_is_deleted(strategy: str, position: int, returns: bool) -> None:
    """Killed in a step before that, the cluster goes back to as it was found; behind it, rollback refuses."""

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, watch):
            before = outcome(sim, config)
            first = Process(sim, config)

            def look(turn: Any, _: Any) -> None:
                cluster = turn.record.cluster
                if cluster.phase is Phase.CLEANING and cluster.list_name and cluster.position >= position:
                    assert first.mortal is not None
                    first.mortal.die()

            first.on_turn = look
            await first.run()
            back = Process(sim, config, goal=Goal(kind="rollback"), holder="second@test/2/2/x", takeover=True)
            if not returns:
                with pytest.raises(Halted, match="behind the point of no return"):
                    await back.run()
                return
            final = await back.run()
            assert final is not None
            assert (final.outcome, final.message) == ("done", "the cluster is as it was found")
            assert outcome(sim, config) == before
            watch.check()

    run_virtual(main())


def _cidrs(sim: Simulation, node: str) -> set[str]:
    """The first two numbers of the addresses of a node's pods."""
    found = set()
    for stored in sim.store.select(sim.app.catalog.find("", "v1", "pods"), node=node):
        pod = stored.object
        if not pod["spec"].get("hostNetwork") and pod["status"].get("phase") == "Running":
            found.add(".".join(pod["status"]["podIP"].split(".")[:2]))
    return found
