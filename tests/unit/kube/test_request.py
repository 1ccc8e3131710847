"""What is tried again, for how long, and what each refusal becomes.

429 of overload with and without Retry-After · 429 of a budget · 503 · 500 for a while and for good · two budgets ·
connection lost before and after sending · untrusted certificate · 401 once and for good · 403 of RBAC and of admission.
"""

import asyncio
import random
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from cni_migrate.errors import ClusterUnreachable, RightsMissing, Unauthorized
from cni_migrate.kube.request import Client
from cni_migrate.kube.transport import USER_AGENT
from cni_migrate.sim.clock import run_virtual
from tests.unit.kube.fake_api import FakeApi, FakeServer, LoopClock, status

NODES = "/api/v1/nodes"
OVERLOAD = (429, "Too many requests, please try again later.", {"Retry-After": "3"})


def run(
    script: Callable[[FakeServer], None],
    body: Callable[[Client], Coroutine[Any, Any, Any]],
    *,
    token: str = "",
    hook: Callable[[str, str, int, int], None] | None = None,
) -> tuple[Any, FakeServer, float]:
    """Run against a script; the result or error, the server, and how long it took."""
    server = FakeServer()
    script(server)

    async def main() -> tuple[Any, float]:
        client = Client(FakeApi(server, token), LoopClock(), random.Random(7), on_request=hook)
        try:
            found: Any = await body(client)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            found = error
        return found, asyncio.get_running_loop().time()

    found, took = run_virtual(main())
    return found, server, took


def get(client: Client) -> Coroutine[Any, Any, Any]:
    return client.request("GET", NODES)


def test_an_answer_comes_back_with_status_headers_and_json() -> None:
    answer, server, _ = run(lambda s: s.on("GET", NODES, (200, {"items": []}, {"X-A": "b"})), get)
    assert (answer.status, answer.headers["x-a"], answer.json) == (200, "b", {"items": []})
    assert server.seen[0].headers["user-agent"] == USER_AGENT


def test_every_request_names_the_tool_and_carries_the_token() -> None:
    _, server, _ = run(lambda s: s.on("GET", NODES, (200, {})), get, token="secret")
    assert server.seen[0].headers["authorization"] == "Bearer secret"
    assert server.seen[0].headers["user-agent"].startswith("migrate/")


@pytest.mark.parametrize(("method", "named"), [("POST", True), ("PUT", True), ("PATCH", True), ("DELETE", False)])
def test_writes_name_their_field_manager(method: str, named: bool) -> None:
    _, server, _ = run(lambda s: s.on(method, NODES, (200, {})), lambda c: c.request(method, NODES, body={"a": 1}))
    assert (server.seen[0].query.get("fieldManager") == "migrate") is named
    assert server.seen[0].body == {"a": 1}


def test_overload_is_waited_out_for_as_long_as_the_server_asks() -> None:
    answer, server, took = run(lambda s: s.on("GET", NODES, OVERLOAD, OVERLOAD, (200, {})), get)
    assert answer.status == 200
    assert len(server.seen) == 3
    assert 6 <= took < 8


def test_a_budget_is_no_overload() -> None:
    blocked = status(429, "TooManyRequests", "no", causes=(("DisruptionBudget", "The disruption budget b needs 2"),))
    answer, server, _ = run(lambda s: s.on("POST", NODES, (429, blocked)), lambda c: c.request("POST", NODES, body={}))
    assert answer.status == 429
    assert answer.cause("DisruptionBudget") == "The disruption budget b needs 2"
    assert len(server.seen) == 1


@pytest.mark.parametrize("code", [400, 401, 403, 409, 422, 429])
@pytest.mark.parametrize(
    "message",
    [
        'admission webhook "virt-launcher-eviction-interceptor.kubevirt.io" denied the request: Eviction triggered',
        "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
    ],
)
def test_what_admission_says_is_an_answer_whatever_its_code(code: int, message: str) -> None:
    """KubeVirt answers the eviction of a VM's pod with 429; a webhook's 403 need not have a reason."""
    refusal = {"kind": "Status", "status": "Failure", "code": code, "message": message}
    answer, server, _ = run(
        lambda s: s.on("POST", NODES, (code, refusal)), lambda c: c.request("POST", NODES, body={}), token="secret"
    )
    assert (answer.status, answer.message, len(server.seen)) == (code, message, 1)


