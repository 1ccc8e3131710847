"""Draws the pictures of README and documentation from real screens: `python docs/pictures.py`.

With `--check` it writes nothing and exits 1 when one says other words than it would now. The screens are those of a
simulated cluster on virtual time, so each run of the same program draws the same to the byte.
"""

import argparse
import asyncio
import io
import random
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

sys.path.insert(0, str(Path(__file__).parents[1]))

from cni_migrate.cli.mesh import Seen, look
from cni_migrate.cli.mesh_objects import apply, await_ready
from cni_migrate.cli.session import Session
from cni_migrate.cli.ui import colours, output, progress, svg
from cni_migrate.config import Config
from cni_migrate.core.connectivity.gate import Failing
from cni_migrate.core.connectivity.matrix import ORDER
from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model.lifecycle import NodeState
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.documents import KubeDocuments
from cni_migrate.kube.inprocess import close_api, in_process_api
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.wiring import manifests_for
from tests.simulation.harness import Process, SimulatedClock, config_for

FOLDER = Path(__file__).parent / "screens"
WIDTH, HEIGHT = 96, 24

# rich's frame loads a font from the net; a picture in the documentation may not.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def terminal() -> str:
    """A run half-way: what has happened, and the table that is drawn anew all the time."""
    moments: list[tuple[Decision, datetime]] = []

    async def main() -> None:
        async with Simulation("calm", nodes=6) as sim:

            def half_way(decision: Decision, seen: Snapshot) -> None:
                nodes = decision.record.nodes.values()
                migrated = sum(1 for node in nodes if node.state is NodeState.MIGRATED)
                if migrated == 2 and decision.waits and any(node.state is NodeState.DRAINING for node in nodes):
                    moments.append((decision, sim.clock.now()))

            process = Process(sim, config_for("overlay"), on_turn=half_way)
            await process.run()

    run_virtual(main())
    decision, now = moments[0]
    console = Console(record=True, file=io.StringIO(), force_terminal=True, width=WIDTH, height=HEIGHT, highlight=False)
    console.print(Text("$ migrate run --yes", style="bold"))
    history = decision.record.cluster.history[-8:]
    for entry in history:
        stamp = Text(f"{output.clock(entry.at, now)}  ", style=colours.QUIET)
        output.say(console, Text(entry.what), stamp, by=10)
    console.print()
    order = {name: place for place, name in enumerate(("w1", "w2", "w3", "w4", "w5", "cp1"))}
    started = decision.record.cluster.history[0].at
    for line in progress.drawn(progress.Progress(started, now, decision, order), WIDTH, HEIGHT - len(history)):
        console.print(line)
    return console.export_svg(title="migrate run", theme=DIMMED_MONOKAI, code_format=FORMAT, unique_id="run") + "\n"


def matrix() -> str:
    """Who reaches whom when a node is cut off, as `migrate knet matrix -o svg` draws it."""
    cut = {"at": "30s", "deaf": {"node": "w3", "network": "canal"}}
    found: list[tuple[Seen, datetime]] = []

    async def main() -> None:
        async with Simulation(Scenario.model_validate({"nodes": 6, "faults": [cut]})) as sim:
            clock: Any = SimulatedClock(sim)
            config = Config()
            api = await in_process_api(sim.app, timeout=config.deadlines.request)
            try:
                async with KubeCluster(api, config, clock, random.Random(1)) as cluster:
                    client = cluster.client
                    here = Session(config, client, KubeDocuments(client, clock), clock, as_json=False)
                    made = manifests_for(config, cluster.snapshot()).knet()
                    await apply(here, cluster, made)
                    await await_ready(here, cluster, made)
                    await _until(lambda: look(here, cluster, frozenset()), found, clock)
            finally:
                await close_api(api)

    run_virtual(main())
    seen, at = found[-1]
    return svg.svg(seen.matrix, seen.said, at)


async def _until(see: Callable[[], Awaitable[Seen]], found: list[tuple[Seen, datetime]], clock: Any) -> None:
    """Look until the verdict is bad, and some rounds more, so that all agents have seen it."""
    while sum(isinstance(seen.verdict, Failing) for seen, _ in found) < 5:
        await asyncio.sleep(1)
        found.append((await see(), clock.now()))


def _said(picture: str) -> list[str]:
    """What a picture says, without the numbers and the kinds of probes: they hang on the time that every step takes."""
    texts = [text for text in re.findall(r">([^<>]+)<", picture) if text.strip()]
    return [re.sub(r"[0-9]+", "0", text) for text in texts if not set(text.split(", ")) <= set(ORDER)]


PICTURES: dict[str, Callable[[], str]] = {"run.svg": terminal, "matrix.svg": matrix}


def stale() -> dict[str, str]:
    """The pictures whose file is not what it would be now, with what it should hold."""
    found = {}
    for name, draw in PICTURES.items():
        path = FOLDER / name
        text = "".join(f"{line.rstrip()}\n" for line in draw().splitlines())
        if not path.exists() or _said(path.read_text(encoding="utf-8")) != _said(text):
            found[name] = text
    return found


def main() -> int:
    """Draw, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a picture is stale")
    check = parser.parse_args().check
    found = stale()
    FOLDER.mkdir(exist_ok=True)
    for name, text in found.items():
        if not check:
            (FOLDER / name).write_text(text, encoding="utf-8")
        sys.stderr.write(f"docs/screens/{name}: {'stale: run `python docs/pictures.py`' if check else 'drawn'}\n")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
