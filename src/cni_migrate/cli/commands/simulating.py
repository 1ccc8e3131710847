"""Commands that need no cluster of one's own: demo, sim."""

from pathlib import Path
from typing import Annotated

import typer

from cni_migrate.cli.commands.migrating import StrategyName
from cni_migrate.cli.options import examples

PANEL = "Try"

sim_app = typer.Typer(help="Serve a simulated cluster on this machine.", invoke_without_command=True)


def demo(
    nodes: Annotated[int, typer.Option(min=3, max=50, help="How many nodes.")] = 6,
    strategy: Annotated[StrategyName, typer.Option(help="How a node gets both networks.")] = StrategyName.OVERLAY,
    speed: Annotated[float, typer.Option(min=0.1, help="How much faster than life the cluster works.")] = 40.0,
    seed: Annotated[int, typer.Option(help="From what the simulated cluster takes its chances.")] = 1,
) -> None:
    """See a simulated cluster migrate: killed half-way, resumed, one node rolled back, to the end.

    Touches nothing outside a temporary folder.
    """
    from cni_migrate.cli import demonstrating

    raise typer.Exit(demonstrating.demo(nodes=nodes, strategy=strategy.value, speed=speed, seed=seed))


@sim_app.callback(invoke_without_command=True)
def sim(
    context: typer.Context,
    nodes: Annotated[int | None, typer.Option(min=1, help="How many nodes.", show_default="the scenario's")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; 0: a free one.")] = 0,
    write_kubeconfig: Annotated[
        Path | None, typer.Option(help="Where to write a kubeconfig for it.", show_default=False)
    ] = None,
    scenario: Annotated[str, typer.Option(help="A scenario's file or name, see `migrate sim scenarios`.")] = "calm",
    seed: Annotated[
        int | None, typer.Option(help="From what chances are taken.", show_default="the scenario's")
    ] = None,
    speed: Annotated[float, typer.Option(min=0.01, help="How much faster than life it works.")] = 1.0,
) -> None:
    """Serve a simulated cluster until stopped; kubectl works with it."""
    if context.invoked_subcommand is not None:
        return
    from cni_migrate.cli import serving

    serving.sim(nodes=nodes, port=port, kubeconfig=write_kubeconfig, scenario=scenario, seed=seed, speed=speed)


@sim_app.command("scenarios")
def scenarios() -> None:
    """List the scenarios that are shipped."""
    from cni_migrate.cli import serving

    serving.scenarios()


def register(app: typer.Typer) -> None:
    """Put the commands into the tree."""
    app.command(
        "demo", rich_help_panel=PANEL, epilog=examples("migrate demo", "migrate demo --strategy multus --nodes 10")
    )(demo)
    app.add_typer(
        sim_app,
        name="sim",
        rich_help_panel=PANEL,
        epilog=examples(
            "migrate sim --nodes 6 --port 7443 --write-kubeconfig sim.kubeconfig",
            "migrate sim --scenario pdb-deadlock --write-kubeconfig sim.kubeconfig --speed 5",
        ),
    )
