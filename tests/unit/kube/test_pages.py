"""The agents' reports by the API server's proxy."""

from typing import Any

import httpx
import pytest

from cni_migrate.kube.pages import KubePages, PageUnavailable
from cni_migrate.kube.request import Client
from cni_migrate.sim.clock import run_virtual
from tests.unit.kube.fake_api import FakeApi, FakeServer, LoopClock, status

PAGE = "/api/v1/namespaces/ns/pods/p:8080/proxy/report"
NDJSON = {"content-type": "application/x-ndjson"}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ((200, '{"v": 1}\n{"v": 1}\n', NDJSON), '{"v": 1}\n{"v": 1}\n'),
        ((200, '{"v": 1}\n', NDJSON), '{"v": 1}'),
        ((200, "", NDJSON), ""),
        ((400, status(400, "BadRequest", "address not allowed")), "address not allowed"),
        ((404, status(404, "NotFound", 'pods "p" not found')), 'pods "p" not found'),
        ((404, "", {"content-type": "text/plain"}), "HTTP 404"),
        ((503, status(503, "ServiceUnavailable", "error trying to reach service")), "error trying to reach service"),
        (
            (403, status(403, "Forbidden", 'User "j" cannot get resource "pods/proxy" in')),
            "`get pods/proxy in namespace",
        ),
        (httpx.ConnectError("refused"), "refused"),
    ],
)
def test_pages(reply: Any, expected: str) -> None:
    """One try; a line that looks like JSON is a line all the same; a refusal is told in its own words."""
    server = FakeServer()
    server.on("GET", PAGE, reply)

    async def main() -> str:
        return await KubePages(Client(FakeApi(server), LoopClock())).tail("ns", "p", 20)

    if isinstance(reply, tuple) and reply[0] == 200:
        assert run_virtual(main()) == expected
    else:
        with pytest.raises(PageUnavailable, match=expected):
            run_virtual(main())
    (asked,) = server.seen
    assert asked.query == {"lines": "20"}
