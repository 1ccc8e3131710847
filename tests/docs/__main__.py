"""Tells what happens when one does what pages say: `python -m tests.docs docs/how-to/monitor.md ...`."""

import sys
import time
from pathlib import Path

from tests.docs import reader


def say(text: str) -> None:
    """Tell it at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    codes = []
    for name in sys.argv[1:]:
        began = time.monotonic()
        found = reader.read(Path(name), loud=True)
        for command, why in found.not_run:
            say(f"not run ({why}): {command}")
        say("\n".join(["", *found.wrong]))
        say(f"{name}: {len(found.typed)} typed, {len(found.not_run)} not run, {len(found.wrong)} wrong, "
              f"{time.monotonic() - began:.0f} s")  # fmt: skip
        codes.append(bool(found.wrong))
    sys.exit(any(codes))
