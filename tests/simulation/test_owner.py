"""Somebody owns Canal's DaemonSet and puts it back while nodes leave it."""

import asyncio
from typing import Any

import pytest

from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.core.model.record import conditions
from cni_migrate.core.reports.plan import PlanView, plan_view
from cni_migrate.core.reports.status import StatusView, status_view
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.kinds import DAEMON_SET
from cni_migrate.sim.world.owner import Owner
from cni_migrate.wiring import plan_for
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


def _clean(sim: Simulation) -> bool:
    """Whether nothing of Canal is in the API or on any host."""
    planes = [host.plane for host in sim.world.ctx.net.hosts.values()]
    files = [name for plane in planes for name in plane.files if "canal" in name or "calico" in name]
    chains = [chain for plane in planes for chain in plane.chains if chain.startswith(("cali-", "FLANNEL"))]
    return sim.world.ctx.cluster[DAEMON_SET].get("canal", "kube-system") is None and not files and not chains


def _owners(monkeypatch: pytest.MonkeyPatch) -> list[Owner]:
    """The owners of the simulations to come."""
    found: list[Owner] = []
    made = Owner.__init__

    def init(self: Owner, *words: Any) -> None:
        made(self, *words)
        found.append(self)

    monkeypatch.setattr(Owner, "__init__", init)
    return found


