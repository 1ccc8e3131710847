"""A firewall between the nodes is found before anything is changed: refused, opened or waived, and gone back from."""

import asyncio
from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model import names
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from tests.simulation.harness import SMALL, Process, config_for, simulated
from tests.simulation.outcome import outcome

STRATEGIES = ["multus", "overlay"]
BETWEEN = {"firewall": {"port": 8473, "node": "w1", "peer": "w2"}}
ALL = {"firewall": {"port": 8473}}


def _scenario(*faults: dict[str, Any]) -> Scenario:
    return Scenario.model_validate({**SMALL.model_dump(), "name": "closed", "faults": list(faults)})


def _untouched(sim: Simulation, config: Config) -> bool:
    """Whether there is nothing of Cilium, no agent, no probe, and no label of the migration."""

    def every(group: str, plural: str) -> list[dict[str, Any]]:
        return [stored.object for stored in sim.store.select(sim.app.catalog.find(group, "v1", plural))]

    containers = {one["name"] for pod in every("", "pods") for one in pod["spec"]["containers"]}
    labels = {label.key for label in config.labels.every()}
    return (
        not containers & {"tunnel-probe", "cilium-agent", "knet-stress"}
        and {one["metadata"]["name"] for one in every("apps", "daemonsets")} == {"canal", "logs", "plain"}
        and not any(labels & set(node["metadata"]["labels"]) for node in every("", "nodes"))
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_closed_pair_holds_the_run_before_the_first_change(strategy: str) -> None:
    """Both nodes are named, the port, and what to open; tried again by the next run, which goes through once it is."""

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(_scenario({**BETWEEN, "lasts": "400s"}), config) as (sim, watch):
            final = await Process(sim, config).run()
            assert final is not None
            assert final.outcome == "gate"
            assert "UDP port 8473" in final.message
            assert "w1 -> w2, w2 -> w1" in final.message
            assert "open UDP port 8473" in final.next
            assert _untouched(sim, config)
            again = await Process(sim, config, holder="second@test/2/2/x").run()
            assert again is not None
            assert again.outcome == "gate", "it is tried again, not remembered"
            await asyncio.sleep(400)
            last = await Process(sim, config, holder="third@test/3/3/x").run()
            assert last is not None
            assert last.outcome == "done", last
            watch.check()

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_way_is_enough_to_be_closed(strategy: str) -> None:
    """Where only what comes to w2 is lost, those pairs are named and no others."""

    async def main() -> Final | None:
        config = config_for(strategy)
        fault = {"firewall": {"port": 8473, "node": "w2", "direction": "in"}}
        async with simulated(_scenario(fault), config) as (sim, _):
            return await Process(sim, config).run()

    final = run_virtual(main())
    assert final is not None
    assert ": cp1 -> w2, w1 -> w2. " in final.message


def test_what_is_closed_is_waived_by_name_and_recorded() -> None:
    """It goes on to where the gates find out, and the history tells who has said so; another port is no trouble."""

    async def main() -> None:
        config = config_for("overlay", deadlines={"gate": 30})
        other = {"firewall": {"port": 8474}}
        async with simulated(_scenario(BETWEEN, other), config) as (sim, _):
            await Process(sim, config).run()
            goal = Goal(waivers=("FIREWALL:w2",), by="somebody@test")
            process = Process(sim, config, goal=goal, holder="second@test/2/2/x")
            await process.run()
            cluster = process.turns[-1].record.cluster
            assert cluster.phase is not Phase.PREPARING
            assert cluster.waived == ("FIREWALL:w2",)
            assert "waived by somebody@test: FIREWALL:w2" in [line.what for line in cluster.history]

    run_virtual(main())


def test_a_port_that_is_taken_is_told() -> None:
    """With the node; nothing was changed. Once it is free, the run goes through."""

    async def main() -> None:
        config = config_for("overlay")
        fault = {"port_taken": {"node": "w1", "port": 8473}, "lasts": "60s"}
        async with simulated(_scenario(fault), config) as (sim, _):
            final = await Process(sim, config).run()
            assert final is not None
            assert final.outcome == "halted"
            assert "node w1: another program has it" in final.message
            assert _untouched(sim, config)
            await asyncio.sleep(60)
            last = await Process(sim, config, holder="second@test/2/2/x").run()
            assert last is not None
            assert last.outcome == "done", last

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("k", range(1, 26))
def test_killed_at_a_write_it_says_the_same(strategy: str, k: int) -> None:
    """Whichever write is the last, the next driver finds the closed port, and no probe stays."""

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(_scenario(ALL), config) as (sim, _):
            first = Process(sim, config, kill_before=k) if k % 2 else Process(sim, config, kill_after=k)
            await first.run()
            final = await Process(sim, config, holder="second@test/2/2/x", takeover=True).run()
            assert final is not None
            assert final.outcome == "gate", final
            assert "6 let nothing through" in final.message
            assert _untouched(sim, config)

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_back_from_there(strategy: str) -> None:
    """A rollback needs no agents that were never there: the cluster is as it was found."""

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(_scenario(ALL), config) as (sim, _):
            before = outcome(sim, config)
            await Process(sim, config).run()
            final = await Process(sim, config, goal=Goal(kind="rollback"), holder="second@test/2/2/x").run()
            assert final is not None
            assert (final.outcome, final.message) == ("done", "the cluster is as it was found"), final
            after = outcome(sim, config)
            assert all(after[part] == before[part] for part in ("nodes", "daemonsets", "workloads"))

    run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_probes_are_gone_before_cilium_comes(strategy: str) -> None:
    """They have the port that its tunnel needs."""
    seen: list[tuple[bool, bool]] = []

    def look(_: Decision, snapshot: Snapshot) -> None:
        pods = [pod for node in snapshot.nodes for pod in snapshot.pods_on(node)]
        probes = any(pod.labels.get(names.TASK) == names.TUNNEL for pod in pods)
        seen.append((probes, any("cilium-agent" in pod.containers for pod in pods)))

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(SMALL, config) as (sim, _):
            process = Process(sim, config, goal=Goal(until=Phase.PREPARING), on_turn=look)
            final = await process.run()
            assert final is not None
            assert final.outcome == "done", final
            tunnel = process.turns[-1].record.cluster.tunnel
            assert tunnel is not None
            assert (tunnel.tried, tunnel.closed, tunnel.unfit) == (6, (), {})

    run_virtual(main())
    assert (True, False) in seen
    assert (False, True) in seen
    assert (True, True) not in seen


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "fault",
    [{"power_off": "w2", "lasts": "90s"}, {"reboot": "w2"}, {"kubelet_down": "w2", "lasts": "90s"}],
    ids=["power off", "reboot", "kubelet down"],
)
@pytest.mark.parametrize("at", [3, 6, 9])
def test_a_node_that_dies_meanwhile_is_no_firewall(strategy: str, fault: dict[str, Any], at: int) -> None:
    """It is waited for or left out, like later on; no port is called closed for it."""

    async def main() -> None:
        config = config_for(strategy)
        async with simulated(_scenario({**fault, "at": at}), config) as (sim, _):
            process = Process(sim, config, goal=Goal(until=Phase.PREPARING))
            final = await process.run()
            assert final is not None
            assert "UDP port" not in final.message, final
            tunnel = process.turns[-1].record.cluster.tunnel
            assert tunnel is None or tunnel.closed == ()

    run_virtual(main())
