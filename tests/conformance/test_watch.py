"""Watches: order, selectors, where they start and how they end."""

import time
from concurrent.futures import ThreadPoolExecutor

from tests.conformance.harness import MERGE, Json, Space, unique


def seen(events: list[Json]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


def test_from_a_list(space: Space) -> None:
    """What happened after the list's version, in order, whole objects with kind; then the watch ends by its time."""
    cluster, path = space.cluster, space.path("configmaps")
    space.create("configmaps", {"metadata": {"name": "before"}})
    version = cluster.get(path).version
    space.create("configmaps", {"metadata": {"name": "a"}})
    cluster.patch(f"{path}/a", {"data": {"k": "v"}})
    deleted = cluster.delete(f"{path}/a")
    assert deleted.code == 200
    started = time.monotonic()
    events = list(cluster.watch(path, version, seconds=1))
    assert seen(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert [event["object"]["kind"] for event in events] == ["ConfigMap"] * 3
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))
    assert 0.5 < time.monotonic() - started < 5


def test_live(space: Space) -> None:
    """An event arrives when it happens."""
    path = space.path("configmaps")
    version = space.cluster.get(path).version
    stream = space.cluster.watch(path, version)
    try:
        for name in ("a", "b"):
            space.create("configmaps", {"metadata": {"name": name}})
            event = next(stream)
            assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", name)
    finally:
        stream.close()


def test_without_a_version(space: Space) -> None:
    """It starts with what there is."""
    path = space.path("secrets")
    for name in ("a", "b"):
        space.create("secrets", {"metadata": {"name": name}})
    for version in ("", "0"):
        events = list(space.cluster.watch(path, version, seconds=1))
        assert sorted(seen(events)) == [("ADDED", "a"), ("ADDED", "b")]


def test_labels_in_and_out(space: Space) -> None:
    """To a selecting watcher an object that begins to match is ADDED, one that ceases to is DELETED."""
    cluster, path = space.cluster, space.path("configmaps")
    version = cluster.get(path).version
    space.create("configmaps", {"metadata": {"name": "a"}})
    last = ""
    for labels in ({"app": "x"}, {"app": "x", "n": "1"}, {"app": None}, {"app": "x"}):
        last = cluster.patch(f"{path}/a", {"metadata": {"labels": labels}}).version
    assert cluster.delete(f"{path}/a").code == 200
    events = list(cluster.watch(path, version, seconds=1, labelSelector="app=x"))
    assert seen(events) == [(kind, "a") for kind in ("ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED")]
    assert events[2]["object"]["metadata"]["labels"] == {"app": "x", "n": "1"}
    assert events[3]["object"]["metadata"]["resourceVersion"] == last


def test_fields(space: Space) -> None:
    """By name, and by the node a pod is bound to."""
    cluster, path = space.cluster, space.path("pods")
    version = cluster.get(path).version
    space.pod("a")
    space.pod("b", node="n2")
    target = {"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}}
    assert cluster.post(f"{path}/a/binding", target).code == 201
    events = list(cluster.watch(path, version, seconds=1, fieldSelector="spec.nodeName=n1"))
    assert seen(events)[:1] == [("ADDED", "a")]
    events = list(cluster.watch(path, version, seconds=1, fieldSelector="metadata.name=b"))
    assert seen(events)[:1] == [("ADDED", "b")]


def test_one_object(space: Space) -> None:
    """A GET of a name with `watch` is a plain GET; one object is watched by a field selector."""
    space.create("configmaps", {"metadata": {"name": "a"}})
    answer = space.cluster.get(space.path("configmaps/a") + "?watch=true&timeoutSeconds=1")
    assert answer.body["metadata"]["name"] == "a"


def test_bookmark_before_the_end(space: Space) -> None:
    """Asked for, a bookmark with a version and nothing else comes shortly before the time is over.

    It tells of the last change of the kind while the watch was open, here one that it does not show.
    """
    path, elsewhere = space.path("secrets"), "/api/v1/namespaces/default/secrets"
    version = space.cluster.get(path).version
    with ThreadPoolExecutor() as pool:
        watching = pool.submit(lambda: list(space.cluster.watch(path, version, seconds=8, allowWatchBookmarks="true")))
        time.sleep(2)
        last = space.cluster.post(elsewhere, {"metadata": {"name": unique("elsewhere")}}).version
        events = watching.result()
    assert {event["type"] for event in events} == {"BOOKMARK"}
    for bookmark in (event["object"] for event in events):
        assert (bookmark["kind"], list(bookmark["metadata"])) == ("Secret", ["resourceVersion"])
        assert int(bookmark["metadata"]["resourceVersion"]) >= int(last) > int(version)


def test_no_bookmark_without_news(space: Space) -> None:
    """Where nothing of the kind has changed while the watch was open, there is nothing to tell."""
    path = space.path("apps/v1/controllerrevisions")
    version = space.cluster.get(path).version
    assert list(space.cluster.watch(path, version, seconds=4, allowWatchBookmarks="true")) == []


def test_no_bookmarks_unasked(space: Space) -> None:
    """Without `allowWatchBookmarks` there are none."""
    path = space.path("secrets")
    version = space.cluster.get(path).version
    assert list(space.cluster.watch(path, version, seconds=3)) == []


def test_graceful_deletion_of_a_pod(space: Space) -> None:
    """MODIFIED with a deletionTimestamp, MODIFIED with grace 0, DELETED."""
    cluster, path = space.cluster, space.path("pods")
    space.pod("a", node="nowhere")
    version = cluster.get(path).version
    assert cluster.delete(f"{path}/a").code == 200
    assert cluster.delete(f"{path}/a", {"gracePeriodSeconds": 0}).code == 200
    events = list(cluster.watch(path, version, seconds=1))
    assert seen(events) == [("MODIFIED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    graces = [event["object"]["metadata"]["deletionGracePeriodSeconds"] for event in events]
    assert graces == [30, 0, 0]


def test_all_namespaces(space: Space) -> None:
    """A watch without a namespace sees them all."""
    cluster = space.cluster
    version = cluster.get("/api/v1/configmaps").version
    space.create("configmaps", {"metadata": {"name": "a"}})
    cluster.call("PATCH", space.path("configmaps/a"), {"data": {"k": "v"}}, MERGE)
    found = [
        event["type"]
        for event in cluster.watch("/api/v1/configmaps", version, seconds=1)
        if event["object"]["metadata"].get("namespace") == space.name and event["object"]["metadata"]["name"] == "a"
    ]
    assert found == ["ADDED", "MODIFIED"]
