"""The world's controllers behave like those of a real control plane, with the world's kubelets on both."""

import asyncio
from typing import Any

import pytest

from cni_migrate.sim.world import kinds, meta
from tests.conformance.harness import Cluster
from tests.conformance.worlds import Stage, on_both

Object = dict[str, Any]
TAINT = {"key": "example.com/k", "value": "v", "effect": "NoExecute"}


async def _ready(stage: Stage, count: int) -> list[Object]:
    async def look() -> list[Object]:
        found = [pod for pod in await stage.pods() if not meta.terminating(pod)]
        return found if len(found) == count and all(meta.ready(pod) for pod in found) else []

    found: list[Object] = await stage.eventually(look, f"{count} Ready pods")
    return found


async def _deployment(stage: Stage, replicas: int, **spec: Any) -> None:
    labels = {"app": "web"}
    selector = {"matchLabels": labels}
    body = {"replicas": replicas, "selector": selector, "template": stage.template(labels, **spec)}
    await stage.apply(kinds.DEPLOYMENT, "web", body)
    await _ready(stage, replicas)


def test_daemonset_placement(cluster: Cluster) -> None:
    async def test(stage: Stage) -> None:
        labels = {"app": "agent"}
        template = stage.template(labels)
        template["spec"]["nodeSelector"] = {**stage.label, "runs": "agent"}
        await stage.apply(kinds.DAEMON_SET, "agent", {"selector": {"matchLabels": labels}, "template": template})
        await asyncio.sleep(1)
        assert await stage.pods() == []
        one, two, _ = stage.nodes
        for node in (one, two):
            await stage.client.patch(kinds.NODE, node, {"metadata": {"labels": {"runs": "agent"}}})
        pods = await _ready(stage, 2)
        assert {meta.node_of(pod) for pod in pods} == {one, two}
        for pod in pods:
            term = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            field = {"key": "metadata.name", "operator": "In", "values": [meta.node_of(pod)]}
            assert term == {"nodeSelectorTerms": [{"matchFields": [field]}]}
            tolerated = {(t["key"], t["effect"]) for t in pod["spec"]["tolerations"] if "tolerationSeconds" not in t}
            assert tolerated == {
                *((f"node.kubernetes.io/{name}", "NoExecute") for name in ("not-ready", "unreachable")),
                *(
                    (f"node.kubernetes.io/{name}", "NoSchedule")
                    for name in ("disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")
                ),
                ("node.kubernetes.io/network-unavailable", "NoSchedule"),
            }

        async def counted() -> bool:
            status = (await stage.get(kinds.DAEMON_SET, "agent"))["status"]
            numbers = {k: v for k, v in status.items() if isinstance(v, int)}
            return numbers == {
                "desiredNumberScheduled": 2,
                "currentNumberScheduled": 2,
                "updatedNumberScheduled": 2,
                "numberReady": 2,
                "numberAvailable": 2,
                "numberMisscheduled": 0,
                "observedGeneration": 1,
            }

        await stage.eventually(counted, "the status of the DaemonSet")
        await stage.client.patch(kinds.NODE, one, {"metadata": {"labels": {"runs": None}}})

        async def leaving() -> bool:
            return any(meta.terminating(pod) and meta.node_of(pod) == one for pod in await stage.pods())

        await stage.eventually(leaving, "the pod to be deleted gracefully")

        async def gone() -> bool:
            return [meta.node_of(pod) for pod in await stage.pods()] == [two]

        await stage.eventually(gone, "the pod to be gone")

    on_both(cluster, test)


def test_a_daemonset_waits_for_the_old_pod_to_go(cluster: Cluster) -> None:
    async def test(stage: Stage) -> None:
        labels = {"app": "agent"}
        spec = {"selector": {"matchLabels": labels}, "template": stage.template(labels)}
        await stage.apply(kinds.DAEMON_SET, "agent", spec)
        pods = await _ready(stage, 3)
        await stage.client.delete(kinds.POD, meta.name(pods[0]), stage.namespace)
        await asyncio.sleep(1)
        assert len(await stage.pods()) == 3
        again = await _ready(stage, 3)
        assert meta.uid(pods[0]) not in {meta.uid(pod) for pod in again}

    on_both(cluster, test)


