"""An API server that is in trouble when a command is typed is given time: what can be tried again ends no command."""

import asyncio
from collections.abc import Callable

import pytest

from cni_migrate.sim.apiserver.hooks import Fault
from tests.cli.conftest import Served, Typed

Make = Callable[..., Served]
On = Callable[[Served], Typed]


@pytest.mark.parametrize("fault", [{"code": 503}, {"code": 429}, {"cut": "before"}], ids=str)
def test_every_third_request_fails(on: On, served: Make, fault: dict[str, object]) -> None:
    """As behind a load balancer one of whose three servers is gone: preflight and plan answer all the same."""
    cluster = served(nodes=3)
    typed = on(cluster)

    async def flaky() -> None:
        cluster.sim.app.hooks.faults.append(Fault(every=3, times=None, **fault))  # type: ignore[arg-type]

    cluster.do(flaky)
    for command in ("preflight", "plan", "status"):
        ended = typed(command, *(() if command == "status" else ("--strategy", "overlay")))
        assert ended.code == 0, ended.err


def test_the_first_twenty_seconds_are_waited_for(on: On, served: Make) -> None:
    """It is down when the command is typed, and up again later: it says that it waits, and does not end with 8."""
    cluster = served(nodes=3)

    async def down() -> None:
        fault = Fault(code=503, times=None)
        cluster.sim.app.hooks.faults.append(fault)
        asyncio.get_running_loop().call_later(20, cluster.sim.app.hooks.faults.remove, fault)

    cluster.do(down)
    ended = on(cluster)("preflight", "--strategy", "overlay")
    assert ended.code == 0, ended.err
    assert "does not answer, trying for" in ended.err
