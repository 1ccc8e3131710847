"""The agents' Service, as far as its environment does not tell it: the node port."""

from __future__ import annotations

import random
from time import monotonic

from .apiserver import Namespace
from .eventloop import Loop, Steps
from .settings import Settings
from .sockets import ODD
from .wording import say, words

LOOK, LOOK_AGAIN = 30.0, 600.0  # at most so many seconds until a node port that fails is read anew; and once more


class Services:
    """The node port, and whether it fails."""

    def __init__(self, settings: Settings, loop: Loop) -> None:
        self.api = Namespace(settings, loop)
        self.node_port, self.doubted = 0, False

    def run(self) -> Steps:
        """Read the Service's node port, and again when it fails: a Service that was made anew has another one."""
        pause = 15.0
        while True:
            try:
                yield from self.read()
            except ODD as problem:
                say(f"service: {words(problem)}")
                self.doubted = True
            # All agents fail together: they do not ask at once, and less and less often.
            pause = min(LOOK_AGAIN, pause * 2) if self.doubted else 15.0
            yield None, 0, monotonic() + pause * random.uniform(0.5, 1.0)
            while not self.doubted:
                yield None, 0, monotonic() + LOOK * random.uniform(0.1, 1.0)

    def read(self) -> Steps:
        """Read the Service; one without a node port has 0."""
        found = yield from self.api.get("services/knet-stress")
        ports = found["spec"].get("ports") or []
        self.node_port, self.doubted = next((int(port.get("nodePort", 0)) for port in ports), 0), False
