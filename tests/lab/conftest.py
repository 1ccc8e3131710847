"""The lab for the tests: a fresh cluster for each, with workloads on it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import cluster as labs
from tests.lab.account import open_account
from tests.lab.cluster import Cluster
from tests.lab.driving import Operator
from tests.lab.processes import say
from tests.lab.settings import CILIUM, default_lab

Hire = Callable[[Cluster, str], Operator]

STRATEGIES = (
    pytest.param("overlay", labs.CANAL, id="overlay"),
    pytest.param("overlay", labs.BRIDGED, id="overlay-bridged"),
    pytest.param("multus", labs.CANAL, id="multus"),
    pytest.param("multus", labs.BRIDGED, id="multus-bridged"),
)
"""For `parametrize(("strategy", "canal"), ...)`: with which Canal each strategy is tried."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A migration with ten kills takes longer than other tests may."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def _machine() -> None:
    if os.geteuid() != 0:
        pytest.fail("the lab makes namespaces, links and cgroups: run these tests as root")
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    lab = default_lab()
    if lab.exists and not labs.abandoned(lab):
        pytest.fail("a lab is up: end it with `python -m tests.lab down`; the tests bring up their own")
    if lab.exists:
        say("ending a lab that nobody has any more: what made it was killed")
        labs.down(lab)


def _fresh(nodes: int, canal: Path, version: str) -> Iterator[Cluster]:
    """Nodes on Canal with the workloads, all Ready; nothing is left of them afterwards."""
    lab = default_lab()
    here = labs.built(lab, version=version)
    try:
        labs.keep_for_this_process(lab)
        here.up(nodes, canal=canal)
        here.apply("workloads.yaml")
        here.await_workloads()
        yield here
    finally:
        labs.down(lab)


@pytest.fixture
def canal() -> Path:
    """The manifest of Canal, unless a test says which."""
    return labs.CANAL


@pytest.fixture
def version() -> str:
    """Which Cilium is to come, unless a test says."""
    return CILIUM


@pytest.fixture
def cluster(_machine: None, canal: Path, version: str) -> Iterator[Cluster]:
    """Three nodes."""
    yield from _fresh(3, canal, version)


@pytest.fixture
def four(_machine: None, canal: Path, version: str) -> Iterator[Cluster]:
    """Four nodes."""
    yield from _fresh(4, canal, version)


@pytest.fixture
def hire(tmp_path: Path) -> Hire:
    """Makes an operator who uses a strategy on the cluster, with the rights of `migrate manifests rbac` and no more."""

    def operator(here: Cluster, strategy: str) -> Operator:
        return Operator(here.lab, tmp_path / "migrate.jsonl", strategy, open_account(here, strategy))

    return operator
