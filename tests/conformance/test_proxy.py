"""`pods/proxy`: what the API server says by itself, before it asks a pod."""

import pytest

from tests.conformance.harness import Space


def test_a_missing_pod(space: Space) -> None:
    """404, and the name is that of the pod alone."""
    for name in ("p", "p:8080", "http:p:8080"):
        answer = space.cluster.get(space.path(f"pods/{name}/proxy/report?lines=3"))
        assert (answer.code, answer.reason, answer.message) == (404, "NotFound", 'pods "p" not found')
        assert answer.body["details"] == {"name": "p", "kind": "pods"}


@pytest.mark.parametrize("name", ["a:b:c:d", "ftp:p:21", ":8080"])
def test_what_names_no_pod(space: Space, name: str) -> None:
    """400."""
    space.pod("p")
    answer = space.cluster.get(space.path(f"pods/{name}/proxy/report"))
    assert (answer.code, answer.reason, answer.message) == (400, "BadRequest", f'invalid pod request "{name}"')


def test_a_pod_without_an_address(space: Space) -> None:
    """400: it has not begun."""
    space.pod("p")
    answer = space.cluster.get(space.path("pods/p:8080/proxy/report"))
    assert (answer.code, answer.reason, answer.message) == (400, "BadRequest", "address not allowed")


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.1.1"])
def test_an_address_that_is_no_pods(space: Space, address: str) -> None:
    """400: neither loopback nor the link alone is reached through the API server."""
    space.pod("p")
    status = {"status": {"podIP": address, "podIPs": [{"ip": address}]}}
    assert space.cluster.patch(space.path("pods/p/status"), status).code == 200
    answer = space.cluster.get(space.path("pods/p:8080/proxy/report"))
    assert (answer.code, answer.reason, answer.message) == (400, "BadRequest", "address not allowed")
