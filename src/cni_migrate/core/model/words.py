"""Words that depend on something: on a number, or on what was typed."""

import re


def many(number: int, what: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def command_with(command: str, options: str, text: str) -> str:
    """The text in which each such command (`migrate run`) is followed by options (` --force --until dual`), or none."""
    return re.sub(rf"(?<![\w./-]){re.escape(command)}(?![\w-])", lambda found: f"{found[0]}{options}", text)
