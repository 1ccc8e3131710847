"""Counts what is lost between pods with programs that have nothing to do with the tool: fping and curl.

They run in the pods' network namespaces but outside the pods, so neither a kubelet nor the API server is in their way.
Every pair of probers is pinged ten times a second and asked over one long-lived HTTP connection five times a second;
each prober also asks a Service by its ClusterIP, with a new connection each time.
"""

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.lab.cluster import Cluster
from tests.lab.listing import Listing
from tests.lab.settings import MARK

PING_EVERY = 0.1
ASK_EVERY = 0.2
PING_TIMEOUT = 2.0
TIMEOUT = 5.0
"""Seconds for an answer by TCP: a connection that is broken stays so, and a server that waits for a processor for two seconds
says nothing of the network, where pings go on."""
ON_TIME = ("nice", "-n", "-15")
"""Put before a program that measures: the lab's processes together weigh as much as 20 others, and what is told by one that
waits for a processor is no loss of the network's."""
LATE = 0.5
"""Seconds by which a program that measures may be late with its own timeout; later it was the machine that stood still."""
LOOK = 0.5
SETTLE = 1.0
"""Seconds before a pod's end that do not count: the kubelet ends its processes before all have heard of it."""


@dataclass(frozen=True)
class Pod:
    """A prober, as the API server last told of it."""

    name: str
    uid: str
    node: str
    address: str
    ready: bool
    ends: float | None
    """When its deletion was asked for, in seconds since the epoch; None while it is to stay."""

    @classmethod
    def of(cls, told: dict[str, Any]) -> "Pod":
        """From the API's object."""
        meta, status = told["metadata"], told.get("status", {})
        deletion = meta.get("deletionTimestamp")
        grace = meta.get("deletionGracePeriodSeconds") or 0
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
        return cls(
            name=meta["name"],
            uid=meta["uid"],
            node=told["spec"].get("nodeName", ""),
            address=status.get("podIP", ""),
            ready=ready,
            ends=datetime.fromisoformat(deletion).timestamp() - grace if deletion else None,
        )


class Watch:
    """One stream of probes, from a pod to an address, while both its ends stand."""

    def __init__(self, kind: str, source: Pod, target: Pod | None, argv: list[str], mark: dict[str, str]) -> None:
        self.kind = kind
        self.source = source
        self.target = target
        self.ended: float | None = None
        self._lines: list[tuple[float, str]] = []
        self._child = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | mark
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def key(self) -> tuple[str, str, str]:
        """What it probes, by which means."""
        return self.kind, self.source.uid, self.target.uid if self.target else ""

    def _read(self) -> None:
        assert self._child.stdout is not None
        with self._child.stdout as out:
            for line in out:
                self._lines.append((time.time(), line.rstrip()))

    def end(self, when: float) -> None:
        """Probe no more; what was sent after `when` does not count."""
        if self.ended is None:
            self.ended = when
            self._child.terminate()
            self._child.wait(10)
            self._reader.join()

    def probes(self) -> Iterator[tuple[float, bool, str]]:
        """Of each probe when it was sent, whether it came back, and what was said when it did not."""
        read = _ping if self.kind == "ping" else _answer
        for came, line in self._lines:
            probe = read(came, line)
            if probe is not None and probe[0] < (self.ended or float("inf")):
                yield probe


def _ping(_: float, line: str) -> tuple[float, bool, str] | None:
    # [1732360000.12345] 10.244.0.2 : [3], 64 bytes, 0.05 ms (...)   or   ... : [3], timed out (...)
    found = re.match(r"\[(\d+\.\d+)\] \S+ +: \[\d+\], (.*)", line)
    if not found:
        return None
    ok = "bytes" in found[2]
    # A loss is printed when the wait for it is over.
    return float(found[1]) - (0 if ok else PING_TIMEOUT), ok, "" if ok else found[2]


def _answer(came: float, line: str) -> tuple[float, bool, str] | None:
    # Written by curl when a transfer is over: the code, how long it took, new connections, what went wrong.
    words = line.split(" ", 3)
    if len(words) < 3 or not words[0].isdigit():
        return None
    if float(words[1]) > TIMEOUT + LATE:  # its own clock: curl had no processor, and tells nothing of the network
        return None
    return came - float(words[1]), words[0] == "200", words[3] if len(words) > 3 else ""


