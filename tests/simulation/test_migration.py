"""A whole migration by each strategy on a calm cluster: it ends migrated, as it was marked before, and is repeatable."""

import asyncio
import hashlib
import json

import pytest

from cni_migrate.core.decision.probe_rate import SLOT
from cni_migrate.core.model import names
from cni_migrate.core.model.goal import Final
from cni_migrate.core.model.record import Record
from cni_migrate.sim.apiserver.hooks import Answer, Call
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.world.kinds import CONFIG_MAP
from tests.simulation.harness import SMALL, Process, config_for, simulated
from tests.simulation.outcome import outcome

STRATEGIES = ["multus", "overlay"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_everything_is_on_cilium_and_nothing_of_the_old_is_left(strategy: str) -> None:
    """Every pod has a Cilium address, Canal and Multus are gone, and nodes carry only their operator's marks."""

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, _):
            before = outcome(sim, config)
            process = Process(sim, config)
            final = await process.run()
            assert final == Final("done", "the cluster runs on Cilium; the audit is clean")
            after = outcome(sim, config)
            assert after["daemonsets"] == ["kube-system/cilium", "shop/logs", "shop/plain"]
            for name, node in after["nodes"].items():
                expected = before["nodes"][name]
                assert {**node, "files": ()} == {**expected, "files": ()}
                assert node["files"] == ["05-cilium.conflist"]
            for workload, networks in after["workloads"].items():
                assert set(networks) == {"cilium"}, workload
            assert {w: len(n) for w, n in after["workloads"].items()} == {
                w: len(n) for w, n in before["workloads"].items()
            }

    run_virtual(main())


