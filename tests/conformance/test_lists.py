"""Lists: their form, selectors, pages and versions."""

import pytest

from tests.conformance.harness import Cluster, Json, Space, unique


def names(body: Json) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


def test_form(space: Space) -> None:
    """Kind and apiVersion stand at the list, not at the items of built-in kinds."""
    space.create("configmaps", {"metadata": {"name": "a"}})
    body = space.cluster.get(space.path("configmaps")).body
    assert (body["kind"], body["apiVersion"]) == ("ConfigMapList", "v1")
    assert set(body) == {"kind", "apiVersion", "metadata", "items"}
    assert set(body["items"][0]) <= {"metadata", "data"}
    assert int(body["metadata"]["resourceVersion"]) >= int(body["items"][0]["metadata"]["resourceVersion"])


def test_empty(space: Space) -> None:
    """An empty list is a list."""
    body = space.cluster.get(space.path("secrets")).body
    assert body["items"] == []
    assert "remainingItemCount" not in body["metadata"]


LABELS: list[tuple[str, list[str]]] = [
    ("app=web", ["a", "b"]),
    ("app==web", ["a", "b"]),
    ("app!=web", ["c", "d", "kube-root-ca.crt"]),
    ("app in (web, db)", ["a", "b", "c"]),
    ("app notin (web,db)", ["d", "kube-root-ca.crt"]),
    ("app", ["a", "b", "c"]),
    ("!app", ["d", "kube-root-ca.crt"]),
    ("app=web,tier", ["b"]),
    ("example.com/x=1", ["d"]),
    ("tier=", []),
    ("app=nonesuch", []),
]


@pytest.fixture(scope="module")
def labelled(cluster: Cluster) -> Space:
    space = cluster.space(unique("labelled"))
    sent = {"a": {"app": "web"}, "b": {"app": "web", "tier": "1"}, "c": {"app": "db"}, "d": {"example.com/x": "1"}}
    for name, labels in sent.items():
        space.create("configmaps", {"metadata": {"name": name, "labels": labels}})
    for name, node in (("p", "n1"), ("q", "n1"), ("r", "")):
        space.pod(name, node=node)
    return space


@pytest.mark.parametrize(("selector", "expected"), LABELS, ids=[case[0] for case in LABELS])
def test_label_selectors(labelled: Space, selector: str, expected: list[str]) -> None:
    """Equality, sets, existence, and all of them together."""
    path = labelled.path("configmaps")
    response = labelled.cluster.client.get(path, params={"labelSelector": selector})
    assert names(response.json()) == expected


FIELDS: list[tuple[str, str, list[str]]] = [
    ("configmaps", "metadata.name=a", ["a"]),
    ("configmaps", "metadata.name!=a", ["b", "c", "d", "kube-root-ca.crt"]),
    ("pods", "spec.nodeName=n1", ["p", "q"]),
    ("pods", "spec.nodeName=n1,metadata.name=q", ["q"]),
    ("pods", "spec.nodeName=", ["r"]),
    ("pods", "status.phase=Pending", ["p", "q", "r"]),
    ("pods", "status.phase!=Pending", []),
    ("pods", "metadata.namespace=other", []),
]


@pytest.mark.parametrize(("resource", "selector", "expected"), FIELDS, ids=[f"{c[0]} {c[1]}" for c in FIELDS])
def test_field_selectors(labelled: Space, resource: str, selector: str, expected: list[str]) -> None:
    """Those fields that can be selected."""
    response = labelled.cluster.client.get(labelled.path(resource), params={"fieldSelector": selector})
    assert names(response.json()) == expected


def test_all_namespaces(labelled: Space) -> None:
    """Without a namespace all are listed; a field selector narrows it down."""
    response = labelled.cluster.client.get(
        "/api/v1/pods", params={"fieldSelector": f"metadata.namespace={labelled.name},spec.nodeName=n1"}
    )
    assert names(response.json()) == ["p", "q"]


def test_events_by_involved_object(space: Space) -> None:
    """What `kubectl describe` asks for."""
    for name in ("p", "q"):
        involved = {"kind": "Pod", "namespace": space.name, "name": name, "uid": name}
        space.create(
            "events", {"metadata": {"name": name}, "involvedObject": involved, "reason": "R", "type": "Normal"}
        )
    query = f"involvedObject.name=p,involvedObject.namespace={space.name},involvedObject.uid=p"
    response = space.cluster.client.get(space.path("events"), params={"fieldSelector": query})
    assert names(response.json()) == ["p"]


def test_pages(labelled: Space) -> None:
    """Pages are of one snapshot: what is written meanwhile does not show."""
    cluster, path = labelled.cluster, labelled.path("configmaps")
    first = cluster.get(f"{path}?limit=2")
    assert names(first.body) == ["a", "b"]
    assert first.body["metadata"]["remainingItemCount"] == 3
    labelled.create("configmaps", {"metadata": {"name": "bb"}})
    token = first.body["metadata"]["continue"]
    second = cluster.client.get(path, params={"limit": 2, "continue": token}).json()
    assert names(second) == ["c", "d"]
    assert second["metadata"]["resourceVersion"] == first.version
    token = second["metadata"]["continue"]
    last = cluster.client.get(path, params={"limit": 2, "continue": token}).json()
    assert names(last) == ["kube-root-ca.crt"]
    assert "continue" not in last["metadata"]
    assert cluster.delete(f"{path}/bb").code == 200


def test_pages_with_a_selector(labelled: Space) -> None:
    """How many remain is not told then."""
    response = labelled.cluster.client.get(labelled.path("configmaps"), params={"labelSelector": "app", "limit": 2})
    assert names(response.json()) == ["a", "b"]
    assert "remainingItemCount" not in response.json()["metadata"]
    assert response.json()["metadata"]["continue"]


def test_version_zero(labelled: Space) -> None:
    """Any version will do: what was there before is there."""
    body = labelled.cluster.get(labelled.path("configmaps") + "?resourceVersion=0").body
    assert {"a", "b", "c", "d"} <= set(names(body))


def test_negative_limit(labelled: Space) -> None:
    """It is no limit."""
    assert len(names(labelled.cluster.get(labelled.path("configmaps") + "?limit=-1").body)) == 5
