"""Nodes: the taints that follow their state, and what belongs to whom."""

from functools import partial

import pytest

from tests.conformance.harness import MERGE, STRATEGIC, Cluster, Json, unique

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"


def taints(body: Json) -> list[tuple[str, str]]:
    return [(taint["key"], taint["effect"]) for taint in body["spec"].get("taints", [])]


def test_new_node_is_not_ready(cluster: Cluster) -> None:
    """Admission says so, until the node's conditions do."""
    name = unique("node")
    answer = cluster.post("/api/v1/nodes", {"metadata": {"name": name}})
    assert taints(answer.body) == [("node.kubernetes.io/not-ready", "NoSchedule")]
    assert answer.body["status"]["nodeInfo"]["kubeletVersion"] == ""
    assert answer.body["status"]["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 0}}
    assert "generation" not in answer.body["metadata"]


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC])
def test_cordon_taints(cluster: Cluster, node: str, content_type: str) -> None:
    """The taint comes and goes with `spec.unschedulable`, beside others."""
    path = f"/api/v1/nodes/{node}"
    mine = {"key": "example.com/mine", "value": "x", "effect": "NoSchedule"}
    patch = {"spec": {"unschedulable": True, "taints": [mine]}}
    assert cluster.patch(path, patch, content_type).body["spec"]["unschedulable"] is True
    body = cluster.eventually(path, lambda body: (UNSCHEDULABLE, "NoSchedule") in taints(body))
    assert ("example.com/mine", "NoSchedule") in taints(body)
    assert "timeAdded" in next(taint for taint in body["spec"]["taints"] if taint["key"] == UNSCHEDULABLE)
    cluster.patch(path, {"spec": {"unschedulable": None}}, content_type)
    body = cluster.eventually(path, lambda body: (UNSCHEDULABLE, "NoSchedule") not in taints(body))
    assert taints(body) == [("example.com/mine", "NoSchedule")]
    assert "unschedulable" not in body["spec"]


def has_taint(key: str, expected: bool, body: Json) -> bool:
    return ((key, "NoSchedule") in taints(body)) is expected


CONDITIONS = [
    ("Ready", "False", "not-ready"),
    ("NetworkUnavailable", "True", "network-unavailable"),
    ("MemoryPressure", "True", "memory-pressure"),
    ("DiskPressure", "True", "disk-pressure"),
    ("PIDPressure", "True", "pid-pressure"),
]


@pytest.mark.parametrize(("condition", "status", "taint"), CONDITIONS, ids=[case[0] for case in CONDITIONS])
def test_conditions_taint(cluster: Cluster, node: str, condition: str, status: str, taint: str) -> None:
    """A bad condition taints with NoSchedule, a good one clears it."""
    path = f"/api/v1/nodes/{node}"
    good = "True" if condition == "Ready" else "False"
    for now, expected in ((status, True), (good, False)):
        item = {"type": condition, "status": now, "reason": "Test"}
        assert cluster.patch(f"{path}/status", {"status": {"conditions": [item]}}, STRATEGIC).code == 200
        cluster.eventually(path, partial(has_taint, f"node.kubernetes.io/{taint}", expected))


def test_unscheduled_field(cluster: Cluster, node: str) -> None:
    """Cordoned nodes can be selected."""
    cluster.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})
    query = {"fieldSelector": f"spec.unschedulable=true,metadata.name={node}"}
    assert len(cluster.client.get("/api/v1/nodes", params=query).json()["items"]) == 1
    query = {"fieldSelector": f"spec.unschedulable=false,metadata.name={node}"}
    assert cluster.client.get("/api/v1/nodes", params=query).json()["items"] == []


def test_pod_cidr_is_set_once(cluster: Cluster) -> None:
    """Whoever sets it first."""
    name = unique("node")
    spec = {"podCIDR": "10.99.0.0/24", "podCIDRs": ["10.99.0.0/24"]}
    assert cluster.post("/api/v1/nodes", {"metadata": {"name": name}, "spec": spec}).code == 201
    other = {"podCIDR": "10.98.0.0/24", "podCIDRs": ["10.98.0.0/24"]}
    answer = cluster.patch(f"/api/v1/nodes/{name}", {"spec": other})
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert 'node updates may not change podCIDR except from "" to valid' in answer.message


def test_labels_and_annotations_pass_through_status(cluster: Cluster, node: str) -> None:
    """As everywhere among the built-in kinds; the spec does not."""
    patch = {"metadata": {"labels": {"x": "y"}}, "spec": {"unschedulable": True}}
    answer = cluster.patch(f"/api/v1/nodes/{node}/status", patch)
    assert answer.code == 200
    assert answer.body["metadata"]["labels"]["x"] == "y"
    assert "unschedulable" not in answer.body["spec"]


def test_one_patch_for_all(cluster: Cluster, node: str) -> None:
    """Labels, cordon and taints in one conditional write: all or, with a stale version, nothing."""
    path = f"/api/v1/nodes/{node}"
    stale = cluster.get(path).version
    cluster.patch(path, {"metadata": {"annotations": {"n": "1"}}})
    patch: Json = {
        "metadata": {"resourceVersion": stale, "labels": {"state": "draining"}},
        "spec": {"unschedulable": True, "taints": [{"key": "t", "effect": "NoExecute"}]},
    }
    assert cluster.patch(path, patch).code == 409
    assert "unschedulable" not in cluster.get(path).body["spec"]
    patch["metadata"]["resourceVersion"] = cluster.get(path).version
    answer = cluster.patch(path, patch)
    assert answer.code == 200
    assert answer.body["metadata"]["labels"]["state"] == "draining"
    assert ("t", "NoExecute") in taints(answer.body)
