"""The last Events of pods: which one is told, and that looking for it is never in the way."""

import asyncio
from typing import Any

import httpx
import pytest

from cni_migrate.kube.cache import Cache
from cni_migrate.kube.podevents import EVERY, MOST, PodEvents, last
from cni_migrate.kube.request import Client
from cni_migrate.sim.clock import run_virtual
from tests.unit.core.builders import a_pod
from tests.unit.kube.fake_api import FakeApi, FakeServer, LoopClock, Scripted, status


def event(reason: str, at: str, **more: Any) -> dict[str, Any]:
    return {"reason": reason, "message": f"what {reason}\nsays", "lastTimestamp": at, **more}


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], ""),
        ([event("Pulled", "1"), event("Started", "2")], "Started: what Started says"),
        ([event("Unhealthy", "1", type="Warning"), event("Started", "2")], "Unhealthy: what Unhealthy says"),
        ([event("A", "3", type="Warning"), event("B", "2", type="Warning")], "A: what A says"),
        ([event("A", "1"), {"reason": "B", "eventTime": "2"}], "B: "),
        ([event("A", "1", series={"lastObservedTime": "3"}), event("B", "2")], "A: what A says"),
        ([{}], "Event: "),
    ],
)
def test_the_newest_warning_is_told(events: list[Any], said: str) -> None:
    """Before what went well; by whichever time its writer gave."""
    assert last(events) == said


def _looked_up(
    *replies: Scripted, pods: int = 1, times: tuple[float, ...] = (0.0,)
) -> tuple[dict[str, str], FakeServer]:
    """What is known of some pods after their Events were asked for at these seconds, and what was asked."""

    async def main() -> tuple[dict[str, str], FakeServer]:
        server = FakeServer()
        server.on("GET", "/api/v1/namespaces/default/events", *replies)
        clock = LoopClock()
        client = Client(FakeApi(server), clock)
        cache = Cache(client, clock, "t")
        found = PodEvents(client, cache, clock)
        start = asyncio.get_running_loop().time()
        for at in times:
            await asyncio.sleep(start + at - asyncio.get_running_loop().time())
            await found.look_up([a_pod(f"p{number}") for number in range(pods)])
        return dict(cache.pod_events), server

    return run_virtual(main())


ANSWER = (200, {"items": [event("Unhealthy", "1", type="Warning")]})


def test_a_pods_events_are_asked_for_by_its_uid() -> None:
    """One of the same name that was there before is another pod."""
    known, server = _looked_up(ANSWER)
    assert known == {"uid-p0": "Unhealthy: what Unhealthy says"}
    assert server.seen[0].query["fieldSelector"] == "involvedObject.uid=uid-p0"


def test_not_again_and_again() -> None:
    """Once in a while for each pod, and a few pods at most."""
    _, server = _looked_up(ANSWER, times=(0.0, EVERY / 2, EVERY - 1, EVERY + 1))
    assert len(server.seen) == 2
    _, server = _looked_up(ANSWER, pods=MOST + 3)
    assert len(server.seen) == MOST


@pytest.mark.parametrize(
    ("reply", "asked"),
    [
        ((500, status(500, "InternalError")), 2),
        ((404, status(404, "NotFound")), 2),
        (httpx.ConnectError("refused"), 2),
        ((403, status(403, "Forbidden", 'events is forbidden: User "x" cannot list resource "events"')), 1),
    ],
)
def test_what_cannot_be_read_is_left_out(reply: Scripted, asked: int) -> None:
    """Without an error, and without trying longer; who may not read them does not ask again."""
    known, server = _looked_up(reply, times=(0.0, EVERY + 1))
    assert known == {}
    assert len(server.seen) == asked
