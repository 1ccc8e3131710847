"""Canal as Calico publishes it, with NetworkPolicies: they hold the whole way, and nothing of Calico's is left."""

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from cni_migrate.core.connectivity.gate import Failing
from cni_migrate.core.connectivity.mesh import question
from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.decision.order import capacity
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.lifecycle import NodeEvent, Phase
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.knet.reader import LogProber, lines_needed
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.inprocess import close_api, in_process_api
from cni_migrate.kube.logs import KubeLogs
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario, load
from cni_migrate.sim.scenariofaults import Fault
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds, meta, multus
from cni_migrate.sim.world.masquerade import Keep
from cni_migrate.strategies import NAMES
from tests.simulation.guarded import NAMESPACE, guarded
from tests.simulation.harness import Process, SimulatedClock, config_for
from tests.simulation.invariants import Invariants

DONE = Final("done", "the cluster runs on Cilium; the audit is clean", "")


@pytest.mark.parametrize("strategy", NAMES)
def test_no_policy_is_ever_off(strategy: str) -> None:
    """From preflight to the audit no forbidden call gets through and no allowed one is lost."""

    async def main() -> None:
        config = config_for(strategy)
        async with Simulation("calico") as sim:
            invariants = Invariants(sim, config, capacity(config, 3))
            async with guarded(sim) as watch:
                assert await Process(sim, config).run() == DONE
                await asyncio.sleep(30)
            watch.check()
            invariants.check()

    run_virtual(main())


@pytest.mark.parametrize("strategy", NAMES)
def test_a_rule_that_somebody_flushes_comes_back(strategy: str) -> None:
    """While nobody drives: a firewall that is loaded anew takes the rule away, the node's agent lays it again."""

    async def main() -> None:
        async with Simulation("calico") as sim:
            await Process(sim, config_for(strategy), goal=Goal(until=Phase.ATTACHING)).run()
            host = sim.world.host("w1")
            laid = host.plane.postrouting
            assert any(isinstance(rule, Keep) for rule in laid)
            host.change(postrouting=tuple(rule for rule in laid if not isinstance(rule, Keep)))
            await asyncio.sleep(20)
            assert host.plane.postrouting == laid

    run_virtual(main())


def test_a_rule_that_does_not_stay_lets_no_node_be_switched() -> None:
    """Flushed on w2 when w1 is drained already, and nobody drives: w1 waits before its switch for w2's agent, by name."""

    async def main() -> None:
        config = config_for("overlay")
        flush = Fault.model_validate({"when": {"node": "w1", "cordoned": True}, "flush_rules": "w2", "lasts": "10m"})
        async with Simulation(load("calico").model_copy(update={"faults": [flush]})) as sim:
            async with guarded(sim) as watch:
                first = Process(sim, config)

                def die(decision: Decision, _: Snapshot) -> None:
                    entry = decision.record.nodes["w1"]
                    if (entry.event, entry.step) == (NodeEvent.DRAIN, "taint"):
                        first.kill()

                first.on_turn = die
                assert await first.run() is None
                await asyncio.sleep(30)
                resumed = Process(sim, config, holder="second@test/2/2/x", takeover=True)
                held = await resumed.run()
                assert held is not None
                assert "node w1, step await_identified" in held.message, held
                assert "node w2" in held.message
                entry = resumed.turns[-1].record.nodes["w1"]
                assert (entry.event, entry.step) == ("switch", "await_identified")
                await asyncio.sleep(600)
                assert await Process(sim, config, holder="third@test/3/3/x").run() == DONE
            watch.check()

    run_virtual(main())


