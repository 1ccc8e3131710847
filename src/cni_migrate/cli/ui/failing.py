"""How a failure looks: what happened and what to type next, on stderr; a bug leaves its traceback in a file."""

import os
import shutil
import sys
import tempfile
import textwrap
import traceback
from functools import partial
from pathlib import Path

from cni_migrate.cli.ui.typeable import typeable
from cni_migrate.cli.version import version
from cni_migrate.errors import Interrupted, MigrateError


def coloured(text: str, code: str) -> str:
    """The text in a colour, on a terminal that wants one (no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stderr.isatty()
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def fitted(text: str, *, at: int) -> str:
    """The text with its lines broken between words where the terminal ends; as it is where no terminal is.

    What to type next is never broken: it is to be copied.

    Args:
        text: one line or several.
        at: the column in which its first line begins.
    """
    if not sys.stderr.isatty():
        return text
    width = shutil.get_terminal_size().columns - 1  # a prompt's cursor has its column, too
    first, *more = text.split("\n")
    fill = partial(textwrap.fill, width=width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join([fill(" " * at + first)[at:], *map(fill, more)])


def say_next(what: str) -> None:
    """The line that tells what to type now."""
    sys.stderr.write(f"{coloured('next:', '36')} {typeable(what)}\n")


def failed(error: Exception, *, debug: bool) -> int:
    """Say what went wrong; answers the exit code."""
    sys.stdout.flush()
    if not isinstance(error, MigrateError):
        return _bug(error, debug=debug)
    head = coloured("stopped:", "1;33") if isinstance(error, Interrupted) else coloured("error:", "1;31")
    sys.stderr.write(f"{head} {fitted(typeable(error.message), at=9)}\n")
    if error.next:
        say_next(error.next)
    if debug:
        traceback.print_exception(error)
    return error.exit_code


def _bug(error: Exception, *, debug: bool) -> int:
    sys.stderr.write(f"{coloured('error:', '1;31')} this is a bug in migrate: {type(error).__name__}: {error}\n")
    if debug:
        traceback.print_exception(error)
        return MigrateError.exit_code
    try:
        descriptor, name = tempfile.mkstemp(prefix="migrate-", suffix=".traceback")
        os.close(descriptor)
        with Path(name).open("w", encoding="utf-8") as file:
            file.write(f"migrate {version()}, python {sys.version}\n")
            traceback.print_exception(error, file=file)
    except OSError:
        say_next("the same command with --debug shows where")
        return MigrateError.exit_code
    say_next(f"report it with {name}; a migration under way goes on with `migrate run`")
    return MigrateError.exit_code
