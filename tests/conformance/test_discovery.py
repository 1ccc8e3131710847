"""What is served is told the same way."""

import pytest

from tests.conformance.harness import KUBERNETES, Cluster, Json

GROUPS = [
    "api/v1",
    "apis/apps/v1",
    "apis/policy/v1",
    "apis/networking.k8s.io/v1",
    "apis/coordination.k8s.io/v1",
    "apis/discovery.k8s.io/v1",
    "apis/rbac.authorization.k8s.io/v1",
    "apis/authorization.k8s.io/v1",
    "apis/apiextensions.k8s.io/v1",
    "apis/admissionregistration.k8s.io/v1",
    "apis/scheduling.k8s.io/v1",
    "apis/events.k8s.io/v1",
    "apis/batch/v1",
]
SERVED: dict[str, list[str]] = {
    "api/v1": [
        "configmaps", "endpoints", "events", "namespaces", "namespaces/status", "nodes", "nodes/status", "pods",
        "pods/binding", "pods/eviction", "pods/log", "pods/proxy", "pods/status", "secrets", "serviceaccounts", "services",
    ],
    "apis/apps/v1": ["controllerrevisions", "daemonsets", "daemonsets/status", "deployments", "replicasets",
                     "statefulsets"],
    "apis/policy/v1": ["poddisruptionbudgets", "poddisruptionbudgets/status"],
    "apis/networking.k8s.io/v1": ["networkpolicies"],
    "apis/authorization.k8s.io/v1": ["selfsubjectaccessreviews"],
    "apis/batch/v1": ["jobs"],
}  # fmt: skip


def entry(body: Json, name: str) -> Json:
    found = next(item for item in body["resources"] if item["name"] == name)
    return {key: found.get(key) for key in ("kind", "namespaced", "singularName", "verbs", "shortNames", "group")}


EXPECTED: dict[str, Json] = {
    "nodes": {"kind": "Node", "namespaced": False, "singularName": "node", "shortNames": ["no"], "group": None},
    "pods": {"kind": "Pod", "namespaced": True, "singularName": "pod", "shortNames": ["po"], "group": None},
    "pods/eviction": {"kind": "Eviction", "namespaced": True, "singularName": "", "shortNames": None,
                      "group": "policy", "verbs": ["create"]},
    "pods/log": {"kind": "Pod", "namespaced": True, "singularName": "", "shortNames": None, "group": None,
                 "verbs": ["get"]},
    "pods/proxy": {"kind": "PodProxyOptions", "namespaced": True, "singularName": "", "shortNames": None, "group": None,
                   "verbs": ["create", "delete", "get", "patch", "update"]},
    "namespaces": {"kind": "Namespace", "namespaced": False, "singularName": "namespace", "shortNames": ["ns"],
                   "group": None, "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]},
}  # fmt: skip


def test_version(cluster: Cluster) -> None:
    """The version that is simulated is the version that is compared."""
    body = cluster.get("/version").body
    assert (body["major"], body["minor"], body["gitVersion"]) == ("1", KUBERNETES.split(".")[1], f"v{KUBERNETES}")


def test_core_versions(cluster: Cluster) -> None:
    """`/api`."""
    body = cluster.get("/api").body
    assert (body["kind"], body["versions"]) == ("APIVersions", ["v1"])


def test_groups(cluster: Cluster) -> None:
    """`/apis`: every group the simulator has exists, with the same preferred version."""
    body = cluster.get("/apis").body
    assert (body["kind"], body["apiVersion"]) == ("APIGroupList", "v1")
    preferred = {item["name"]: item["preferredVersion"]["groupVersion"] for item in body["groups"]}
    for path in GROUPS[1:]:
        group_version = path.removeprefix("apis/")
        assert preferred[group_version.partition("/")[0]] == group_version


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", GROUPS)
def test_resources(cluster: Cluster, path: str, slash: str) -> None:
    """With and without a trailing slash."""
    body = cluster.get(f"/{path}{slash}").body
    assert body["kind"] == "APIResourceList"
    assert body["groupVersion"] == path.partition("/")[2]
    assert set(SERVED.get(path, [])) <= {item["name"] for item in body["resources"]}


@pytest.mark.parametrize("name", EXPECTED)
def test_resource_entries(cluster: Cluster, name: str) -> None:
    """Kind, scope, short names and verbs."""
    found = entry(cluster.get("/api/v1").body, name)
    assert {key: found[key] for key in EXPECTED[name]} == EXPECTED[name]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_health(cluster: Cluster, path: str) -> None:
    """Plain `ok`."""
    answer = cluster.get(path)
    assert (answer.code, answer.text) == (200, "ok")