def test_a_replicaset_replaces_at_once(cluster: Cluster) -> None:
    async def test(stage: Stage) -> None:
        await _deployment(stage, 3)
        first = (await stage.pods())[0]
        await stage.client.delete(kinds.POD, meta.name(first), stage.namespace)

        async def both() -> bool:
            pods = await stage.pods()
            return len(pods) == 4 and meta.uid(first) in {meta.uid(pod) for pod in pods}

        await stage.eventually(both, "the new pod beside the old one", 2)
        await _ready(stage, 3)

        async def available() -> bool:
            status = (await stage.get(kinds.DEPLOYMENT, "web"))["status"]
            return bool(status.get("availableReplicas") == 3)

        await stage.eventually(available, "the Deployment's status")

    on_both(cluster, test)


def test_a_statefulset_takes_its_name_again(cluster: Cluster) -> None:
    async def test(stage: Stage) -> None:
        labels = {"app": "db"}
        spec = {"replicas": 2, "serviceName": "db", "selector": {"matchLabels": labels}}
        await stage.apply(kinds.STATEFUL_SET, "db", spec | {"template": stage.template(labels)})
        pods = await _ready(stage, 2)
        assert sorted(meta.name(pod) for pod in pods) == ["db-0", "db-1"]
        first = await stage.get(kinds.POD, "db-0")
        await stage.client.delete(kinds.POD, "db-0", stage.namespace)
        await asyncio.sleep(1)
        assert meta.uid(await stage.get(kinds.POD, "db-0")) == meta.uid(first)
        again = await _ready(stage, 2)
        assert meta.uid(first) not in {meta.uid(pod) for pod in again}

    on_both(cluster, test)


BUDGETS: list[tuple[Object, tuple[int, int, int, int]]] = [
    ({"minAvailable": 2}, (3, 3, 2, 1)),
    ({"minAvailable": "50%"}, (3, 3, 2, 1)),
    ({"maxUnavailable": 1}, (3, 3, 2, 1)),
    ({"maxUnavailable": "30%"}, (3, 3, 2, 1)),
    ({"maxUnavailable": 0}, (3, 3, 3, 0)),
    ({"minAvailable": 5}, (3, 3, 5, 0)),
]
_FIELDS = ("expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed")


def test_budgets(cluster: Cluster) -> None:
    async def test(stage: Stage) -> None:
        await _deployment(stage, 3)
        for number, (limit, expected) in enumerate(BUDGETS):
            name = f"budget-{number}"
            await stage.apply(kinds.BUDGET, name, {"selector": {"matchLabels": {"app": "web"}}, **limit})

            async def counted(name: str = name, expected: tuple[int, int, int, int] = expected) -> bool:
                budget = await stage.get(kinds.BUDGET, name)
                status = budget.get("status") or {}
                return tuple(status.get(field) for field in _FIELDS) == expected

            await stage.eventually(counted, f"{limit} to give {expected}")
            budget = await stage.get(kinds.BUDGET, name)
            condition = meta.condition(budget, "DisruptionAllowed")
            assert condition["status"] == ("True" if expected[3] else "False")
            assert condition["reason"] == ("SufficientPods" if expected[3] else "InsufficientPods")
            assert budget["status"]["observedGeneration"] == 1

    on_both(cluster, test)


