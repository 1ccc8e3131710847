"""Commands that only look: status, plan, preflight."""

from enum import StrEnum
from typing import Annotated

import typer

from cni_migrate.cli.commands.migrating import (
    AtOnce,
    EmptyDir,
    Force,
    NoEviction,
    OnNodes,
    OnSelector,
    OnStrategy,
    UpTo,
    Waive,
    drain_flags,
)
from cni_migrate.cli.options import Common, Form, Output, examples, with_common

PANEL = "Look"


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
def plan(
    common: Common,
    strategy: OnStrategy = None,
    nodes: OnNodes = "",
    selector: OnSelector = "",
    until: UpTo = None,
    max_unavailable: AtOnce = "",
    steps: Annotated[bool, typer.Option("--steps", help="List the steps of each event, too.")] = False,
    delete_emptydir_data: EmptyDir = None,
    force: Force = None,
    disable_eviction: NoEviction = None,
    output: Output = Form.TABLE,
) -> None:
    """Show which node comes when, which pods move, and what is in the way. Takes what `run` takes; writes nothing."""
    from cni_migrate.cli import planning, wishes

    flags = {
        "strategy": strategy.value if strategy else None,
        "max_unavailable": max_unavailable or None,
        **drain_flags(delete_emptydir_data, force, disable_eviction),
    }
    wish = wishes.Forward(nodes=nodes, selector=selector, until=until.value if until else "")
    planning.plan(common, flags, wish, form=output.value, steps=steps)


@with_common
def preflight(common: Common, strategy: OnStrategy = None, waive: Waive = None, output: Output = Form.TABLE) -> None:
    """Check whether the cluster is fit for a migration. Writes nothing.

    Exit code 3 when a check fails that a migration cannot do without.
    """
    from cni_migrate.cli import checking

    flags = {"strategy": strategy.value if strategy else None, "preflight.waive": waive or None}
    checking.preflight(common, flags, form=output.value)


def register(app: typer.Typer) -> None:
    """Put the commands into the tree."""
    app.command(
        "status",
        rich_help_panel=PANEL,
        epilog=examples(
            "migrate status", "migrate status --watch", "migrate status -o json | jq '.nodes[] | select(.held)'"
        ),
    )(status)
    app.command("plan", rich_help_panel=PANEL, epilog=examples("migrate plan --nodes w1,w2", "migrate plan --steps"))(
        plan
    )
    app.command(
        "preflight",
        rich_help_panel=PANEL,
        epilog=examples(
            "migrate preflight --strategy multus", "migrate preflight -o json", "migrate preflight --waive DUAL_STACK"
        ),
    )(preflight)
