"""What a clean audit leaves behind on hosts: nothing of Canal's, and of Calico's neither."""

import pytest

from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model.effects import RunHostTask
from cni_migrate.core.model.goal import Final
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from tests.simulation.harness import Process, config_for

SMALL = Scenario.model_validate({"nodes": 2, "workloads": [{"kind": "daemonset", "name": "app"}]})


@pytest.mark.parametrize("strategy", ["multus", "overlay"])
def test_nothing_of_canal_is_left_on_hosts(strategy: str) -> None:
    """No chain, no set, no table, no folder, no credentials, no link and no rule on any node."""

    async def main() -> None:
        async with Simulation(SMALL) as sim:
            before = [host.plane for host in sim.world.ctx.net.hosts.values()]
            assert all(plane.ipsets and plane.tables and "calico-kubeconfig" in plane.files for plane in before)
            done = Final("done", "the cluster runs on Cilium; the audit is clean", "")
            assert await Process(sim, config_for(strategy)).run() == done
            for host in sim.world.ctx.net.hosts.values():
                plane = host.plane
                assert [name for name in sorted(plane.chains) if not name.startswith("CILIUM_")] == []
                assert plane.ipsets == frozenset()
                assert plane.tables == frozenset()
                assert sorted(plane.left - {"/run/cilium/state"}) == ["/opt/cni/bin/cilium-cni"]
                assert [name for name in plane.files if "cilium" not in name] == []
                assert [name for name in sorted(plane.links) if not name.startswith("cilium_")] == []
                assert plane.postrouting == ("cilium",)

    run_virtual(main())


def test_hosts_are_cleaned_in_calico_s_image_by_whoever_does_it() -> None:
    """A driver that comes when Canal's DaemonSet is gone already knows the image: it is in the record."""

    async def main() -> None:
        async with Simulation(SMALL) as sim:
            first = Process(sim, config_for("overlay"))

            def until_canal_is_gone(decision: Decision, seen: Snapshot) -> None:
                if decision.record.cluster.step == "clean_hosts":
                    assert first.mortal is not None
                    first.mortal.die()

            first.on_turn = until_canal_is_gone
            assert await first.run() is None
            assert first.turns[-1].record.cluster.cleaning_image
            second = Process(sim, config_for("overlay"), takeover=True)
            assert (await second.run()) == Final("done", "the cluster runs on Cilium; the audit is clean", "")
            tasks = [e for turn in second.turns for e in turn.effects if isinstance(e, RunHostTask)]
            images = {task.pod["spec"]["containers"][0]["image"] for task in tasks}
            assert len(images) == 1
            assert "calico" in images.pop()

    run_virtual(main())
