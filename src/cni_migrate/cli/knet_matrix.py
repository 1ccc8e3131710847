"""`migrate knet matrix`: who reaches whom."""

import asyncio
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cni_migrate.cli.options import OUTPUT, Common, Ignore, examples, with_common

if TYPE_CHECKING:
    from datetime import datetime

    from cni_migrate.cli.mesh import Seen

EXAMPLES = examples("migrate knet matrix", "migrate knet matrix --watch", "migrate knet matrix -o svg > mesh.svg")

SCHEMA = 1
"""The version of the machine-readable forms: fields are added, never renamed or removed."""


class PictureForm(StrEnum):
    """How the picture looks."""

    TABLE = "table"
    JSON = "json"
    SVG = "svg"


@with_common
def command(
    common: Common,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Redraw it at every change.")] = False,
    ignore: Ignore = "",
    output: Annotated[
        PictureForm, typer.Option("--output", "-o", help="How the result looks.", rich_help_panel=OUTPUT)
    ] = PictureForm.TABLE,
) -> None:
    """Draw who reaches whom: rows are the nodes that probe, columns those that are probed."""
    from cni_migrate.cli.mesh import kinds
    from cni_migrate.cli.session import run_async

    run_async(_matrix(common, kinds(ignore), output, watch=watch))


async def _matrix(common: Common, ignore: frozenset[str], form: PictureForm, *, watch: bool) -> None:
    from rich.console import Group
    from rich.live import Live

    from cni_migrate.cli.mesh import look, settled
    from cni_migrate.cli.session import configured, session
    from cni_migrate.cli.ui import mesh_table, output
    from cni_migrate.core.connectivity.gate import Pending

    config = configured(common, {}).config
    async with session(common, config) as here, here.cluster() as cluster:
        if not watch:
            _show(await settled(here, cluster, ignore, (Pending,)), form, here.clock.now())
            return
        to = output.out()
        if form is PictureForm.TABLE and output.redraws(to):
            with Live(console=to, auto_refresh=False, vertical_overflow="visible") as live:
                while True:
                    live.update(Group(*mesh_table.picture(to, await look(here, cluster, ignore))), refresh=True)
                    await asyncio.sleep(config.knet.interval)
        last: Any = None
        while True:
            seen = await look(here, cluster, ignore)
            data = _data(seen)
            if (what := [data[key] for key in ("passed", "proven", "cells", "services", "left_out")]) != last:
                last = what
                _show(seen, form, here.clock.now())
                sys.stdout.flush()
            await asyncio.sleep(config.knet.interval)


def _show(seen: "Seen", form: PictureForm, at: "datetime") -> None:
    from cni_migrate.cli.ui import mesh_table, output, svg

    if form is PictureForm.JSON:
        output.as_json(_data(seen))
    elif form is PictureForm.SVG:
        sys.stdout.write(svg.svg(seen.matrix, seen.said, at))
    else:
        mesh_table.show_picture(output.out(), seen)


def _data(seen: "Seen") -> dict[str, Any]:
    """The picture as data: directions that are not listed are unknown."""
    from cni_migrate.cli.mesh import verdict_data

    drawn = seen.matrix
    cells = [
        {"from": source, "to": target, "state": cell.state, "kinds": list(cell.kinds)}
        for (source, target), cell in sorted(drawn.cells.items())
    ]
    services = {node: list(kinds) for node, kinds in sorted(drawn.services.items())}
    return {
        "schema": SCHEMA,
        **verdict_data(seen),
        "nodes": list(drawn.nodes),
        "count": drawn.count(),
        "cells": cells,
        "services": services,
    }
