"""The two clients of the simulated world, in process and over HTTPS, see the same."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cni_migrate.sim.apiserver.app import ApiServer
from cni_migrate.sim.apiserver.store import Store
from cni_migrate.sim.client import ApiError, Client, EventType, Kind, Object
from cni_migrate.sim.clock import SimClock
from tests.conformance.harness import Cluster, pod, unique
from tests.controlplane.client import RealClient
from tests.controlplane.cluster import tls

NAMESPACE = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
ACCOUNT = Kind("", "v1", "serviceaccounts", "ServiceAccount")
POD = Kind("", "v1", "pods", "Pod")
CONFIGMAP = Kind("", "v1", "configmaps", "ConfigMap")
DAEMONSET = Kind("apps", "v1", "daemonsets", "DaemonSet")

Scenario = Callable[[Client, str], Awaitable[None]]


async def reads_and_writes(client: Client, space: str) -> None:
    made = await client.create(CONFIGMAP, {"metadata": {"name": "a"}, "data": {"k": "v"}}, space)
    assert await client.get(CONFIGMAP, "a", space) == made
    items, version = await client.list(CONFIGMAP, namespace=space, field_selector="metadata.name=a")
    assert items == [made]
    assert int(version) >= int(made["metadata"]["resourceVersion"])
    changed = await client.patch(CONFIGMAP, "a", {"data": {"k": None, "n": "1"}}, space)
    assert changed["data"] == {"n": "1"}
    changed = await client.patch(
        CONFIGMAP, "a", [{"op": "add", "path": "/data/j", "value": "2"}], space, patch_type="json"
    )
    assert changed["data"] == {"n": "1", "j": "2"}
    with pytest.raises(ApiError) as caught:
        await client.update(CONFIGMAP, made, space)
    assert (caught.value.code, caught.value.reason) == (409, "Conflict")
    changed = await client.update(CONFIGMAP, {**changed, "data": {"u": "3"}}, space)
    assert changed["data"] == {"u": "3"}


async def refusals(client: Client, space: str) -> None:
    for call, code, reason in (
        (client.get(CONFIGMAP, "nope", space), 404, "NotFound"),
        (client.create(CONFIGMAP, {"metadata": {"name": "a"}}, "nonesuch"), 404, "NotFound"),
        (client.create(CONFIGMAP, {"metadata": {"name": "A b"}}, space), 422, "Invalid"),
        (client.patch(POD, "nope", {}, space), 404, "NotFound"),
        (client.patch(CONFIGMAP, "kube-root-ca.crt", {"metadata": {"uid": "x"}}, space), 422, "Invalid"),
    ):
        with pytest.raises(ApiError) as caught:
            await call
        assert (caught.value.code, caught.value.reason) == (code, reason)
    with pytest.raises(ApiError) as caught:
        await client.delete(CONFIGMAP, "kube-root-ca.crt", space, uid="x")
    assert caught.value.code == 409


async def life_of_a_pod(client: Client, space: str) -> None:
    _, version = await client.list(POD, namespace=space)
    await client.create(POD, pod("p", node="nowhere"), space)
    status: Object = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await client.patch(POD, "p", {"status": status}, space, subresource="status", patch_type="strategic")
    await client.delete(POD, "p", space)
    await client.delete(POD, "p", space, grace=0)
    seen: list[tuple[EventType, bool]] = []
    async for change, obj in client.watch(POD, resource_version=version, namespace=space):
        assert (obj["kind"], obj["apiVersion"]) == ("Pod", "v1")
        seen.append((change, "deletionTimestamp" in obj["metadata"]))
        if change == "DELETED":
            break
    assert seen == [("ADDED", False), ("MODIFIED", False), ("MODIFIED", True), ("MODIFIED", True), ("DELETED", True)]


async def kinds_in_lists(client: Client, space: str) -> None:
    spec = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"nodeSelector": {"no": "node"}, "containers": [{"name": "c", "image": "i"}]},
        },
    }
    await client.create(DAEMONSET, {"metadata": {"name": "d"}, "spec": spec}, space)
    items, _ = await client.list(DAEMONSET, namespace=space)
    assert [(item["kind"], item["apiVersion"]) for item in items] == [("DaemonSet", "apps/v1")]


SCENARIOS: list[Scenario] = [reads_and_writes, refusals, life_of_a_pod, kinds_in_lists]


async def prepare(client: Client) -> str:
    space = unique("client")
    await client.create(NAMESPACE, {"metadata": {"name": space}})
    for _ in range(100):
        items, _ = await client.list(ACCOUNT, namespace=space)
        roots, _ = await client.list(CONFIGMAP, namespace=space)
        if items and roots:
            return space
        await asyncio.sleep(0.1)
    raise AssertionError("no service account")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_client(cluster: Cluster, scenario: Scenario) -> None:
    """The world cannot tell them apart."""

    async def run() -> None:
        if cluster.simulator is not None:
            local: Client = ApiServer(Store(SimClock(datetime.now(UTC)))).client()
            await scenario(local, await prepare(local))
            return
        folder = Path(cluster.kubeconfig).parent
        async with RealClient(cluster.url, tls(folder / "pki", "admin")) as client:
            await scenario(client, await prepare(client))

    asyncio.run(run())
