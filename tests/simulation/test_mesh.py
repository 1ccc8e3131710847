"""The agents of a simulated cluster: nothing wrong is ever told of a network that works, in the words of real agents."""

import asyncio
import json
import random
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from cni_migrate.core.connectivity.gate import Passed
from cni_migrate.core.connectivity.mesh import question
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.knet import agent
from cni_migrate.knet.reader import LogProber, lines_needed, rounds_of
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.inprocess import close_api, in_process_api
from cni_migrate.kube.logs import KubeLogs
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.simulation import Simulation
from tests.simulation.harness import SMALL, Process, SimulatedClock, config_for, simulated

HOUR = timedelta(hours=1)
CONFIG = config_for("overlay", knet={"keep": True})


async def _deployed(sim: Simulation) -> None:
    """Both networks are there, and the agents probe; nothing is migrated."""
    final = await Process(sim, CONFIG, goal=Goal(until=Phase.ATTACHING)).run()
    assert final is not None
    assert final.outcome == "done", final


def test_no_false_alarm_in_an_undisturbed_hour() -> None:
    """Every agent is read every ten seconds, and each time connectivity is proven."""

    async def main() -> int:
        async with simulated(SMALL, CONFIG) as (sim, _):
            await _deployed(sim)
            clock = SimulatedClock(sim)
            api = await in_process_api(sim.app, timeout=CONFIG.deadlines.request)
            looks = 0
            try:
                async with KubeCluster(api, CONFIG, clock, random.Random(1)) as cluster:
                    prober = LogProber(KubeLogs(cluster.client, clock).tail, clock, lines=lines_needed(CONFIG))
                    end = clock.now() + HOUR
                    while clock.now() < end:
                        asked = question(cluster.snapshot(), CONFIG, ignored={"policy_deny"})
                        readings = await prober.read([asked.ask])
                        _, verdict = asked.judged(readings[asked.ask.key], CONFIG)
                        assert isinstance(verdict, Passed), verdict
                        assert verdict.lost == 0
                        looks += 1
                        await clock.sleep(10)
            finally:
                await close_api(api)
            return looks

    assert run_virtual(main()) == 360


def _shape(line: str) -> dict[str, Any]:
    """The fields of a report and of what is listed in it, with the types of their values."""
    content = json.loads(line)
    kinds = {name: type(value).__name__ for name, value in content.items()}
    lists = {
        name: sorted({tuple(sorted((k, type(v).__name__) for k, v in one.items())) for one in content[name]})
        for name in ("bad", "stalls")
    }
    return {"fields": kinds, "lists": lists, "ms": sorted(content["ms"])}


def _simulated_lines() -> list[str]:
    async def main() -> list[str]:
        async with simulated(SMALL, CONFIG) as (sim, _):
            await _deployed(sim)
            world = sim.world
            before = [world.knet.line(one, max(world.knet.rounds(one))) for one in world.agents.agents.values()]
            host = world.ctx.net.hosts["w2"]
            host.change(links=host.plane.links - {"flannel.1"})
            await asyncio.sleep(5)
            return before + [world.knet.line(one, max(world.knet.rounds(one))) for one in world.agents.agents.values()]

    return run_virtual(main())


def _real_lines(folder: Path) -> list[str]:
    """Two agents on loopback addresses, of which one is stopped after a while: what the other says before and after."""
    block = f"127.{random.randint(16, 250)}.{random.randint(0, 255)}"
    (folder / "peers.json").write_text(
        json.dumps([{"node": f"w{n}", "mesh": "a", "address": f"{block}.{n}", "host": "127.0.0.1"} for n in (1, 2)])
    )
    (folder / "config.json").write_text(json.dumps({"interval_s": 0.2, "timeout_s": 0.5}))
    log = folder / "log"
    running = []
    try:
        for n in (1, 2):
            env = {
                "NODE_NAME": f"w{n}", "KNET_MESH": "a", "POD_UID": f"uid-{n}", "NODE_IP": "127.0.0.1",
                "KNET_LISTEN": f"{block}.{n}", "KNET_PEERS_FILE": str(folder / "peers.json"),
                "KNET_CONFIG": str(folder / "config.json"), "KNET_SKIP": "dns,api,service",
                "PYTHONPATH": str(Path(str(agent.__file__)).parents[1]),
            }  # fmt: skip
            with (log if n == 1 else folder / "other").open("wb") as out:
                running.append(subprocess.Popen([sys.executable, "-m", "agent", "serve"], env=env, stdout=out))
        _wait_for(log, lambda lines: any(json.loads(line)["lost"] == 0 for line in lines))
        running[1].kill()
        _wait_for(log, lambda lines: all(json.loads(lines[-1])[name] for name in ("bad", "stalls")))
    finally:
        for one in running:
            one.kill()
            one.wait()
    return log.read_text().splitlines()


def _wait_for(log: Path, holds: Any) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        lines = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        if lines and holds(lines):
            return
        time.sleep(0.1)
    raise AssertionError(f"not seen in 30 s: {log.read_text()[-500:]}")


def test_simulated_and_real_agents_report_alike(tmp_path: Path) -> None:
    """The same fields of the same types, in rounds that are clean and in rounds that are not; one reader takes both."""
    found = {"simulated": _simulated_lines(), "real": _real_lines(tmp_path)}
    shapes: dict[str, dict[str, Any]] = {}
    for where, lines in found.items():
        of_each = [_shape(line) for line in lines]
        fields = {tuple(shape["fields"].items()) for shape in of_each}
        assert len(fields) == 1, where
        shapes[where] = {
            "fields": fields,
            "ms": {tuple(shape["ms"]) for shape in of_each},
            **{name: {one for shape in of_each for one in shape["lists"][name]} for name in ("bad", "stalls")},
        }
        for line in lines:
            name = json.loads(line)
            rounds, error = rounds_of(f"{line}\n", f"{name['node']}/{name['mesh']}")
            assert (len(rounds), error) == (1, "")
        assert shapes[where]["bad"], f"{where}: nothing failed, nothing is compared"
    assert shapes["simulated"] == shapes["real"]
