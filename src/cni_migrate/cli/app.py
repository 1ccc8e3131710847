"""The tree of commands."""

from typing import Annotated

import typer

from cni_migrate.cli.commands import about, configuring, looking, meshing, migrating, simulating, steering
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


for part in (migrating, looking, meshing, steering, configuring, simulating, about):
    part.register(app)