def test_reports_by_the_proxy() -> None:
    """A whole migration that never reads a log: the agents are asked through the API server, and gates pass."""

    async def main() -> None:
        config = config_for("overlay", knet={"reader": "proxy"})
        async with simulated(SMALL, config) as (sim, _):
            final = await Process(sim, config).run()
            assert final == Final("done", "the cluster runs on Cilium; the audit is clean")
            counts = sim.app.hooks.counts
            assert counts["GET", "pods/proxy"].requests > 20
            assert ("GET", "pods/log") not in counts

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_gives_the_same_requests(strategy: str) -> None:
    """Two runs of one seed send the same requests, byte for byte."""

    async def main() -> str:
        config = config_for(strategy)
        digest = hashlib.sha256()
        async with simulated(SMALL, config, seed=7) as (sim, _):
            sim.app.hooks.observers.append(lambda call, answer: digest.update(repr((call, answer)).encode()))
            await Process(sim, config).run()
        return digest.hexdigest()

    assert run_virtual(main()) == run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_order_is_canary_then_workers_then_control_plane_then_own_node(strategy: str) -> None:
    """The driver's own node goes at the very end, after the control plane."""

    async def main() -> list[str]:
        config = config_for(strategy, canary="w3", own_node="w1")
        order: list[str] = []

        async with simulated("calm", config, nodes=4) as (sim, _):

            def look(turn: object, _: object) -> None:
                record: Record = turn.record  # type: ignore[attr-defined]
                order.extend(n for n, e in record.nodes.items() if e.state.beyond_dual and n not in order)

            final = await Process(sim, config, on_turn=look).run()
            assert final is not None
            assert final.outcome == "done"
        return order

    assert run_virtual(main()) == ["w3", "w2", "cp1", "w1"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_more_nodes_at_once_after_the_canary(strategy: str) -> None:
    """With max_unavailable 3 the canary goes alone, then three nodes are out of service, never more."""

    async def main() -> tuple[int, list[int]]:
        config = config_for(strategy, max_unavailable="3")
        at_once: list[int] = []
        async with simulated("calm", config, nodes=8) as (sim, watch):

            def look(turn: object, _: object) -> None:
                record: Record = turn.record  # type: ignore[attr-defined]
                if record.cluster.phase == "migrating":
                    at_once.append(sum(1 for e in record.nodes.values() if e.event is not None))

            final = await Process(sim, config, on_turn=look).run()
            assert final is not None
            assert final.outcome == "done", final
            return watch.worst, at_once

    worst, at_once = run_virtual(main())
    assert worst == 3
    assert max(at_once) == 3
    assert [count for count in at_once if count][:3] == [1, 1, 1]


def test_agents_are_kept_fast_while_the_driver_is_at_work() -> None:
    """By a ConfigMap that is written now and then, and that leaves nothing behind."""

    async def main() -> None:
        config = config_for("overlay")
        async with simulated(SMALL, config) as (sim, _):
            paces: list[int] = []

            def watch(call: Call, answer: Answer | None) -> None:
                if answer is not None and answer.code < 300 and call.path.endswith(f"/configmaps/{names.PACE}"):
                    paces.append(call.method == "PUT")

            sim.app.hooks.observers.append(watch)
            process = Process(sim, config)
            final = await process.run()
            assert final is not None
            assert final.outcome == "done", final
            seconds = asyncio.get_running_loop().time()
            assert 1 <= sum(paces) <= 2 + seconds / SLOT
            maps = await sim.app.client("somebody").list(CONFIG_MAP)
            assert names.PACE not in {one["metadata"]["name"] for one in maps[0]}

    run_virtual(main())


@pytest.mark.parametrize(("strategy", "outages"), [("multus", 2), ("overlay", 1)])
def test_in_a_large_cluster_every_agent_looks_at_the_nodes_in_transit(strategy: str, outages: int) -> None:
    """By one more write for each time that a node is out of service, and without a gate that fails."""

    async def main() -> None:
        config = config_for(strategy, knet={"full_mesh_max": 2, "degree": 2})
        async with simulated("calm", config, nodes=6) as (sim, _):
            writes = 0
            listed: set[tuple[str, str]] = set()

            def watch(call: Call, answer: Answer | None) -> None:
                nonlocal writes
                done = answer is not None and answer.code < 300
                writes += done and call.method == "PUT" and call.path.endswith(f"/configmaps/{names.PACE}")

            def look(turn: object, _: object) -> None:
                record: Record = turn.record  # type: ignore[attr-defined]
                out = {name for name, entry in record.nodes.items() if entry.event in ("drain", "switch")}
                for agent in sim.world.agents.agents.values() if out else ():
                    rounds = sim.world.knet.rounds(agent)
                    if rounds:
                        peers = json.loads(sim.world.knet.line(agent, max(rounds)))["peers"]
                        listed.update((agent.node, peer.split("/")[0]) for peer in peers if peer.split("/")[0] in out)

            sim.app.hooks.observers.append(watch)
            final = await Process(sim, config, on_turn=look).run()
            assert final is not None
            assert final.outcome == "done", final
            nodes = set(sim.world.ctx.net.hosts)
            assert {(a, b) for a in nodes for b in nodes if a != b} <= listed
            assert writes <= outages * len(nodes) + 3 + asyncio.get_running_loop().time() / SLOT

    run_virtual(main())


LATE = {"api": {"method": "PUT", "path": "configmaps/cilium-config", "times": 1, "delay": "8s"}}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_agents_find_their_final_configuration_although_it_comes_late(strategy: str) -> None:
    """Cilium's DaemonSet is not touched before its ConfigMap was accepted: no agent in its final form has read the old."""

    async def main() -> None:
        config = config_for(strategy)
        scenario = Scenario.model_validate({**SMALL.model_dump(mode="json", by_alias=True), "faults": [LATE]})
        async with simulated(scenario, config) as (sim, _):
            final = await Process(sim, config).run()
            assert final == Final("done", "the cluster runs on Cilium; the audit is clean")
            for node in outcome(sim, config)["nodes"]:
                assert sim.world.host(node).plane.enforcing, node

    run_virtual(main())
