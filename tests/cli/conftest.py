"""A simulated cluster on a loopback port, in a thread of its own, and commands that run in this process against it."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cni_migrate.cli.main import run
from cni_migrate.cli.sim import faster
from cni_migrate.config import Config
from cni_migrate.core.model.record import ClusterRecord, NodeRecord, dump_cluster, dump_node
from cni_migrate.sim.apiserver import serving
from cni_migrate.sim.client import ApiError, Kind, Object
from cni_migrate.sim.scenario import Scenario, load
from cni_migrate.sim.simulation import Simulation

T = TypeVar("T")

CONFIG_MAPS = Kind("", "v1", "configmaps", "ConfigMap")
NAMESPACES = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
DAEMONSETS = Kind("apps", "v1", "daemonsets", "DaemonSet")

QUICK = "knet: {interval: 0.05}\ngate: {rounds: 2, seconds: 0.1}\ndrain: {retry_seconds: 0.2}\n"
"""A configuration for tests that run a migration: agents report twenty times a second."""


class Served:
    """A simulated cluster that is served while the block runs. `writes` counts what clients changed."""

    def __init__(self, folder: Path, scenario: Scenario | str = "calm", *, nodes: int = 3, speed: float = 40) -> None:
        chosen = load(scenario) if isinstance(scenario, str) else scenario
        self.kubeconfig = folder / "kubeconfig"
        self._scenario = faster(chosen, speed)
        self._nodes = nodes
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="simulated cluster")
        self._ready: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self.sim: Simulation

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        try:
            simulation = Simulation(self._scenario, nodes=self._nodes, epoch=datetime.now(UTC))
            async with simulation as self.sim, serving.serving(self.sim.app) as self.url:
                serving.write_kubeconfig(self.kubeconfig, self.url)
                self._ready.set_result(None)
                await self._over.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    def __enter__(self) -> "Served":
        self._thread.start()
        self._ready.result(timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()

    def do(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do something inside the cluster's own loop."""
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(timeout=30)

    @property
    def writes(self) -> int:
        """How many requests have changed something so far; the cluster's own do not count."""
        return self.sim.app.hooks.writes

    def config_map(self, name: str, data: Mapping[str, str], namespace: str = "cni-migrate") -> None:
        """Put a ConfigMap there, as somebody else."""

        async def put() -> None:
            client = self.sim.app.client("somebody")
            body: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            try:
                await client.create(NAMESPACES, body)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
            labels = {"app.kubernetes.io/managed-by": "cni-migrate", "app.kubernetes.io/component": "record"}
            meta = {"name": name, "namespace": namespace, "labels": labels}
            await client.create(
                CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": dict(data)}, namespace
            )

        self.do(put)

    def read(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """One object."""
        return self.do(lambda: self.sim.app.client("somebody").get(kind, name, namespace))


def a_record(config: Config | None = None, **changes: Any) -> dict[str, str]:
    """The data of the record's first part, as a driver of this version leaves it."""
    chosen = config or Config()
    cluster = ClusterRecord(
        strategy=chosen.strategy, identity=chosen.digest(), identity_values=chosen.identity(), tool="migrate/test"
    )
    data = json.loads(dump_cluster(cluster)) | {"phase": "migrating", "epoch": 3} | changes
    return {"cluster": json.dumps(data)}


def a_shard(**nodes: Any) -> dict[str, str]:
    """The data of a shard: entries by node, as changes to an empty one or as text."""
    return {"_epoch": "3", "_nodes": " ".join(nodes)} | {
        name: value if isinstance(value, str) else json.dumps(json.loads(dump_node(NodeRecord())) | value)
        for name, value in nodes.items()
    }


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Typed = Callable[..., Ended]


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration, cluster or terminal of the machine's own is in the way."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def migrate(quiet: None, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Types a command in this process: `migrate("status", "-o", "json")`."""

    def typed(*arguments: str) -> Ended:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return typed


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A calm cluster of three nodes that no test changes."""
    with Served(tmp_path_factory.mktemp("untouched")) as served:
        yield served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Makes clusters that live as long as the test."""
    running: list[Served] = []

    def make(scenario: Scenario | str = "calm", **options: Any) -> Served:
        folder = tmp_path / f"cluster-{len(running)}"
        folder.mkdir()
        running.append(Served(folder, scenario, **options).__enter__())
        return running[-1]

    yield make
    for one in running:
        one.__exit__()


@pytest.fixture
def on(migrate: Typed, monkeypatch: pytest.MonkeyPatch) -> Callable[[Served], Typed]:
    """Types commands on a cluster: `on(served)("status")`."""

    def cluster(served: Served) -> Typed:
        def typed(*arguments: str) -> Ended:
            monkeypatch.setenv("KUBECONFIG", str(served.kubeconfig))
            return migrate(*arguments)

        return typed

    return cluster
