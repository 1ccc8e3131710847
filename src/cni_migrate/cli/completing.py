"""`migrate completion`: the script by which a shell completes commands and options."""

import os
import subprocess
import sys

from cni_migrate.errors import MigrateError


def completion(shell: str) -> None:
    """Print the script for a shell, as typer makes it when it is asked by its environment variable.

    Raises:
        MigrateError: this Python cannot start itself.
    """
    said = subprocess.run(
        [sys.executable, "-m", "cni_migrate.cli.main"],
        env={**os.environ, "_MIGRATE_COMPLETE": f"source_{shell}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if not said.stdout.strip():
        raise MigrateError(f"no completion for {shell}: {said.stderr.strip() or said.returncode}")
    sys.stdout.write(said.stdout)
