"""Commands that leave a wish for the running driver, or for the next: pause, resume, retry-node, skip-node."""

from typing import Annotated

import typer

from cni_migrate.cli.options import Common, examples, with_common

PANEL = "Steer"

Node = Annotated[str, typer.Argument(help="The node.", show_default=False)]


@with_common
def pause(common: Common) -> None:
    """Begin no further node; those under way are finished."""
    from cni_migrate.cli import requesting

    requesting.pause(common)


@with_common
def resume(common: Common) -> None:
    """Take a pause back."""
    from cni_migrate.cli import requesting

    requesting.resume(common)


@with_common
def retry_node(common: Common, node: Node) -> None:
    """Try a held node again, in the run that is under way."""
    from cni_migrate.cli import requesting

    requesting.retry(common, node)


@with_common
def skip_node(
    common: Common,
    node: Node,
    undo: Annotated[bool, typer.Option("--undo", help="Let the node take part again.")] = False,
) -> None:
    """Leave a node out: the others go on without it, and clean-up waits for it."""
    from cni_migrate.cli import requesting

    requesting.skip(common, node, undo=undo)


def register(app: typer.Typer) -> None:
    """Put the commands into the tree."""
    app.command("pause", rich_help_panel=PANEL, epilog=examples("migrate pause"))(pause)
    app.command("resume", rich_help_panel=PANEL, epilog=examples("migrate resume"))(resume)
    app.command("retry-node", rich_help_panel=PANEL, epilog=examples("migrate retry-node worker-1"))(retry_node)
    app.command(
        "skip-node",
        rich_help_panel=PANEL,
        epilog=examples("migrate skip-node worker-1", "migrate skip-node worker-1 --undo"),
    )(skip_node)
