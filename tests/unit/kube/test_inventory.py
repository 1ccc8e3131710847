"""What preflight reads, where the simulated and the real API server have nothing to show."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cni_migrate.errors import ClusterError
from cni_migrate.kube import inventory
from cni_migrate.kube.access import Ask, Reviews
from cni_migrate.kube.request import Client
from cni_migrate.sim.clock import run_virtual
from tests.unit.kube.fake_api import FakeApi, FakeServer, LoopClock, listed, status

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def run(server: FakeServer, body: Callable[[Client], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        return await body(Client(FakeApi(server), LoopClock()))

    return run_virtual(main())


def named(name: str, namespace: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}}


def test_the_version_and_all_pages_of_definitions_are_read() -> None:
    """Of definitions the names alone: a schema may have hundreds of kilobytes."""
    server = FakeServer()
    server.on("GET", "/version", (200, {"gitVersion": "v1.34.4"}))
    server.on("GET", CRDS, listed(named("networkpolicies.crd.projectcalico.org"), more="x"), listed(named("a.b.c")))
    found = run(server, inventory.inventory)
    assert found.version == "v1.34.4"
    assert found.crds == ("a.b.c", "networkpolicies.crd.projectcalico.org")
    assert "PartialObjectMetadataList" in server.asked("GET", CRDS)[0].headers["accept"]
    assert server.asked("GET", CRDS)[1].query["continue"] == "x"


def test_a_refused_list_is_told() -> None:
    server = FakeServer()
    server.on("GET", CRDS, (400, status(400, "BadRequest", "no")))
    with pytest.raises(ClusterError, match=r"listing .*customresourcedefinitions: no"):
        run(server, inventory.crd_names)


def test_a_refused_config_map_is_told() -> None:
    server = FakeServer()
    server.on("GET", "/api/v1/namespaces/a/configmaps/m", (400, status(400, "BadRequest", "no")))
    with pytest.raises(ClusterError, match="ConfigMap a/m cannot be read: no"):
        run(server, lambda client: inventory.get_config_map(client, "a", "m"))


def test_rights_are_asked_for_one_by_one_and_once_each() -> None:
    server = FakeServer()
    no = (201, {"status": {"allowed": False}})
    server.on("POST", REVIEWS, no, (201, {"status": {"allowed": True}}), no)
    asks = [
        ("create", "", "pods", "eviction", "web"),
        ("list", "apps", "daemonsets", "", ""),
        ("list", "apps", "daemonsets", "", ""),
    ]
    found = run(server, lambda client: Reviews(client).allowed(asks))
    assert found == {Ask(*asks[0]): True, Ask(*asks[1]): False}
    assert [one.body["spec"]["resourceAttributes"] for one in server.seen] == [
        {"verb": "*", "group": "*", "resource": "*"},
        {"verb": "create", "group": "", "resource": "pods", "subresource": "eviction", "namespace": "web"},
        {"verb": "list", "group": "apps", "resource": "daemonsets"},
    ]


def test_who_may_everything_is_asked_once() -> None:
    """An administrator waits for one answer, not for hundreds."""
    server = FakeServer()
    server.on("POST", REVIEWS, (201, {"status": {"allowed": True}}))
    asks = [Ask("list", "", "pods"), Ask("patch", "", "nodes")]
    assert run(server, lambda client: Reviews(client).allowed(asks)) == dict.fromkeys(asks, True)
    assert len(server.seen) == 1


def test_a_review_that_fails_is_told() -> None:
    server = FakeServer()
    server.on("POST", REVIEWS, (422, status(422, "Invalid", "no")))
    with pytest.raises(ClusterError, match="asking whether `list pods` is allowed: no"):
        run(server, lambda client: Reviews(client).allowed([Ask("list", "", "pods")]))
