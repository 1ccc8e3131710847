"""Commands that only look: status, plan, preflight."""

from enum import StrEnum
from typing import Annotated

import typer

from cni_migrate.cli.commands.migrating import StrategyName
from cni_migrate.cli.options import Common, Form, Output, examples, with_common

PANEL = "Look"

OnStrategy = Annotated[
    StrategyName | None, typer.Option(help="How a node gets both networks.", show_default="from the configuration")
]


class StatusForm(StrEnum):
    """How the status looks."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


@with_common
def status(
    common: Common,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew at every change.")] = False,
    output: Annotated[StatusForm, typer.Option("--output", "-o", help="How the result looks.")] = StatusForm.TABLE,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of `-o json` and exit.")] = False,
) -> None:
    """Show where the cluster and each node stand.

    Reads only, and needs no lock: it can be typed while `migrate run` works.
    """
    from cni_migrate.cli import showing

    if schema:
        showing.print_schema()
    else:
        showing.status(common, watch=watch, form=output.value)


@with_common
def plan(common: Common, strategy: OnStrategy = None, output: Output = Form.TABLE) -> None:
    """Show, per node and in order, the steps to come and the pods they touch. Writes nothing."""
    from cni_migrate.cli import planning

    planning.plan(common, {"strategy": strategy.value if strategy else None}, form=output.value)


@with_common
def preflight(common: Common, strategy: OnStrategy = None, output: Output = Form.TABLE) -> None:
    """Check whether the cluster is fit for a migration. Writes nothing.

    Exit code 3 when a check fails that a migration cannot do without.
    """
    from cni_migrate.cli import checking

    checking.preflight(common, {"strategy": strategy.value if strategy else None}, form=output.value)


def register(app: typer.Typer) -> None:
    """Put the commands into the tree."""
    app.command(
        "status",
        rich_help_panel=PANEL,
        epilog=examples(
            "migrate status", "migrate status --watch", "migrate status -o json | jq '.nodes[] | select(.held)'"
        ),
    )(status)
    app.command("plan", rich_help_panel=PANEL, epilog=examples("migrate plan", "migrate plan -o json"))(plan)
    app.command(
        "preflight",
        rich_help_panel=PANEL,
        epilog=examples("migrate preflight --strategy overlay", "migrate preflight -o json"),
    )(preflight)
