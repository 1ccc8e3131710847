"""Commands about the program itself: its version, and completion for shells."""

from enum import StrEnum
from typing import Annotated

import typer

from cni_migrate.cli.options import examples
from cni_migrate.cli.version import version

PANEL = "About"


class Shell(StrEnum):
    """A shell that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def version_() -> None:
    """Show the version."""
    typer.echo(f"migrate {version()}")


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.", show_default=False)]) -> None:
    """Print what makes a shell complete commands and options of `migrate`."""
    from cni_migrate.cli import completing

    completing.completion(shell.value)


def register(app: typer.Typer) -> None:
    """Put the commands into the tree."""
    app.command("version", rich_help_panel=PANEL)(version_)
    app.command(
        "completion",
        rich_help_panel=PANEL,
        epilog=examples(
            "source <(migrate completion bash)",
            "migrate completion zsh > ~/.zfunc/_migrate",
            "migrate completion fish > ~/.config/fish/completions/migrate.fish",
        ),
    )(completion)
