"""What the last round of the agent in this pod says."""

from __future__ import annotations

import json
import os
import socket
import sys
import time

from .settings import HTTP_PORT, Settings
from .wording import instant, say


def status() -> int:
    """Say `STATUS OK`, as the original does; 0 when the last round was clean, 1 when not, 2 when nobody answers."""
    settings = Settings(dict(os.environ))
    host = settings.listen if settings.listen not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    text = b""
    try:
        with socket.create_connection((host, HTTP_PORT), 5) as sock:
            sock.sendall(b"GET /report?lines=1 HTTP/1.1\r\nHost: knet\r\nConnection: close\r\n\r\n")
            while part := sock.recv(65536):
                text += part
        last = json.loads(text.partition(b"\r\n\r\n")[2] or b"null")
    except (OSError, ValueError) as problem:
        return fail(2, f"the agent does not answer: {problem}")
    if not last:
        return fail(2, "the agent has finished no round yet")
    age, allowed = time.time() - instant(last["at"]), 3 * last["interval_s"] + 2 * settings.timeout
    if not last["peers"]:
        return fail(1, "it has no peers: nothing is proven")
    if age > allowed:
        return fail(1, f"the last round is {age:.1f} s old")
    if last["bad"]:
        told = ("{node}/{mesh} -> {peer} {kind} ({net}): {error}".format(**last, **bad) for bad in last["bad"])
        return fail(1, "\n".join(told))
    say("STATUS OK")
    return 0


def fail(code: int, text: str) -> int:
    """Say on the error output what is wrong; the exit code."""
    sys.stderr.write(text + "\n")
    return code