def _suspendable(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Owners restore nothing any more once there is something in this list."""
    restore = Owner._restore
    suspended: list[bool] = []

    async def unless_suspended(self: Owner, place: meta.Key) -> None:
        if not suspended:
            await restore(self, place)

    monkeypatch.setattr(Owner, "_restore", unless_suspended)
    return suspended


@pytest.mark.parametrize(
    ("canal", "names"),
    [
        pytest.param({}, ["canal"], id="one"),
        pytest.param({"architectures": ["amd64", "arm64"]}, ["canal-amd64", "canal-arm64"], id="architectures"),
        pytest.param({"published": True, "split": True}, ["kube-flannel", "canal"], id="split"),
    ],
)
def test_the_selector_is_restored_when_the_run_goes_on(
    canal: dict[str, Any], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held by each DaemonSet's name before another drain; with the owner suspended the next run sets all of them again."""
    suspended = _suspendable(monkeypatch)
    more = [f"kube-system/{name}" for name in names[1:]]

    async def main() -> None:
        config = config_for("multus", canal={"daemonset": names[0], "more_daemonsets": more})
        scenario = Scenario.model_validate({**OWNED, "canal": {**canal, "owner_restores_after": 30.0}})
        async with Simulation(scenario) as sim:
            process = Process(sim, config)
            first = await process.run()
            assert first is not None
            for name in names:
                assert f"has put DaemonSet kube-system/{name} back: spec.template.spec.nodeSelector" in first.message
            history = process.turns[-1].record.cluster.history
            changed = next(entry for entry in history if "has put DaemonSet" in entry.what)
            assert not any("drain done" in entry.what for entry in history if entry.at > changed.at)
            suspended.append(True)
            again = Process(sim, config, holder="second@test/1/1/elsewhere")
            selected: list[set[bool]] = []

            def look(_: Decision, seen: Snapshot) -> None:
                every = [seen.daemonsets.get(("kube-system", name)) for name in names]
                selected.append({config.labels.canal_cilium.key in one.node_selector for one in every if one})

            again.on_turn = look
            second = await again.run()
            assert {True} in selected, "all of them were selected again, not the first alone"
            assert second is not None
            assert (second.outcome, second.message) == ("done", "the cluster runs on Cilium; the audit is clean")
            for name in names:
                assert sim.world.ctx.cluster[DAEMON_SET].get(name, "kube-system") is None

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
            assert _clean(sim)

    run_virtual(main())


LONG = 3600.0
DONE = Final("done", "the cluster runs on Cilium; the audit is clean", "")


def _long_after(strategy: str) -> Scenario:
    canal = {"published": strategy == "overlay", "owner_restores_after": LONG}
    return Scenario.model_validate({**OWNED, "canal": canal})


@pytest.mark.parametrize("strategy", ["overlay", "multus"])
def test_an_owner_that_makes_canal_again_long_after_the_end_is_told_and_its_canal_removed(strategy: str) -> None:
    """Status, plan and audit name the owner and what to do; the next run removes Canal again, from hosts, too."""

    async def main() -> None:
        config = config_for(strategy)
        async with Simulation(_long_after(strategy)) as sim:
            first = Process(sim, config)
            assert await first.run() == DONE
            assert _clean(sim)
            await asyncio.sleep(LONG + 60)
            assert not _clean(sim)
            record = first.turns[-1].record
            told: list[tuple[StatusView, PlanView]] = []

            def look(_: Decision, seen: Snapshot) -> None:
                if not told:
                    plan, now = plan_for(config, seen), sim.clock.now()
                    views = status_view(plan, record, seen, None, now), plan_view(plan, Goal(), record, seen, now, "")
                    told.append(views)

            second = Process(sim, config, holder="second@test/1/1/elsewhere", on_turn=look)
            assert await second.run() == DONE
            assert _clean(sim)

            made = "has made DaemonSet kube-system/canal again"
            status, planned = told[0]
            assert status.phase is Phase.DONE
            assert made in (status.audit or [""])[0]
            assert "migrate run" in (status.next or "")
            assert made in planned.blockers[0]
            assert [part.name for part in planned.after] == ["again"]
            assert "delete DaemonSet kube-system/canal" in planned.next_effects
            lines = [entry.what for entry in second.turns[-1].record.cluster.history]
            assert any(made in line and "it is deleted again" in line for line in lines)
            assert conditions(second.turns[-1].record)["Completed"] == "True"

    run_virtual(main())


def test_an_owner_that_goes_on_making_canal_is_named_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run after the end deletes Canal once; it does not fight with who makes it again at once."""
    owners = _owners(monkeypatch)

    async def main() -> None:
        config = config_for("overlay")
        async with Simulation(_long_after("overlay")) as sim:
            assert await Process(sim, config).run() == DONE
            await asyncio.sleep(LONG + 60)
            owners[0]._seconds = 1.0
            second = Process(sim, config, holder="second@test/1/1/elsewhere")
            final = await second.run()
            assert final is not None
            assert final.outcome == "halted"
            assert "has made DaemonSet kube-system/canal again" in final.message
            assert conditions(second.turns[-1].record)["Completed"] == "False"
            owners[0]._seconds = LONG
            await asyncio.sleep(30)
            assert await Process(sim, config, holder="third@test/1/1/elsewhere").run() == DONE
            assert _clean(sim)

    run_virtual(main())


@pytest.mark.parametrize("write", range(1, 13))
def test_a_removal_after_the_end_goes_on_wherever_it_was_killed(write: int) -> None:
    """Whatever was written last: the next run goes on, and nothing of Canal is left."""

    async def main() -> None:
        config = config_for("overlay")
        async with Simulation(_long_after("overlay")) as sim:
            assert await Process(sim, config).run() == DONE
            await asyncio.sleep(LONG + 60)
            killed = Process(sim, config, holder="second@test/1/1/elsewhere", kill_after=write)
            assert await killed.run() is None
            assert await Process(sim, config, holder="third@test/1/1/elsewhere", takeover=True).run() == DONE
            assert _clean(sim)

    run_virtual(main())


@pytest.mark.parametrize("step", ["clean_hosts", "final_sweep", "remove_labels", "remove_knet"])
def test_whenever_canal_is_made_again_during_clean_up_the_next_run_ends_clean(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the agents that could prove connectivity have gone meanwhile."""
    owners = _owners(monkeypatch)

    async def main() -> None:
        config = config_for("overlay")
        async with Simulation(_long_after("overlay")) as sim:
            first = Process(sim, config)
            made: list[bool] = []

            def make(decision: Decision, _: Snapshot) -> None:
                if decision.record.cluster.step == step and not made:
                    made.append(True)
                    place = ("kube-system", "canal")
                    owners[0]._ctx.work.add_after(0.0, "owner.restore", place, background=True)

            first.on_turn = make
            final = await first.run()
            assert made
            await asyncio.sleep(60)
            assert final == DONE or (final is not None and "again" in final.message)
            assert await Process(sim, config, holder="second@test/1/1/elsewhere").run() == DONE
            assert _clean(sim)

    run_virtual(main())


@pytest.mark.parametrize("to", ["rollback", "rollback_node"])
def test_an_owner_that_puts_canal_back_during_a_rollback_is_noticed(to: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Canal would come to nodes that are still on Cilium; once the owner is suspended the way back goes on."""
    owners = _owners(monkeypatch)

    async def main() -> None:
        config = config_for("multus")
        async with Simulation(_long_after("multus")) as sim:
            half = Goal(wanted=lambda node: node.name != "w2", partial=True)
            final = await Process(sim, config, half).run()
            assert final is not None
            assert final.outcome == "done"
            back = Goal(kind=to, node="w1" if to == "rollback_node" else "")
            owners[0]._ctx.work.add_after(10.0, "owner.restore", ("kube-system", "canal"), background=True)
            first = Process(sim, config, back, holder="second@test/1/1/elsewhere")
            final = await first.run()
            assert final is not None
            assert final.outcome == "halted"
            assert "has put DaemonSet kube-system/canal back: spec.template.spec.nodeSelector is" in final.message
            assert f"`{back.command}`" in final.next
            final = await Process(sim, config, back, holder="third@test/1/1/elsewhere").run()
            assert final is not None
            assert final.outcome == "done", final

    run_virtual(main())
