"""What `next:` says works: in every scenario that halts, each command that it names is typed and is not refused."""

import re

import pytest

from cni_migrate.core.decision.begin import begin
from cni_migrate.core.model.goal import Goal
from cni_migrate.errors import MigrateError
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.simulation import Simulation
from tests.simulation.harness import Process, config_for
from tests.simulation.test_scenarios import ENDS

COMMAND = re.compile(r"migrate (run|rollback-node|rollback)\b(?: (?!-)([a-z0-9]+))?(?: --to (dual|canal))?")
HALTED = [name for name, (outcome, _) in ENDS.items() if outcome != "done"]
KINDS = {"run": "forward", "rollback": "rollback", "rollback-node": "rollback_node"}


def _typed(said: str) -> list[Goal]:
    """The goals of the driving commands that are named."""
    return [
        Goal(kind=KINDS[command], node=node if command == "rollback-node" else "", to=to or "dual")  # type: ignore[arg-type]
        for command, node, to in COMMAND.findall(said)
    ]


@pytest.mark.parametrize("strategy", ["multus", "overlay"])
@pytest.mark.parametrize("name", HALTED)
def test_what_next_names_is_not_refused(name: str, strategy: str) -> None:
    """After the run, and after the rollback that follows it, should that be held as well."""

    async def main() -> None:
        config = config_for(strategy, deadlines={"agent": 60, "gate": 40, "drain": 120, "pods": 120})
        async with Simulation(name) as sim:
            for goal in (Goal(), Goal(kind="rollback")):
                process = Process(sim, config, goal=goal)
                final = await process.run()
                assert final is not None
                if final.outcome == "done":
                    return
                assert final.next
                record = process.turns[-1].record
                assert process.driver is not None
                nodes = process.driver.cluster.snapshot().nodes
                for typed in _typed(final.next):
                    try:
                        begin(process.driver.plan, typed, record, nodes, sim.clock.now())
                    except MigrateError as error:
                        pytest.fail(f"{final.next!r}: `{typed.command}` is refused: {error.message}")

    run_virtual(main())
