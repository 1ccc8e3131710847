"""`migrate rollback-node`: one node back to both networks, or to Canal."""

from enum import StrEnum
from typing import Annotated

import typer

from cni_migrate.cli.drain_options import NO_DRAIN_OPTIONS, DrainOptions
from cni_migrate.cli.options import (
    AcceptGate,
    Common,
    NodeArgument,
    ProgressForm,
    ShowProgress,
    Takeover,
    Yes,
    examples,
    with_common,
)

EXAMPLES = examples("migrate rollback-node worker-1", "migrate rollback-node worker-1 --to canal --yes")


class BackTo(StrEnum):
    """Where a rolled back node ends."""

    DUAL = "dual"
    CANAL = "canal"


@with_common
def command(
    common: Common,
    node: NodeArgument,
    to: Annotated[BackTo, typer.Option(help="How far back.")] = BackTo.DUAL,
    yes: Yes = False,
    takeover: Takeover = False,
    progress: ShowProgress = ProgressForm.AUTO,
    accept_failing_gate: AcceptGate = None,
    drain: DrainOptions = NO_DRAIN_OPTIONS,
) -> None:
    """Take one node back: to both networks (dual), or to Canal alone.

    Works from every state and every held step. Back to canal only while no other node is beyond dual.
    """
    from cni_migrate.cli import drive, goals, session

    loaded = session.configured(common, drain.keys())
    wanted = goals.RollbackNode(node, to.value, tuple(accept_failing_gate or ()), drain.words)
    drive.drive(common, loaded, wanted, yes=yes, takeover=takeover, progress=progress)
