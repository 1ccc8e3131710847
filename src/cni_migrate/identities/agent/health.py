"""What the kubelet asks: whether the agent lives, and whether all pods have what they need."""

from __future__ import annotations

import os
import time
from pathlib import Path

REPORT = 60.0  # seconds between two reports when nothing changes
STATE = "identities-state"  # the file, in the temporary folder, by which `ready` and `alive` know


def state_file() -> Path:
    """Where the agent notes how many pods lack an endpoint; its age tells whether it lives."""
    return Path(os.environ.get("TMPDIR", "/tmp")) / STATE  # noqa: S108 - a folder of the pod alone


def healthy(what: str) -> bool:
    """Whether the agent lives, or (`ready`) every pod has its endpoint, too."""
    try:
        path = state_file()
        if time.time() - path.stat().st_mtime > 3 * REPORT:
            return False
        return what == "alive" or path.read_text(encoding="ascii") == "0"
    except OSError:
        return False