def process_of(uid: str) -> int | None:
    """A process of the pod with this uid, as the machine numbers it; in it the pod's network is found."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if f"pod{uid}" in (entry / "cgroup").read_text():
                    return int(entry.name)
    return None


@dataclass
class Tally:
    """What became of some probes."""

    sent: int = 0
    lost: int = 0
    stall: float = 0.0
    """The longest time without an answer between the first and the last loss of one stream, in seconds."""
    examples: list[str] = field(default_factory=list)


class Probing:
    """While it is entered, all probers that are Ready are probed; `tally` counts afterwards."""

    def __init__(self, here: Cluster, service: str) -> None:
        self._here = here
        self._service = service
        self._listing = Listing(here.lab, "shop", "app=prober")
        self._looked = time.time()
        self.watches: list[Watch] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Probing":
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        left = time.time()
        time.sleep(TIMEOUT + SETTLE)  # a loss is told when the wait for it is over: so everything until now counts
        self._stop.set()
        self._thread.join()
        self._look()
        self._listing.close()
        for watch in self.watches:
            watch.end(left)

    def _follow(self) -> None:
        while not self._stop.wait(LOOK):
            self._look()

    def _look(self) -> None:
        """Begin what can be probed now; end what one of whose ends goes."""
        asked = time.time()
        listed = self._listing.pods()
        if listed is None:  # the API server is away: the streams go on
            return
        pods = {pod.uid: pod for pod in map(Pod.of, listed)}
        for watch in self.watches:
            for end in (watch.source, watch.target):
                if watch.ended is None and end is not None:
                    seen = pods.get(end.uid)
                    if seen is None:  # it went between two looks, which are far apart when kubectl has to wait
                        watch.end(self._looked - SETTLE)
                    elif seen.ends is not None:
                        watch.end(seen.ends - SETTLE)
        self._looked = asked
        standing = [pod for pod in pods.values() if pod.ready and pod.ends is None]
        running = {watch.key for watch in self.watches if watch.ended is None}
        for source in standing:
            for kind, target in [
                ("service", None),
                *((k, t) for t in standing if t != source for k in ("ping", "stream")),
            ]:
                if (kind, source.uid, target.uid if target else "") not in running:
                    self._begin(kind, source, target)

    def _begin(self, kind: str, source: Pod, target: Pod | None) -> None:
        inside = process_of(source.uid)
        if inside is None:
            return
        argv = {
            "ping": [
                "fping",
                "-l",
                "-D",
                "-p",
                f"{PING_EVERY * 1000:g}",
                "-t",
                f"{PING_TIMEOUT * 1000:g}",
                target.address if target else "",
            ],
            "stream": _curl(f"http://{target.address if target else ''}:8080/", keep=True),
            "service": _curl(self._service, keep=False),
        }[kind]
        enter = [*ON_TIME, "nsenter", f"--target={inside}", "--net", "--"]
        self.watches.append(Watch(kind, source, target, [*enter, *argv], {MARK: str(self._here.lab.folder)}))

    def tally(self, spans: dict[str, list[tuple[float, float]]]) -> dict[tuple[str, str], Tally]:
        """Of each span of time and each kind of probe what was sent and lost; "between" is what is in no span."""
        found: dict[tuple[str, str], Tally] = {}
        for watch in self.watches:
            gap: float | None = None
            for when, ok, why in watch.probes():
                name = next((n for n, parts in spans.items() if any(a <= when < b for a, b in parts)), "between")
                tally = found.setdefault((name, watch.kind), Tally())
                tally.sent += 1
                if ok:
                    gap = None
                    continue
                gap = when if gap is None else gap
                tally.lost += 1
                tally.stall = max(tally.stall, when - gap + (PING_EVERY if watch.kind == "ping" else ASK_EVERY))
                target = watch.target.node if watch.target else "service"
                at = datetime.fromtimestamp(when).strftime("%H:%M:%S.%f")[:-4]  # noqa: DTZ006 - read beside local logs
                tally.examples.append(f"{at} {watch.kind} {watch.source.node} -> {target}: {why}")
        return found


def _curl(url: str, *, keep: bool) -> list[str]:
    told = "%{stderr}%{http_code} %{time_total} %{num_connects} %{errormsg}\n"  # stdout would be kept back in a buffer
    pace = ["--rate", f"{1 / ASK_EVERY:g}/s", "--max-time", f"{TIMEOUT:g}"]
    headers = [] if keep else ["--header", "Connection: close"]
    return ["curl", "--silent", *pace, "--output", "/dev/null", "--write-out", told, *headers, f"{url}?[1-10000000]"]
