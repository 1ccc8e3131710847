"""A simulated API server with clients, for tests on virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import httpx

from cni_migrate.kube.inprocess import InProcessTransport
from cni_migrate.sim.apiserver.app import ApiServer
from cni_migrate.sim.apiserver.store import Store
from cni_migrate.sim.client import Kind, Object
from cni_migrate.sim.clock import SimClock, run_virtual

NODE = Kind("", "v1", "nodes", "Node", namespaced=False)
POD = Kind("", "v1", "pods", "Pod")
CONFIGMAP = Kind("", "v1", "configmaps", "ConfigMap")
MERGE = {"Content-Type": "application/merge-patch+json"}


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on a virtual clock."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run


def server(**options: Any) -> ApiServer:
    """An API server on a fresh store."""
    return ApiServer(Store(SimClock()), **options)


@asynccontextmanager
async def http(app: ApiServer, token: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """A raw client in process."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = InProcessTransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://sim", headers=headers, timeout=None) as client:
        yield client


def configmap(name: str, **data: str) -> Object:
    """A ConfigMap's body."""
    return {"metadata": {"name": name}, "data": data}


def pod(name: str, node: str = "") -> Object:
    """A pod's body."""
    spec: Object = {"containers": [{"name": "main", "image": "example.com/app:1"}]}
    return {"metadata": {"name": name}, "spec": spec | ({"nodeName": node} if node else {})}


def now() -> float:
    """The loop's time."""
    return asyncio.get_running_loop().time()
