"""Paths from kinds, and rights from paths."""

import pytest

from cni_migrate.kube import paths


@pytest.mark.parametrize(
    ("api_version", "plural", "namespace", "name", "sub", "expected"),
    [
        ("v1", "nodes", "", "", "", "/api/v1/nodes"),
        ("v1", "nodes", "", "n1", "", "/api/v1/nodes/n1"),
        ("v1", "pods", "web", "p", "eviction", "/api/v1/namespaces/web/pods/p/eviction"),
        ("apps/v1", "daemonsets", "kube-system", "", "", "/apis/apps/v1/namespaces/kube-system/daemonsets"),
    ],
)
def test_path(api_version: str, plural: str, namespace: str, name: str, sub: str, expected: str) -> None:
    assert paths.path(api_version, plural, namespace=namespace, name=name, sub=sub) == expected


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/nodes", "list nodes"),
        ("GET", "/api/v1/nodes/n1", "get nodes"),
        ("PATCH", "/api/v1/nodes/n1", "patch nodes"),
        ("POST", "/api/v1/namespaces/web/pods/p/eviction", "create pods/eviction in namespace web"),
        ("GET", "/api/v1/namespaces/web/pods/p/log", "get pods/log in namespace web"),
        ("GET", "/api/v1/namespaces/k/pods/p:8080/proxy/report", "get pods/proxy in namespace k"),
        ("DELETE", "/api/v1/namespaces/a/pods", "deletecollection pods in namespace a"),
        ("DELETE", "/apis/apps/v1/namespaces/a/daemonsets/d", "delete daemonsets.apps in namespace a"),
        (
            "PUT",
            "/apis/coordination.k8s.io/v1/namespaces/a/leases/l",
            "update leases.coordination.k8s.io in namespace a",
        ),
        ("POST", "/api/v1/namespaces", "create namespaces"),
        ("GET", "/api/v1/namespaces/a", "get namespaces"),
        ("GET", "/version", "get /version"),
    ],
)
def test_right(method: str, path: str, expected: str) -> None:
    assert str(paths.right(method, path)) == expected


def test_a_watch_is_a_verb_of_its_own() -> None:
    assert paths.right("GET", "/api/v1/pods", watch=True).verb == "watch"


def test_the_rule_of_a_path_that_is_no_resource() -> None:
    assert paths.right("GET", "/version").rule == '{nonResourceURLs: ["/version"], verbs: ["get"]}'


def test_a_kind_of_another_group_is_not_taken_for_ours() -> None:
    """Calico has a NetworkPolicy too."""
    assert paths.known("networking.k8s.io/v1", "NetworkPolicy") == paths.Place("networkpolicies")
    assert paths.known("crd.projectcalico.org/v1", "NetworkPolicy") is None
