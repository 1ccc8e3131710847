"""What the audit log is searched for is found there: one line of each sort, written by hand."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cni_migrate.kube.transport import USER_AGENT
from tests.real.stage import Trail

NODE = "/api/v1/nodes/w1"
EVICTION = "/api/v1/namespaces/shop/pods/web/eviction?fieldManager=migrate"


def event(verb: str, uri: str, code: int = 200, agent: str = USER_AGENT, **more: Any) -> dict[str, Any]:
    """One that lasted from second 5 to second 6."""
    times = {"requestReceivedTimestamp": "2030-01-01T00:00:05.000000Z", "stageTimestamp": "2030-01-01T00:00:06.000000Z"}
    return {"verb": verb, "requestURI": uri, "userAgent": agent, "responseStatus": {"code": code}, **times, **more}


def eviction(uid: str, code: int) -> dict[str, Any]:
    body = {"deleteOptions": {"preconditions": {"uid": uid}}}
    return event("create", EVICTION, code, objectRef={"subresource": "eviction"}, requestObject=body)


def trail(folder: Path, *events: dict[str, Any]) -> Trail:
    path = folder / "audit.log"
    path.write_text("".join(f"{json.dumps(one, separators=(',', ':'))}\n" for one in events))
    return Trail(path)


def test_nothing_to_complain_about(tmp_path: Path) -> None:
    found = trail(
        tmp_path,
        event("patch", f"{NODE}?fieldManager=migrate"),
        event("patch", f"{NODE}?fieldManager=migrate", 409),
        event("delete", NODE),
        event("get", NODE, 500, agent="kube-controller-manager/v1"),
        eviction("a", 429),
        eviction("a", 201),
        eviction("b", 201),
    )
    assert found.problems() == []
    assert found.evicted() == {"a": 1, "b": 1}
    assert len(found.writes()) == 6


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([event("get", NODE, 403)], "answered 403"),
        ([event("get", NODE, 503)], "answered 503"),
        ([event("get", NODE, agent="migrate/other")], "User-Agent migrate/other"),
        ([event("patch", f"{NODE}?fieldManager=migrated")], "no field manager"),
        ([event("update", NODE)], "no field manager"),
        ([eviction("a", 201), eviction("a", 201)], "pod a was evicted 2 times"),
    ],
)
def test_what_must_not_be_there(tmp_path: Path, events: list[dict[str, Any]], problem: str) -> None:
    (found,) = trail(tmp_path, *events).problems()
    assert problem in found


def test_a_line_that_is_not_complete_is_read_later(tmp_path: Path) -> None:
    found = trail(tmp_path, event("get", NODE))
    whole = json.dumps(event("patch", f"{NODE}?fieldManager=migrate"), separators=(",", ":"))
    with found.path.open("a") as log:
        log.write(whole[:20])
    assert len(found.ours()) == 1
    with found.path.open("a") as log:
        log.write(whole[20:] + "\n")
    assert len(found.ours()) == 2
    assert len(found.writes()) == 1


@pytest.mark.parametrize(("since", "over", "problems"), [(3, 4, 1), (3, 5, 0), (5.2, 5.3, 0), (6, 9, 0), (7, 8, 1)])
def test_a_request_whose_sender_was_killed_meanwhile_may_fail(
    tmp_path: Path, since: float, over: float, problems: int
) -> None:
    found = trail(tmp_path, event("update", f"{NODE}?fieldManager=migrate", 500))
    start = datetime(2030, 1, 1, tzinfo=UTC)
    found.kills.append((start + timedelta(seconds=since), start + timedelta(seconds=over)))
    assert len(found.problems()) == problems
