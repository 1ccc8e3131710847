"""A real API server serves a new resource a moment after its CRD was made; agents that came too early get on."""

from typing import Any

import pytest

from cni_migrate.sim.client import ApiError
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds
from tests.unit.sim_world.install import FIRST, apply, cilium_config, first_cilium, label, operator

LATE = 20.0
"""Longer than an agent and the operator take to start."""


def test_agents_wait_until_their_kind_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Simulation(Scenario.model_validate({"nodes": 2})) as sim:

            def late(method: str) -> None:
                real = getattr(sim.client, method)

                async def call(kind: Any, *args: Any, **more: Any) -> Any:
                    if kind == kinds.CILIUM_NODE and sim.clock.seconds() < LATE:
                        raise ApiError(404, "NotFound", "the server could not find the requested resource")
                    return await real(kind, *args, **more)

                monkeypatch.setattr(sim.client, method, call)

            for method in ("list", "get", "create"):
                late(method)
            for node in ("w1", "w2"):
                await label(sim, node, dict(FIRST))
            await apply(
                sim,
                (kinds.CONFIG_MAP, cilium_config()),
                (kinds.DEPLOYMENT, operator()),
                (kinds.DAEMON_SET, first_cilium()),
            )
            await sim.world.idle()
            assert sim.clock.seconds() >= LATE
            assert all(sim.world.host(node).plane.cidr for node in ("w1", "w2"))

    run_virtual(main())
