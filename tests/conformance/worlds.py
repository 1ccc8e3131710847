"""The simulated world on both control planes: on the simulated one with its own controllers, on a real one without."""

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from cni_migrate.sim.client import ApiError, EventType, Kind, Object, PatchType
from cni_migrate.sim.clock import SimClock, run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds, meta
from cni_migrate.sim.world.host import Plane
from cni_migrate.sim.world.machines import Machine
from cni_migrate.sim.world.timings import Timings
from cni_migrate.sim.world.world import World
from tests.conformance.harness import Cluster, unique

PLANE = Plane(files={"10-canal.conflist": '{"name": "n", "plugins": [{"type": "flannel"}]}'}, subnet="10.244.9.0/24")
SLOW = Timings(pod_stop=2.0, pod_start=0.2, image_pull=0.0, node_monitor_grace=8.0)
_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}


Body = Object | list[Object]


class HttpClient:
    """`sim.client.Client` over HTTPS."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @staticmethod
    def _path(kind: Kind, namespace: str | None, name: str = "", subresource: str = "") -> str:
        parts = ["/apis", kind.group, kind.version] if kind.group else ["/api", kind.version]
        if kind.namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/".join(part for part in (*parts, kind.plural, name, subresource) if part)

    async def _call(self, method: str, path: str, body: Any = None, content: str = "", **query: str) -> Any:
        headers = {"Content-Type": content or "application/json"}
        data = None if body is None else json.dumps(body)
        answer = await self._http.request(method, path, content=data, headers=headers, params=query)
        found = answer.json()
        if answer.is_error:
            raise ApiError(answer.status_code, found.get("reason", ""), found.get("message", ""))
        return found

    async def list(
        self, kind: Kind, *, namespace: str | None = None, label_selector: str = "", field_selector: str = ""
    ) -> tuple[list[Object], str]:
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        found = await self._call("GET", self._path(kind, namespace), **{k: v for k, v in query.items() if v})
        named = {"apiVersion": kind.api_version, "kind": kind.kind}
        return [{**named, **item} for item in found["items"]], found["metadata"]["resourceVersion"]

    async def watch(
        self, kind: Kind, *, resource_version: str, namespace: str | None = None
    ) -> AsyncIterator[tuple[EventType, Object]]:
        query = {"watch": "true", "resourceVersion": resource_version, "timeoutSeconds": "300"}
        path = self._path(kind, namespace)
        async with self._http.stream("GET", path, params=query, timeout=httpx.Timeout(10, read=None)) as answer:
            async for line in answer.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), "Expired", event["object"].get("message", ""))
                yield event["type"], event["object"]

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        found: Object = await self._call("GET", self._path(kind, namespace, name))
        return found

    async def create(self, kind: Kind, body: Object, namespace: str | None = None) -> Object:
        where = namespace or body["metadata"].get("namespace")
        named = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
        found: Object = await self._call("POST", self._path(kind, where), named)
        return found

    async def update(self, kind: Kind, body: Object, namespace: str | None = None, *, subresource: str = "") -> Object:
        where = namespace or body["metadata"].get("namespace")
        found: Object = await self._call("PUT", self._path(kind, where, body["metadata"]["name"], subresource), body)
        return found

    async def patch(
        self,
        kind: Kind,
        name: str,
        body: Body,
        namespace: str | None = None,
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
    ) -> Object:
        path = self._path(kind, namespace, name, subresource)
        found: Object = await self._call("PATCH", path, body, _TYPES[patch_type])
        return found

    async def delete(
        self, kind: Kind, name: str, namespace: str | None = None, *, grace: int | None = None, uid: str = ""
    ) -> None:
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if uid:
            options["preconditions"] = {"uid": uid}
        await self._call("DELETE", self._path(kind, namespace, name), options)


@dataclass
class Stage:
    """A world with three nodes of the test's own, in a namespace of its own."""

    client: Any
    world: World
    namespace: str
    nodes: list[str]
    label: dict[str, str]

    async def eventually(self, holds: Callable[[], Awaitable[Any]], what: str, seconds: float = 40) -> Any:
        """Wait until something holds; what it answered."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            found = await holds()
            if found:
                return found
            assert loop.time() < end, f"waited {seconds} s for: {what}"
            await asyncio.sleep(0.1)

    async def pods(self) -> list[Object]:
        """The pods of the namespace."""
        found, _ = await self.client.list(kinds.POD, namespace=self.namespace)
        return list(found)

    def template(self, labels: dict[str, str], **spec: Any) -> Object:
        """A pod template that stays on this test's nodes."""
        body: Object = {
            "nodeSelector": self.label,
            "hostNetwork": True,
            "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "main", "image": "example.com/app:1"}],
        }
        return {"metadata": {"labels": labels}, "spec": body | spec}

    async def apply(self, kind: Kind, name: str, spec: Object) -> Object:
        """Create an object in the namespace."""
        found: Object = await self.client.create(kind, {"metadata": {"name": name}, "spec": spec}, self.namespace)
        return found

    async def get(self, kind: Kind, name: str) -> Object:
        """Read an object of the namespace."""
        found: Object = await self.client.get(kind, name, self.namespace if kind.namespaced else None)
        return found


