"""`migrate demo`: a simulated cluster migrates before your eyes; the driver is killed on the way and goes on.

Real commands against a simulated cluster: each is typed out, runs as a process of its own and must end as expected.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final

import typer

from cni_migrate.cli.loopback import free_port
from cni_migrate.cli.options import StrategyName, examples
from cni_migrate.cli.ui.failing import coloured

EXAMPLES = examples("migrate demo", "migrate demo --strategy multus --nodes 10")

PROGRAM: Final = (sys.executable, "-m", "cni_migrate.cli.main")

CONFIG: Final = """\
strategy: {strategy}
knet: {{interval: 0.1}}      # agents report more often than usual,
gate: {{seconds: 0.2}}       # so that a gate takes less time than usual
drain: {{delete_emptydir_data: true, retry_seconds: 0.5}}
"""

START_SECONDS: Final = 30.0
COMMAND_SECONDS: Final = 180.0


class Unexpected(Exception):
    """Something did not go as the demo promises."""


def command(
    nodes: Annotated[int, typer.Option(min=3, max=50, help="How many nodes.")] = 6,
    strategy: Annotated[StrategyName, typer.Option(help="How a node gets both networks.")] = StrategyName.OVERLAY,
    speed: Annotated[float, typer.Option(min=0.1, help="How much faster than real time the cluster works.")] = 40.0,
    seed: Annotated[int, typer.Option(help="The seed of the simulation's random choices.")] = 1,
) -> None:
    """Watch a simulated cluster migrate to the end: killed half-way, resumed, one node rolled back.

    Touches nothing outside a temporary folder.
    """
    raise typer.Exit(demo(nodes=nodes, strategy=strategy.value, speed=speed, seed=seed))


def demo(*, nodes: int, strategy: str, speed: float, seed: int) -> int:
    """Play it; answers the exit code: 1 if anything was unexpected, 130 on Ctrl-C."""
    began = time.monotonic()
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        with tempfile.TemporaryDirectory(prefix="migrate-demo-") as folder:
            stage = Stage(Path(folder))
            with stage.cluster(nodes=nodes, strategy=strategy, speed=speed, seed=seed):
                _play(stage, nodes)
    except Unexpected as error:
        _say(f"the demo did not go as it should: {error}", "1;31")
        return 1
    except KeyboardInterrupt:
        _say("stopped; nothing is left behind", "33")
        return 130
    _say(f"That took {time.monotonic() - began:.0f} seconds. On your own cluster, begin with `migrate preflight`.")
    return 0


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _play(stage: "Stage", nodes: int) -> None:
    _say(f"A simulated cluster of {nodes} nodes on Canal, with a shop running on it. It moves to Cilium now.")
    stage.type("run", "--yes", until=_half_way)
    migrated = stage.migrated()
    done = len(migrated)
    _say(f"The driver was killed with SIGKILL, {done} nodes done and one half-way. This is what is left:", "33")
    stage.type("status")
    third = [*migrated, *(node for node in stage.touched() if node not in migrated)][:3]
    _say("The same command goes on where it stopped. It is told to stop after the node that was half-way.")
    stage.type("run", "--yes", "--nodes", ",".join(third))
    back = migrated[-1]
    _say(f"Suppose somebody is unhappy with {back}: back to both networks it goes, and is migrated again later.")
    stage.type("rollback-node", back, "--yes")
    stage.expect(lambda view: _state(view, back) == "dual", f"node {back} dual")
    stage.type("run", "--yes", "--remove-leftovers")
    stage.type("status", "-o", "wide")
    stage.expect(
        lambda view: view["phase"] == "done" and view["audit"] == view["left"] == [], "phase done and a clean audit"
    )


def _half_way(events: list[dict[str, Any]]) -> bool:
    """Two nodes are migrated and the third is being switched: the worst moment."""
    migrated = _migrated(events)
    return len(migrated) >= 2 and any(e.get("of") == "switch" and e["node"] not in migrated for e in events)


def _migrated(events: list[dict[str, Any]]) -> list[str]:
    found = [event["node"] for event in events if event["event"] == "step" and event.get("state") == "migrated"]
    return list(dict.fromkeys(found))


def _state(view: dict[str, Any], node: str) -> str:
    return next((str(one["state"]) for one in view["nodes"] if one["name"] == node), "")


def _say(text: str, colour: str = "1;36") -> None:
    sys.stdout.flush()
    sys.stderr.write(f"\n{coloured(f'# {text}', colour)}\n")
    sys.stderr.flush()


class Stage:
    """The simulated cluster and the commands that are typed on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "events.log"
        clean = {key: value for key, value in os.environ.items() if not key.startswith("MIGRATE_")}
        self._environ = {
            **clean,
            "KUBECONFIG": str(folder / "kubeconfig"),
            "MIGRATE_CONFIG": str(folder / "demo.yaml"),
            "MIGRATE_LOG_FILE": str(self._log),
            "MIGRATE_LOG_FORMAT": "console",
        }

    @contextlib.contextmanager
    def cluster(self, *, nodes: int, strategy: str, speed: float, seed: int) -> Iterator[None]:
        """The cluster, as long as it is needed."""
        (self._folder / "demo.yaml").write_text(CONFIG.format(strategy=strategy), encoding="utf-8")
        log = self._folder / "sim.log"
        arguments = ["sim", "--nodes", str(nodes), "--port", str(free_port()), "--seed", str(seed)]
        arguments += ["--speed", str(speed), "--write-kubeconfig", self._environ["KUBECONFIG"]]
        with log.open("w", encoding="utf-8") as output:
            # A session of its own: Ctrl-C on the terminal must not end the cluster before the command on it.
            process = subprocess.Popen(  # noqa: S603 - our own program
                [*PROGRAM, *arguments], env=self._environ, stdout=output, stderr=output, start_new_session=True
            )
        try:
            self._wait_for(process, log)
            yield
        finally:
            _end(process)

    def _wait_for(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        end = time.monotonic() + START_SECONDS
        kubeconfig = Path(self._environ["KUBECONFIG"])
        while not kubeconfig.exists():
            if process.poll() is not None or time.monotonic() > end:
                raise Unexpected(f"the simulated cluster does not start: {log.read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.05)

    def type(self, *arguments: str, until: Callable[[list[dict[str, Any]]], bool] | None = None) -> None:
        """Type a command and run it; with `until`, kill it with SIGKILL when that comes true.

        Raises:
            Unexpected: it failed, or ended before it could be killed.
        """
        sys.stderr.write(f"\n{coloured('$ migrate ' + ' '.join(arguments), '1')}\n")
        sys.stderr.flush()
        process = subprocess.Popen([*PROGRAM, *arguments], env=self._environ)  # noqa: S603 - our own program
        try:
            end = time.monotonic() + COMMAND_SECONDS
            while process.poll() is None:
                if until is not None and (events := self.events()) and until(events):
                    process.kill()
                    process.wait()
                    sys.stderr.write("\x1b[?25h\n" if sys.stderr.isatty() else "\n")  # the cursor was hidden
                    return
                if time.monotonic() > end:
                    raise Unexpected(f"`migrate {' '.join(arguments)}` takes longer than {COMMAND_SECONDS:g} s")
                time.sleep(0.02)
        finally:
            _end(process)
        if until is not None:
            raise Unexpected("the driver ended before it could be killed")
        if process.returncode != 0:
            raise Unexpected(f"`migrate {' '.join(arguments)}` ended with {process.returncode}")

    def events(self) -> list[dict[str, Any]]:
        """What the commands have logged so far; a last line that is not complete is left out."""
        if not self._log.exists():
            return []
        lines = self._log.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def migrated(self) -> list[str]:
        """The nodes that are migrated, in order."""
        return _migrated(self.events())

    def touched(self) -> list[str]:
        """The nodes that were drained, in order."""
        return list(dict.fromkeys(event["node"] for event in self.events() if event.get("of") == "drain"))

    def expect(self, holds: Callable[[dict[str, Any]], bool], what: str) -> None:
        """Make sure of something that the status tells.

        Raises:
            Unexpected: it is not so.
        """
        found = subprocess.run(  # noqa: S603 - our own program
            [*PROGRAM, "status", "-o", "json"], env=self._environ, capture_output=True, text=True, check=False
        )
        if found.returncode != 0 or not holds(json.loads(found.stdout)):
            raise Unexpected(f"expected {what}, but: {found.stdout[-500:]}{found.stderr[-500:]}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process, politely first."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
