"""The store: versions, indexes, history, watches, reproducibility and speed."""

import asyncio
import json
import time
from typing import Any

import pytest

from cni_migrate.sim.apiserver.app import ApiServer
from cni_migrate.sim.apiserver.store import FRESH, Store
from cni_migrate.sim.client import ApiError, EventType, Object
from cni_migrate.sim.clock import SimClock, run_virtual
from tests.unit.sim.support import CONFIGMAP, MERGE, NODE, POD, configmap, http, pod, server, virtual


async def take(app: ApiServer, count: int, version: str) -> list[tuple[EventType, Object]]:
    events: list[tuple[EventType, Object]] = []
    watch = app.client().watch(CONFIGMAP, resource_version=version, namespace="default")
    async for event in watch:
        events.append(event)
        if len(events) == count:
            break
    return events


@virtual
async def test_what_is_read_is_never_changed() -> None:
    """A write makes a new object; one that was handed out stays as it was."""
    client = server().client()
    first = await client.create(CONFIGMAP, configmap("a", k="1"), "default")
    text = json.dumps(first)
    await client.patch(CONFIGMAP, "a", {"data": {"k": "2"}}, "default")
    await client.delete(CONFIGMAP, "a", "default")
    assert json.dumps(first) == text


@virtual
async def test_what_is_written_may_be_reused() -> None:
    """The caller's body is copied."""
    client = server().client()
    body = configmap("a", k="1")
    await client.create(CONFIGMAP, body, "default")
    body["data"]["k"] = "2"
    assert (await client.get(CONFIGMAP, "a", "default"))["data"] == {"k": "1"}


@virtual
async def test_pods_are_found_by_node() -> None:
    """The index follows creation, binding and deletion."""
    app = server()
    client = app.client()
    await client.create(POD, pod("a", "n1"), "default")
    await client.create(POD, pod("b"), "default")

    async def on(node: str) -> list[str]:
        items, _ = await client.list(POD, field_selector=f"spec.nodeName={node}")
        return [item["metadata"]["name"] for item in items]

    assert await on("n1") == ["a"]
    await client.create_subresource(POD, "b", "default", "binding", {"target": {"name": "n1"}})
    assert await on("n1") == ["a", "b"]
    await client.delete(POD, "a", "default", grace=0)
    assert await on("n1") == ["b"]


@virtual
async def test_watch_wakes_without_polling() -> None:
    """An event made five virtual minutes later arrives at that instant."""
    app = server()
    version = str(app.store.version)

    async def later() -> None:
        await asyncio.sleep(300)
        await app.client().create(CONFIGMAP, configmap("a"), "default")

    task = asyncio.create_task(later())
    events = await take(app, 1, version)
    assert (events[0][0], app.store.clock.seconds()) == ("ADDED", 300.0)
    assert events[0][1]["metadata"]["creationTimestamp"] == "2030-01-01T00:05:00Z"
    await task


def test_history_is_bounded() -> None:
    """A watch from before what is kept gets 410, one from there goes on. What is fresh is always kept."""

    async def run() -> None:
        app = ApiServer(Store(SimClock(), history=5))
        client = app.client()
        version = str(app.store.version)
        for number in range(6):
            await client.create(CONFIGMAP, configmap(f"c{number}"), "default")
        assert len(await take(app, 6, version)) == 6
        await asyncio.sleep(FRESH)
        await client.create(CONFIGMAP, configmap("c6"), "default")
        version = str(int(version) + 1)
        with pytest.raises(ApiError) as caught:
            await take(app, 1, version)
        assert (caught.value.code, caught.value.reason) == (410, "Expired")
        assert len(await take(app, 5, str(int(version) + 1))) == 5

    run_virtual(run())


@virtual
async def test_compaction_ends_old_watches_and_tokens() -> None:
    """In the stream it is an ERROR event in a 200; for a continue token it is 410 with a token to go on with."""
    app = server()
    async with http(app) as client:
        for name in ("a", "b", "c"):
            await client.post("/api/v1/namespaces/default/configmaps", json=configmap(name))
        page = (await client.get("/api/v1/namespaces/default/configmaps?limit=2")).json()
        await client.post("/api/v1/namespaces/default/configmaps", json=configmap("bb"))
        app.store.compact()
        old = await client.get("/api/v1/configmaps?watch=1&resourceVersion=1")
        event = old.json()
        assert (old.status_code, event["type"], event["object"]["code"]) == (200, "ERROR", 410)
        query = {"limit": 10, "continue": page["metadata"]["continue"]}
        expired = await client.get("/api/v1/namespaces/default/configmaps", params=query)
        assert (expired.status_code, expired.json()["reason"]) == (410, "Expired")
        query["continue"] = expired.json()["metadata"]["continue"]
        rest = (await client.get("/api/v1/namespaces/default/configmaps", params=query)).json()
        assert [item["metadata"]["name"] for item in rest["items"]] == ["bb", "c", "kube-root-ca.crt"]


