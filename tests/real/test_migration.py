"""The whole migration by processes of the real program on a real control plane: undisturbed, killed, back and forth."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any

import pytest

from cni_migrate.core.model.lifecycle import NodeState
from tests.real.stage import Stage, staged

STRATEGIES = ["multus", "overlay"]
KILLS = 5


def on_stage(play: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    """Play on a cluster of its own, and look at how it ends."""

    async def main() -> None:
        async with staged() as stage:
            await play(stage)
            assert stage.trail.problems() == []
            assert stage.trail.evicted()
            await stage.eventually(stage.settled, "the workloads to run in the end")
            assert await stage.left() == []

    asyncio.run(main())


async def succeeds(stage: Stage, *arguments: str) -> None:
    """Run a command that must succeed."""
    ended = await stage.migrate(*arguments)
    assert ended.code == 0, f"{arguments}: {ended.code}\n{ended.output[-6000:]}"


@cache
def writes_of(strategy: str) -> int:
    """Migrate undisturbed; how many writes that takes."""
    counted = []

    async def play(stage: Stage) -> None:
        await succeeds(stage, "run", "--yes", "--strategy", strategy)
        counted.append(len(stage.trail.writes()))

    on_stage(play)
    return counted[0]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_undisturbed(strategy: str) -> None:
    """From preflight to audit."""
    assert writes_of(strategy) > 100


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_killed_on_the_way(strategy: str) -> None:
    """Killed with SIGKILL at writes spread over the run, and each time resumed by the same command: the same end."""
    total = writes_of(strategy)

    async def play(stage: Stage) -> None:
        command = ("run", "--yes", "--strategy", strategy)
        for number in range(1, KILLS + 1):
            await stage.kill_at(total * number // (KILLS + 1), *command)
        await succeeds(stage, *command)

    on_stage(play)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_node_goes_back_and_forth(strategy: str) -> None:
    """A migrated node is rolled back to both networks, and migrated again with the rest."""

    async def play(stage: Stage) -> None:
        await succeeds(stage, "run", "--yes", "--strategy", strategy, "--nodes", "w1")
        assert await _state(stage, "w1") == NodeState.MIGRATED
        await succeeds(stage, "rollback-node", "w1", "--yes")
        assert await _state(stage, "w1") == NodeState.DUAL
        await succeeds(stage, "run", "--yes", "--strategy", strategy)

    on_stage(play)


async def _state(stage: Stage, node: str) -> str:
    return str((await stage.status())[node]["state"])
