"""Asking before something is changed: on a terminal by a question, elsewhere `--yes` has to be typed."""

import asyncio
import contextlib
import sys

from cni_migrate.cli.ui.failing import fitted
from cni_migrate.cli.ui.typeable import typeable
from cni_migrate.errors import Interrupted, UsageError


def needs_terminal() -> None:
    """Refuse what cannot be asked.

    Raises:
        UsageError: there is no terminal to ask on.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "there is no terminal to ask on: nothing was changed", next="the same command with --yes, if you mean it"
        )


async def asked(question: str) -> bool:
    """Whether a question is answered with yes. What was typed before it was asked does not count."""
    sys.stderr.write(f"{fitted(typeable(question) + ' [y/N]')} ")
    sys.stderr.flush()
    _forget_typed()
    typed = ""
    try:
        await _line_typed()
        typed = sys.stdin.readline()
    finally:
        if not typed.endswith("\n"):  # Ctrl-C and Ctrl-D leave the cursor behind the question
            sys.stderr.write("\n")
    return typed.strip().lower() in ("y", "yes")


async def _line_typed() -> None:
    """Wait until there is something to read: the connection is kept alive meanwhile, and Ctrl-C ends it.

    Where standard input cannot be waited for (a file, or Windows), nothing is waited for: reading it does.
    """
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        number = sys.stdin.fileno()
        loop.add_reader(number, ready.set)
    except (OSError, ValueError, NotImplementedError):
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(number)


def _forget_typed() -> None:
    """Throw away what a terminal has received so far. Elsewhere, and where there are no such terminals, nothing."""
    try:
        import termios
    except ImportError:
        return
    with contextlib.suppress(termios.error, OSError, ValueError):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


async def confirm(question: str, *, yes: bool) -> None:
    """Ask whether to go on, unless that was said already; after all that may be refused without an answer.

    Raises:
        Interrupted: the answer is not yes.
        UsageError: there is no terminal to ask on.
    """
    if yes:
        return
    needs_terminal()
    if not await asked(question):
        raise Interrupted("nothing was changed")
