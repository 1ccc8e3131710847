"""`migrate cleanup`: what is no longer used goes, Canal with it."""

from cni_migrate.cli.options import (
    Common,
    ProgressForm,
    RemoveLeftovers,
    ShowProgress,
    Takeover,
    Yes,
    examples,
    with_common,
)

EXAMPLES = examples("migrate run --until migrating && migrate cleanup", "migrate cleanup --remove-leftovers")


@with_common
def command(
    common: Common,
    yes: Yes = False,
    takeover: Takeover = False,
    progress: ShowProgress = ProgressForm.AUTO,
    remove_leftovers: RemoveLeftovers = None,
) -> None:
    """Remove what is no longer used, once every node is migrated.

    `migrate run` does the same at its end; this is the explicit form. It refuses while any node is not migrated. The
    point of no return is in it: once Canal is deleted there is no way back. With `--remove-leftovers` it may be
    repeated after the end.
    """
    from cni_migrate.cli import drive, goals, session

    flags = {"canal.remove_leftovers": remove_leftovers or None}
    loaded = session.configured(common, flags)
    drive.drive(common, loaded, goals.Cleanup(), yes=yes, takeover=takeover, progress=progress)
