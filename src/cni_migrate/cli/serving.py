"""`migrate sim`: serves a simulated cluster on loopback until stopped."""

import asyncio
import contextlib
import socket
import sys
from pathlib import Path
from typing import Any

from cni_migrate.cli import interrupts
from cni_migrate.cli.ui import output
from cni_migrate.errors import UsageError


def sim(
    *, nodes: int | None, port: int, kubeconfig: Path | None, scenario: str, seed: int | None, speed: float
) -> None:
    """Serve until stopped.

    Raises:
        UsageError: there is no such scenario, or the port is taken.
    """
    from cni_migrate.sim.client import ApiError
    from cni_migrate.sim.scenario import BadScenario, load

    try:
        loaded = load(scenario)
    except BadScenario as error:
        raise _refused(scenario, error) from None
    port = port or free_port()
    target = kubeconfig or Path("sim.kubeconfig")
    sys.stderr.write(
        f"a simulated cluster on http://127.0.0.1:{port}, scenario {scenario}; stop it with Ctrl-C\n"
        f"next: migrate preflight --kubeconfig {target}\n"
    )
    try:
        asyncio.run(_serve(loaded, nodes=nodes, port=port, kubeconfig=target, seed=seed, speed=speed))
    except KeyboardInterrupt:
        return
    except BadScenario as error:
        raise _refused(scenario, error) from None
    except ApiError as error:  # an object of the scenario's, which only the API server can judge
        raise _refused(scenario, error.message) from None
    except OSError as error:
        raise UsageError(
            f"{error.filename or 'the simulator'}: {error.strerror or error}", next="migrate sim -h"
        ) from None


def _refused(scenario: str, why: object) -> UsageError:
    text = str(why)
    return UsageError(
        f"--scenario {'' if text.startswith(f'{scenario}:') else f'{scenario}: '}{text}", next="migrate sim scenarios"
    )


async def _serve(scenario: Any, *, speed: float, **options: Any) -> None:
    from cni_migrate.sim.simulation import serve

    task = asyncio.ensure_future(serve(faster(scenario, speed), **options))
    with interrupts.taken(task.cancel), contextlib.suppress(asyncio.CancelledError):
        await task


def faster(scenario: Any, speed: float) -> Any:
    """The scenario with every delay of nodes and programs divided by `speed`; when faults strike stays as it is."""
    timings = scenario.timings
    delays = {name: value / speed for name, value in timings if name != "pod_stop_fraction"}
    return scenario.model_copy(update={"timings": timings.model_copy(update=delays)})


def free_port() -> int:
    """A port on loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def scenarios() -> None:
    """List the shipped scenarios with the first line of their comments."""
    folder = Path(__file__).parents[1] / "sim" / "scenarios"
    made = output.table("NAME", "ABOUT")
    for file in sorted(folder.glob("*.yaml")):
        first = file.read_text(encoding="utf-8").splitlines()[0]
        made.add_row(file.stem, first.removeprefix("#").strip() if first.startswith("#") else "")
    output.show_table(output.out(), made)
