"""Who gets through a NetworkPolicy: every caller of `guarded` calls every server, once or once a second.

The calls are made in the pods' network namespaces but outside the pods, so neither a kubelet nor the API server is in their
way. A forbidden call that is answered counts always, an allowed one that is not connected only while both its pods stand.
"""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.lab import guarded
from tests.lab.cluster import Cluster
from tests.lab.guarded import CALLERS, SERVER, Pods
from tests.lab.probing import ON_TIME, SETTLE, Pod, process_of
from tests.lab.processes import say
from tests.lab.settings import MARK

EVERY = 1.0
TIMEOUT = 3.0
"""Seconds that a call has to be answered: on a machine with much more work than processors less says nothing."""
AT_ONCE = 8
"""How many moments' calls may be under way: more are begun only when the machine has caught up."""
LOOK = 0.5
KNOWN = 3.0
"""Seconds from a pod's readiness until all nodes are to know it: for so long a lost call counts as the restart's."""


@dataclass(frozen=True)
class Call:
    """One caller's try to reach one server."""

    caller: str
    source: str
    target: str
    way: str
    """`address` of the pod, or `ClusterIP` of its Service."""
    reached: bool
    why: str = ""
    """What was said when it was not."""
    connected: bool = False
    """The two kernels shook hands, though the server did not answer in time: neither network nor policy was in the way."""
    at: float = 0.0
    ends: tuple[str, str] = ("", "")
    """The uids of the two pods."""

    @property
    def passed(self) -> bool:
        """Whether it was let through."""
        return self.reached or self.connected

    @property
    def wrong(self) -> bool:
        """Whether the policy would have had it end otherwise."""
        return self.passed != CALLERS[self.caller]

    @property
    def through(self) -> bool:
        """Whether it was forbidden, and let through."""
        return self.wrong and self.passed

    @property
    def pair(self) -> tuple[str, str, str, str]:
        """What it has in common with the same call at another time."""
        return self.caller, self.source, self.target, self.way

    def __str__(self) -> str:
        told = "got through" if self.passed else f"lost: {self.why or 'no answer'}"
        return f"{self.caller} on {self.source} -> {SERVER} on {self.target} by {self.way} {told}"


