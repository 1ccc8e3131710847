"""The controllers and the scheduler, rule by rule."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds, meta
from cni_migrate.sim.world.controllers.daemonset import placement, wanted_node
from cni_migrate.sim.world.controllers.template import amount
from tests.unit.sim_world.install import apply, daemon_set, label, pods_on

Object = dict[str, Any]


def simulate(test: Callable[[Simulation], Awaitable[None]], **values: Any) -> None:
    async def run() -> None:
        async with Simulation(Scenario.model_validate({"nodes": 3, **values})) as sim:
            await sim.world.idle()
            await test(sim)

    run_virtual(run())


async def pods(sim: Simulation, prefix: str, namespace: str = "default") -> list[Object]:
    found, _ = await sim.client.list(kinds.POD, namespace=namespace)
    return [pod for pod in found if pod["metadata"]["name"].startswith(prefix)]


WEB = {"workloads": [{"name": "web", "replicas": 3, "budget": {"min_available": 2}}]}

TAINT = {"key": "k", "value": "v", "effect": "NoSchedule"}
NO_NETWORK = {"key": "node.kubernetes.io/network-unavailable", "effect": "NoSchedule"}
PLACEMENTS = [
    # node labels, taints, template spec, should run, may stay
    ({}, [], {}, True, True),
    ({"a": "b"}, [], {"nodeSelector": {"a": "b"}}, True, True),
    ({}, [], {"nodeSelector": {"a": "b"}}, False, False),
    ({}, [TAINT], {}, False, True),
    ({}, [{**TAINT, "effect": "NoExecute"}], {}, False, False),
    ({}, [{**TAINT, "effect": "PreferNoSchedule"}], {}, True, True),
    ({}, [TAINT], {"tolerations": [{"operator": "Exists"}]}, True, True),
    ({}, [TAINT], {"tolerations": [{"key": "k", "value": "v"}]}, True, True),
    ({}, [TAINT], {"tolerations": [{"key": "k", "value": "w"}]}, False, True),
    ({}, [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}], {}, True, True),
    ({}, [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}], {}, True, True),
    ({}, [NO_NETWORK], {}, False, True),
    ({}, [NO_NETWORK], {"hostNetwork": True}, True, True),
]  # fmt: skip


@pytest.mark.parametrize(("labels", "taints", "spec", "should_run", "may_stay"), PLACEMENTS)
def test_daemonset_placement(
    labels: dict[str, str], taints: list[Object], spec: Object, should_run: bool, may_stay: bool
) -> None:
    node = {"metadata": {"name": "n", "labels": labels}, "spec": {"taints": taints}}
    assert placement({"spec": {"template": {"spec": spec}}}, node) == (should_run, may_stay)


def _affinity(*expressions: Object) -> Object:
    term = {"matchExpressions": list(expressions)}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    }


AFFINITIES = [
    ({"key": "a", "operator": "In", "values": ["b", "c"]}, True),
    ({"key": "a", "operator": "NotIn", "values": ["b"]}, False),
    ({"key": "z", "operator": "NotIn", "values": ["b"]}, True),
    ({"key": "a", "operator": "Exists"}, True),
    ({"key": "z", "operator": "DoesNotExist"}, True),
    ({"key": "n", "operator": "Gt", "values": ["4"]}, True),
    ({"key": "n", "operator": "Lt", "values": ["4"]}, False),
]


@pytest.mark.parametrize(("expression", "fits"), AFFINITIES)
def test_node_affinity(expression: Object, fits: bool) -> None:
    node = {"metadata": {"name": "x", "labels": {"a": "b", "n": "5"}}, "spec": {}}
    assert meta.node_selected(_affinity(expression), node) is fits


AMOUNTS: list[tuple[int | str | None, int, bool, int]] = [
    (2, 5, True, 2),
    ("50%", 5, True, 3),
    ("50%", 5, False, 2),
    (None, 8, True, 1),
]


@pytest.mark.parametrize(("value", "total", "up", "expected"), AMOUNTS)
def test_amounts(value: int | str | None, total: int, up: bool, expected: int) -> None:
    assert amount(value, total, 1, up=up) == expected


def test_daemonset_follows_labels_and_counts() -> None:
    async def test(sim: Simulation) -> None:
        await apply(sim, (kinds.DAEMON_SET, daemon_set("d", "main", namespace="default", selector={"run": "d"})))
        await sim.world.idle()
        assert await pods(sim, "d-") == []
        await label(sim, "w1", {"run": "d"})
        await label(sim, "w2", {"run": "d"})
        await sim.world.idle()
        found = await pods(sim, "d-")
        assert sorted(meta.node_of(pod) for pod in found) == ["w1", "w2"]
        assert {wanted_node(pod["spec"]) for pod in found} == {"w1", "w2"}
        assert all("controller-revision-hash" in meta.labels(pod) for pod in found)
        made = await sim.client.get(kinds.DAEMON_SET, "d", "default")
        expected = {"desiredNumberScheduled": 2, "currentNumberScheduled": 2, "numberReady": 2, "numberAvailable": 2}
        expected |= {"updatedNumberScheduled": 2, "numberMisscheduled": 0, "observedGeneration": 1}
        assert made["status"] == expected
        await label(sim, "w1", {"run": None})
        await asyncio.sleep(0.5)
        (leaving,) = [pod for pod in await pods(sim, "d-") if meta.node_of(pod) == "w1"]
        assert meta.terminating(leaving)
        await sim.world.idle()
        assert [meta.node_of(pod) for pod in await pods(sim, "d-")] == ["w2"]

    simulate(test)


def test_daemonset_rolls_with_max_unavailable() -> None:
    async def test(sim: Simulation) -> None:
        before = {meta.uid(pod) for pod in await pods(sim, "canal", "kube-system")}
        least = 3

        def watch(_: Object | None, new: Object | None) -> None:
            nonlocal least
            least = min(least, (new or {}).get("status", {}).get("numberAvailable", 0))

        sim.world.ctx.cluster[kinds.DAEMON_SET].on_change(watch)
        patch = {"spec": {"template": {"metadata": {"annotations": {"again": "1"}}}}}
        await sim.client.patch(kinds.DAEMON_SET, "canal", patch, "kube-system")
        await sim.world.idle()
        after = await pods(sim, "canal", "kube-system")
        assert len(after) == 3
        assert not before & {meta.uid(pod) for pod in after}
        assert least == 2

    simulate(test)


def test_daemonset_on_delete_waits_for_the_operator() -> None:
    async def test(sim: Simulation) -> None:
        made = daemon_set("d", "main", namespace="default")
        made["spec"]["updateStrategy"] = {"type": "OnDelete"}
        await apply(sim, (kinds.DAEMON_SET, made))
        await sim.world.idle()
        before = {meta.uid(pod) for pod in await pods(sim, "d-")}
        patch = {"spec": {"template": {"metadata": {"annotations": {"again": "1"}}}}}
        await sim.client.patch(kinds.DAEMON_SET, "d", patch, "default")
        await sim.world.idle()
        assert {meta.uid(pod) for pod in await pods(sim, "d-")} == before
        status = (await sim.client.get(kinds.DAEMON_SET, "d", "default"))["status"]
        assert status["observedGeneration"] == 2
        assert "updatedNumberScheduled" not in status

    simulate(test)


def test_a_replicaset_replaces_at_once() -> None:
    async def test(sim: Simulation) -> None:
        first = (await pods(sim, "web"))[0]
        await sim.client.delete(kinds.POD, meta.name(first), "default")
        await asyncio.sleep(0.1)
        found = await pods(sim, "web")
        assert len(found) == 4
        assert sum(meta.terminating(pod) for pod in found) == 1
        await sim.world.idle()
        assert len(await pods(sim, "web")) == 3
        deployment = await sim.client.get(kinds.DEPLOYMENT, "web", "default")
        assert deployment["status"]["availableReplicas"] == 3

    simulate(test, **WEB)


def test_a_deployment_rolls_and_scales() -> None:
    async def test(sim: Simulation) -> None:
        before = {meta.uid(pod) for pod in await pods(sim, "web")}
        patch = {"spec": {"replicas": 4, "template": {"metadata": {"annotations": {"again": "1"}}}}}
        await sim.client.patch(kinds.DEPLOYMENT, "web", patch, "default")
        await sim.world.idle()
        after = await pods(sim, "web")
        assert len(after) == 4
        assert not before & {meta.uid(pod) for pod in after}
        status = (await sim.client.get(kinds.DEPLOYMENT, "web", "default"))["status"]
        assert (status["updatedReplicas"], status["replicas"], status["availableReplicas"]) == (4, 4, 4)
        assert "unavailableReplicas" not in status

    simulate(test, **WEB)


def test_a_statefulset_keeps_names_and_waits_for_the_former_pod() -> None:
    async def test(sim: Simulation) -> None:
        first = await sim.client.get(kinds.POD, "db-0", "default")
        await sim.client.delete(kinds.POD, "db-0", "default")
        await asyncio.sleep(0.3)
        now = await sim.client.get(kinds.POD, "db-0", "default")
        assert meta.uid(now) == meta.uid(first)
        await sim.world.idle()
        again = await sim.client.get(kinds.POD, "db-0", "default")
        assert meta.uid(again) != meta.uid(first)
        assert meta.ready(again)

    simulate(test, workloads=[{"kind": "statefulset", "name": "db", "replicas": 2}])


def test_a_job_runs_once() -> None:
    async def test(sim: Simulation) -> None:
        job = await sim.client.get(kinds.JOB, "once", "default")
        assert job["status"]["succeeded"] == 1
        assert meta.condition(job, "Complete")["status"] == "True"
        assert [pod["status"]["phase"] for pod in await pods(sim, "once")] == ["Succeeded"]

    simulate(test, workloads=[{"kind": "job", "name": "once"}])


BUDGETS = [
    ({"min_available": 2}, (3, 3, 2, 1)),
    ({"min_available": "50%"}, (3, 3, 2, 1)),
    ({"min_available": 3}, (3, 3, 3, 0)),
    ({"max_unavailable": 1}, (3, 3, 2, 1)),
    ({"max_unavailable": "30%"}, (3, 3, 2, 1)),
    ({"max_unavailable": 0}, (3, 3, 3, 0)),
]


@pytest.mark.parametrize(("budget", "expected"), BUDGETS)
def test_budgets(budget: Object, expected: tuple[int, int, int, int]) -> None:
    async def test(sim: Simulation) -> None:
        status = (await sim.client.get(kinds.BUDGET, "web", "default"))["status"]
        fields = ("expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed")
        assert tuple(status[field] for field in fields) == expected
        assert status["observedGeneration"] == 1
        assert meta.condition({"status": status}, "DisruptionAllowed")["status"] == ("True" if expected[3] else "False")

    simulate(test, workloads=[{"name": "web", "replicas": 3, "budget": budget}])


def test_a_budget_counts_evictions_and_forgets_them() -> None:
    async def test(sim: Simulation) -> None:
        first, second, _ = await pods(sim, "web")
        eviction: Object = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": meta.name(first)}}
        await sim.client.create_subresource(kinds.POD, meta.name(first), "default", "eviction", eviction)
        budget = await sim.client.get(kinds.BUDGET, "web", "default")
        assert budget["status"]["disruptionsAllowed"] == 0
        await asyncio.sleep(0.5)
        budget = await sim.client.get(kinds.BUDGET, "web", "default")
        assert budget["status"]["currentHealthy"] == 2
        await sim.world.idle()
        status = (await sim.client.get(kinds.BUDGET, "web", "default"))["status"]
        assert (status["currentHealthy"], status["disruptionsAllowed"]) == (3, 1)
        assert not status.get("disruptedPods")
        assert second

    simulate(test, **WEB)


def test_the_scheduler_obeys_cordon_taints_and_anti_affinity() -> None:
    async def test(sim: Simulation) -> None:
        await sim.client.patch(kinds.NODE, "w1", {"spec": {"unschedulable": True}})
        await sim.client.patch(kinds.NODE, "w2", {"spec": {"taints": [TAINT]}})
        for pod in await pods(sim, "web"):
            await sim.client.delete(kinds.POD, meta.name(pod), "default")
        await sim.world.idle()
        found = await pods(sim, "web")
        assert {meta.node_of(pod) for pod in found} == {"w3", ""}
        waiting = [pod for pod in found if not meta.node_of(pod)]
        assert len(waiting) == 2
        assert meta.condition(waiting[0], "PodScheduled")["reason"] == "Unschedulable"
        await sim.client.patch(kinds.NODE, "w1", {"spec": {"unschedulable": None}})
        await sim.client.patch(kinds.NODE, "w2", {"spec": {"taints": None}})
        await sim.world.idle()
        assert {meta.node_of(pod) for pod in await pods(sim, "web")} == {"w1", "w2", "w3"}

    simulate(test, workloads=[{"name": "web", "replicas": 3, "spread": "kubernetes.io/hostname"}])


def test_noexecute_evicts_without_asking_budgets() -> None:
    async def test(sim: Simulation) -> None:
        await sim.client.patch(kinds.NODE, "w1", {"spec": {"taints": [{**TAINT, "effect": "NoExecute"}]}})
        await sim.world.idle()
        names = {meta.name(pod).partition("-")[0] for pod in await pods_on(sim, "w1")}
        assert names == {"canal", "logs"}

    simulate(
        test,
        workloads=[
            {"name": "web", "replicas": 3, "budget": {"max_unavailable": 0}},
            {"kind": "daemonset", "name": "logs", "tolerations": [{"operator": "Exists"}]},
            {"kind": "daemonset", "name": "weak"},
        ],
    )


def test_a_toleration_in_seconds_runs_out() -> None:
    async def test(sim: Simulation) -> None:
        taint = {**TAINT, "effect": "NoExecute"}
        await sim.client.patch(kinds.NODE, "w1", {"spec": {"taints": [taint]}})
        (pod,) = await pods_on(sim, "w1", "web")
        await asyncio.sleep(50)
        assert not meta.terminating(await sim.client.get(kinds.POD, meta.name(pod), "default"))
        await asyncio.sleep(20)
        assert meta.uid(pod) not in {meta.uid(one) for one in await pods(sim, "web")}

    toleration = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    simulate(test, workloads=[{"name": "web", "replicas": 3, "tolerations": [toleration]}])


def test_a_silent_node_becomes_unknown_and_its_pods_go_after_their_patience() -> None:
    async def test(sim: Simulation) -> None:
        sim.world.machines.kubelet_down("w1")
        await asyncio.sleep(35)
        assert meta.ready(await sim.client.get(kinds.NODE, "w1"))
        await asyncio.sleep(10)
        node = await sim.client.get(kinds.NODE, "w1")
        assert meta.condition(node, "Ready")["status"] == "Unknown"
        effects = {taint["effect"] for taint in meta.taints(node) if taint["key"] == "node.kubernetes.io/unreachable"}
        assert effects == {"NoSchedule", "NoExecute"}
        (web,) = await pods_on(sim, "w1", "web")
        assert not meta.ready(web)
        await asyncio.sleep(310)
        (web,) = await pods_on(sim, "w1", "web")
        assert meta.terminating(web)
        assert len(await pods(sim, "web")) == 4
        await sim.world.machines.kubelet_up("w1")
        await sim.world.idle()
        assert len(await pods(sim, "web")) == 3
        node = await sim.client.get(kinds.NODE, "w1")
        assert meta.ready(node)
        assert meta.taints(node) == []

    simulate(test, **WEB)


def test_garbage_follows_owners_down() -> None:
    async def test(sim: Simulation) -> None:
        await sim.client.delete(kinds.DEPLOYMENT, "web", "default")
        await sim.world.idle()
        assert await pods(sim, "web") == []
        assert (await sim.client.list(kinds.REPLICA_SET, namespace="default"))[0] == []

    simulate(test, **WEB)


def test_a_node_that_is_deleted_takes_its_pods_along() -> None:
    async def test(sim: Simulation) -> None:
        await sim.world.machines.leave("w1")
        await sim.world.idle()
        assert await pods_on(sim, "w1") == []
        assert len(await pods(sim, "web")) == 3

    simulate(test, **WEB)


def test_a_newcomer_gets_a_cidr_and_canal() -> None:
    async def test(sim: Simulation) -> None:
        await sim.world.idle()
        await asyncio.sleep(2)
        await sim.world.idle()
        node = await sim.client.get(kinds.NODE, "w9")
        assert node["spec"]["podCIDR"] == "10.244.3.0/24"
        assert meta.ready(node)
        assert meta.taints(node) == []
        assert [meta.name(pod).partition("-")[0] for pod in await pods_on(sim, "w9")] == ["canal"]

    simulate(test, faults=[{"at": "1s", "join": {"name": "w9"}}])


def test_a_refused_pod_is_tried_again() -> None:
    async def test(sim: Simulation) -> None:
        made = daemon_set("d", "main", namespace="default")
        made["spec"]["template"]["spec"]["serviceAccountName"] = "late"
        await apply(sim, (kinds.DAEMON_SET, made))
        await asyncio.sleep(8)
        assert await pods(sim, "d-") == []
        await apply(sim, (kinds.SERVICE_ACCOUNT, {"metadata": {"name": "late", "namespace": "default"}}))
        await asyncio.sleep(8)
        assert len(await pods(sim, "d-")) == 3

    simulate(test)