def test_a_rule_that_does_not_stay_lets_no_node_be_drained() -> None:
    """Flushed on w2 while w1 becomes dual: w1 is not drained before w2's agent has its rules again, by name."""

    async def main() -> None:
        flush = Fault.model_validate({"when": {"node": "w1", "cordoned": True}, "flush_rules": "w2", "lasts": "20m"})
        async with Simulation(load("calico").model_copy(update={"faults": [flush]})) as sim:
            process = Process(sim, config_for("multus"))
            held = await process.run()
            assert held is not None
            assert "node w1, step await_identified" in held.message, held
            assert "node w2" in held.message
            assert process.turns[-1].record.nodes["w1"].event == NodeEvent.DRAIN
            assert not any(node["spec"].get("unschedulable") for node in (await sim.client.list(kinds.NODE))[0])

    run_virtual(main())


def _beside(**fault: Any) -> Scenario:
    """The published Canal, with a fault as soon as w1 is migrated."""
    when = {"when": {"node": "w1", "label": "node-role.kubernetes/migrated"}, **fault}
    return load("calico").model_copy(update={"faults": [Fault.model_validate(when)]})


async def _restarted(sim: Simulation, node: str) -> None:
    """Make the guarded pods of a node anew."""
    pods, _ = await sim.client.list(kinds.POD, namespace=NAMESPACE)
    for pod in pods:
        if meta.node_of(pod) == node:
            await sim.client.delete(kinds.POD, meta.name(pod), NAMESPACE)


@pytest.mark.parametrize("strategy", NAMES)
def test_an_identity_agent_that_is_gone_for_minutes_opens_nothing_and_is_named(strategy: str) -> None:
    """Pods that start on its node are strangers meanwhile, so blocked; nobody is drained; then all is right again."""

    async def main() -> None:
        config = config_for(strategy)
        crash = {"name": "cni-migrate-identities", "node": "w2"}
        async with Simulation(_beside(crash=crash, lasts="10m")) as sim:
            async with guarded(sim) as watch:
                first = Process(sim, config)
                held = await first.run()
                assert held is not None
                assert held.outcome == "halted"
                assert "cni-migrate-identities" in held.message
                assert "node w2" in held.message
                states = {name: entry.state for name, entry in first.turns[-1].record.nodes.items()}
                assert sorted(states.values()) == ["dual", "dual", "migrated"]
                await _restarted(sim, "w2")
                await asyncio.sleep(60)
                assert watch.opened == {}
                assert any("allowed w2 (canal) -> w1 (cilium)" in call for call in watch.lost)
                await asyncio.sleep(600)
                watch.lost.clear()
                assert await Process(sim, config, holder="second@test/2/2/x").run() == DONE
            watch.check()

    run_virtual(main())


@pytest.mark.parametrize("strategy", NAMES)
def test_a_node_that_is_lost_for_minutes_opens_nothing(strategy: str) -> None:
    """Its pods' endpoints stay for a while, as its pods do; what comes in their place is known or blocked."""

    async def main() -> None:
        config = config_for(strategy)
        async with Simulation(_beside(power_off="w2", lasts="8m")) as sim:
            async with guarded(sim) as watch:
                await Process(sim, config).run()
                await asyncio.sleep(1200)
                final = await Process(sim, config, holder="second@test/2/2/x").run()
                assert final == DONE
            assert sim.faults.struck == ["power_off"]
            assert watch.opened == {}

    run_virtual(main())


@pytest.mark.parametrize(
    ("strategy", "writes"),
    [
        *(("overlay", writes) for writes in (60, 90, 110, 120, 130)),
        *(("multus", writes) for writes in (90, 140, 180, 220)),
    ],
)
def test_the_way_back_opens_nothing(strategy: str, writes: int) -> None:
    """Killed somewhere and rolled back as a whole: policies hold, and Canal is as it was found."""

    async def main() -> None:
        config = config_for(strategy)
        async with Simulation("calico") as sim:
            async with guarded(sim) as watch:
                assert await Process(sim, config, kill_after=writes).run() is None
                await asyncio.sleep(5)
                other = Process(sim, config, goal=Goal(kind="rollback"), takeover=True, holder="second@test/2/2/x")
                back = await other.run()
                assert back is not None
                assert back.outcome == "done", back
                await asyncio.sleep(30)
            watch.check()

    run_virtual(main())


