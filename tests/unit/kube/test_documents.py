"""The driver's own objects: compare-and-set, and writes whose answers were lost."""

import random
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from cni_migrate.errors import ClusterError, ClusterUnreachable, Conflict
from cni_migrate.kube.documents import KubeDocuments
from cni_migrate.kube.logs import KubeLogs, LogUnavailable
from cni_migrate.kube.request import Client
from cni_migrate.sim.clock import run_virtual
from tests.unit.kube.fake_api import FakeApi, FakeServer, LoopClock, status

LEASES = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
LEASE = {
    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"namespace": "ns", "name": "l"},
    "spec": {"holderIdentity": "me", "leaseDurationSeconds": 30, "renewTime": "2030-01-01T00:00:00.000000Z"},
}  # fmt: skip
META = {"namespace": "ns", "name": "l", "resourceVersion": "8", "uid": "u1"}
STORED = {**LEASE, "metadata": META}
THEIRS = {**STORED, "spec": {**STORED["spec"], "holderIdentity": "they"}}  # type: ignore[dict-item]


def run(script: Callable[[FakeServer], None], body: Callable[[KubeDocuments], Coroutine[Any, Any, Any]]) -> Any:
    server = FakeServer()
    script(server)

    async def main() -> Any:
        clock = LoopClock()
        return await body(KubeDocuments(Client(FakeApi(server), clock, random.Random(1)), clock))

    return run_virtual(main())


def test_get_create_replace_delete() -> None:
    def script(server: FakeServer) -> None:
        server.on("GET", f"{LEASES}/l", (200, STORED))
        server.on("POST", LEASES, (201, STORED))
        server.on("PUT", f"{LEASES}/l", (200, STORED))
        server.on("DELETE", f"{LEASES}/l", (200, {}))

    async def body(documents: KubeDocuments) -> None:
        assert await documents.get("Lease", "ns", "l") == STORED
        assert await documents.get("ConfigMap", "ns", "missing") is None
        assert await documents.create(LEASE) == STORED
        assert await documents.replace(STORED) == STORED
        await documents.delete(STORED)

    run(script, body)


def test_a_replacement_is_for_the_very_object_that_was_read() -> None:
    """Without the uid a real API server makes a Lease anew that was deleted meanwhile."""
    server = FakeServer()
    server.on("GET", f"{LEASES}/l", (200, STORED))
    server.on("PUT", f"{LEASES}/l", (200, STORED))

    async def main() -> None:
        clock = LoopClock()
        documents = KubeDocuments(Client(FakeApi(server), clock), clock)
        await documents.get("Lease", "ns", "l")
        await documents.replace({**LEASE, "metadata": {"namespace": "ns", "name": "l", "resourceVersion": "8"}})

    run_virtual(main())
    assert server.asked("PUT", f"{LEASES}/l")[0].body["metadata"]["uid"] == "u1"


def test_what_exists_is_a_conflict() -> None:
    def script(server: FakeServer) -> None:
        server.on("POST", LEASES, (409, status(409, "AlreadyExists")))

    with pytest.raises(Conflict):
        run(script, lambda documents: documents.create(LEASE))


@pytest.mark.parametrize("reply", [(409, status(409, "Conflict")), (404, status(404, "NotFound"))])
def test_another_version_is_a_conflict(reply: tuple[int, Any]) -> None:
    with pytest.raises(Conflict):
        run(lambda server: server.on("PUT", f"{LEASES}/l", reply), lambda documents: documents.replace(STORED))


AWAY = (404, "404 page not found")


def test_what_a_proxy_does_not_know_is_asked_for_again() -> None:
    """The record was missing, or somebody else's, and the run ended; closing a record left parts of it behind."""

    def script(server: FakeServer) -> None:
        server.on("GET", f"{LEASES}/l", AWAY, AWAY, (200, STORED))
        server.on("PUT", f"{LEASES}/l", AWAY, (200, STORED))
        server.on("DELETE", f"{LEASES}/l", AWAY, (200, {}))
        server.on("GET", f"{LEASES}/none", AWAY)

    async def body(documents: KubeDocuments) -> None:
        assert await documents.get("Lease", "ns", "l") == STORED
        assert await documents.replace(STORED) == STORED
        await documents.delete(STORED)
        with pytest.raises(ClusterUnreachable, match="404 page not found"):
            await documents.get("Lease", "ns", "none")

    run(script, body)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_own_write_whose_answer_was_lost_is_recognised(method: str) -> None:
    def script(server: FakeServer) -> None:
        path = LEASES if method == "POST" else f"{LEASES}/l"
        server.on(method, path, httpx.ReadError("reset"), (409, status(409, "Conflict")))
        server.on("GET", f"{LEASES}/l", (200, {**STORED, "metadata": {**META, "resourceVersion": "9"}}))

    def write(documents: KubeDocuments) -> Coroutine[Any, Any, Any]:
        return documents.create(LEASE) if method == "POST" else documents.replace(STORED)

    assert run(script, write)["metadata"]["resourceVersion"] == "9"


@pytest.mark.parametrize("found", [(200, THEIRS), (404, status(404, "NotFound"))])
def test_somebody_elses_write_is_not_taken_for_ours(found: tuple[int, Any]) -> None:
    def script(server: FakeServer) -> None:
        server.on("POST", LEASES, httpx.ReadError("reset"), (409, status(409, "AlreadyExists")))
        server.on("GET", f"{LEASES}/l", found)

    with pytest.raises(Conflict):
        run(script, lambda documents: documents.create(LEASE))


def test_a_locks_renewal_fails_while_there_is_time_left() -> None:
    async def body(documents: KubeDocuments) -> None:
        clock = LoopClock()
        begun = clock.now()
        with pytest.raises(ClusterUnreachable):
            await documents.replace(STORED)
        assert (clock.now() - begun).total_seconds() <= 10

    run(lambda server: server.on("PUT", f"{LEASES}/l", httpx.ConnectError("refused")), body)


def test_a_refusal_is_told_in_the_servers_words() -> None:
    def script(server: FakeServer) -> None:
        server.on("PUT", f"{LEASES}/l", (422, status(422, "Invalid", "Too long: may not be more than 1048576 bytes")))

    with pytest.raises(ClusterError, match=r"writing Lease ns/l.*Too long"):
        run(script, lambda documents: documents.replace(STORED))


LOG = "/api/v1/namespaces/ns/pods/p/log"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ((200, "one\ntwo\n"), "one\ntwo\n"),
        ((200, '{"looks": "like JSON"}'), '{"looks": "like JSON"}'),
        ((400, status(400, "BadRequest", 'container "c" is waiting to start')), LogUnavailable),
        ((404, status(404, "NotFound", 'pods "p" not found')), LogUnavailable),
        ((500, status(500, "InternalError", "dial tcp: connection refused")), LogUnavailable),
        ((403, status(403, "Forbidden", 'User "j" cannot get resource "pods/log" in')), LogUnavailable),
        (httpx.ConnectError("refused"), LogUnavailable),
    ],
)
def test_logs(reply: Any, expected: Any) -> None:
    server = FakeServer()
    server.on("GET", LOG, reply)

    async def main() -> str:
        clock = LoopClock()
        return await KubeLogs(Client(FakeApi(server), clock), clock).tail("ns", "p", 20, since_seconds=0)

    if isinstance(expected, str):
        assert run_virtual(main()) == expected
        assert server.seen[0].query == {"tailLines": "20", "sinceSeconds": "1"}
    else:
        with pytest.raises(expected):
            run_virtual(main())
    assert len(server.seen) == 1