@virtual
async def test_tokens_expire_by_time() -> None:
    """After five minutes, as etcd's history does."""
    app = server()
    async with http(app) as client:
        for name in ("a", "b", "c"):
            await client.post("/api/v1/namespaces/default/configmaps", json=configmap(name))
        page = (await client.get("/api/v1/namespaces/default/configmaps?limit=2")).json()
        await asyncio.sleep(301)
        query = {"continue": page["metadata"]["continue"]}
        assert (await client.get("/api/v1/namespaces/default/configmaps", params=query)).status_code == 410


def history(seed: int) -> list[bytes]:
    """The bytes of everything a small scenario shows."""
    shown: list[bytes] = []

    async def run() -> None:
        app = ApiServer(Store(SimClock(), seed=seed))
        async with http(app) as client:
            for number in range(3):
                body = {"metadata": {"generateName": "n-"}, "spec": {"unschedulable": number == 1}}
                shown.append((await client.post("/api/v1/nodes", json=body)).content)
                await asyncio.sleep(10)
            answer = await client.get("/api/v1/nodes?watch=1&resourceVersion=1&timeoutSeconds=30")
            shown.append(answer.content)

    run_virtual(run())
    return shown


def test_same_seed_same_bytes() -> None:
    """Names, uids, times and the order of events; another seed differs."""
    assert history(7) == history(7)
    assert history(7) != history(8)


@virtual
async def test_an_object_is_encoded_once() -> None:
    """Lists and all watches share the bytes of a version."""
    app = server()
    await app.client().create(CONFIGMAP, configmap("a"), "default")
    stored = app.machinery.get(app.catalog.of(CONFIGMAP), "default", "a")
    assert stored.tail() is stored.tail()


@virtual
async def test_two_writers() -> None:
    """Of two conditional writes of the same version one is refused, in process and over HTTP alike."""
    app = server()
    client = app.client()
    read = await client.create(CONFIGMAP, configmap("a"), "default")
    patch = {"metadata": {"resourceVersion": read["metadata"]["resourceVersion"]}, "data": {"k": "1"}}
    async with http(app) as other:
        assert (await other.patch("/api/v1/namespaces/default/configmaps/a", json=patch, headers=MERGE)).is_success
    with pytest.raises(ApiError) as caught:
        await client.patch(CONFIGMAP, "a", patch | {"data": {"k": "2"}}, "default")
    assert (caught.value.code, caught.value.reason) == (409, "Conflict")


@virtual
async def test_deleted_definition_ends_its_watches() -> None:
    """Nobody waits for events of a resource that is gone."""
    app = server()
    crd: dict[str, Any] = {
        "metadata": {"name": "foos.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"plural": "foos", "kind": "Foo"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {}}],
        },
    }
    async with http(app) as client:
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        assert (await client.post(path, json=crd)).status_code == 201
        watch = asyncio.create_task(client.get("/apis/example.com/v1/foos?watch=1"))
        await asyncio.sleep(1)
        assert (await client.delete(f"{path}/foos.example.com")).status_code == 200
        assert (await watch).content == b""
        assert (await client.get("/apis/example.com/v1/foos")).status_code == 404


@virtual
async def test_a_thousand_nodes() -> None:
    """Ten thousand writes with a watcher cost seconds: the promise is far below a millisecond each."""
    app = server()
    client = app.client()
    seen = 0

    async def watch() -> None:
        nonlocal seen
        async for _ in client.watch(NODE, resource_version=str(app.store.version)):
            seen += 1

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0)
    started = time.process_time()
    for number in range(1000):
        body = {"metadata": {"name": f"n{number}"}}
        await client.create(NODE, body)
    for turn in range(9):
        for number in range(1000):
            await client.patch(NODE, f"n{number}", {"metadata": {"labels": {"turn": str(turn)}}})
    await asyncio.sleep(1)
    assert seen >= 10_000
    assert time.process_time() - started < 10
    watcher.cancel()
