"""`migrate cleanup`: what is no longer used goes, Canal with it."""

from cni_migrate.cli.options import Common, ProgressForm, ShowProgress, Takeover, Yes, examples, with_common

EXAMPLES = examples("migrate run --until migrating && migrate cleanup")


@with_common
def command(
    common: Common, yes: Yes = False, takeover: Takeover = False, progress: ShowProgress = ProgressForm.AUTO
) -> None:
    """Remove what is no longer used, once every node is migrated.

    `migrate run` does the same at its end; this is the explicit form. It refuses while a node is not migrated. It has
    the point of no return: when Canal is deleted there is no way back.
    """
    from cni_migrate.cli import drive, goals, session

    drive.drive(common, session.configured(common, {}), goals.Cleanup(), yes=yes, takeover=takeover, progress=progress)