Test = Callable[[Stage], Awaitable[None]]


def on_both(cluster: Cluster, test: Test) -> None:
    """Run a test on the control plane of the fixture: the simulated one on virtual time, a real one in real time."""
    if cluster.simulator is not None:
        run_virtual(_simulated(test))
    else:
        asyncio.run(_real(cluster, test))


async def _simulated(test: Test) -> None:
    async with Simulation(Scenario(nodes=[], timings=SLOW)) as sim:
        await test(await _stage(sim.client, sim.world))


async def _real(cluster: Cluster, test: Test) -> None:
    async with _http(cluster) as http:
        client = HttpClient(http)
        await _clear(client)
        mine = unique("w")
        clock = SimClock(datetime.now(UTC))
        world = World(client, clock, timings=SLOW, controllers=False, drives=lambda name: name.startswith(f"{mine}-"))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in await world.start()]
            world.machines.heartbeat(2.0)
            try:
                await test(await _stage(client, world, mine))
            finally:
                for task in tasks:
                    task.cancel()
        await _clear(client, mine)


async def _clear(client: HttpClient, prefix: str = "") -> None:
    """Delete the nodes of earlier tests: a real cluster that is mostly unhealthy taints no node with NoExecute."""
    nodes, _ = await client.list(kinds.NODE)
    for node in nodes:
        if not meta.ready(node) or (prefix and meta.name(node).startswith(f"{prefix}-")):
            await client.delete(kinds.NODE, meta.name(node))


async def _stage(client: Any, world: World, prefix: str = "w") -> Stage:
    label = {"stage": prefix}
    nodes = [f"{prefix}-{number}" for number in (1, 2, 3)]
    for number, name in enumerate(nodes):
        await world.machines.join(Machine(name, f"172.18.9.{number + 1}", dict(label)), PLANE)
    namespace = unique("world")
    await client.create(kinds.NAMESPACE, {"metadata": {"name": namespace}})
    stage = Stage(client, world, namespace, nodes, label)

    async def usable() -> bool:
        found = [await client.get(kinds.NODE, name) for name in nodes]
        accounts, _ = await client.list(kinds.SERVICE_ACCOUNT, namespace=namespace)
        return bool(accounts) and not any(node["spec"].get("taints") for node in found)

    await stage.eventually(usable, "nodes without taints")
    return stage


@asynccontextmanager
async def _http(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    """The administrator's connection, from the cluster's kubeconfig."""
    config = json.loads(cluster.kubeconfig.read_text())
    entry, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(entry["certificate-authority-data"]).decode())
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name in ("client-certificate-data", "client-key-data"):
            paths.append(Path(folder) / name)
            paths[-1].touch(mode=0o600)
            paths[-1].write_bytes(base64.b64decode(user[name]))
        context.load_cert_chain(paths[0], paths[1])
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=entry["server"], verify=context, timeout=30, limits=limits) as http:
        yield http
