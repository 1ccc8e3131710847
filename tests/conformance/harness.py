"""The two API servers that must answer alike, behind one small interface."""

import asyncio
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from cni_migrate.sim.apiserver.app import ApiServer
from cni_migrate.sim.apiserver.auth import Rule
from cni_migrate.sim.apiserver.kubernetes import Kubernetes
from cni_migrate.sim.apiserver.serving import serving, write_kubeconfig
from cni_migrate.sim.apiserver.store import Store
from cni_migrate.sim.clock import SimClock
from tests.controlplane import kubernetes
from tests.controlplane.cluster import RealCluster

Json = dict[str, Any]

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"

_ASKED = os.environ.get("CONFORMANCE_KUBERNETES", kubernetes.DEFAULT.version)
KUBERNETES = kubernetes.NEWEST.version if _ASKED == "newest" else _ASKED
"""Which version the simulator is compared with, and says it is."""


def by_version(words: dict[str, Any]) -> Any:
    """What holds for `KUBERNETES`: of the versions since which something is so, as in `1.37`, the newest that it reaches."""

    def minor(version: str) -> int:
        return int(version.split(".")[1])

    return words[max((since for since in words if minor(since) <= minor(KUBERNETES)), key=minor)]


_numbers = itertools.count(1)


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{next(_numbers)}"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    code: int
    body: Json
    headers: httpx.Headers
    text: str

    @property
    def reason(self) -> str:
        """The reason of a Status."""
        return str(self.body.get("reason", ""))

    @property
    def message(self) -> str:
        """The message of a Status."""
        return str(self.body.get("message", ""))

    @property
    def version(self) -> str:
        """The resourceVersion of an object or a list."""
        return str(self.body["metadata"]["resourceVersion"])


class Http:
    """Raw requests to one server as one user."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Answer:
        """One request; a body that is no string is sent as JSON."""
        headers = {} if body is None else {"Content-Type": content_type}
        content = body if body is None or isinstance(body, str) else json.dumps(body)
        response = self.client.request(method, path, content=content, headers=headers)
        decoded = {}
        if response.headers.get("content-type", "").startswith("application/json") and response.text:
            decoded = response.json()
        return Answer(response.status_code, decoded, response.headers, response.text)

    def get(self, path: str) -> Answer:
        """GET."""
        return self.call("GET", path)

    def post(self, path: str, body: Any) -> Answer:
        """POST."""
        return self.call("POST", path, body)

    def put(self, path: str, body: Any) -> Answer:
        """PUT."""
        return self.call("PUT", path, body)

    def patch(self, path: str, body: Any, content_type: str = MERGE) -> Answer:
        """PATCH, a merge patch unless told otherwise."""
        return self.call("PATCH", path, body, content_type)

    def delete(self, path: str, body: Any = None) -> Answer:
        """DELETE."""
        return self.call("DELETE", path, body)

    def watch(self, path: str, version: str, *, seconds: int = 5, **query: str) -> Generator[Json, None, None]:
        """The events after a version until the server ends the watch; close the iterator to end it earlier."""
        parameters = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(seconds), **query}
        with self.client.stream("GET", path, params=parameters) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                yield json.loads(line)


@dataclass
class Cluster(Http):
    """One of the two servers, as its administrator."""

    name: str
    url: str
    client: httpx.Client
    kubeconfig: Path
    kubectl: Path
    grant: Callable[[str, Sequence[Json]], httpx.Client]
    simulator: ApiServer | None = None
    issue_serving: Callable[[str], tuple[Path, Path]] | None = None

    def as_user(self, name: str, rules: Sequence[Json]) -> Http:
        """Requests of a user who may do what RBAC rules (`verbs`, `apiGroups`, `resources`) allow, and no more."""
        return Http(self.grant(name, rules))

    def eventually(self, path: str, holds: Callable[[Json], Any], seconds: float = 20) -> Json:
        """Read until something holds; what a controller does takes a moment."""
        end = time.monotonic() + seconds
        while True:
            answer = self.get(path)
            if answer.code == 200 and holds(answer.body):
                return answer.body
            if time.monotonic() > end:
                raise AssertionError(f"{self.name}: {path} still is {answer.code} {answer.body}")
            time.sleep(0.05)

    def gone(self, path: str, seconds: float = 20) -> None:
        """Wait for a 404."""
        end = time.monotonic() + seconds
        while (code := self.get(path).code) != 404:
            assert time.monotonic() < end, f"{self.name}: {path} still is there ({code})"
            time.sleep(0.05)

    def space(self, name: str) -> "Space":
        """Make a namespace, and wait for what each is given: its service account, the API server's certificate."""
        assert self.post("/api/v1/namespaces", {"metadata": {"name": name}}).code == 201
        made = Space(self, name)
        for given in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
            self.eventually(made.path(given), bool)
        return made


