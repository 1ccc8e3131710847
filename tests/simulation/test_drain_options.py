"""The drain's options, as kubectl has them: each ends a run otherwise than it would end without."""

import asyncio
from typing import Any

import pytest

from cni_migrate.core.model.goal import Final
from cni_migrate.sim.apiserver.hooks import Fault
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario, load
from cni_migrate.sim.world.kinds import POD
from tests.simulation.harness import SMALL, Process, config_for, simulated

STRATEGIES = ["multus", "overlay"]
LEDGER = "app=ledger"


def ended(scenario: Scenario | str, strategy: str = "overlay", **sections: Any) -> Final:
    """How a run with these sections of the configuration ends."""

    async def main() -> Final:
        config = config_for(strategy, **sections)
        async with simulated(scenario, config) as (sim, _):
            final = await Process(sim, config).run()
            assert final is not None
            return final

    return run_virtual(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "drain", [{"disable_eviction": LEDGER}, {"pod_selector": f"{LEDGER.replace('=', '!=')}"}], ids=["deleted", "last"]
)
def test_pods_whose_budget_never_gives_way(strategy: str, drain: dict[str, Any]) -> None:
    """Chosen by their labels they are deleted, at once or with the taint; those of other budgets are still evicted."""
    found = ended("pdb-deadlock", strategy, drain=drain)
    assert found.outcome == "done", found.message


def test_the_drain_has_its_own_time() -> None:
    """deadlines.drain: the node is held when it is over."""
    found = ended("pdb-deadlock", deadlines={"drain": 45})
    assert found.outcome == "halted"
    assert "waited 45 s" in found.message


def test_a_pod_that_hangs_is_left_behind() -> None:
    """skip_wait_for_delete_timeout: a finalizer that nobody removes holds no node then."""
    found = ended("stuck-pod", drain={"skip_wait_for_delete_timeout": 60})
    assert found.outcome == "done"


@pytest.mark.parametrize(("asked", "seconds"), [(-1, 600), (20, 20), (0, 1)])
def test_pods_get_as_long_as_asked(asked: int, seconds: int) -> None:
    """grace_period: what the API server notes at each pod that is told to leave."""
    slow = SMALL.model_dump() | {"workloads": [{"kind": "deployment", "name": "slow", "replicas": 3, "grace": 600}]}

    async def main() -> set[int]:
        config = config_for("overlay", drain={"grace_period": asked})
        noted: set[int] = set()
        async with simulated(Scenario.model_validate(slow), config) as (sim, _):

            async def watch() -> None:
                async for _, pod in sim.client.watch(POD, resource_version=str(sim.store.version)):
                    meta = pod["metadata"]
                    if meta.get("labels", {}).get("app") == "slow" and "deletionTimestamp" in meta:
                        noted.add(meta["deletionGracePeriodSeconds"])

            watching = asyncio.create_task(watch())
            final = await Process(sim, config).run()
            watching.cancel()
            assert final is not None
            assert final.outcome == "done"
        return noted - {0}

    assert run_virtual(main()) == {seconds}


def test_the_first_hour_ends_well() -> None:
    """Budgets, bare pods, local data and host ports, each with the flag that preflight names for it."""
    found = ended("first-hour", drain={"force": True, "delete_emptydir_data": True, "disable_eviction": LEDGER})
    assert found.outcome == "done", found.message


def test_the_scenarios_are_stuck_without() -> None:
    """What these tests begin with is what others hold a run by."""
    assert {workload.name for workload in load("pdb-deadlock").workloads} >= {"ledger"}
    assert any(workload.finalizers for workload in load("stuck-pod").workloads)


def test_a_pod_whose_eviction_a_webhook_puts_off() -> None:
    """KubeVirt answers the eviction of a VM's pod with 429 until it has moved the VM: the run waits, and goes on."""
    said = 'admission webhook "virt-launcher-eviction-interceptor.kubevirt.io" denied the request: Eviction triggered'
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": said, "code": 429}

    async def main() -> Final:
        config = config_for("overlay")
        async with simulated("calm", config) as (sim, _):
            fault = Fault("POST", "/eviction", times=None, code=429, body=body)
            sim.app.hooks.faults.append(fault)
            asyncio.get_running_loop().call_later(300, sim.app.hooks.faults.remove, fault)
            final = await Process(sim, config).run()
            assert final is not None
            assert fault.struck > 0
            return final

    assert run_virtual(main()).outcome == "done"
