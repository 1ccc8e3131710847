"""What somebody deletes or changes of ours on the way is put back: by a driver that starts, DaemonSets at once."""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cni_migrate.core.model.goal import Goal
from cni_migrate.sim.client import Client, Kind
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.simulation import Simulation
from tests.simulation.harness import SMALL, Process, config_for

HALF = Goal(wanted=lambda node: node.name == "w1", partial=True)
"""One of the workers is migrated."""

BACK = Goal(kind="rollback")
KINDS = {
    "ClusterRole": Kind("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole"),
    "CiliumNodeConfig": Kind("cilium.io", "v2", "ciliumnodeconfigs", "CiliumNodeConfig"),
    "ConfigMap": Kind("", "v1", "configmaps", "ConfigMap"),
    "DaemonSet": Kind("apps", "v1", "daemonsets", "DaemonSet"),
    "Namespace": Kind("", "v1", "namespaces", "Namespace"),
    "NetworkPolicy": Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
    "Service": Kind("", "v1", "services", "Service"),
    "ServiceAccount": Kind("", "v1", "serviceaccounts", "ServiceAccount"),
}


async def _half(sim: Simulation, strategy: str) -> Client:
    final = await Process(sim, config_for(strategy), goal=HALF).run()
    assert final is not None
    return sim.app.client("somebody")


async def _told(sim: Simulation, strategy: str, goal: Goal) -> list[str]:
    """The history of a run that gets to its end."""
    process = Process(sim, config_for(strategy), goal=goal)
    final = await process.run()
    assert final is not None
    assert final.outcome == "done", final
    return [line.what for line in process.turns[-1].record.cluster.history]


async def _change(somebody: Client, kind: Kind, namespace: str, name: str, change: Callable[[Any], None]) -> None:
    body = copy.deepcopy(await somebody.get(kind, name, namespace or None))
    change(body)
    await somebody.update(kind, body, namespace or None)


@pytest.mark.parametrize("goal", [Goal(), BACK], ids=["forward", "back"])
@pytest.mark.parametrize(
    ("strategy", "kind", "namespace", "name"),
    [
        ("overlay", "DaemonSet", "kube-system", "cilium"),
        ("overlay", "DaemonSet", "cni-migrate", "cni-migrate-identities"),
        ("overlay", "DaemonSet", "knet-stress", "knet-stress-a"),
        ("overlay", "ConfigMap", "kube-system", "cilium-config"),
        ("overlay", "CiliumNodeConfig", "kube-system", "cilium-default"),
        ("overlay", "ServiceAccount", "kube-system", "cilium"),
        ("overlay", "ServiceAccount", "knet-stress", "knet-stress"),
        ("overlay", "Service", "knet-stress", "knet-stress"),
        ("overlay", "NetworkPolicy", "knet-stress", "knet-stress-guard"),
        ("multus", "DaemonSet", "kube-system", "kube-multus"),
        ("multus", "ConfigMap", "kube-system", "kube-multus-script"),
        ("multus", "ClusterRole", "", "cni-migrate-identities"),
    ],
)
def test_what_somebody_deletes_of_ours_is_put_back(
    strategy: str, kind: str, namespace: str, name: str, goal: Goal
) -> None:
    """Before anything else is done: no node is drained for what is not there, and the way back stays open."""

    async def main() -> None:
        async with Simulation(SMALL) as sim:
            somebody = await _half(sim, strategy)
            await somebody.delete(KINDS[kind], name, namespace or None)
            await asyncio.sleep(5)
            lines = await _told(sim, strategy, goal)
            assert f"{kind} {namespace}/{name} put back: it was gone".replace(" /", " ") in lines

    run_virtual(main())


def _never(body: Any) -> None:
    body["data"]["enable-policy"] = "never"


def _open(body: Any) -> None:
    body["spec"]["ingress"] = [{}]


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "change"),
    [
        ("ConfigMap", "kube-system", "cilium-config", _never),
        ("NetworkPolicy", "knet-stress", "knet-stress-guard", _open),
    ],
)
def test_what_somebody_changes_of_ours_is_put_back(
    kind: str, namespace: str, name: str, change: Callable[[Any], None]
) -> None:
    """A policy that Cilium no longer enforces, or that we no longer measure by, is not lived with."""

    async def main() -> None:
        async with Simulation(SMALL) as sim:
            somebody = await _half(sim, "overlay")
            before = copy.deepcopy(await somebody.get(KINDS[kind], name, namespace))
            await _change(somebody, KINDS[kind], namespace, name, change)
            process = Process(
                sim, config_for("overlay"), goal=Goal(wanted=lambda node: node.name == "w2", partial=True)
            )
            assert await process.run() is not None
            after = await somebody.get(KINDS[kind], name, namespace)
            assert after.get("data", after.get("spec")) == before.get("data", before.get("spec"))
            lines = [line.what for line in process.turns[-1].record.cluster.history]
            assert f"{kind} {namespace}/{name} put back: it was changed" in lines

    run_virtual(main())


def test_a_driver_that_finds_all_as_it_was_writes_nothing_of_it() -> None:
    """Nothing is in the history, and no object gets another version."""

    async def main() -> None:
        async with Simulation(SMALL) as sim:
            somebody = await _half(sim, "overlay")
            names = [("ConfigMap", "kube-system", "cilium-config"), ("DaemonSet", "kube-system", "cilium")]
            before = [
                copy.deepcopy(await somebody.get(KINDS[kind], name, namespace)) for kind, namespace, name in names
            ]
            process = Process(sim, config_for("overlay"), goal=HALF)
            assert await process.run() is not None
            after = [await somebody.get(KINDS[kind], name, namespace) for kind, namespace, name in names]
            versions = [[one["metadata"]["resourceVersion"] for one in found] for found in (before, after)]
            assert versions[0] == versions[1]
            lines = [line.what for line in process.turns[-1].record.cluster.history]
            assert not any("put back" in line for line in lines)

    run_virtual(main())


def test_a_daemonset_that_goes_while_a_driver_lives_is_put_back_at_once() -> None:
    """The driver that has installed it does so itself, before it drains another node."""

    async def main() -> None:
        async with Simulation(SMALL) as sim:
            somebody = sim.app.client("somebody")

            async def delete() -> None:
                await asyncio.sleep(25)  # all agents are there, no node is migrated
                await somebody.delete(KINDS["DaemonSet"], "cni-migrate-identities", "cni-migrate")

            deletion: Awaitable[None] = asyncio.ensure_future(delete())
            lines = await _told(sim, "overlay", Goal())
            await deletion
            assert "DaemonSet cni-migrate/cni-migrate-identities gone: put back" in lines

    run_virtual(main())
