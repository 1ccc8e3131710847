"""Every shape of request that a migration makes is answered alike by the simulator and a real API server.

The shapes are in `shapes.yaml`, each with the request it was first seen in. That request is sent to both servers as it
is, after what it is about has been put there; uids and resourceVersions are those of the server it goes to.

Two things no replay of single requests shows: a log that has lines (`test_logs`, `test_kubelet_port` and `tests/real`
read them; here the pod has no node), and what a watch tells (`test_watch`; here it is opened and ends by its timeout).
"""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

import pytest

from cni_migrate.sim.apiserver import requests
from cni_migrate.sim.apiserver.requests import Request
from cni_migrate.sim.world.ciliumobjects import definitions
from tests.conformance import harness, shapes
from tests.conformance.harness import Cluster, Json
from tests.conformance.shapes import Example
from tests.controlplane import build

TABLE = shapes.table()
TRIES = 5
"""A real control plane's controllers write too: a conflict is met by reading again, as `migrate` does."""


def test_the_table_is_complete() -> None:
    """A fresh recording of whole migrations has no shape that is not in the table."""
    new = sorted(set(shapes.recorded()) - set(TABLE))
    assert not new, "new shapes of requests: `python -m tests.conformance.shapes --write`, then run this file"


@dataclass(frozen=True)
class Outcome:
    """What is compared."""

    code: int
    reason: str
    kind: str
    form: str


@dataclass
class Server:
    """One of the two servers."""

    cluster: Cluster

    def replay(self, example: Example) -> Outcome:
        """Send the request after putting there what it needs."""
        request = requests.parse(example.method, example.path, dict(parse_qsl(example.query)))
        if request.resource:
            self._prepare(request, example)
        found = Outcome(0, "", "", "")
        for _ in range(TRIES):
            found = self._send(request, example)
            if found.code != 409:
                break
        return found

    def _send(self, request: Request, example: Example) -> Outcome:
        body, query = example.body, dict(parse_qsl(example.query))
        if isinstance(body, dict) and request.name:
            live = self.cluster.get(target_path(request)).body.get("metadata", {})
            body = with_identity(body, live)
        if request.verb == "watch":
            version = self.cluster.get(f"{example.path}?limit=1").version
            query |= {"resourceVersion": version, "timeoutSeconds": "1"}
        target = f"{example.path}?{urlencode(query)}" if query else example.path
        answer = self.cluster.client.request(
            example.method,
            target,
            content=None if body is None else json.dumps(body),
            headers={"Content-Type": example.content_type} if example.content_type else {},
        )
        form = answer.headers.get("content-type", "") if answer.content else ""
        one = form == "application/json" and not (request.verb == "watch" and answer.is_success)
        decoded = answer.json() if one else {}
        return Outcome(answer.status_code, decoded.get("reason", ""), decoded.get("kind", ""), form)

    def _prepare(self, request: Request, example: Example) -> None:
        if request.namespace and request.resource != "namespaces":
            self._namespace(request.namespace)
        if request.verb == "create" and not request.name:
            name = example.body["metadata"]["name"] if "metadata" in example.body else ""
            self._absent(f"{example.path}/{name}" if name else "")
            account = example.body.get("spec", {}).get("serviceAccountName", "default")
            if request.resource == "pods":
                self._account(request.namespace, account)
        elif request.name:
            self._present(request, example)

    def _namespace(self, name: str) -> None:
        path = f"/api/v1/namespaces/{name}"
        found = self.cluster.get(path)
        if found.code == 200 and "deletionTimestamp" not in found.body["metadata"]:
            return
        self.cluster.gone(path)
        self.cluster.space(name)

    def _account(self, namespace: str, name: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        if name == "default":
            self.cluster.eventually(f"{path}/{name}", bool)
        else:
            self.cluster.post(path, {"metadata": {"name": name}})

    def _absent(self, path: str) -> None:
        if path and self.cluster.get(path).code == 200:
            self.cluster.delete(path, {"gracePeriodSeconds": 0})
            self.cluster.gone(path)

    def _present(self, request: Request, example: Example) -> None:
        """Make the object a request names."""
        path = target_path(request)
        if request.resource == "namespaces":
            self._namespace(request.name)
            return
        if request.resource == "pods":
            self._account(request.namespace, "default")
        if example.method == "PUT":
            self._absent(path)
        end = time.monotonic() + 20
        while (found := self.cluster.get(path)).code != 200 or "deletionTimestamp" in found.body["metadata"]:
            assert time.monotonic() < end, f"{path} cannot be made: {found.body}"
            answer = self.cluster.post(path.rpartition("/")[0], model(request, example))
            assert answer.code in (201, 409), answer.body


def target_path(request: Request) -> str:
    """The path of the object itself, without a subresource."""
    return request.path.removesuffix(f"/{request.subresource}") if request.subresource else request.path


def with_identity(body: Json, live: Json) -> Json:
    """A body with the uid and resourceVersion of the object as it is on this server, where it has any."""
    changed: Json = json.loads(json.dumps(body))
    for place in (changed.get("metadata", {}), *_preconditions(changed)):
        place |= {key: live[key] for key in ("uid", "resourceVersion") if key in place and key in live}
    return changed


def _preconditions(body: Json) -> Iterator[Json]:
    for options in (body, body.get("deleteOptions", {})):
        if "preconditions" in options:
            yield options["preconditions"]


def model(request: Request, example: Example) -> Json:
    """An object of the name a request is about: what replaces it, or as `migrate` makes them, where it does."""
    if example.method == "PUT":
        foreign = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
        kept = {key: value for key, value in example.body["metadata"].items() if key not in foreign}
        return {**example.body, "metadata": kept}
    if request.resource == "nodes":
        return {"metadata": {"name": request.name}}
    if request.resource == "pods":
        return harness.pod(request.name)
    # `migrate` makes none of these itself: its identity agents do, and Cilium's.
    if kind := {"ciliumendpoints": "CiliumEndpoint", "ciliumnodes": "CiliumNode"}.get(request.resource):
        return {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": {"name": request.name}}
    made: list[Json] = []
    for example in TABLE.values():
        other = requests.parse(example.method, example.path, {})
        same = (other.group, other.resource, other.verb) == (request.group, request.resource, "create")
        if same and not other.subresource:
            made.append(example.body)
    named = [body for body in made if body["metadata"]["name"] == request.name]
    body = (named or made)[0]
    meta = {**body["metadata"], "name": request.name}
    if request.namespace:
        meta["namespace"] = request.namespace
    return {**body, "metadata": meta}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """A simulator and a real control plane of this module's own, with Cilium's kinds."""
    binaries = build.ensure_binaries(harness.KUBERNETES)
    with ExitStack() as stack:
        simulator = stack.enter_context(harness.simulator(tmp_path_factory.mktemp("shapes"), binaries["kubectl"]))
        servers = Server(simulator), Server(stack.enter_context(harness.real()))
        for server in servers:
            for definition in definitions(node_config_v2=True):
                path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
                assert server.cluster.post(path, definition).code == 201
                names, version = definition["spec"]["names"], definition["spec"]["versions"][0]["name"]
                server.cluster.eventually(f"/apis/cilium.io/{version}/{names['plural']}", bool)
        yield servers


@pytest.mark.parametrize("shape", sorted(TABLE), ids=lambda shape: shape.partition(" application/")[0])
def test_both_servers_answer_alike(both: tuple[Server, Server], shape: str) -> None:
    simulator, real = (server.replay(TABLE[shape]) for server in both)
    assert simulator == real
    assert real.code < 400
