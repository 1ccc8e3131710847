"""Real agents in network namespaces, and faults made by real means: the gate finds each and blames it rightly."""

import os
from collections.abc import Iterator

import pytest

from tests.knet_faults import net
from tests.knet_faults.faults import FAULTS, Fault, find
from tests.knet_faults.mesh import Mesh

pytestmark = pytest.mark.timeout(180)
SOME = [fault for fault in FAULTS if fault.name != "long-lived TCP black-holed"]


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    if why := net.missing():
        pytest.fail(f"network namespaces cannot be made here: {why}")
    net.sweep()
    with Mesh(3) as running:
        assert running.settle() == ""
        yield running


def test_undisturbed_agents_give_no_alarm(mesh: Mesh) -> None:
    assert mesh.alarms(5) == []


@pytest.mark.parametrize("fault", SOME, ids=[fault.name for fault in SOME])
def test_a_fault_is_found_within_three_rounds_and_blamed_rightly(mesh: Mesh, fault: Fault) -> None:
    found = find(mesh, fault)
    assert not found.wrong, found


def test_what_a_dead_run_left_is_swept_and_what_a_living_one_has_is_not() -> None:
    if why := net.missing():
        pytest.fail(f"network namespaces cannot be made here: {why}")
    dead, alive = f"{net.PREFIX}-4194999-n1", f"{net.PREFIX}-{os.getpid()}-kept"  # above the highest process id
    for name in (dead, alive):
        net.run("ip", "netns", "add", name)
    try:
        swept = net.sweep()
        assert dead in swept
        assert alive not in swept
    finally:
        net.remove(alive)
