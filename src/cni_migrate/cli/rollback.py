"""`migrate rollback`: the whole cluster back to Canal."""

from cni_migrate.cli.drain_options import NO_DRAIN_OPTIONS, DrainOptions
from cni_migrate.cli.options import (
    AcceptGate,
    Common,
    ProgressForm,
    ShowProgress,
    Takeover,
    Yes,
    examples,
    with_common,
)

EXAMPLES = examples("migrate rollback --yes")


@with_common
def command(
    common: Common,
    yes: Yes = False,
    takeover: Takeover = False,
    progress: ShowProgress = ProgressForm.AUTO,
    accept_failing_gate: AcceptGate = None,
    drain: DrainOptions = NO_DRAIN_OPTIONS,
) -> None:
    """Take the whole cluster back to Canal, in reverse order, as it was found.

    Possible until clean-up deletes Canal, the point of no return: `plan` and `status` name it.
    """
    from cni_migrate.cli import drive, goals, session

    loaded = session.configured(common, drain.keys())
    wanted = goals.Rollback(tuple(accept_failing_gate or ()), drain.words)
    drive.drive(common, loaded, wanted, yes=yes, takeover=takeover, progress=progress)
