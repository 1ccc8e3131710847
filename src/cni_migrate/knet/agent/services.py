"""The agents' Services: their addresses, where the environment does not tell them, and the node port."""

from __future__ import annotations

import random
from collections.abc import Callable
from time import monotonic
from typing import Any

from .apiserver import Namespace
from .eventloop import Loop, Steps
from .settings import Settings
from .sockets import ODD
from .wording import say, words

LOOK, LOOK_AGAIN = 30.0, 600.0  # at most so many seconds until a node port that fails is read anew; and once more


class Services:
    """Where the Services are: ('', 0) and 0 as long as that is not known, or is not to be asked."""

    def __init__(self, settings: Settings, loop: Loop, changed: Callable[[], None] = lambda: None) -> None:
        self.changed = changed
        self.api = Namespace(settings, loop)
        self.skip = settings.skip
        self.service, self.guard = settings.service, settings.guard
        self.node_port, self.doubted = 0, False

    def run(self) -> Steps:
        """Read what is not known; the node port again when it fails, as a Service that was made anew has another."""
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
        """Read the Services; one without a node port has 0. A pod that was older than its Service was not told."""
        if not self.service[0] or "nodeport" not in self.skip:
            found = yield from self.api.get("services/knet-stress")
            self.service = self.service if self.service[0] else address_of(found)
            ports = found["spec"].get("ports") or []
            self.node_port = next((int(port.get("nodePort", 0)) for port in ports), 0)
        if not self.guard[0]:
            self.guard = address_of((yield from self.api.get("services/knet-stress-guard")))
        self.doubted = False
        self.changed()


def address_of(service: dict[str, Any]) -> tuple[str, int]:
    """The ClusterIP of a Service, and its first port."""
    spec = service["spec"]
    return spec["clusterIP"], int(spec["ports"][0]["port"])