def test_a_webhook_that_fails_is_asked_again_but_is_not_the_api_server() -> None:
    broken = status(503, "", 'admission webhook "w" denied the request: my database is away')
    answer, server, _ = run(lambda s: s.on("POST", NODES, (503, broken)), lambda c: c.request("POST", NODES, body={}))
    assert (answer.status, len(server.seen)) == (503, 4)


def test_an_unavailable_server_is_asked_again() -> None:
    answer, server, took = run(lambda s: s.on("GET", NODES, (503, "x"), (502, "x"), (504, "x"), (200, {})), get)
    assert answer.status == 200
    assert len(server.seen) == 4
    assert 0.4 < took < 5


def test_after_a_minute_the_last_error_is_reported() -> None:
    error, _, took = run(lambda s: s.on("GET", NODES, (503, status(503, "ServiceUnavailable", "etcd is down"))), get)
    assert isinstance(error, ClusterUnreachable)
    assert "https://fake:6443" in error.message
    assert "etcd is down" in error.message
    assert error.next
    assert 50 < took <= 60


def test_no_retry_is_begun_that_could_not_end_in_time() -> None:
    error, server, took = run(
        lambda s: s.on("GET", NODES, (429, "later", {"Retry-After": "100"})),
        lambda c: c.request("GET", NODES, deadline=20),
    )
    assert isinstance(error, ClusterUnreachable)
    assert len(server.seen) == 1
    assert took == 0


def test_an_internal_error_may_pass() -> None:
    answer, _, _ = run(
        lambda s: s.on("GET", NODES, (500, status(500, "InternalError", "leader changed")), (200, {})), get
    )
    assert answer.status == 200


def test_an_internal_error_that_stays_is_the_answer() -> None:
    broken = status(500, "InternalError", "failed calling webhook")
    answer, server, _ = run(lambda s: s.on("POST", NODES, (500, broken)), lambda c: c.request("POST", NODES, body={}))
    assert (answer.status, answer.message) == (500, "failed calling webhook")
    assert len(server.seen) == 4


def test_two_budgets_are_not_tried_again() -> None:
    two = {
        "kind": "Status", "status": "Failure", "code": 500,
        "message": "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    }  # fmt: skip
    answer, server, _ = run(lambda s: s.on("POST", NODES, (500, two)), lambda c: c.request("POST", NODES, body={}))
    assert answer.status == 500
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("error", "unsure"),
    [(httpx.ConnectError("refused"), False), (httpx.ReadError("reset"), True), (httpx.ReadTimeout("slow"), True)],
)
def test_a_lost_connection_is_tried_again_and_told_when_it_may_have_been_served(error: Exception, unsure: bool) -> None:
    exists = status(409, "AlreadyExists")
    answer, _, _ = run(lambda s: s.on("POST", NODES, error, (409, exists)), lambda c: c.request("POST", NODES, body={}))
    assert answer.status == 409
    assert answer.unsure is unsure


def test_a_request_that_hangs_is_given_up_and_sent_again() -> None:
    async def hang(_: httpx.Request) -> tuple[int, Any]:
        await asyncio.sleep(3600)
        return 200, {}

    answer, _, took = run(lambda s: s.on("GET", NODES, hang, (200, {})), get)
    assert answer.status == 200
    assert 10 <= took < 11


def test_an_untrusted_certificate_is_not_tried_again() -> None:
    bad = ssl.SSLCertVerificationError("bad")
    bad.verify_message = "self-signed certificate"
    error = httpx.ConnectError("tls")
    error.__cause__ = bad
    found, server, _ = run(lambda s: s.on("GET", NODES, error), get)
    assert isinstance(found, ClusterUnreachable)
    assert "self-signed certificate" in found.message
    assert len(server.seen) == 1


def test_nothing_of_the_libraries_leaks_out() -> None:
    """Whatever httpx raises becomes an error of ours."""
    for error in (
        httpx.ConnectError("x"),
        httpx.ReadError("x"),
        httpx.RemoteProtocolError("x"),
        httpx.PoolTimeout("x"),
    ):

        def script(server: FakeServer, error: Exception = error) -> None:
            server.on("GET", NODES, error)

        found, _, _ = run(script, lambda c: c.request("GET", NODES, deadline=0))
        assert isinstance(found, ClusterUnreachable), error


