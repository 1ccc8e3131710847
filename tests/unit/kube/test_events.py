"""Events on nodes: gathered, at once when something is wrong, and never in the way."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cni_migrate.core.model.news import News
from cni_migrate.errors import ClusterUnreachable
from cni_migrate.kube.events import GATHER, LONGEST, NodeEvents


class Clock:
    """A clock on which a sleep of a second takes a millisecond."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """The instant."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Let time pass, and others run."""
        await asyncio.sleep(0)
        self.time += timedelta(seconds=seconds)


class Api:
    """Takes Events, or answers with a status, or not at all."""

    def __init__(self, status: int = 201, *, dead: bool = False) -> None:
        self.status, self.dead = status, dead
        self.taken: list[Mapping[str, Any]] = []

    async def request(self, method: str, path: str, *, body: Mapping[str, Any], deadline: float) -> Any:
        """One request."""
        assert (method, path, deadline) == ("POST", "/api/v1/namespaces/default/events", 0)
        if self.dead:
            raise ClusterUnreachable("gone")
        self.taken.append(body)
        return SimpleNamespace(status=self.status, message="")


def sent(api: Api, *news: News, wait: float) -> list[Mapping[str, Any]]:
    """What has been sent some seconds after these news, while the block still runs."""

    async def main() -> list[Mapping[str, Any]]:
        clock = Clock()
        events = NodeEvents(api, clock, "here")  # type: ignore[arg-type]
        async with events.sending():
            for one in news:
                events.tell(one)
            end = clock.now() + timedelta(seconds=wait)
            while clock.now() < end:
                await asyncio.sleep(0)
                clock.time += timedelta(seconds=0.01)
            return list(api.taken)

    return asyncio.run(main())


STATES = [News("w1", "u", f"R{n}", f"state {n}") for n in range(4)]


def test_a_nodes_news_are_one_event() -> None:
    """Four changes within seconds are one Event, when they were gathered, on the node that kubectl describes."""
    assert sent(Api(), *STATES, wait=GATHER / 2) == []
    (event,) = sent(Api(), *STATES, wait=GATHER * 1.5)
    assert event["message"] == "state 0; state 1; state 2; state 3"
    assert (event["type"], event["reason"]) == ("Normal", "R3")
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "w1", "uid": "u"}


def test_what_is_wrong_is_told_at_once() -> None:
    """A hold does not wait, and what came before it comes along."""
    (event,) = sent(Api(), STATES[0], News("w1", "u", "Held", "held: x", warning=True), wait=GATHER / 2)
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "Held", "state 0; held: x")


def test_nothing_is_lost_at_the_end() -> None:
    """When the run is over, what was gathered is sent."""
    api = Api()
    sent(api, STATES[0], wait=0.01)
    assert [event["message"] for event in api.taken] == ["state 0"]


@pytest.mark.parametrize("api", [Api(dead=True), Api(403), Api(500)])
def test_an_api_server_that_takes_none_is_no_trouble(api: Api) -> None:
    """No exception, and one that forbids them is not asked again."""
    sent(api, *STATES, News("w2", "v", "R", "m"), wait=GATHER * 3)
    assert len(api.taken) <= (1 if api.status == 403 else 2)


def test_a_long_message_is_cut() -> None:
    """The API server takes 1,024 characters."""
    (event,) = sent(Api(), News("w1", "u", "R", "x" * 3000, warning=True), wait=1)
    assert len(event["message"]) == LONGEST


def test_a_process_that_was_stopped_tells_nothing_old() -> None:
    """It wakes up after another one has taken over: what it had gathered is dropped, what happens then is told."""
    api = Api()

    async def main() -> None:
        clock = Clock()
        events = NodeEvents(api, clock, "here")  # type: ignore[arg-type]
        async with events.sending():
            events.tell(STATES[0])
            clock.time += timedelta(seconds=60)  # SIGSTOP, SIGCONT
        assert api.taken == []
        events.tell(News("w1", "u", "Held", "held: x", warning=True))
        async with events.sending():
            await asyncio.sleep(0)

    asyncio.run(main())
    assert [event["message"] for event in api.taken] == ["held: x"]
