"""`python3 -m agent serve` answers the other agents and probes them; `status` asks the agent of its own pod."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys

from .eventloop import Loop
from .rounds import Rounds
from .server import Server
from .settings import Settings
from .status import status


def serve() -> None:
    """Answer and probe until TERM, which ends everything at once: there is nothing to put away."""
    settings, loop = Settings(dict(os.environ)), Loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # four sockets per peer
    server = Server(settings, loop)
    server.start()
    Rounds(server).start()
    gc.freeze()  # what was loaded is never garbage
    while True:
        loop.run_once()


if __name__ == "__main__":
    if sys.argv[1:] == ["status"]:
        sys.exit(status())
    if sys.argv[1:] not in (["serve"], ["server"]):  # the second is the original's name for it
        sys.exit("usage: python3 -m agent serve|status")
    serve()