@dataclass(frozen=True)
class Space:
    """A test's own namespace."""

    cluster: Cluster
    name: str

    def path(self, resource: str) -> str:
        """The path of a resource in the namespace: `pods`, `pods/x/log`, `apps/v1/daemonsets`."""
        return resource_path(resource, self.name)

    def create(self, resource: str, body: Json) -> Json:
        """Create an object that must be accepted."""
        answer = self.cluster.post(self.path(resource), body)
        assert answer.code == 201, answer.body
        return answer.body

    def pod(self, name: str, *, node: str = "", labels: Json | None = None, **spec: Any) -> Json:
        """Create a pod."""
        return self.create("pods", pod(name, node=node, labels=labels, **spec))


def resource_path(resource: str, namespace: str) -> str:
    """The path of a namespaced resource; built-in groups are named with their version."""
    parts = resource.split("/")
    if "." in parts[0] or parts[0] in ("apps", "policy"):
        return f"/apis/{parts[0]}/{parts[1]}/namespaces/{namespace}/{'/'.join(parts[2:])}"
    return f"/api/v1/namespaces/{namespace}/{resource}"


def pod(name: str, *, node: str = "", labels: Json | None = None, **spec: Any) -> Json:
    """A pod's body. `schedulerName` keeps the real scheduler away from a pod without a node."""
    body: Json = {"containers": [{"name": "main", "image": "example.com/app:1"}], "schedulerName": "nobody", **spec}
    if node:
        body["nodeName"] = node
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": body}


def template(labels: Json) -> Json:
    """A pod template's body."""
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "example.com/app:1"}]}}


@contextmanager
def simulator(folder: Path, kubectl: Path) -> Iterator[Cluster]:
    """The simulated API server on a port, in a thread of its own."""
    ready: list[tuple[str, ApiServer]] = []
    started, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        app = ApiServer(
            Store(SimClock(datetime.now(UTC))),
            tokens={"": "kubernetes-admin"},
            kubernetes=Kubernetes(KUBERNETES),
        )
        app.auth.rules = {"kubernetes-admin": [Rule()]}
        loops.append(asyncio.get_running_loop())
        async with serving(app) as url:
            ready.append((url, app))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert started.wait(10)
    url, app = ready[0]
    with httpx.Client(base_url=url, timeout=30) as client:
        clients: list[httpx.Client] = []

        def grant(name: str, rules: Sequence[Json]) -> httpx.Client:
            assert app.auth.tokens is not None
            assert app.auth.rules is not None
            app.auth.tokens[name] = name
            app.auth.rules[name] = [Rule(rule["verbs"], rule["apiGroups"], rule["resources"]) for rule in rules]
            clients.append(httpx.Client(base_url=url, timeout=30, headers={"Authorization": f"Bearer {name}"}))
            return clients[-1]

        kubeconfig = write_kubeconfig(folder / "simulator.kubeconfig", url)
        try:
            yield Cluster(
                name="simulator",
                url=url,
                client=client,
                kubeconfig=kubeconfig,
                kubectl=kubectl,
                grant=grant,
                simulator=app,
            )
        finally:
            for other in clients:
                other.close()
            loops[0].call_soon_threadsafe(stop.set)
            thread.join()


@contextmanager
def real() -> Iterator[Cluster]:
    """A real control plane, of the version that is asked for."""
    with (
        RealCluster(version=KUBERNETES) as cluster,
        httpx.Client(base_url=cluster.url, verify=cluster.ssl_context(), timeout=30) as admin,
    ):
        clients: list[httpx.Client] = []

        def grant(name: str, rules: Sequence[Json]) -> httpx.Client:
            cluster.user_kubeconfig(name)
            http = Http(admin)
            base = "/apis/rbac.authorization.k8s.io/v1"
            http.post(f"{base}/clusterroles", {"metadata": {"name": name}, "rules": list(rules)})
            binding = {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "User", "name": name}],
            }
            http.post(f"{base}/clusterrolebindings", binding)
            context = cluster.ssl_context(f"user-{name}")
            clients.append(httpx.Client(base_url=cluster.url, verify=context, timeout=30))
            return clients[-1]

        try:
            yield Cluster(
                name="real",
                url=cluster.url,
                client=admin,
                kubeconfig=cluster.kubeconfig,
                kubectl=cluster.kubectl,
                grant=grant,
                issue_serving=cluster.issue_serving,
            )
        finally:
            for other in clients:
                other.close()
