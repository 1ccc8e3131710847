"""Deletion: grace, finalizers, preconditions, propagation, collections and namespaces."""

from typing import Any

import pytest

from tests.conformance.harness import Json, Space, template, unique


def test_answer_of_a_delete(space: Space) -> None:
    """A Status that names the object; for pods and service accounts the object itself."""
    cluster = space.cluster
    made = space.create("configmaps", {"metadata": {"name": "a"}})
    answer = cluster.delete(space.path("configmaps/a"))
    details = {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    assert (answer.code, answer.body["status"], answer.body["details"]) == (200, "Success", details)
    space.create("serviceaccounts", {"metadata": {"name": "a"}})
    assert cluster.delete(space.path("serviceaccounts/a")).body["kind"] == "ServiceAccount"
    assert cluster.delete(space.path("serviceaccounts/a")).code == 404


def test_pod_without_a_node_goes_at_once(space: Space) -> None:
    """There is no kubelet to wait for."""
    space.pod("a")
    assert space.cluster.delete(space.path("pods/a")).body["kind"] == "Pod"
    assert space.cluster.get(space.path("pods/a")).code == 404


def test_pod_on_a_node_waits_for_its_kubelet(space: Space) -> None:
    """It gets a deletionTimestamp and its grace, its generation counts, and grace 0 removes it."""
    cluster, path = space.cluster, space.path("pods/a")
    space.pod("a", node="nowhere")
    answer = cluster.delete(path)
    assert answer.body["metadata"]["deletionGracePeriodSeconds"] == 30
    assert answer.body["metadata"]["generation"] == 2
    stamp = answer.body["metadata"]["deletionTimestamp"]
    again = cluster.delete(path)
    assert (again.code, again.body["metadata"]["deletionTimestamp"]) == (200, stamp)
    assert cluster.delete(path, {"gracePeriodSeconds": 0}).code == 200
    assert cluster.get(path).code == 404


def test_grace_can_only_be_shortened(space: Space) -> None:
    """A longer one changes nothing; a negative one is a second."""
    cluster, path = space.cluster, space.path("pods/a")
    space.pod("a", node="nowhere", terminationGracePeriodSeconds=600)
    graces = [
        cluster.delete(path, body).body["metadata"]["deletionGracePeriodSeconds"]
        for body in ({"gracePeriodSeconds": 60}, {"gracePeriodSeconds": 100}, None, {"gracePeriodSeconds": 5})
    ]
    assert graces == [60, 60, 60, 5]
    space.pod("b", node="nowhere")
    answer = cluster.delete(space.path("pods/b") + "?gracePeriodSeconds=-5")
    assert answer.body["metadata"]["deletionGracePeriodSeconds"] == 1


def test_finished_pod_goes_at_once(space: Space) -> None:
    """Nothing runs in it any more."""
    space.pod("a", node="nowhere")
    assert space.cluster.patch(space.path("pods/a/status"), {"status": {"phase": "Succeeded"}}).code == 200
    assert space.cluster.delete(space.path("pods/a")).code == 200
    assert space.cluster.get(space.path("pods/a")).code == 404


def test_finalizers_hold(space: Space) -> None:
    """The object stays until the last one goes; none can be added meanwhile; taking the last away deletes."""
    cluster, path = space.cluster, space.path("configmaps/a")
    space.create("configmaps", {"metadata": {"name": "a", "finalizers": ["example.com/a", "example.com/b"]}})
    answer = cluster.delete(path)
    assert answer.body["metadata"]["deletionGracePeriodSeconds"] == 0
    assert "deletionTimestamp" in answer.body["metadata"]
    added = cluster.patch(path, {"metadata": {"finalizers": ["example.com/a", "example.com/n"]}})
    assert (added.code, added.reason) == (422, "Invalid")
    assert "no new finalizers can be added if the object is being deleted" in added.message
    assert 'found new finalizers []string{"example.com/n"}' in added.message
    assert cluster.patch(path, {"metadata": {"finalizers": ["example.com/a"]}}).code == 200
    last = cluster.patch(path, {"metadata": {"finalizers": None}})
    assert last.code == 200
    assert "finalizers" not in last.body["metadata"]
    assert cluster.get(path).code == 404


def test_finalizer_of_a_pod_outlives_grace(space: Space) -> None:
    """Grace 0 does not remove it; the finalizer's end does."""
    cluster, path = space.cluster, space.path("pods/a")
    body: Json = {"metadata": {"name": "a", "finalizers": ["example.com/a"]}}
    body["spec"] = {"nodeName": "nowhere", "containers": [{"name": "main", "image": "example.com/app:1"}]}
    space.create("pods", body)
    assert cluster.delete(path, {"gracePeriodSeconds": 0}).code == 200
    assert cluster.get(path).code == 200
    assert cluster.patch(path, {"metadata": {"finalizers": None}}).code == 200
    assert cluster.get(path).code == 404


def test_preconditions_that_hold(space: Space) -> None:
    """The right uid and version delete."""
    made = space.create("configmaps", {"metadata": {"name": "a"}})["metadata"]
    wanted = {"uid": made["uid"], "resourceVersion": made["resourceVersion"]}
    assert space.cluster.delete(space.path("configmaps/a"), {"preconditions": wanted}).code == 200


@pytest.mark.parametrize(("policy", "finalizer"), [("Orphan", "orphan"), ("Foreground", "foregroundDeletion")])
def test_propagation_by_finalizer(space: Space, policy: str, finalizer: str) -> None:
    """It is left on the object for the garbage collector."""
    spec: Json = {"selector": {"matchLabels": {"a": "b"}}, "template": template({"a": "b"}), "replicas": 0}
    space.create("apps/v1/replicasets", {"metadata": {"name": "a"}, "spec": spec})
    path = space.path("apps/v1/replicasets/a")
    answer = space.cluster.delete(path, {"propagationPolicy": policy, "dryRun": ["All"]})
    assert answer.code == 200
    assert answer.body["metadata"]["finalizers"] == [finalizer]
    assert "finalizers" not in space.cluster.get(path).body["metadata"]
    answer = space.cluster.delete(path, {"propagationPolicy": policy})
    assert answer.body["metadata"]["finalizers"] == [finalizer]


def test_background_needs_no_finalizer(space: Space) -> None:
    """The object is gone, what it owned follows later."""
    space.create("configmaps", {"metadata": {"name": "a"}})
    assert space.cluster.delete(space.path("configmaps/a"), {"propagationPolicy": "Background"}).code == 200
    assert space.cluster.get(space.path("configmaps/a")).code == 404


def test_dry_run(space: Space) -> None:
    """By query without a body, in the body otherwise: options in a body replace the query's."""
    cluster, path = space.cluster, space.path("configmaps/a")
    space.create("configmaps", {"metadata": {"name": "a"}})
    assert cluster.delete(path + "?dryRun=All").code == 200
    assert cluster.delete(path, {"dryRun": ["All"]}).code == 200
    assert cluster.get(path).code == 200
    assert cluster.delete(path + "?dryRun=All", {"propagationPolicy": "Background"}).code == 200
    assert cluster.get(path).code == 404


def test_collection(space: Space) -> None:
    """The selected objects are deleted; the answer lists them."""
    cluster, path = space.cluster, space.path("secrets")
    for name in ("a", "b", "c"):
        space.create("secrets", {"metadata": {"name": name, "labels": {"app": "y" if name == "c" else "x"}}})
    answer = cluster.delete(f"{path}?labelSelector=app=x")
    assert answer.code == 200
    assert [item["metadata"]["name"] for item in cluster.get(path).body["items"]] == ["c"]


def forbidden_because_terminating(answer: Any) -> bool:
    causes = answer.body.get("details", {}).get("causes", [{}])
    return (answer.code, answer.reason, causes[0].get("reason")) == (403, "Forbidden", "NamespaceTerminating")


def test_namespace_ends_with_its_last_object(space: Space) -> None:
    """It is Terminating, accepts nothing new, and goes when a finalizer lets the last object go."""
    cluster, path = space.cluster, f"/api/v1/namespaces/{space.name}"
    space.create("configmaps", {"metadata": {"name": "held", "finalizers": ["example.com/a"]}})
    answer = cluster.delete(path)
    assert (answer.code, answer.body["kind"], answer.body["status"]["phase"]) == (200, "Namespace", "Terminating")
    cluster.eventually(space.path("configmaps/held"), lambda body: "deletionTimestamp" in body["metadata"])
    refused = cluster.post(space.path("configmaps"), {"metadata": {"name": "new"}})
    assert forbidden_because_terminating(refused), refused.body
    assert f"unable to create new content in namespace {space.name} because it is being terminated" in refused.message
    assert cluster.patch(space.path("configmaps/held"), {"metadata": {"finalizers": None}}).code == 200
    cluster.gone(path, 40)


def test_empty_namespace_goes(space: Space) -> None:
    """With what the controllers put into it."""
    name = unique("short")
    assert space.cluster.post("/api/v1/namespaces", {"metadata": {"name": name}}).code == 201
    assert space.cluster.delete(f"/api/v1/namespaces/{name}").code == 200
    space.cluster.gone(f"/api/v1/namespaces/{name}", 40)
