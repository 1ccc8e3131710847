"""What Prometheus is told: the names of the original, with labels for the peer, its network and the kind."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable

from .settings import Settings

BUCKETS = 40  # of 5 ms each, in the histogram

Key = tuple[str, str, str]
"""A direction: peer, network, kind."""


class Metrics:
    """Counters and a histogram of the probes, and how many requests came in."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.counts: Counter[tuple[str, str, str, str]] = Counter()
        self.times: dict[tuple[str, str], list[float]] = {}
        self.received = 0

    def note(self, key: Key, code: str, ms: float = -1.0) -> None:
        """Count a probe; `code` is that of its answer, 0 without one, as the original has it."""
        self.counts[(*key, code)] += 1
        if ms >= 0:
            times = self.times.setdefault(key[1:], [0.0] * (BUCKETS + 2))
            times[min(BUCKETS, int(ms / 5))] += 1.0
            times[-1] += ms / 1000

    def lines(self) -> Iterable[str]:
        """The lines of `/metrics`."""
        me, name = f'instance_id="{self.settings.node}",mesh="{self.settings.mesh}"', "knet_stress_client_requests"
        yield "# TYPE knet_stress_client_api_requests_sent counter"
        for key, count in self.counts.items():
            if key[2] == "api":
                yield f'knet_stress_client_api_requests_sent{{{me},code="{key[3]}"}} {count}'
        yield f"# TYPE {name}_sent counter"
        for (peer, net, kind, code), count in self.counts.items():
            if kind != "api":
                yield f'{name}_sent{{{me},code="{code}",peer="{peer}",net="{net}",kind="{kind}"}} {count}'
        yield f"# TYPE {name}_duration_seconds histogram"
        for (net, kind), times in self.times.items():
            of = f'{me},net="{net}",kind="{kind}"'
            for n, total in enumerate(itertools.accumulate(times[:-1]), 1):
                le = f"{n * 0.005:.3f}" if n <= BUCKETS else "+Inf"
                yield f'{name}_duration_seconds_bucket{{{of},le="{le}"}} {total:.0f}'
            yield f"{name}_duration_seconds_sum{{{of}}} {times[-1]:.6f}"
            yield f"{name}_duration_seconds_count{{{of}}} {sum(times[:-1]):.0f}"
        yield "# TYPE knet_stress_server_requests_received counter"
        yield f"knet_stress_server_requests_received{{{me}}} {self.received}"