def test_expired_credentials_are_renewed_once_for_all_requests() -> None:
    def answer(request: httpx.Request) -> tuple[int, Any]:
        return (200, {}) if request.headers["authorization"] == "Bearer token-1" else (401, status(401, "Unauthorized"))

    async def together(client: Client) -> Any:
        return await asyncio.gather(*(client.request("GET", NODES) for _ in range(5)))

    answers, server, _ = run(lambda s: s.on("GET", NODES, answer), together, token="old")
    assert [one.status for one in answers] == [200] * 5
    assert {one.headers["authorization"] for one in server.seen} == {"Bearer old", "Bearer token-1"}


def test_credentials_that_stay_refused_are_reported() -> None:
    found, server, _ = run(
        lambda s: s.on("GET", NODES, (401, status(401, "Unauthorized", "token expired"))), get, token="t"
    )
    assert isinstance(found, Unauthorized)
    assert "token expired" in found.message
    assert len(server.seen) == 2


def test_a_401_does_not_close_the_session_of_others() -> None:
    """kr8s itself would close it; a watch of somebody else would be cut."""
    server = FakeServer()
    server.on("GET", NODES, (401, status(401, "Unauthorized")), (200, {}))

    async def main() -> int:
        api = FakeApi(server, "t")
        await Client(api, LoopClock()).request("GET", NODES)
        return api.sessions

    assert run_virtual(main()) == 1


RBAC = (
    'pods "p" is forbidden: User "jane" cannot create resource "pods/eviction" in API group "" in the namespace "web"'
)


def test_a_missing_right_is_named_with_the_rule_that_grants_it() -> None:
    path = "/api/v1/namespaces/web/pods/p/eviction"
    found, server, _ = run(
        lambda s: s.on("POST", path, (403, status(403, "Forbidden", RBAC))), lambda c: c.request("POST", path, body={})
    )
    assert isinstance(found, RightsMissing)
    assert "create pods/eviction in namespace web" in found.message
    assert '{apiGroups: [""], resources: ["pods/eviction"], verbs: ["create"]}' in found.next
    assert len(server.seen) == 1


def test_a_denial_right_after_an_outage_is_not_believed_yet() -> None:
    """Seen on a real cluster: a restarted API server denies what it allows, until it has read the role bindings."""
    refused = (403, status(403, "Forbidden", RBAC))

    def script(server: FakeServer) -> None:
        server.on("GET", NODES, httpx.ConnectError("refused"), refused, refused, (200, {}))

    answer, server, _ = run(script, get)
    assert answer.status == 200
    assert len(server.seen) == 4


def test_a_denial_that_stays_after_an_outage_is_one() -> None:
    refused = (403, status(403, "Forbidden", RBAC))
    error, _, took = run(lambda s: s.on("GET", NODES, httpx.ConnectError("refused"), refused), get)
    assert isinstance(error, RightsMissing)
    assert 25 < took < 40


def test_what_admission_forbids_is_an_answer() -> None:
    refused = status(403, "Forbidden", 'pods "p" is forbidden: violates PodSecurity "restricted:latest"')
    answer, _, _ = run(lambda s: s.on("POST", NODES, (403, refused)), lambda c: c.request("POST", NODES, body={}))
    assert answer.status == 403


def test_a_single_try_gives_its_answer() -> None:
    answer, server, _ = run(lambda s: s.on("GET", NODES, (503, "x")), lambda c: c.request("GET", NODES, deadline=0))
    assert answer.status == 503
    assert len(server.seen) == 1


def test_the_hook_hears_of_every_try() -> None:
    heard: list[tuple[str, str, int, int]] = []
    run(lambda s: s.on("GET", NODES, httpx.ReadError("x"), (200, {"a": 1})), get, hook=lambda *one: heard.append(one))
    assert heard == [("GET", NODES, 0, 0), ("GET", NODES, 200, len(b'{"a":1}'))]


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("page", ["<html>log in</html>", ["not", "an", "object"]])
def test_a_success_without_the_object_that_was_asked_for_is_no_answer(method: str, page: object) -> None:
    """A proxy's login page: a write was taken for done, and a list for one of nothing."""
    there = (200, {"kind": "Node", "metadata": {"name": "n1"}})
    answer, server, _ = run(lambda s: s.on(method, NODES, (200, page), there), lambda c: c.request(method, NODES))
    assert answer.object["metadata"] == {"name": "n1"}
    assert (len(server.seen), answer.unsure) == (2, True)
    error, _, _ = run(lambda s: s.on(method, NODES, (200, page)), lambda c: c.request(method, NODES))
    assert isinstance(error, ClusterUnreachable)