def _leaving_by_net1(*more: str) -> Callable[..., str]:
    """Builds Multus's file so that pods have no default route at Canal's interface: routes to Canal's pods and `more` alone."""
    build = multus.build

    def built(*args: str) -> str:
        made = json.loads(build(*args))
        first = made["plugins"][0]["delegates"][0]["plugins"][0]
        first["ipam"]["routes"] = [{"dst": network} for network in ("10.244.0.0/16", *more)]
        return json.dumps(made)

    return built


def test_a_gate_sees_that_kubelets_do_not_reach_dual_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where dual pods answer by Cilium's interface: the run is held for a pod's readiness, and connectivity says why."""
    monkeypatch.setattr(multus, "build", _leaving_by_net1())

    async def main() -> None:
        config = config_for("multus")
        async with Simulation("calico") as sim:
            held = await Process(sim, config).run()
            assert held is not None
            assert "step await_probed" in held.message
            clock = SimulatedClock(sim)
            api = await in_process_api(sim.app, timeout=config.deadlines.request)
            try:
                async with KubeCluster(api, config, clock, random.Random(1)) as cluster:
                    asked = question(cluster.snapshot(), config)
                    prober = LogProber(KubeLogs(cluster.client, clock).tail, clock, lines=lines_needed(config))
                    _, verdict = asked.judged((await prober.read([asked.ask]))[asked.ask.key], config)
            finally:
                await close_api(api)
            assert isinstance(verdict, Failing)
            assert {pair.agent for pair in verdict.pairs if pair.kind == "kubelet"} == {"w1/a", "w1/b"}

    run_virtual(main())


def test_a_gate_sees_that_policies_block_dual_pods_by_cluster_ip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where dual pods do answer their kubelets, every probe by address is clean; a call by ClusterIP is not."""
    monkeypatch.setattr(multus, "build", _leaving_by_net1(Scenario().node_cidr))

    async def main() -> None:
        config = config_for("multus", deadlines={"gate": 30})
        async with Simulation("calico") as sim:
            held = await Process(sim, config).run()
            assert held is not None
            assert held.outcome == "gate", held
            assert "node w1, step gate" in held.message
            assert "by ClusterIP alone allowed callers are blocked" in held.message
            assert "w1/a -> guard policy_allow: timeout" in held.message

    run_virtual(main())


@pytest.mark.parametrize(("strategy", "writes"), [("overlay", 110), ("multus", 170)])
def test_a_pod_that_starts_while_nobody_drives_is_known(strategy: str, writes: int) -> None:
    """Half-way the driver is killed; pods that start on Canal's nodes meanwhile are strangers to nobody."""

    async def main() -> None:
        config = config_for(strategy)
        async with Simulation("calico") as sim:
            await Process(sim, config, kill_after=writes).run()
            async with guarded(sim) as watch:
                pods, _ = await sim.client.list(kinds.POD, namespace=NAMESPACE)
                for pod in pods:
                    await sim.client.delete(kinds.POD, meta.name(pod), NAMESPACE)
                await asyncio.sleep(60)
            watch.check()

    run_virtual(main())


@pytest.mark.parametrize("strategy", NAMES)
def test_nothing_of_calico_is_left_on_hosts(strategy: str) -> None:
    """After a clean audit: no chain, no set, no folder, no credentials of Calico's on any node."""

    async def main() -> None:
        config = config_for(strategy)
        async with Simulation("calico") as sim:
            assert await Process(sim, config).run() == DONE
            for host in sim.world.ctx.net.hosts.values():
                plane = host.plane
                assert [chain for chain in sorted(plane.chains) if chain.startswith(("cali-", "FLANNEL-"))] == []
                assert plane.ipsets == frozenset()
                assert [path for path in sorted(plane.left) if "calico" in path] == []
                assert "calico-kubeconfig" not in plane.files
                assert plane.postrouting == ("cilium",)

    run_virtual(main())