class Asking:
    """Makes the calls of one moment."""

    def __init__(self, here: Cluster) -> None:
        self._prober = here.programs["prober"]
        self._mark = os.environ | {MARK: str(here.lab.folder)}
        self._services = guarded.services(here)
        self._inside: dict[str, int | None] = {}
        self._pool = ThreadPoolExecutor(16 * AT_ONCE, "calls")

    def all(self, pods: Pods) -> list[Call]:
        """Every caller to every server, by both ways, at once."""
        targets: dict[str, tuple[str, str, str]] = {}
        for (role, node), pod in pods.items():
            if role == SERVER:
                if pod.address:
                    targets[f"{pod.address}:8080"] = (node, "address", pod.uid)
                targets[f"{self._services[node]}:80"] = (node, "ClusterIP", pod.uid)
        callers = [(role, node, pod) for (role, node), pod in pods.items() if role in CALLERS and pod.address]
        found = self._pool.map(lambda caller: self._of(targets, *caller), callers)
        return [call for calls in found for call in calls]

    def _of(self, targets: dict[str, tuple[str, str, str]], role: str, node: str, pod: Pod) -> list[Call]:
        now, answers = time.time(), self._answers(pod, list(targets))
        calls = []
        for target, (where, way, uid) in targets.items():
            line = answers.get(target, {"reply": {"error": "the caller did not call"}})
            reply = line["reply"]
            # An address may have another pod by now, one without a policy.
            reached = str(reply.get("pod", "")).startswith(f"{SERVER}-")
            connected = bool(line.get("connected")) and not reply.get("pod")
            why = "" if reached else str(reply.get("error", reply))
            calls.append(Call(role, node, where, way, reached, why, connected, now, (pod.uid, uid)))
        return calls

    def _answers(self, pod: Pod, targets: list[str]) -> dict[str, dict[str, Any]]:
        inside = self._inside.get(pod.uid)
        if inside is None or not Path(f"/proc/{inside}").exists():
            inside = self._inside[pod.uid] = process_of(pod.uid)
        if inside is None or not targets:
            return {}
        enter = [*ON_TIME, "nsenter", f"--target={inside}", "--net", "--"]
        argv = [*enter, str(self._prober), "probe", "-timeout", f"{TIMEOUT}s"]
        done = subprocess.run([*argv, *targets], capture_output=True, text=True, env=self._mark, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return {line["target"]: line for line in lines}


def calls(here: Cluster, tries: int = 3) -> list[Call]:
    """Every caller tries every server, by both ways, some times; it was reached if any came through."""
    asking = Asking(here)
    found: dict[tuple[str, str, str, str], Call] = {}
    for _ in range(tries):
        for call in asking.all(guarded.pods(here) or {}):
            if call.reached or call.pair not in found:
                found[call.pair] = call
    return list(found.values())


def wrong(found: Iterable[Call]) -> list[Call]:
    """Those that the policy would have had end otherwise."""
    return [call for call in found if call.wrong]


@dataclass
class Life:
    """What was seen of one pod."""

    ready: float = float("inf")
    """When it became Ready first."""
    ends: float = float("inf")
    """When its end was asked for, or it stopped being Ready."""

    def stands(self, since: float, until: float) -> bool:
        """Whether it was Ready, and known as such, all that time."""
        return self.ready + KNOWN <= since and until <= self.ends - SETTLE


@dataclass
class Tally:
    """What became of all calls while they were sampled."""

    seconds: int = 0
    """How many times all calls were begun."""
    calls: int = 0
    through: list[Call] = field(default_factory=list)
    """Forbidden, and answered."""
    lost: list[Call] = field(default_factory=list)
    """Allowed, and not answered while both pods stood."""
    restarting: list[Call] = field(default_factory=list)
    """Allowed, and not answered while one of the pods came or went."""
    unanswered: int = 0
    """Allowed and connected, but not answered in time: the server's process got no processor."""

    @property
    def wrong(self) -> dict[int, list[Call]]:
        """By second since the epoch: what got through or was lost."""
        found: dict[int, list[Call]] = {}
        for call in sorted([*self.through, *self.lost], key=lambda call: call.at):
            found.setdefault(int(call.at), []).append(call)
        return found

    def __str__(self) -> str:
        return (
            f"{self.seconds} seconds, {self.calls} calls: {len(self.through)} forbidden got through, "
            f"{len(self.lost)} allowed were lost, and {len(self.restarting)} more while a pod of theirs came or went"
            + (f"; {self.unanswered} were connected and not answered in time" if self.unanswered else "")
        )

    def table(self) -> str:
        """Each second that had something wrong, then the sum."""
        rows = []
        for second, found in self.wrong.items():
            at = datetime.fromtimestamp(second).strftime("%H:%M:%S")  # noqa: DTZ006 - read beside local logs
            through = sum(call.through for call in found)
            rows.append(f"{at}  {through} got through, {len(found) - through} lost")
            rows += [f"          {call}" for call in found]
        return "\n".join([*rows, str(self)])


class Sampling:
    """While it is entered, all calls are made once a second; `tally` counts afterwards."""

    def __init__(self, here: Cluster, *, aloud: bool = False) -> None:
        self._listing = guarded.listing(here)
        self._aloud = aloud
        self._asking = Asking(here)
        self._pods: Pods = {}
        self._looked = time.time()
        self._lives: dict[str, Life] = {}
        self._samples: list[list[Call]] = []
        self._moments: list[Future[None]] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._follow, self._sample)]

    def __enter__(self) -> "Sampling":
        self._look()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(LOOK + SETTLE)  # the end of a pod is heard of later than its calls fail
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for moment in self._moments:
            moment.result()  # a look that failed has seen nothing, and is not to pass for a clean one
        self._look()
        self._listing.close()

    def _follow(self) -> None:
        while not self._stop.wait(LOOK):
            self._look()

    def _look(self) -> None:
        asked, told = time.time(), guarded.told(self._listing)
        if told is None:  # the API server is away: what was known last goes on
            return
        now, there = time.time(), {pod.uid for _, pod in told}
        for uid, life in self._lives.items():
            if uid not in there:  # it went between two looks, which are far apart when kubectl has to wait
                life.ends = min(life.ends, self._looked)
        for _, pod in told:
            life = self._lives.setdefault(pod.uid, Life())
            if pod.ready and pod.ends is None:
                life.ready = min(life.ready, now)
            elif life.ready < now:
                life.ends = min(life.ends, pod.ends if pod.ends is not None else self._looked)
        self._looked = asked
        self._pods = {key: pod for key, pod in told if pod.ends is None}

    def _sample(self) -> None:
        due, room = time.monotonic(), threading.Semaphore(AT_ONCE)
        with ThreadPoolExecutor(AT_ONCE, "samples") as moments:
            while not self._stop.is_set():
                room.acquire()
                moment = moments.submit(self._ask)
                moment.add_done_callback(lambda _: room.release())
                self._moments.append(moment)
                due = max(due + EVERY, time.monotonic())
                self._stop.wait(due - time.monotonic())

    def _ask(self) -> None:
        found = self._asking.all(self._pods)
        self._samples.append(found)
        if self._aloud:
            for call in filter(self._counts, wrong(found)):
                say(f"{datetime.fromtimestamp(call.at):%H:%M:%S}  {call}")  # noqa: DTZ006 - read beside local logs

    def _counts(self, call: Call) -> bool:
        """Whether a wrong call counts, as far as is known of its pods by now.

        Who answered has told its name; who was only connected may have been another pod with the same address.
        """
        stood = all(self._lives[uid].stands(call.at, call.at + TIMEOUT) for uid in call.ends)
        return stood or (call.through and call.reached)

    def tally(self) -> Tally:
        """What became of all calls so far."""
        found = Tally(seconds=len(self._samples))
        for call in (call for sample in list(self._samples) for call in sample):
            found.calls += 1
            found.unanswered += call.connected and CALLERS[call.caller]
            if call.through:
                found.through += [call] if self._counts(call) else []
            elif call.wrong:
                (found.lost if self._counts(call) else found.restarting).append(call)
        return found
