"""What tests may do to the server: observe, count, kill around a write, and inject faults."""

import asyncio
from typing import Any

import httpx
import pytest

from cni_migrate.sim.apiserver.auth import Rule
from cni_migrate.sim.apiserver.hooks import Answer, Call, Fault
from cni_migrate.sim.apiserver.podlogs import LogLine
from cni_migrate.sim.client import ApiError, Object
from tests.unit.sim.support import CONFIGMAP, MERGE, POD, configmap, http, now, pod, server, virtual

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


class Killed(BaseException):
    """The program under test dies here."""


@virtual
async def test_every_request_is_observed() -> None:
    """Numbers, writes, and the answer afterwards; the world's own writes do not show."""
    app = server()
    seen: list[tuple[Call, Answer | None]] = []
    app.hooks.observers.append(lambda call, answer: seen.append((call, answer)))
    await app.client().create(CONFIGMAP, configmap("w"), "default")
    async with http(app) as client:
        await client.get("/version/")
        await client.post(CONFIGMAPS, json=configmap("a"), headers={"User-Agent": "tool/1"})
        await client.post(CONFIGMAPS + "?dryRun=All", json=configmap("b"))
        await client.delete(f"{CONFIGMAPS}/a?x=y")
    calls = [(call.number, call.write, call.method, call.path, call.query) for call, answer in seen if answer is None]
    assert calls == [
        (1, None, "GET", "/version/", ""),
        (2, 1, "POST", CONFIGMAPS, ""),
        (3, None, "POST", CONFIGMAPS, "dryRun=All"),
        (4, 2, "DELETE", f"{CONFIGMAPS}/a", "x=y"),
    ]
    assert [answer.code for _, answer in seen if answer is not None] == [200, 201, 201, 200]
    assert (seen[2][0].user_agent, seen[2][0].content_type) == ("tool/1", "application/json")
    assert b'"name":"a"' in seen[2][0].body


@virtual
async def test_counts() -> None:
    """Requests and bytes per method and resource; a snapshot is a copy."""
    app = server()
    async with http(app) as client:
        for name in ("a", "b"):
            await client.post(CONFIGMAPS, json=configmap(name))
        before = app.hooks.snapshot()
        answer = await client.get(CONFIGMAPS)
    assert before[("POST", "configmaps")].requests == 2
    assert before[("POST", "configmaps")].bytes_in > 0
    assert ("GET", "configmaps") not in before
    assert app.hooks.counts[("GET", "configmaps")].bytes_out == len(answer.content)


@pytest.mark.parametrize(("when", "applied"), [("before", False), ("after", True)])
def test_death_around_a_write(when: str, applied: bool) -> None:
    """The exception comes out of the client's own call; the write is applied, or not."""

    @virtual
    async def run() -> None:
        app = server()

        def die(number: int) -> None:
            if number == 2:
                raise Killed

        setattr(app.hooks, f"{when}_write", die)
        async with http(app) as client:
            await client.post(CONFIGMAPS, json=configmap("a"))
            with pytest.raises(Killed):
                await client.post(CONFIGMAPS, json=configmap("b"))
        found = {item.name for item in app.store.select(app.catalog.of(CONFIGMAP), "default")}
        assert ("b" in found) is applied

    run()


