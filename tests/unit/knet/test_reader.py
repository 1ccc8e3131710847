"""Reading the agents' reports: tolerant of how logs are cut, strict about who reports and in which version."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from cni_migrate.core.model.rounds import BadProbe, GateAsk
from cni_migrate.errors import ClusterUnreachable
from cni_migrate.knet.reader import LogProber, rounds_of

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def line(number: int = 12, **values: Any) -> str:
    report: dict[str, Any] = {
        "v": 1, "round": number, "at": "2030-01-01T00:00:06.000000Z", "node": "w1", "mesh": "a",
        "pod": "knet-stress-a-x1", "uid": "u1", "interval_s": 0.5, "peers": ["w1/b", "w2/a", "w2/b"],
        "sent": 14, "lost": 2,
        "bad": [{"peer": "w2/a", "net": "primary", "kind": "http", "error": "timeout", "since": "2030-01-01T00:00Z"}],
        "stalls": [
            {"peer": "w2/a", "net": "primary", "ms": 1200, "reset": False},
            {"peer": "w2/b", "net": "primary", "ms": 3, "reset": True},
        ],
        "ms": {"p50": 1.1, "p99": 3.0, "max": 4.2},
    }  # fmt: skip
    return json.dumps({**report, **values})


def test_a_report_in_full() -> None:
    (one,), error = rounds_of(line() + "\n", "w1/a")
    assert error == ""
    assert (one.round, one.at, one.uid, one.interval) == (12, datetime(2030, 1, 1, 0, 0, 6, tzinfo=UTC), "u1", 0.5)
    assert one.peers == {"w1/b", "w2/a", "w2/b"}
    assert (one.sent, one.lost, one.stall_ms) == (14, 2, 1200.0)
    assert one.bad == (BadProbe("w2/a", "primary", "http", "timeout"),)


TOLERATED = {
    "a first line that is cut": f'"sent":14}}\n{line(1)}\n{line(2)}\n',
    "a last line that is not finished": f"{line(1)}\n{line(2)}\n{line(3)[:40]}",
    "the agent's own messages": f"listening\n{line(1)}\n[1, 2]\n{line(2)}\n{{}}\n",
}


@pytest.mark.parametrize("text", TOLERATED.values(), ids=TOLERATED)
def test_tolerated(text: str) -> None:
    rounds, error = rounds_of(text, "w1/a")
    assert ([one.round for one in rounds], error) == ([1, 2], "")


REFUSED = {
    "nothing": ("", "no report in its log yet"),
    "a traceback": ("Traceback (most recent call last):\n", "no report in its log yet"),
    "a newer version": (line(v=2), "it reports in version 2, this program reads version 1"),
    "another agent": (line(node="w9"), "it reports as w9/a"),
    "no time zone": (line(at="2030-01-01T00:00:06"), "has no zone"),
    "a field is missing": (json.dumps({"v": 1, "round": 1}), "a report cannot be understood: KeyError('at')"),
    "a field of another kind": (line(sent=None), "a report cannot be understood: TypeError"),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_refused(text: str, said: str) -> None:
    rounds, error = rounds_of(text, "w1/a")
    assert rounds == []
    assert said in error


class Logs:
    """Logs by pod, and how many were read at once."""

    def __init__(self, **logs: str | Exception) -> None:
        self.logs, self.reads, self.at_once, self.most = logs, 0, 0, 0

    async def tail(self, namespace: str, pod: str, lines: int) -> str:
        assert (namespace, lines) == ("knet-stress", 24)
        self.reads += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        found = self.logs[pod]
        if isinstance(found, Exception):
            raise found
        return found


class Clock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


def ask(key: str, *agents: str) -> GateAsk:
    return GateAsk(key, tuple(("knet-stress", agent.replace("/", ""), agent) for agent in agents), NOW)


def test_each_ask_gets_its_agents_and_each_log_is_read_once() -> None:
    logs = Logs(w1a=line(), w1b=line(mesh="b"), w2a=ClusterUnreachable("no route"))
    prober = LogProber(logs.tail, Clock(), parallel=2)
    readings = asyncio.run(prober.read([ask("one", "w1/a", "w2/a"), ask("two", "w1/a", "w1/b")]))
    assert set(readings["one"].rounds) == {"w1/a", "w2/a"}
    assert readings["one"].errors == {"w2/a": "its reports cannot be read: no route"}
    assert readings["one"].rounds["w2/a"] == []
    assert readings["two"].errors == {}
    assert readings["two"].at == NOW
    assert logs.reads == 3


def test_logs_are_read_in_parallel_within_bounds() -> None:
    agents = [f"w{n}/a" for n in range(20)]
    logs = Logs(**{agent.replace("/", ""): line(node=agent[:-2]) for agent in agents})
    readings = asyncio.run(LogProber(logs.tail, Clock(), parallel=5).read([ask("k", *agents)]))
    assert all(len(readings["k"].rounds[agent]) == 1 for agent in agents)
    assert logs.most == 5


def test_no_ask_no_reading() -> None:
    assert asyncio.run(LogProber(Logs().tail, Clock()).read([])) == {}
