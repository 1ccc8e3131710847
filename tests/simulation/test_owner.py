"""Somebody owns Canal's DaemonSet and puts it back while nodes leave it."""

import asyncio

import pytest

from cni_migrate.core.model.goal import Final
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.kinds import DAEMON_SET
from cni_migrate.sim.world.owner import Owner
from tests.simulation.harness import Process, config_for

OWNED = {"nodes": 3, "workloads": [{"name": "web", "replicas": 3}]}


def _owned(seconds: float) -> Scenario:
    return Scenario.model_validate({**OWNED, "canal": {"owner_restores_after": seconds}})


@pytest.mark.parametrize("seconds", [1.0, 20.0, 45.0])
def test_an_owner_that_puts_canal_back_is_noticed_at_once(seconds: float) -> None:
    """A hold within a moment, that names field and writer; no node is drained after that."""

    async def main() -> None:
        config = config_for("multus")
        async with Simulation(_owned(seconds)) as sim:
            process = Process(sim, config)
            final = await process.run()
            assert final is not None
            assert final.outcome == "halted"
            assert "kube-system/canal back: spec.template.spec.nodeSelector is" in final.message
            assert "field manager" in final.message
            assert "migrate run" in final.next
            record = process.turns[-1].record
            began = min(entry.at for entry in record.cluster.history)
            assert record.cluster.held is not None
            changed = next(e for e in record.cluster.history if "has put DaemonSet" in e.what)
            assert (changed.at - began).total_seconds() < seconds + 60
            assert not any(
                "drain done" in e.what or "is held: " in e.what for e in record.cluster.history if e.at > changed.at
            )

    run_virtual(main())


def _suspendable(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Owners restore nothing any more once there is something in this list."""
    restore = Owner._restore
    suspended: list[bool] = []

    async def unless_suspended(self: Owner, place: meta.Key) -> None:
        if not suspended:
            await restore(self, place)

    monkeypatch.setattr(Owner, "_restore", unless_suspended)
    return suspended


def test_the_selector_is_restored_when_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the owner is suspended, the next run sets it again and comes to its end."""
    suspended = _suspendable(monkeypatch)

    async def main() -> None:
        config = config_for("multus")
        async with Simulation(_owned(30.0)) as sim:
            first = await Process(sim, config).run()
            assert first is not None
            assert "has put DaemonSet" in first.message
            suspended.append(True)
            second = await Process(sim, config, holder="second@test/1/1/elsewhere").run()
            assert second is not None
            assert (second.outcome, second.message) == ("done", "the cluster runs on Cilium; the audit is clean")
            assert sim.world.ctx.cluster[DAEMON_SET].get("canal", "kube-system") is None

    run_virtual(main())


@pytest.mark.parametrize("seconds", [0.5, 5.0])
def test_an_owner_that_makes_canal_again_after_clean_up_is_noticed_at_once(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hold names it within moments; once it is suspended the next run deletes Canal again, hosts included."""
    suspended = _suspendable(monkeypatch)

    async def main() -> None:
        config = config_for("overlay")
        scenario = Scenario.model_validate({**OWNED, "canal": {"published": True, "owner_restores_after": seconds}})
        async with Simulation(scenario) as sim:
            process = Process(sim, config)
            final = await process.run()
            assert final is not None
            assert final.outcome == "halted"
            assert "has made DaemonSet kube-system/canal again" in final.message
            assert "migrate run" in final.next
            history = process.turns[-1].record.cluster.history
            cleaning = next(entry for entry in history if entry.what == "phase cleaning")
            assert (history[-1].at - cleaning.at).total_seconds() < seconds + 45
            suspended.append(True)
            await asyncio.sleep(60)
            final = await Process(sim, config, holder="second@test/1/1/elsewhere").run()
            assert final == Final("done", "the cluster runs on Cilium; the audit is clean", "")
            await asyncio.sleep(60)
            assert sim.world.ctx.cluster[DAEMON_SET].get("canal", "kube-system") is None
            for host in sim.world.ctx.net.hosts.values():
                assert [name for name in host.plane.files if "canal" in name or "calico" in name] == []
                assert [chain for chain in host.plane.chains if chain.startswith(("cali-", "FLANNEL"))] == []

    run_virtual(main())
