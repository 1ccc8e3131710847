"""What it costs to look at a large cluster: `preflight`, `plan` and `status` as processes against a served simulator."""

import compileall
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cni_migrate

SCENARIO = """\
name: scale
nodes: {nodes}
pod_cidr: 10.0.0.0/12
node_cidr: 172.16.0.0/12
node_mask: 24
workloads:
  - {{kind: deployment, name: web, namespace: shop, replicas: {replicas}, every: {every}, budget: {{max_unavailable: 10%}}}}
"""

CONFIG = "cilium: {pod_cidr: 10.64.0.0/12}\n"

EVERY = 50
"""Nodes for each Deployment: fewer with more pods would meet the same random pod name twice."""

PATIENCE = 1800.0
"""Seconds within which the simulated cluster must be up."""


@dataclass(frozen=True)
class Look:
    """One command: how long it took, and the most memory it had."""

    command: str
    nodes: int
    pods: int
    seconds: float
    cpu_seconds: float
    """Of this process alone; the simulator's answers are in `seconds`, too."""
    mib: float
    code: int


def looks(nodes: int, pods_per_node: int, commands: tuple[str, ...]) -> Iterator[Look]:
    """Start a cluster of so many nodes, and look at it with each command, with bytecode as an installed program has."""
    compileall.compile_dir(str(Path(cni_migrate.__file__).parent), quiet=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Canal is one of a node's pods; what is asked for is the sum.
        text = SCENARIO.format(nodes=nodes, replicas=min(nodes, EVERY) * max(1, pods_per_node - 1), every=EVERY)
        (folder / "scale.yaml").write_text(text, encoding="utf-8")
        (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
        with _served(folder) as kubeconfig:
            for command in commands:
                yield _look(command, nodes, pods_per_node * nodes, kubeconfig, folder / "config.yaml")


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[Path]:
    kubeconfig = folder / "kubeconfig"
    command = [sys.executable, "-m", "cni_migrate.cli.main", "sim", "--scenario", str(folder / "scale.yaml")]
    command += ["--write-kubeconfig", str(kubeconfig)]
    with (folder / "sim.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            end = time.monotonic() + PATIENCE
            while not kubeconfig.exists():
                if server.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((folder / "sim.log").read_text(encoding="utf-8")[-500:])
                time.sleep(0.2)
            yield kubeconfig
        finally:
            server.terminate()
            server.wait()


def _look(command: str, nodes: int, pods: int, kubeconfig: Path, config: Path) -> Look:
    words = [*command.split(), "-o", "json", "--kubeconfig", str(kubeconfig), "--config", str(config)]
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "cni_migrate.cli.main", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, use = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return Look(
        command, nodes, pods, time.monotonic() - began, use.ru_utime + use.ru_stime, _mib(use), child.returncode
    )


def _mib(use: resource.struct_rusage) -> float:
    """The most memory; Linux counts kibibytes, macOS bytes (getrusage(2))."""
    return use.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
