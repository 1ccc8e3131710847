"""How the probes of a round ended, and since when which of them fail."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from .eventloop import Steps
from .metrics import Key, Metrics
from .sockets import TROUBLE
from .wording import words


class Results:
    """The directions that fail now, and what the round at hand has sent, lost and taken."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.bad: dict[Key, str] = {}
        self.since: dict[Key, str] = {}
        self.sent, self.lost = 0, 0
        self.times: list[float] = []

    def begin(self, stays: Callable[[Key], bool]) -> None:
        """A new round begins; what it does not probe stays as it is."""
        self.bad = {key: error for key, error in self.bad.items() if stays(key)}
        self.sent, self.lost, self.times = 0, 0, []

    def attempt(self, peer: str, net: str, kind: str, probe: Steps) -> Steps:
        """Do one probe and note how it ended; whether it succeeded."""
        began = monotonic()
        try:
            code = yield from probe
        except TROUBLE as problem:
            self.note(peer, net, kind, words(problem))
            return False
        self.note(peer, net, kind, "", code or 200, (monotonic() - began) * 1000)
        return True

    def note(self, peer: str, net: str, kind: str, error: str, code: int = 0, ms: float = -1.0) -> None:
        """Count a probe, how long it took, and what was wrong with it, if anything."""
        self.sent += 1
        key = (peer, net, kind)
        if error:
            self.lost += 1
            self.bad[key] = error
        else:
            self.bad.pop(key, None)
            if ms >= 0:
                self.times.append(ms)
        self.metrics.note(key, error[7:] if error.startswith("status ") else str(code), ms)

    def report(self, at: str) -> dict[str, Any]:
        """The round's part of the report; what fails since this round fails since `at`."""
        self.since = {key: self.since.get(key, at) for key in self.bad}
        bad = [
            {"peer": peer, "net": net, "kind": kind, "error": error, "since": self.since[peer, net, kind]}
            for (peer, net, kind), error in sorted(self.bad.items())
        ]
        return {"sent": self.sent, "lost": self.lost, "bad": bad}

    def latencies(self) -> dict[str, float]:
        """How long the successful probes took, in milliseconds."""
        ordered = sorted(self.times)
        return {name: at_share(ordered, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}


def at_share(ordered: list[float], share: float) -> float:
    """The value below which this share of the values is."""
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1) if ordered else 0.0
