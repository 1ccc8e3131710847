"""Somebody deletes Canal's DaemonSet, or one of several, while nodes leave it."""

from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.sim.client import Object
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world.kinds import DAEMON_SET
from tests.simulation.harness import Process, config_for

DONE = Final("done", "the cluster runs on Cilium; the audit is clean", "")
FOUND = "the cluster is as it was found"

ONE: dict[str, Any] = {}
SPLIT: dict[str, Any] = {"daemonset": "kube-flannel", "more_daemonsets": ["kube-system/canal"]}
ARCHITECTURES: dict[str, Any] = {"daemonset": "canal-amd64", "more_daemonsets": ["kube-system/canal-arm64"]}

SHAPES = [
    pytest.param("overlay", {"published": True}, ONE, "canal", id="one"),
    pytest.param("overlay", {"published": True, "split": True}, SPLIT, "kube-flannel", id="split-flannel"),
    pytest.param("overlay", {"published": True, "split": True}, SPLIT, "canal", id="split-calico"),
    pytest.param("multus", {"architectures": ["amd64", "arm64"]}, ARCHITECTURES, "canal-arm64", id="multus-arm64"),
]


class Deleted:
    """Deletes a DaemonSet as soon as a node has this state, and puts it back when that is asked for."""

    def __init__(self, sim: Simulation, name: str, when: str) -> None:
        self._sim, self._name, self._when = sim, name, when
        self._daemonset: Object | None = None
        sim.world.ctx.work.handle("test.delete", self._delete)
        self.asked = False

    def look(self, decision: Decision, _: Snapshot) -> None:
        """Delete it once the record says so."""
        if not self.asked and any(self._when in line.what for line in decision.record.cluster.history):
            self.asked = True
            self._sim.world.ctx.work.add_after(0.0, "test.delete", ("kube-system", self._name), background=True)

    async def _delete(self, _: Any) -> None:
        cluster = self._sim.world.ctx.cluster
        found = cluster[DAEMON_SET].get(self._name, "kube-system")
        assert found is not None
        self._daemonset = found
        await self._sim.app.client("somebody").delete(DAEMON_SET, self._name, namespace="kube-system")

    async def put_back(self) -> None:
        """As `kubectl apply -f` of what was installed: no selector of the migration's in it."""
        assert self._daemonset is not None
        spec = {**self._daemonset["spec"], "updateStrategy": {"type": "RollingUpdate"}}
        pod = {**spec["template"]["spec"]}
        pod["nodeSelector"] = {
            key: value for key, value in (pod.get("nodeSelector") or {}).items() if "cni-migrate" not in key
        }
        spec["template"] = {**spec["template"], "spec": pod}
        metadata = {key: self._daemonset["metadata"][key] for key in ("name", "namespace", "labels")}
        client = self._sim.app.client("somebody")
        await client.create(DAEMON_SET, {"metadata": metadata, "spec": spec})


def _scenario(canal: dict[str, Any]) -> Scenario:
    nodes = [{"name": f"w{number}", "labels": {}} for number in (1, 2, 3)]
    if "architectures" in canal:
        nodes[2]["labels"] = {"kubernetes.io/arch": "arm64"}
    return Scenario.model_validate({"nodes": nodes, "workloads": [{"name": "web", "replicas": 3}], "canal": canal})


def _drained(process: Process) -> list[str]:
    return [line.what for line in process.turns[-1].record.cluster.history if "drain done" in line.what]


async def _held(process: Process, name: str, command: str) -> None:
    final = await process.run()
    assert final is not None
    assert final.outcome == "halted", final
    assert f"DaemonSet kube-system/{name} of Canal's was deleted" in final.message
    assert "apply" in final.next
    assert f"`{command}`" in final.next
    assert process.turns[-1].record.cluster.held is not None


@pytest.mark.parametrize(("strategy", "canal", "settings", "name"), SHAPES)
def test_nothing_is_drained_once_canal_was_deleted(
    strategy: str, canal: dict[str, Any], settings: dict[str, Any], name: str
) -> None:
    """Held within one look, by name; put back as it was installed, the next run selects it again and ends clean."""

    async def main() -> None:
        config: Config = config_for(strategy, canal=settings)
        async with Simulation(_scenario(canal)) as sim:
            first = Process(sim, config)
            deleted = Deleted(sim, name, "node w1: release done")
            first.on_turn = deleted.look
            await _held(first, name, "migrate run")
            assert len(_drained(first)) == 1, "the node that was on its way is not followed by another"
            again = Process(sim, config, holder="second@test/1/1/elsewhere")
            await _held(again, name, "migrate run")
            assert len(_drained(again)) == 1, "typing the command again changes nothing of that"
            await deleted.put_back()
            assert await Process(sim, config, holder="third@test/1/1/elsewhere").run() == DONE

    run_virtual(main())


@pytest.mark.parametrize("kind", ["rollback", "rollback_node"])
@pytest.mark.parametrize(("strategy", "canal", "settings", "name"), [SHAPES[0], SHAPES[1]])
def test_nothing_goes_back_to_a_canal_that_was_deleted(
    kind: Any, strategy: str, canal: dict[str, Any], settings: dict[str, Any], name: str
) -> None:
    """A way back that would wait for Canal's pods for minutes is held at once; when Canal is there it is gone."""

    async def main() -> None:
        config = config_for(strategy, canal=settings)
        async with Simulation(_scenario(canal)) as sim:
            half = Goal(wanted=lambda node: node.name == "w1", partial=True)
            first = Process(sim, config, goal=half)
            assert await first.run() is not None
            deleted = Deleted(sim, name, "")
            deleted.look(first.turns[-1], None)  # type: ignore[arg-type]
            await sim.world.idle()
            back = Goal(kind=kind, node="w1" if kind == "rollback_node" else "")
            await _held(Process(sim, config, goal=back, holder="second@test/1/1/elsewhere"), name, back.command)
            await deleted.put_back()
            final = await Process(sim, config, goal=back, holder="third@test/1/1/elsewhere").run()
            assert final is not None
            assert final.outcome == "done", final

    run_virtual(main())


def test_a_rollback_does_not_say_as_found_without_canal() -> None:
    """Deleted before the first node was attached, while Canal is only selected: the way back names what is missing."""

    async def main() -> None:
        config = config_for("overlay")
        async with Simulation(_scenario({"published": True})) as sim:
            first = Process(sim, config, goal=Goal(consented=False))
            deleted = Deleted(sim, "canal", "")
            selected: list[bool] = []

            def look(decision: Decision, seen: Snapshot) -> None:
                if decision.record.cluster.canal_before is not None and not selected:
                    selected.append(True)
                    first.kill()

            first.on_turn = look
            await first.run()
            deleted.look(first.turns[-1], None)  # type: ignore[arg-type]
            await sim.world.idle()
            final = await Process(
                sim, config, goal=Goal(kind="rollback"), holder="second@test/1/1/elsewhere", takeover=True
            ).run()
            assert final is not None
            assert final.message != FOUND
            assert "DaemonSet kube-system/canal" in final.message
            assert "apply" in final.next

    run_virtual(main())
