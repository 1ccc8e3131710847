"""How a failure looks: what happened and what to type next, on stderr; a bug leaves its traceback in a file."""

import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from cni_migrate.cli.ui.breaking import GOES_ON, broken
from cni_migrate.cli.ui.typeable import typeable
from cni_migrate.cli.version import version
from cni_migrate.errors import Interrupted, MigrateError


def coloured(text: str, code: str) -> str:
    """The text in a colour, on a terminal that wants one (no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stderr.isatty()
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def fitted(text: str, *, by: int = 2) -> str:
    """The text with its lines broken between words where the terminal ends; as it is where no terminal is.

    Args:
        text: one line or several.
        by: the column in which a line that was broken goes on.
    """
    if not sys.stderr.isatty():
        return text
    width = shutil.get_terminal_size().columns - 1  # a prompt's cursor has its column, too
    return "\n".join(_filled(line, width, by) for line in text.split("\n"))


def _filled(text: str, width: int, by: int) -> str:
    lines = (text[line.start : line.end] + (GOES_ON if line.goes_on else "") for line in broken(text, width, by))
    return f"\n{' ' * by}".join(lines)


def _say(head: str, code: str, text: str, *, by: int = 2) -> None:
    whole = fitted(f"{head} {typeable(text)}", by=by)
    sys.stderr.write(f"{coloured(head, code)}{whole[len(head) :]}\n")


def say_next(what: str) -> None:
    """The line that tells what to type now."""
    _say("next:", "36", what, by=6)


def failed(error: Exception, *, debug: bool) -> int:
    """Say what went wrong; answers the exit code."""
    sys.stdout.flush()
    if not isinstance(error, MigrateError):
        return _bug(error, debug=debug)
    if isinstance(error, Interrupted):
        _say("stopped:", "1;33", error.message)
    else:
        _say("error:", "1;31", error.message)
    if error.next:
        say_next(error.next)
    if debug:
        traceback.print_exception(error)
    return error.exit_code


def _bug(error: Exception, *, debug: bool) -> int:
    _say("error:", "1;31", f"this is a bug in migrate: {type(error).__name__}: {error}")
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
