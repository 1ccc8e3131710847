"""Canal as Calico publishes it, with NetworkPolicies: they hold the whole way, and nothing of Calico's is left."""

import asyncio

import pytest

from cni_migrate.core.decision.order import capacity
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds, meta
from cni_migrate.sim.world.masquerade import Keep
from tests.simulation.guarded import NAMESPACE, guarded
from tests.simulation.harness import Process, config_for
from tests.simulation.invariants import Invariants

DONE = Final("done", "the cluster runs on Cilium; the audit is clean", "")


def test_no_policy_is_ever_off() -> None:
    """From preflight to the audit no forbidden call gets through and no allowed one is lost."""

    async def main() -> None:
        config = config_for("overlay")
        async with Simulation("calico") as sim:
            invariants = Invariants(sim, config, capacity(config, 3))
            async with guarded(sim) as watch:
                assert await Process(sim, config).run() == DONE
                await asyncio.sleep(30)
            watch.check()
            invariants.check()

    run_virtual(main())


def test_a_rule_that_somebody_flushes_comes_back() -> None:
    """While nobody drives: a firewall that is loaded anew takes the rule away, the node's agent lays it again."""

    async def main() -> None:
        async with Simulation("calico") as sim:
            await Process(sim, config_for("overlay"), goal=Goal(until=Phase.ATTACHING)).run()
            host = sim.world.host("w1")
            laid = host.plane.postrouting
            assert any(isinstance(rule, Keep) for rule in laid)
            host.change(postrouting=tuple(rule for rule in laid if not isinstance(rule, Keep)))
            await asyncio.sleep(20)
            assert host.plane.postrouting == laid

    run_virtual(main())


@pytest.mark.parametrize("writes", [60, 90, 110, 120, 130])
def test_the_way_back_opens_nothing(writes: int) -> None:
    """Killed somewhere and rolled back as a whole: policies hold, and Canal is as it was found."""

    async def main() -> None:
        config = config_for("overlay")
        async with Simulation("calico") as sim:
            async with guarded(sim) as watch:
                assert await Process(sim, config, kill_after=writes).run() is None
                await asyncio.sleep(5)
                other = Process(sim, config, goal=Goal(kind="back"), takeover=True, holder="second@test/2/2/x")
                back = await other.run()
                assert back is not None
                assert back.outcome == "done", back
                await asyncio.sleep(30)
            watch.check()

    run_virtual(main())


def test_a_pod_that_starts_while_nobody_drives_is_known() -> None:
    """Half-way the driver is killed; pods that start on Canal's nodes meanwhile are strangers to nobody."""

    async def main() -> None:
        config = config_for("overlay")
        async with Simulation("calico") as sim:
            await Process(sim, config, kill_after=110).run()
            async with guarded(sim) as watch:
                pods, _ = await sim.client.list(kinds.POD, namespace=NAMESPACE)
                for pod in pods:
                    await sim.client.delete(kinds.POD, meta.name(pod), NAMESPACE)
                await asyncio.sleep(60)
            watch.check()

    run_virtual(main())


def test_nothing_of_calico_is_left_on_hosts() -> None:
    """After a clean audit: no chain, no set, no folder, no credentials of Calico's on any node."""

    async def main() -> None:
        config = config_for("overlay")
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