@virtual
async def test_answers_instead() -> None:
    """A code with headers, for the matching requests only, as often as told; it is no write."""
    app = server()
    app.hooks.faults.append(Fault("POST", "configmaps", times=2, code=429, headers={"Retry-After": "3"}))
    async with http(app) as client:
        assert (await client.get(CONFIGMAPS)).status_code == 200
        answers = [await client.post(CONFIGMAPS, json=configmap("a")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 201]
    assert answers[0].headers["Retry-After"] == "3"
    assert answers[0].json()["reason"] == "TooManyRequests"
    assert app.hooks.writes == 1


@virtual
async def test_every_second_and_body() -> None:
    """`every`, `skip` and a body that is no JSON."""
    app = server()
    app.hooks.faults.append(Fault(path="/version", times=None, every=2, skip=1, code=503, body="overloaded"))
    async with http(app) as client:
        answers = [await client.get("/version") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200, 200, 503, 200, 503, 200]
    assert answers[2].text == "overloaded"


@pytest.mark.parametrize(("cut", "applied"), [("before", False), ("after", True)])
def test_cut_connection(cut: Any, applied: bool) -> None:
    """The client cannot know whether its write was applied; the store does."""

    @virtual
    async def run() -> None:
        app = server()
        app.hooks.faults.append(Fault("POST", cut=cut))
        async with http(app) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(CONFIGMAPS, json=configmap("a"))
            assert (await client.get(f"{CONFIGMAPS}/a")).is_success is applied

    run()


@virtual
async def test_delay_is_loop_time() -> None:
    """An answer ten minutes late, and a client that does not wait for it."""
    app = server()
    app.hooks.faults.append(Fault("GET", "/version", times=2, delay=600))
    async with http(app) as client:
        await client.get("/version")
        assert now() == 600
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/version", timeout=10)
        assert now() == 610


@pytest.mark.parametrize("ending", ["cut", "close", "expire"])
def test_end_of_a_watch(ending: Any) -> None:
    """After so many events it is cut, closed or told that it is too old."""

    @virtual
    async def run() -> None:
        app = server()
        app.hooks.faults.append(Fault("GET", "watch=1", watch=ending, events=2))
        lines: list[str] = []
        async with http(app) as client:
            version = (await client.get(CONFIGMAPS)).json()["metadata"]["resourceVersion"]
            for name in ("a", "b", "c"):
                await client.post(CONFIGMAPS, json=configmap(name))

            async def read() -> None:
                query = {"watch": "1", "resourceVersion": version}
                async with client.stream("GET", CONFIGMAPS, params=query) as answer:
                    async for line in answer.aiter_lines():
                        lines.append(line)  # noqa: PERF401 - those before the cut count

            if ending == "cut":
                with pytest.raises(httpx.RemoteProtocolError):
                    await read()
            else:
                await read()
        assert len(lines) == (3 if ending == "expire" else 2)
        assert ('"code":410' in lines[-1]) is (ending == "expire")

    run()


@virtual
async def test_watch_cut_by_time() -> None:
    """After so many seconds, whatever came."""
    app = server()
    app.hooks.faults.append(Fault("GET", "watch=1", watch="close", seconds=90))
    async with http(app) as client:
        assert (await client.get(CONFIGMAPS + "?watch=1&resourceVersion=5")).status_code == 200
    assert now() == 90


@virtual
async def test_expired_credentials() -> None:
    """A token that is taken away is 401 from then on."""
    app = server(tokens={"secret": "me"})
    async with http(app, "secret") as client:
        assert (await client.get("/api/v1/nodes")).status_code == 200
        assert app.auth.tokens is not None
        del app.auth.tokens["secret"]
        assert (await client.get("/api/v1/nodes")).status_code == 401


@virtual
async def test_missing_rights() -> None:
    """Rules per user; what no rule allows is 403, and the review says so beforehand."""
    app = server(tokens={"t": "me"}, rules={"me": [Rule(["get", "list"], [""], ["nodes"])]})
    async with http(app, "t") as client:
        assert (await client.get("/api/v1/nodes")).status_code == 200
        assert (await client.patch("/api/v1/nodes/n", json={}, headers=MERGE)).status_code == 403
        body = {"spec": {"resourceAttributes": {"verb": "patch", "resource": "nodes"}}}
        review = await client.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=body)
        assert review.json()["status"] == {"allowed": False}


@virtual
async def test_what_is_missing_says_so() -> None:
    """501 with a Status that names it."""
    app = server()
    async with http(app) as client:
        apply = {"Content-Type": "application/apply-patch+yaml"}
        answers = [
            await client.patch(f"{CONFIGMAPS}/a?fieldManager=x", content="{}", headers=apply),
            await client.post("/api/v1/namespaces/default/pods/x/portforward?ports=80"),
            await client.get("/openapi/v2"),
            await client.get("/api/v1/nodes?watch=1&sendInitialEvents=true"),
            await client.get("/api/v1/nodes?resourceVersion=2&resourceVersionMatch=Exact"),
            await client.get("/api/v1/nodes", headers={"Accept": "application/json;as=PartialObjectMetadataList"}),
            await client.post(CONFIGMAPS, content="a: b", headers={"Content-Type": "application/yaml"}),
        ]
    assert [answer.status_code for answer in answers] == [501] * 7
    said = [answer.json()["message"].removeprefix("the simulated API server does not emulate ") for answer in answers]
    assert said == [
        "server-side apply",
        "pods/portforward",
        "OpenAPI v2 but in protobuf",
        "watches with sendInitialEvents",
        "lists at an exact older version (resourceVersionMatch=Exact)",
        "PartialObjectMetadata answers",
        "YAML bodies",
    ]


