"""Texts: files, instants, the log, and what went wrong in words."""

from __future__ import annotations

import socket
import sys
from datetime import datetime, timezone
from pathlib import Path


def words(problem: BaseException) -> str:
    """An exception as the report tells it."""
    if isinstance(problem, (TimeoutError, socket.timeout)):
        return "timeout"
    if isinstance(problem, ConnectionRefusedError):
        return "refused"
    if isinstance(problem, (ConnectionResetError, BrokenPipeError, EOFError)):
        return "reset"
    return (problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)).lower()[:120]


def text_of(path: str | Path) -> str:
    """The text of a file."""
    return Path(path).read_text(encoding="utf-8")


def instant(text: str) -> float:
    """An ISO instant in seconds since 1970. Python 3.9 knows no Z.

    Raises:
        ValueError: it is none, or has no zone.
    """
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))  # noqa: FURB162 - Python 3.9
    if found.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return found.timestamp()


def stamp() -> str:
    """Now, in UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: UP017 - Python 3.9


def say(text: str) -> None:
    """One line to the log, at once and in one write."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
