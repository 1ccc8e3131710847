"""CustomResourceDefinitions: served once created, gone with their objects once deleted."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conformance.harness import STRATEGIC, Cluster, Json, unique

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True)
class Custom:
    """A definition of the test's own: versions v2 (stored) and v1beta1, with a status subresource."""

    cluster: Cluster
    group: str

    @property
    def definition(self) -> str:
        return f"{DEFINITIONS}/foos.{self.group}"

    def path(self, name: str = "", version: str = "v2") -> str:
        path = f"/apis/{self.group}/{version}/namespaces/default/foos"
        return f"{path}/{name}" if name else path

    def foo(self, name: str, **parts: Json) -> Json:
        return {"apiVersion": f"{self.group}/v2", "kind": "Foo", "metadata": {"name": name}, **parts}


def definition(group: str) -> Json:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions: list[Json] = [
        {"name": name, "served": True, "storage": name == "v2", "schema": schema, "subresources": {"status": {}}}
        for name in ("v1beta1", "v2")
    ]
    names = {"plural": "foos", "kind": "Foo", "shortNames": ["fo"]}
    return {
        "metadata": {"name": f"foos.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": versions},
    }


@pytest.fixture
def custom(cluster: Cluster) -> Iterator[Custom]:
    found = Custom(cluster, f"{unique('custom')}.example.com")
    assert cluster.post(DEFINITIONS, definition(found.group)).code == 201
    cluster.eventually(found.path(), bool)
    yield found
    cluster.delete(found.definition)


def test_established(custom: Custom) -> None:
    """Its conditions say so, its names are completed, its generation is 1."""
    body = custom.cluster.eventually(custom.definition, lambda body: body["status"]["conditions"])
    conditions = {item["type"]: item["status"] for item in body["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert body["spec"]["names"]["listKind"] == "FooList"
    assert body["spec"]["names"]["singular"] == "foo"
    assert body["status"]["storedVersions"] == ["v2"]
    assert body["metadata"]["generation"] == 1


def test_discovered(custom: Custom) -> None:
    """The group with its preferred version, the resource with its names."""
    group = custom.cluster.get(f"/apis/{custom.group}").body
    assert [item["version"] for item in group["versions"]] == ["v2", "v1beta1"]
    assert group["preferredVersion"]["version"] == "v2"
    resources = custom.cluster.get(f"/apis/{custom.group}/v2").body["resources"]
    assert [item["name"] for item in resources] == ["foos", "foos/status"]
    assert (resources[0]["kind"], resources[0]["namespaced"], resources[0]["shortNames"]) == ("Foo", True, ["fo"])


def test_objects(custom: Custom) -> None:
    """Create, read in every version, list with kinds, delete."""
    made = custom.cluster.post(custom.path(), custom.foo("a", spec={"x": 1}, status={"y": 1}))
    assert made.code == 201
    assert "status" not in made.body
    old = custom.cluster.get(custom.path("a", "v1beta1")).body
    assert (old["apiVersion"], old["spec"]) == (f"{custom.group}/v1beta1", {"x": 1})
    found = custom.cluster.get(custom.path()).body
    assert found["kind"] == "FooList"
    assert [(item["kind"], item["apiVersion"]) for item in found["items"]] == [("Foo", f"{custom.group}/v2")]
    assert custom.cluster.delete(custom.path("a")).body["status"] == "Success"
    assert custom.cluster.get(custom.path("a")).code == 404


def test_status_is_separate(custom: Custom) -> None:
    """A normal write leaves it; a status write leaves all else, also the labels, and counts no generation."""
    custom.cluster.post(custom.path(), custom.foo("a", spec={"x": 1}))
    answer = custom.cluster.patch(custom.path("a"), {"spec": {"x": 2}, "status": {"y": 1}})
    assert "status" not in answer.body
    assert answer.body["metadata"]["generation"] == 2
    patch = {"metadata": {"labels": {"l": "1"}}, "spec": {"x": 3}, "status": {"y": 2}}
    answer = custom.cluster.patch(custom.path("a") + "/status", patch)
    assert (answer.body["spec"], answer.body["status"]) == ({"x": 2}, {"y": 2})
    assert "labels" not in answer.body["metadata"]
    assert answer.body["metadata"]["generation"] == 2


def test_no_strategic_patch(custom: Custom) -> None:
    """415: there are no merge keys."""
    custom.cluster.post(custom.path(), custom.foo("a"))
    answer = custom.cluster.patch(custom.path("a"), {}, STRATEGIC)
    assert (answer.code, answer.reason) == (415, "UnsupportedMediaType")


def test_put_needs_a_version(custom: Custom) -> None:
    """There is no unconditional update."""
    made = custom.cluster.post(custom.path(), custom.foo("a"))
    answer = custom.cluster.put(custom.path("a"), custom.foo("a"))
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert "metadata.resourceVersion: Invalid value: 0" in answer.message
    body = custom.foo("a", spec={"x": 1})
    body["metadata"]["resourceVersion"] = made.version
    assert custom.cluster.put(custom.path("a"), body).code == 200


def test_kind_is_needed(custom: Custom) -> None:
    """A body without one is not understood."""
    answer = custom.cluster.post(custom.path(), {"metadata": {"name": "a"}})
    assert (answer.code, answer.reason) == (400, "BadRequest")


def test_watch(custom: Custom) -> None:
    """Like any other resource."""
    version = custom.cluster.get(custom.path()).version
    custom.cluster.post(custom.path(), custom.foo("a"))
    events = list(custom.cluster.watch(custom.path(), version, seconds=1))
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in events] == [("ADDED", "a")]


def test_deleting_the_definition_deletes_all(custom: Custom) -> None:
    """The objects, then the resource; a new definition of the same name starts empty."""
    cluster = custom.cluster
    cluster.post(custom.path(), custom.foo("a"))
    answer = cluster.delete(custom.definition)
    assert (answer.code, answer.body["kind"]) == (200, "CustomResourceDefinition")
    cluster.gone(custom.definition)
    cluster.gone(custom.path())
    assert cluster.get(f"/apis/{custom.group}").code == 404 or cluster.name == "real"
    assert cluster.post(DEFINITIONS, definition(custom.group)).code == 201
    assert cluster.eventually(custom.path(), bool)["items"] == []