@virtual
async def test_logs_come_from_the_world() -> None:
    """Its lines are cut by the query; without it, or when it fails, the kubelet cannot be reached."""
    app = server()
    client = app.client()
    await client.create(CONFIGMAP, configmap("x"), "default")
    async with http(app) as raw:
        await raw.post("/api/v1/nodes", json={"metadata": {"name": "n"}})
        await raw.post("/api/v1/namespaces/default/pods", json=pod("p", "n"))
        path = "/api/v1/namespaces/default/pods/p/log"
        refused = await raw.get(path)
        assert (refused.status_code, refused.json()["reason"]) == (500, "InternalError")
        assert "connection refused" in refused.json()["message"]
        lines: list[LogLine] = []

        async def source(asked: Object, container: str, previous: bool) -> list[LogLine]:
            if previous:
                raise ApiError(400, "BadRequest", f'previous terminated container "{container}" not found')
            return lines

        app.logs = source
        for number in range(3):
            lines.append(LogLine(app.store.now(), f"line {number}"))
            await asyncio.sleep(60)
        assert (await raw.get(path)).text == "line 0\nline 1\nline 2\n"
        assert (await raw.get(path + "?tailLines=1")).text == "line 2\n"
        assert (await raw.get(path + "?tailLines=0")).text == ""
        assert (await raw.get(path + "?limitBytes=3")).text == "lin"
        assert (await raw.get(path + "?sinceSeconds=130")).text == "line 1\nline 2\n"
        since = (await raw.get(path + "?sinceTime=2030-01-01T00:01:30Z&timestamps=true")).text
        assert since == "2030-01-01T00:02:00.000000000Z line 2\n"
        assert (await raw.get(path + "?previous=true")).status_code == 400
        follow = asyncio.create_task(raw.get(path + "?follow=true&tailLines=1"))
        await asyncio.sleep(5)
        lines.append(LogLine(app.store.now(), "late"))
        await asyncio.sleep(5)
        await raw.delete("/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0")
        assert (await follow).text == "line 2\nlate\n"


@virtual
async def test_taints_may_lag() -> None:
    """As the real controller's do: the answer to a cordon is without the taint, which comes a moment later."""
    app = server(taint_delay=0.5)
    async with http(app) as client:
        await client.post("/api/v1/nodes", json={"metadata": {"name": "n"}})
        await asyncio.sleep(1)
        await client.patch("/api/v1/nodes/n", json={"spec": {"unschedulable": True}}, headers=MERGE)
        assert "taints" not in (await client.get("/api/v1/nodes/n")).json()["spec"]
        await asyncio.sleep(1)
        taints = (await client.get("/api/v1/nodes/n")).json()["spec"]["taints"]
    assert [taint["key"] for taint in taints] == ["node.kubernetes.io/unschedulable"]


@virtual
async def test_conflict_about_an_unguarded_pod_is_tried_again() -> None:
    """For ten seconds; a resourceVersion in the precondition is answered at once."""
    app = server()
    await app.client().create(POD, pod("p", "n"), "default")
    async with http(app) as client:
        path = "/api/v1/namespaces/default/pods/p/eviction"
        for precondition, seconds in (("uid", 9.5), ("resourceVersion", 0.0)):
            started = now()
            options = {"preconditions": {precondition: "1"}}
            answer = await client.post(path, json={"metadata": {"name": "p"}, "deleteOptions": options})
            assert (answer.status_code, now() - started) == (409, seconds)


@virtual
async def test_protobuf_of_an_unknown_kind_is_an_unsupported_media_type() -> None:
    """With a Status that says what would be read, as a server answers that does not know the format."""
    kind = b"\x0a\x02v1\x12\x05Event"
    envelope = b"k8s\x00\x0a" + bytes([len(kind)]) + kind + b"\x12\x00"
    async with http(server()) as client:
        answer = await client.post(
            CONFIGMAPS, content=envelope, headers={"Content-Type": "application/vnd.kubernetes.protobuf"}
        )
    assert (answer.status_code, answer.json()["reason"]) == (415, "UnsupportedMediaType")
    assert answer.json()["message"].endswith("accepted media types include: application/json")
