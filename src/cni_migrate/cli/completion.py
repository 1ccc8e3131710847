"""`migrate completion`: the script by which a shell completes commands and options."""

import os
import subprocess
import sys
from enum import StrEnum
from typing import Annotated

import typer

from cni_migrate.cli.options import examples
from cni_migrate.errors import MigrateError

EXAMPLES = examples(
    "source <(migrate completion bash)",
    "migrate completion zsh > ~/.zfunc/_migrate",
    "migrate completion fish > ~/.config/fish/completions/migrate.fish",
)


class Shell(StrEnum):
    """A shell that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def command(shell: Annotated[Shell, typer.Argument(help="Which shell.", show_default=False)]) -> None:
    """Print the script that makes a shell complete the commands and options of `migrate`."""
    # typer makes the script when it is asked by its environment variable.
    said = subprocess.run(
        [sys.executable, "-m", "cni_migrate.cli.main"],
        env={**os.environ, "_MIGRATE_COMPLETE": f"source_{shell.value}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if not said.stdout.strip():
        why = said.stderr.strip() or said.returncode
        raise MigrateError(f"no completion for {shell.value}: {why}", next="`migrate --version` has to work first")
    sys.stdout.write(said.stdout.lstrip())  # zsh looks for `#compdef` in the first line only
