"""The simulation as a whole: the same seed gives the same bytes, and a broken world ends the test."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys

import pytest

from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds, meta
from tests.unit.sim_world.install import (
    DEFAULT,
    apply,
    daemon_set,
    install_cilium,
    knet_objects,
    label,
    lines,
    node_config,
    pods_on,
    restart,
)


async def _history(seed: int) -> str:
    """A digest of every version of every object and of the agents' logs, over a small migration with a reboot."""
    digest = hashlib.sha256()
    async with Simulation("calm", nodes=4, seed=seed) as sim:
        sim.store.listeners.append(
            lambda resource, event: digest.update(json.dumps([event.change, event.after.object]).encode())
        )
        await apply(sim, *knet_objects())
        await install_cilium(sim)
        await apply(sim, (kinds.DAEMON_SET, daemon_set("cilium", "cilium-agent")))
        await apply(sim, (kinds.CILIUM_NODE_CONFIG_V2ALPHA1, node_config()))
        await sim.world.idle()
        await label(sim, "w1", dict(DEFAULT))
        await restart(sim, "w1", "cilium-")
        await sim.world.machines.reboot("w2")
        await sim.world.idle()
        await asyncio.sleep(3)
        for node in ("w1", "w2", "w3"):
            digest.update(json.dumps(await lines(sim, node, "a", 20)).encode())
        digest.update(f"{sim.clock.seconds():.6f}".encode())
    return digest.hexdigest()


def digest_of(seed: int) -> str:
    return run_virtual(_history(seed))


def test_the_same_seed_gives_the_same_history() -> None:
    assert digest_of(1) == digest_of(1)
    assert digest_of(1) != digest_of(2)


def test_hash_randomisation_changes_nothing() -> None:
    program = "from tests.unit.sim_world.test_simulation import digest_of; print(digest_of(1))"
    found = set()
    for hash_seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
        done = subprocess.run(
            [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True, timeout=120
        )
        found.add(done.stdout)
    assert found == {digest_of(1) + "\n"}


def test_a_crash_of_the_world_ends_the_block() -> None:
    async def run() -> None:
        async with Simulation("calm") as sim:

            async def fail() -> None:
                raise ZeroDivisionError

            sim.world.later(1.0, fail)
            await asyncio.sleep(60)
            raise AssertionError("the block went on")

    with pytest.raises(ExceptionGroup) as caught:
        run_virtual(run())
    assert caught.group_contains(ZeroDivisionError)


def test_the_blocks_own_error_comes_out_as_it_is() -> None:
    async def run() -> None:
        async with Simulation("calm"):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run_virtual(run())


def test_time_alone_makes_no_work() -> None:
    async def run() -> None:
        async with Simulation("calm") as sim:
            await apply(sim, *knet_objects())
            await sim.world.idle()
            done, version = sim.world.ctx.work.done, sim.store.version
            await asyncio.sleep(24 * 3600)
            assert (sim.world.ctx.work.done, sim.store.version) == (done, version)

    run_virtual(run())


def test_a_thousand_nodes_start_settled() -> None:
    async def run() -> None:
        async with Simulation("calm", nodes=1000) as sim:
            nodes, _ = await sim.client.list(kinds.NODE)
            assert len(nodes) == 1000
            assert len({node["spec"]["podCIDR"] for node in nodes}) == 1000
            pods, _ = await sim.client.list(kinds.POD)
            assert sum(meta.ready(pod) for pod in pods) > 2000

    run_virtual(run())


def test_logs_of_a_node_whose_kubelet_is_down_cannot_be_read() -> None:
    async def run() -> None:
        async with Simulation("calm") as sim:
            await apply(sim, *knet_objects())
            await sim.world.idle()
            assert await lines(sim, "w1", "a", 1)
            sim.world.machines.kubelet_down("w1")
            with pytest.raises(Exception, match="connection refused"):
                await lines(sim, "w1", "a", 1)
            await sim.world.machines.kubelet_up("w1")
            await sim.world.idle()
            assert await pods_on(sim, "w1", "knet")

    run_virtual(run())
