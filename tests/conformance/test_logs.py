"""Logs: what the API server says by itself, and what it fetches from a kubelet.

On the real server the kubelet is a small HTTPS server on loopback with a certificate of the cluster's CA; on the
simulator it is the hook that the world registers. Both return the same three lines.
"""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from cni_migrate.sim.apiserver.podlogs import LogLine
from cni_migrate.sim.client import Object
from tests.conformance.harness import Cluster, Json, Space, unique

LINES = [f"line {number}" for number in range(3)]


class Kubelet(BaseHTTPRequestHandler):
    """Serves `containerLogs` as a kubelet does."""

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        lines = LINES[-int(query["tailLines"][0]) :] if query.get("tailLines", ["0"]) != ["0"] else LINES
        data = "".join(f"{line}\n" for line in lines).encode()
        if "limitBytes" in query:
            data = data[: int(query["limitBytes"][0])]
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited
        """Say nothing."""


@contextmanager
def kubelet(cluster: Cluster) -> Iterator[int]:
    """The port of something that serves logs."""
    if cluster.simulator is not None:
        app = cluster.simulator

        async def source(pod: Object, container: str, previous: bool) -> list[LogLine]:
            return [LogLine(app.store.now(), line) for line in LINES]

        app.logs = source
        yield 10250
        app.logs = None
        return
    assert cluster.issue_serving is not None
    certificate, key = cluster.issue_serving("kubelet")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(certificate), Path(key))
    with ThreadingHTTPServer(("127.0.0.1", 0), Kubelet) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def node(cluster: Cluster, port: int) -> str:
    name = unique("node")
    status: Json = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    assert cluster.post("/api/v1/nodes", {"metadata": {"name": name}, "status": status}).code == 201
    return name


def test_lines(space: Space) -> None:
    """All, the last ones, and so many bytes."""
    with kubelet(space.cluster) as port:
        space.pod("p", node=node(space.cluster, port))
        path = space.path("pods/p/log")
        answer = space.cluster.get(path)
        assert (answer.code, answer.text) == (200, "line 0\nline 1\nline 2\n")
        assert answer.headers["content-type"].startswith("text/plain")
        assert space.cluster.get(path + "?tailLines=1").text == "line 2\n"
        assert space.cluster.get(path + "?limitBytes=3").text == "lin"
        assert space.cluster.get(path + "?container=main&tailLines=2").text == "line 1\nline 2\n"


def test_no_kubelet(space: Space) -> None:
    """500 when nothing listens at the node's address."""
    space.pod("p", node=node(space.cluster, 1))
    answer = space.cluster.get(space.path("pods/p/log"))
    assert (answer.code, answer.body["status"]) == (500, "Failure")
    assert "connection refused" in answer.message


def test_no_node(space: Space) -> None:
    """Nothing yet for a pod without a node; 404 when its node does not exist."""
    space.pod("p")
    answer = space.cluster.get(space.path("pods/p/log"))
    assert (answer.code, answer.text) == (204, "")
    space.pod("q", node="nowhere")
    answer = space.cluster.get(space.path("pods/q/log"))
    assert (answer.code, answer.message) == (404, 'pods "nowhere" not found')


CONTAINERS = [{"name": name, "image": "example.com/app:1"} for name in ("one", "two")]
REFUSED: list[tuple[str, int, str]] = [
    ("", 400, "a container name must be specified for pod p, choose one of: [zero one two]"),
    ("?container=three", 400, "container three is not valid for pod p"),
    ("?container=one&tailLines=x", 400, "invalid syntax"),
    ("?container=one&tailLines=-1", 422, "must be greater than or equal to 0"),
    ("?container=one&limitBytes=0", 422, "must be greater than 0"),
]


@pytest.mark.parametrize(("query", "code", "message"), REFUSED, ids=[case[0] or "no container" for case in REFUSED])
def test_refusals(space: Space, query: str, code: int, message: str) -> None:
    """Which container, and sensible options."""
    init = [{"name": "zero", "image": "example.com/app:1"}]
    space.pod("p", node="nowhere", containers=CONTAINERS, initContainers=init)
    answer = space.cluster.get(space.path("pods/p/log") + query)
    assert answer.code == code
    assert message in answer.message


def test_missing_pod(space: Space) -> None:
    """404."""
    answer = space.cluster.get(space.path("pods/p/log"))
    assert (answer.code, answer.message) == (404, 'pods "p" not found')
