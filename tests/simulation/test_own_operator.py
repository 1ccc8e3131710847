"""Cilium's own operator: what it does by its settings on the way and in the end, and that it reads them when it starts."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from cni_migrate.config import Config
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.store import Event
from cni_migrate.sim.client import Object
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world.kinds import POD
from cni_migrate.sim.world.nodestatus import AGENT_TAINT
from tests.simulation.harness import SMALL, Process, config_for, simulated
from tests.simulation.outcome import outcome
from tests.simulation.owncilium import own_cilium

TAINTS = {"set-cilium-node-taints": "true"}
"""As the chart has it unless it is told otherwise: the operator closes nodes whose agent is not Ready."""

SOURCES: dict[str, Callable[[Path, str], Config]] = {
    "own": lambda folder, strategy: own_cilium(folder, strategy, **TAINTS),
    "builtin": lambda _, strategy: config_for(strategy, cilium={"extra_config": TAINTS}),
}


@pytest.mark.parametrize("strategy", ["overlay", "multus"])
@pytest.mark.parametrize("source", SOURCES)
def test_no_node_stays_closed_to_pods_when_its_agent_is_sent_away(source: str, strategy: str, tmp_path: Path) -> None:
    """One node goes back to Canal alone, beside an operator that goes on; then, from further on, the whole cluster."""

    async def main() -> None:
        config = SOURCES[source](tmp_path, strategy)
        async with simulated(SMALL, config) as (sim, _):
            before = outcome(sim, config)
            await Process(sim, config, goal=Goal(until=Phase.ATTACHING)).run()
            final = await Process(sim, config, goal=Goal(kind="rollback_node", node="w1", to="canal")).run()
            assert final is not None
            assert final.outcome == "done", final
            assert outcome(sim, config)["nodes"]["w1"]["taints"] == before["nodes"]["w1"]["taints"]
            await Process(sim, config, goal=Goal(wanted=lambda node: node.name == "w2", partial=True)).run()
            final = await Process(sim, config, goal=Goal(kind="rollback")).run()
            assert final is not None
            assert final.outcome == "done", final
            assert outcome(sim, config) == before

    run_virtual(main())


@pytest.mark.parametrize("source", SOURCES)
def test_the_operator_acts_by_the_final_settings_in_the_end_alone(source: str, tmp_path: Path) -> None:
    """No node is closed on the way; one whose agent goes afterwards is, until the next agent is Ready."""

    async def main() -> None:
        config = SOURCES[source](tmp_path, "overlay")
        async with simulated(SMALL, config) as (sim, _):
            closed: list[str] = []

            def noted(resource: Resource, event: Event) -> None:
                if resource.key == ("", "nodes") and event.after is not None:
                    node = event.after.object
                    if any(taint["key"] == AGENT_TAINT for taint in node["spec"].get("taints") or ()):
                        closed.append(node["metadata"]["name"])

            sim.app.machinery.after.append(noted)
            process = Process(sim, config, goal=Goal(until=Phase.MIGRATING))
            assert (await process.run()) is not None
            assert closed == []
            final = await Process(sim, config).run()
            assert final is not None
            assert final.outcome == "done", final
            closed.clear()
            (agent,) = (pod for pod in _agents(sim) if pod["spec"]["nodeName"] == "w1")
            await sim.client.delete(POD, agent["metadata"]["name"], agent["metadata"]["namespace"])
            await asyncio.sleep(120)
            assert set(closed) == {"w1"}
            assert AGENT_TAINT not in str(outcome(sim, config)["nodes"])

    run_virtual(main())


BROKEN = Scenario.model_validate(
    {
        **SMALL.model_dump(exclude_defaults=True),
        "faults": [
            {
                "crash": {"name": "cilium", "node": "w1", "message": "unable to mount BPF filesystem"},
                "when": {"node": "cp1", "label": "node-role.kubernetes/migrated"},
                "after": 3,
            }
        ],
    }
)
"""The agent on w1 ends again and again soon after the last node was migrated: from when it has its final form on."""


@pytest.mark.parametrize("strategy", ["overlay", "multus"])
def test_a_node_that_was_closed_in_the_final_form_is_opened_on_the_way_back(strategy: str, tmp_path: Path) -> None:
    """No agent gets Ready on w1, so that the operator itself would never open it again."""

    async def main() -> None:
        config = own_cilium(tmp_path, strategy, **TAINTS)
        async with simulated(BROKEN, config) as (sim, _):
            before = outcome(sim, config)
            final = await Process(sim, config).run()
            assert final is not None
            assert final.outcome in ("halted", "gate"), final
            assert AGENT_TAINT in str(outcome(sim, config)["nodes"]["w1"]), final
            final = await Process(sim, config, goal=Goal(kind="rollback")).run()
            assert final is not None
            assert final.outcome == "done", final
            assert outcome(sim, config) == before

    run_virtual(main())


def _agents(sim: Simulation) -> list[Object]:
    every = (one.object for one in sim.store.select(sim.app.catalog.find("", "v1", "pods")))
    return [pod for pod in every if any(one["name"] == "cilium-agent" for one in pod["spec"]["containers"])]
