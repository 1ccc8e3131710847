"""The tree of commands."""

from types import ModuleType
from typing import Annotated

import typer

from cni_migrate.cli import (
    cleanup,
    completion,
    config_init,
    config_schema,
    config_show,
    demo,
    images,
    knet_deploy,
    knet_matrix,
    knet_remove,
    knet_status,
    manifests,
    pause,
    plan,
    preflight,
    resume,
    retry_node,
    rollback,
    rollback_node,
    run,
    sim,
    sim_scenarios,
    skip_node,
    status,
)
from cni_migrate.cli import version as version_command
from cni_migrate.cli.version import version

EXIT_CODES = (
    "Exit codes: 0 done, 1 bug, 2 usage, 3 preflight failed, 4 halted (resumable), 5 lock held, 6 gate failed, "
    "7 record unreadable, 8 cluster unreachable, 74 stdout cannot be written, 130 interrupted, 141 broken pipe."
)

app = typer.Typer(
    name="migrate",
    help="Move a live Kubernetes cluster from Canal to Cilium, node by node, while the workloads keep talking.",
    epilog=f"{EXIT_CODES}\n\nStart with `migrate demo` (no cluster needed), or with `migrate preflight` on yours.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"migrate {version()}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take no options of its own but the version: all others belong to a command."""


config = typer.Typer(help="Write, show or describe the configuration.", no_args_is_help=True)
config.command("init", epilog=config_init.EXAMPLES)(config_init.command)
config.command("show", epilog=config_show.EXAMPLES)(config_show.command)
config.command("schema", epilog=config_schema.EXAMPLES)(config_schema.command)

knet = typer.Typer(help="Prove connectivity with agents on every node, without a migration.", no_args_is_help=True)
knet.command("deploy", epilog=knet_deploy.EXAMPLES)(knet_deploy.command)
knet.command("status", epilog=knet_status.EXAMPLES)(knet_status.command)
knet.command("matrix", epilog=knet_matrix.EXAMPLES)(knet_matrix.command)
knet.command("remove", epilog=knet_remove.EXAMPLES)(knet_remove.command)

simulation = typer.Typer(help="Serve a simulated cluster on this machine.", invoke_without_command=True)
simulation.callback(invoke_without_command=True)(sim.command)
simulation.command("scenarios")(sim_scenarios.command)

TREE: dict[str, dict[str, ModuleType | typer.Typer]] = {
    "Migrate": {"run": run, "cleanup": cleanup, "rollback-node": rollback_node, "rollback": rollback},
    "Look": {"status": status, "plan": plan, "preflight": preflight, "knet": knet},
    "Steer": {"pause": pause, "resume": resume, "retry-node": retry_node, "skip-node": skip_node},
    "Configure": {"config": config, "manifests": manifests, "images": images},
    "Try": {"demo": demo, "sim": simulation},
    "About": {"version": version_command, "completion": completion},
}
"""Panel of the help to its commands."""

for panel, commands in TREE.items():
    for name, one in commands.items():
        if isinstance(one, typer.Typer):
            epilog = sim.EXAMPLES if one is simulation else None
            app.add_typer(one, name=name, rich_help_panel=panel, epilog=epilog)
        else:
            app.command(name, rich_help_panel=panel, epilog=getattr(one, "EXAMPLES", None))(one.command)
