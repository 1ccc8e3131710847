"""`migrate status`: where the cluster and each node stand."""

import asyncio
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cni_migrate.cli.options import Common, examples, with_common

if TYPE_CHECKING:
    from cni_migrate.cli.session import Session
    from cni_migrate.kube.cluster import KubeCluster

EXAMPLES = examples(
    "migrate status",
    "migrate status --watch",
    "migrate status --history",
    "migrate status -o json | jq '.nodes[] | select(.held)'",
)

WATCH_SECONDS = 1.0
"""The pause between two looks at the record under `--watch`."""


class StatusForm(StrEnum):
    """How the status looks."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


@with_common
def command(
    common: Common,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again at every change.")] = False,
    history: Annotated[
        bool, typer.Option("--history", help="Show the whole history instead, its archived parts included.")
    ] = False,
    output: Annotated[StatusForm, typer.Option("--output", "-o", help="How the result looks.")] = StatusForm.TABLE,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of `-o json` and exit.")] = False,
) -> None:
    """Show where the cluster and each node stand.

    Reads only, and needs no lock: it can be typed while `migrate run` works.
    """
    from cni_migrate.cli.session import run_async

    if schema:
        _print_schema()
    elif history:
        run_async(_history(common, output))
    else:
        run_async(_status(common, watch=watch, form=output.value))


def _print_schema() -> None:
    from cni_migrate.cli.ui import output
    from cni_migrate.core.reports.status import StatusView

    output.as_json(StatusView.model_json_schema(by_alias=True))


async def _status(common: Common, *, watch: bool, form: str) -> None:
    from rich.text import Text

    from cni_migrate.cli.session import configured, session
    from cni_migrate.cli.ui import colours, output, status_table

    config = configured(common, {}).config
    async with session(common, config) as here, here.cluster(watching=watch) as cluster:
        if form in ("table", "wide"):
            output.say(output.out(), Text(here.where, style=colours.HEAD))
        if watch:
            await _watch(here, cluster, form)
        else:
            view = await here.status(cluster.snapshot())
            status_table.show(output.out(), view, form, here.clock.now())


async def _history(common: Common, form: StatusForm) -> None:
    """Print every line of history, the oldest first; of the last migration, where it was rolled back."""
    from cni_migrate.cli.session import configured, session
    from cni_migrate.cli.ui import output
    from cni_migrate.cli.ui.status_table import show_history

    async with session(common, configured(common, {}).config) as here:
        lines = await here.store().whole_history()
    data = {"schema": 1, "history": [line.model_dump(mode="json") for line in lines]}
    if form is StatusForm.JSON:
        output.as_json(data)
    elif form is StatusForm.YAML:
        output.as_yaml(data)
    else:
        show_history(output.out(), lines)


async def _watch(here: "Session", cluster: "KubeCluster", form: str) -> None:
    """Show it anew whenever it has changed: in place on a terminal, one after another elsewhere."""
    from cni_migrate.cli.ui import output, status_table
    from cni_migrate.cli.ui.frame import Frame

    to = output.out()
    if form in ("table", "wide") and output.redraws(to):
        with Frame(to, transient=False, overflow="visible") as frame:
            while True:
                view = await here.status(cluster.snapshot())
                frame.show(status_table.rendered(view, here.clock.now(), wide=form == "wide"))
                await asyncio.sleep(WATCH_SECONDS)
    last: Any = None
    while True:
        view = await here.status(cluster.snapshot())
        if (what := view.model_dump(exclude={"eta_seconds"})) != last:
            last = what
            status_table.show(to, view, form, here.clock.now())
            sys.stdout.flush()
        await asyncio.sleep(WATCH_SECONDS)
