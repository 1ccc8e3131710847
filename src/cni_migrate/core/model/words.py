"""Words that depend on something: on a number, or on what was typed."""

import re
from typing import Final

_RUN: Final = re.compile(r"(?<![\w./-])migrate run(?![\w-])")


def many(number: int, what: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def run_with(options: str, text: str) -> str:
    """The text in which each `migrate run` is followed by options, given as ` --force --until dual`, or none."""
    return _RUN.sub(lambda found: f"{found[0]}{options}", text)
