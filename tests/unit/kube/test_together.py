"""Requests side by side: one error, and nobody left behind."""

import asyncio

import pytest

from cni_migrate.errors import ClusterError
from cni_migrate.kube.together import together
from cni_migrate.sim.clock import run_virtual


def test_the_first_error_is_raised_itself_and_the_others_are_given_up() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("slow")
            raise

    async def fails() -> None:
        await asyncio.sleep(1)
        raise ClusterError("no answer")

    async def both() -> None:
        async with together() as group:
            group.create_task(slow())
            group.create_task(fails())

    async def main() -> float:
        with pytest.raises(ClusterError, match="no answer"):
            await both()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 1
    assert ended == ["slow"]


def test_what_all_answer_can_be_read_afterwards() -> None:
    async def main() -> list[int]:
        async with together() as group:
            tasks = [group.create_task(asyncio.sleep(1, number)) for number in range(3)]
        return [task.result() for task in tasks]

    assert run_virtual(main()) == [0, 1, 2]
