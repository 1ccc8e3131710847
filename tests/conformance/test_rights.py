"""Who may do what: refusals in RBAC's words, and the review that tells it beforehand."""

import httpx
import pytest

from tests.conformance.harness import Cluster, Http, Json, Space, unique

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@pytest.fixture(scope="module")
def viewer(cluster: Cluster) -> tuple[str, Http]:
    """A user who reads pods and leases and evicts, nothing else."""
    name = unique("viewer")
    rules: list[Json] = [
        {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
        {"verbs": ["create"], "apiGroups": [""], "resources": ["pods/eviction"]},
        {"verbs": ["get"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"]},
    ]
    user = cluster.as_user(name, rules)
    assert user.get("/api/v1/pods").code == 200 or cluster.name == "real"
    return name, user


DEFAULT, CLUSTER = 'in the namespace "default"', "at the cluster scope"
CASES: list[tuple[str, str, str, str, str]] = [
    ("GET", "/api/v1/nodes", "nodes", 'list resource "nodes" in API group ""', CLUSTER),
    ("GET", "/api/v1/nodes/n", 'nodes "n"', 'get resource "nodes" in API group ""', CLUSTER),
    ("GET", "/api/v1/nodes?watch=true", "nodes", 'watch resource "nodes" in API group ""', CLUSTER),
    ("PATCH", "/api/v1/nodes/n", 'nodes "n"', 'patch resource "nodes" in API group ""', CLUSTER),
    ("GET", "/api/v1/namespaces/default/secrets", "secrets", 'list resource "secrets" in API group ""', DEFAULT),
    ("POST", "/api/v1/namespaces/default/pods", "pods", 'create resource "pods" in API group ""', DEFAULT),
    ("DELETE", "/api/v1/namespaces/default/pods/p", 'pods "p"', 'delete resource "pods" in API group ""', DEFAULT),
    ("DELETE", "/api/v1/namespaces/default/pods", "pods", 'deletecollection resource "pods" in API group ""', DEFAULT),
    ("PATCH", "/api/v1/namespaces/default/pods/p/status", 'pods "p"', 'patch resource "pods/status" in API group ""',
     DEFAULT),
    ("GET", "/api/v1/namespaces/default/pods/p:8080/proxy/report", 'pods "p:8080"',
     'get resource "pods/proxy" in API group ""', DEFAULT),
    ("GET", "/apis/apps/v1/daemonsets", "daemonsets.apps", 'list resource "daemonsets" in API group "apps"', CLUSTER),
    ("PUT", "/apis/coordination.k8s.io/v1/namespaces/default/leases/l", 'leases.coordination.k8s.io "l"',
     'update resource "leases" in API group "coordination.k8s.io"', DEFAULT),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "subject", "what", "where"), CASES, ids=[f"{c[0]} {c[1]}" for c in CASES])
def test_forbidden(viewer: tuple[str, Http], method: str, path: str, subject: str, what: str, where: str) -> None:
    """403 names user, verb, resource, group and scope."""
    name, user = viewer
    body = {"metadata": {"name": path.rpartition("/")[2]}} if method in ("POST", "PUT", "PATCH") else None
    content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
    answer = user.call(method, path, body, content_type)
    assert (answer.code, answer.reason) == (403, "Forbidden")
    assert answer.message == f'{subject} is forbidden: User "{name}" cannot {what} {where}'


def test_allowed(cluster: Cluster, viewer: tuple[str, Http], space: Space) -> None:
    """What the rules give, works."""
    _, user = viewer
    space.pod("p")
    assert user.get(space.path("pods")).code == 200
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert user.post(space.path("pods/p/eviction"), body).code == 201


def test_discovery_is_open(viewer: tuple[str, Http]) -> None:
    """Everybody may look what there is."""
    for path in ("/version", "/api", "/apis", "/api/v1", "/apis/apps/v1"):
        assert viewer[1].get(path).code == 200


REVIEWED: list[tuple[Json, bool]] = [
    ({"verb": "list", "resource": "pods"}, True),
    ({"verb": "create", "resource": "pods", "subresource": "eviction", "namespace": "default"}, True),
    ({"verb": "create", "resource": "pods"}, False),
    ({"verb": "patch", "resource": "nodes"}, False),
    ({"verb": "get", "group": "coordination.k8s.io", "resource": "leases", "namespace": "x"}, True),
    ({"verb": "update", "group": "coordination.k8s.io", "resource": "leases", "namespace": "x"}, False),
]


@pytest.mark.parametrize(("attributes", "allowed"), REVIEWED, ids=[str(case[0]) for case in REVIEWED])
def test_review(viewer: tuple[str, Http], attributes: Json, allowed: bool) -> None:
    """201 with the same answer the request itself would get."""
    answer = viewer[1].post(REVIEWS, {"spec": {"resourceAttributes": attributes}})
    assert answer.code == 201
    assert answer.body["kind"] == "SelfSubjectAccessReview"
    assert answer.body["status"]["allowed"] is allowed


def test_review_of_an_administrator(cluster: Cluster) -> None:
    """May do everything."""
    attributes = {"verb": "*", "group": "*", "resource": "*"}
    answer = cluster.post(REVIEWS, {"spec": {"resourceAttributes": attributes}})
    assert answer.body["status"]["allowed"] is True
    assert answer.body["spec"]["resourceAttributes"] == attributes


def test_who_am_i(viewer: tuple[str, Http]) -> None:
    """SelfSubjectReview."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = viewer[1].post("/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    assert answer.code == 201
    assert answer.body["status"]["userInfo"]["username"] == viewer[0]


def test_wrong_token(cluster: Cluster) -> None:
    """401, with a Status."""
    response = cluster.client.build_request("GET", "/api/v1/nodes", headers={"Authorization": "Bearer wrong"})
    if cluster.name == "real":
        with httpx.Client(verify=False) as anonymous:
            answer = anonymous.get(f"{cluster.url}/api/v1/nodes", headers={"Authorization": "Bearer wrong"})
    else:
        answer = cluster.client.send(response)
    assert answer.status_code == 401
    body = answer.json()
    assert (body["reason"], body["message"], body["code"]) == ("Unauthorized", "Unauthorized", 401)


RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


@pytest.mark.parametrize("namespace", ["default", "-"])
def test_rules(cluster: Cluster, viewer: tuple[str, Http], namespace: str) -> None:
    """This user's rules, all of them, also where no namespace can be: there only what holds everywhere."""
    answer = viewer[1].post(RULES, {"spec": {"namespace": namespace}})
    assert (answer.code, answer.body["kind"]) == (201, "SelfSubjectRulesReview")
    status = answer.body["status"]
    assert not status["incomplete"]
    wanted = {"verbs": ["create"], "apiGroups": [""], "resources": ["pods/eviction"]}
    assert wanted in status["resourceRules"]
    assert cluster.post(RULES, {"spec": {"namespace": namespace}}).body["status"]["resourceRules"]


def test_rules_of_no_namespace(viewer: tuple[str, Http]) -> None:
    """400."""
    answer = viewer[1].post(RULES, {"spec": {}})
    assert (answer.code, answer.message) == (400, "no namespace on request")