@pytest.mark.parametrize("toleration", [None, {"operator": "Exists"}])
def test_the_scheduler_obeys_cordons_and_taints(cluster: Cluster, toleration: Object | None) -> None:
    async def test(stage: Stage) -> None:
        one, two, three = stage.nodes
        await stage.client.patch(kinds.NODE, one, {"spec": {"unschedulable": True}})
        await stage.client.patch(kinds.NODE, two, {"spec": {"taints": [{**TAINT, "effect": "NoSchedule"}]}})
        await asyncio.sleep(0.5)
        await _deployment(stage, 4, tolerations=[toleration] if toleration else [])
        found = {meta.node_of(pod) for pod in await stage.pods()}
        assert found == ({one, two, three} if toleration else {three})

    on_both(cluster, test)


def test_what_fits_nowhere_waits(cluster: Cluster) -> None:
    async def test(stage: Stage) -> None:
        labels = {"app": "web"}
        template = stage.template(labels)
        template["spec"]["nodeSelector"] = {**stage.label, "not": "there"}
        body = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        await stage.apply(kinds.DEPLOYMENT, "web", body)

        async def refused() -> bool:
            pods = await stage.pods()
            return len(pods) == 1 and meta.condition(pods[0], "PodScheduled").get("reason") == "Unschedulable"

        await stage.eventually(refused, "the pod to be unschedulable")
        await stage.client.patch(kinds.NODE, stage.nodes[1], {"metadata": {"labels": {"not": "there"}}})
        (pod,) = await _ready(stage, 1)
        assert meta.node_of(pod) == stage.nodes[1]

    on_both(cluster, test)


def test_noexecute_evicts_what_does_not_tolerate(cluster: Cluster) -> None:
    async def test(stage: Stage) -> None:
        for name, tolerations in (("weak", []), ("strong", [{"operator": "Exists"}])):
            labels = {"app": name}
            template = stage.template(labels, tolerations=tolerations)
            await stage.apply(kinds.DAEMON_SET, name, {"selector": {"matchLabels": labels}, "template": template})
        await _ready(stage, 6)
        await stage.client.patch(kinds.NODE, stage.nodes[0], {"spec": {"taints": [TAINT]}})

        async def alone() -> bool:
            here = [pod for pod in await stage.pods() if meta.node_of(pod) == stage.nodes[0]]
            return [meta.labels(pod)["app"] for pod in here] == ["strong"]

        await stage.eventually(alone, "only the tolerant pod to be left")
        assert len(await stage.pods()) == 5

    on_both(cluster, test)


def test_garbage_goes_with_its_owner(cluster: Cluster) -> None:
    async def test(stage: Stage) -> None:
        await _deployment(stage, 2)
        await stage.client.delete(kinds.DEPLOYMENT, "web", stage.namespace)

        async def gone() -> bool:
            sets, _ = await stage.client.list(kinds.REPLICA_SET, namespace=stage.namespace)
            return not sets and not await stage.pods()

        await stage.eventually(gone, "ReplicaSet and pods to be gone")

    on_both(cluster, test)


def test_a_silent_node_becomes_unknown(cluster: Cluster) -> None:
    async def test(stage: Stage) -> None:
        await _deployment(stage, 3)
        node = stage.nodes[0]
        stage.world.machines.kubelet_down(node)

        async def lost() -> bool:
            found = await stage.get(kinds.NODE, node)
            taints = {(t["key"], t["effect"]) for t in meta.taints(found)}
            wanted = {("node.kubernetes.io/unreachable", effect) for effect in ("NoSchedule", "NoExecute")}
            return meta.condition(found, "Ready")["status"] == "Unknown" and taints == wanted

        await stage.eventually(lost, "the node to be Unknown and tainted", 60)

        async def unready() -> bool:
            here = [pod for pod in await stage.pods() if meta.node_of(pod) == node]
            return all(not meta.ready(pod) and pod["status"]["phase"] == "Running" for pod in here)

        await stage.eventually(unready, "its pods to be not Ready")
        await stage.world.machines.kubelet_up(node)

        async def back() -> bool:
            found = await stage.get(kinds.NODE, node)
            return meta.ready(found) and not meta.taints(found)

        await stage.eventually(back, "the node to be Ready again")
        await _ready(stage, 3)

    on_both(cluster, test)
