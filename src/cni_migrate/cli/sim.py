"""`migrate sim`: a simulated cluster on loopback, served until it is stopped."""

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cni_migrate.cli import interrupts
from cni_migrate.cli.loopback import free_port
from cni_migrate.cli.options import examples
from cni_migrate.errors import UsageError

EXAMPLES = examples(
    "migrate sim --nodes 6 --port 7443 --write-kubeconfig sim.kubeconfig",
    "migrate sim --scenario pdb-deadlock --write-kubeconfig sim.kubeconfig --speed 5",
)


def _scenarios(incomplete: str) -> list[str]:
    """The shipped scenarios, for completion."""
    from cni_migrate.sim.scenario import names

    return [name for name in names() if name.startswith(incomplete)]


def command(
    context: typer.Context,
    nodes: Annotated[int | None, typer.Option(min=1, help="How many nodes.", show_default="the scenario's")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; 0: a free one.")] = 0,
    write_kubeconfig: Annotated[
        Path | None, typer.Option(help="Where to write a kubeconfig for it.", show_default="sim.kubeconfig")
    ] = None,
    scenario: Annotated[
        str, typer.Option(help="A scenario's file or name, see `migrate sim scenarios`.", autocompletion=_scenarios)
    ] = "calm",
    seed: Annotated[
        int | None, typer.Option(help="The seed of its random choices.", show_default="the scenario's")
    ] = None,
    speed: Annotated[float, typer.Option(min=0.01, help="How much faster than real time it works.")] = 1.0,
) -> None:
    """Serve a simulated cluster until stopped; kubectl works with it."""
    if context.invoked_subcommand is None:
        _sim(nodes=nodes, port=port, kubeconfig=write_kubeconfig, scenario=scenario, seed=seed, speed=speed)


def _sim(
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
