"""What is refused, and in which words: one table of requests with the code, the reason and a part of the message.

The namespace holds the ConfigMap `settings`, the Pod `web` (on a node that does not exist, not ready), the immutable
ConfigMap `fixed`, the DaemonSet `agent` and the Lease `lock`; `{ns}` and `{node}` are filled in.
"""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.conformance.harness import JSON_PATCH, MERGE, STRATEGIC, Cluster, Space, by_version, pod, template, unique

CORE = "/api/v1/namespaces/{ns}"
APPS = "/apis/apps/v1/namespaces/{ns}"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"
BUDGETS = "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
UNIT = by_version({"1.34": "characters", "1.35": "bytes"})
STALE = "the object has been modified; please apply your changes to the latest version and try again"


@dataclass(frozen=True)
class Refusal:
    """A request and what it must be answered with."""

    name: str
    request: tuple[Any, ...]
    code: int
    reason: str = ""
    says: str = ""
    field: str = ""
    """The field of the first cause."""


def labelled(**labels: str) -> dict[str, Any]:
    return {"metadata": {"name": "x", "labels": labels}}


def containers(*items: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x"}, "spec": {"containers": list(items), **spec}}


def workload(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x"}, "spec": spec}


MAIN = {"name": "main", "image": "example.com/app:1"}
POST, PUT, GET, PATCH, DELETE = "POST", "PUT", "GET", "PATCH", "DELETE"

METADATA = [
    Refusal("no name", (POST, f"{CORE}/configmaps", {}), 422, "Invalid", "name or generateName is required",
            "metadata.name"),
    Refusal("bad name", (POST, f"{CORE}/configmaps", {"metadata": {"name": "A b"}}), 422, "Invalid",
            "a lowercase RFC 1123 subdomain must consist of", "metadata.name"),
    Refusal("bad namespace name", (POST, "/api/v1/namespaces", {"metadata": {"name": "a_b"}}), 422, "Invalid",
            "a lowercase RFC 1123 label must consist of", "metadata.name"),
    Refusal("taken", (POST, f"{CORE}/configmaps", {"metadata": {"name": "settings"}}), 409, "AlreadyExists",
            'configmaps "settings" already exists'),
    Refusal("version on create", (POST, f"{CORE}/configmaps", {"metadata": {"name": "x", "resourceVersion": "5"}}),
            500, "", "resourceVersion should not be set on objects to be created"),
    Refusal("other namespace in body", (POST, f"{CORE}/configmaps", {"metadata": {"name": "x", "namespace": "y"}}),
            400, "BadRequest", "does not match the namespace sent on the request"),
    Refusal("missing namespace", (POST, "/api/v1/namespaces/nonesuch/configmaps", {"metadata": {"name": "x"}}), 404,
            "NotFound", 'namespaces "nonesuch" not found'),
    Refusal("label key", (POST, f"{CORE}/configmaps", labelled(**{"a b": "x"})), 422, "Invalid",
            "name part must consist of alphanumeric characters", "metadata.labels"),
    Refusal("label key with two slashes", (POST, f"{CORE}/configmaps", labelled(**{"a/b/c": "x"})), 422, "Invalid",
            by_version({"1.34": "a qualified name must consist of", "1.35": "a valid label key must consist of"}),
            "metadata.labels"),
    Refusal("label key too long", (POST, f"{CORE}/configmaps", labelled(**{"k" * 64: "x"})), 422, "Invalid",
            f"name part must be no more than 63 {UNIT}", "metadata.labels"),
    Refusal("annotation key too long",
            (POST, f"{CORE}/configmaps", {"metadata": {"name": "x", "annotations": {"k" * 64: "x"}}}), 422, "Invalid",
            f"name part must be no more than 63 {UNIT}", "metadata.annotations"),
    Refusal("name too long", (POST, "/api/v1/namespaces", {"metadata": {"name": "a" * 64}}), 422, "Invalid",
            "must be no more than 63 characters", "metadata.name"),
    Refusal("label prefix", (POST, f"{CORE}/configmaps", labelled(**{"/c": "x"})), 422, "Invalid",
            "prefix part must be non-empty", "metadata.labels"),
    Refusal("label value", (POST, f"{CORE}/configmaps", labelled(a="x y")), 422, "Invalid",
            "a valid label must be an empty string or consist of", "metadata.labels"),
    Refusal("label value too long", (POST, f"{CORE}/configmaps", labelled(a="v" * 64)), 422, "Invalid",
            f"must be no more than 63 {UNIT}", "metadata.labels"),
    Refusal("annotations too big",
            (POST, f"{CORE}/configmaps", {"metadata": {"name": "x", "annotations": {"a": "x" * 300_000}}}), 422,
            "Invalid", "Too long: may not be more than 262144 bytes", "metadata.annotations"),
    Refusal("finalizer without a domain",
            (POST, f"{CORE}/configmaps", {"metadata": {"name": "x", "finalizers": ["f"]}}), 422,
            "Invalid", "neither a standard finalizer name nor is it fully qualified", "metadata.finalizers[0]"),
    Refusal("owner without uid",
            (POST, f"{CORE}/configmaps", {"metadata": {"name": "x", "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": "n"}]}}),
            422, "Invalid", "must not be empty", by_version({"1.34": "metadata.ownerReferences.uid", "1.37": "metadata.ownerReferences[0].uid"})),
]  # fmt: skip

BODIES = [
    Refusal("other kind", (POST, f"{CORE}/configmaps", {"kind": "Pod", "apiVersion": "v1"}), 400, "BadRequest",
            'Pod in version "v1" cannot be handled as a ConfigMap'),
    Refusal("other version", (POST, f"{CORE}/configmaps", {"kind": "ConfigMap", "apiVersion": "v2"}), 400,
            "BadRequest"),
    Refusal("no JSON", (POST, f"{CORE}/configmaps", "{"), 400, "BadRequest", "json parse error"),
    Refusal("no body", (POST, f"{CORE}/configmaps", ""), 400, "BadRequest", "json parse error"),
    Refusal("a list", (POST, f"{CORE}/configmaps", "[]"), 400, "BadRequest"),
    Refusal("media type", (POST, f"{CORE}/configmaps", "{}", "text/plain"), 415, "UnsupportedMediaType"),
    Refusal("patch media type", (PATCH, f"{CORE}/configmaps/settings", "{}", "application/json"), 415,
            "UnsupportedMediaType"),
    Refusal("unknown resource", (GET, f"{CORE}/frobs"), 404, "NotFound",
            "the server could not find the requested resource"),
    Refusal("unknown group", (GET, "/apis/frob.example.com/v1/frobs"), 404),
    Refusal("unknown path", (GET, "/frob"), 404),
    Refusal("unknown subresource", (GET, f"{CORE}/configmaps/settings/frob"), 404, "NotFound"),
    Refusal("no status there", (GET, f"{CORE}/configmaps/settings/status"), 404, "NotFound"),
    Refusal("post to a name", (POST, f"{CORE}/configmaps/settings", {}), 405, "MethodNotAllowed"),
    Refusal("put to a collection", (PUT, f"{CORE}/configmaps", {}), 405, "MethodNotAllowed"),
    Refusal("create in all namespaces", (POST, "/api/v1/configmaps", {}), 405, "MethodNotAllowed"),
    Refusal("dryRun", (PATCH, f"{CORE}/configmaps/settings?dryRun=yes", {}, MERGE), 422, "Invalid",
            'PatchOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["yes"]: supported values: "All"',
            "dryRun"),
]  # fmt: skip

READS = [
    Refusal("missing", (GET, f"{CORE}/configmaps/nonesuch"), 404, "NotFound", 'configmaps "nonesuch" not found'),
    Refusal("missing of a group", (GET, f"{APPS}/daemonsets/nonesuch"), 404, "NotFound",
            'daemonsets.apps "nonesuch" not found'),
    Refusal("field of a ConfigMap", (GET, f"{CORE}/configmaps?fieldSelector=data.a=1"), 400, "BadRequest",
            "field"),
    Refusal("field of a Pod", (GET, f"{CORE}/pods?fieldSelector=spec.frob=1"), 400, "BadRequest",
            "field label not supported: spec.frob"),
    Refusal("field of a Node", (GET, "/api/v1/nodes?fieldSelector=spec.frob=1"), 400, "BadRequest",
            "field label not supported: spec.frob"),
    Refusal("field of a DaemonSet", (GET, f"{APPS}/daemonsets?fieldSelector=spec.frob=1"), 400, "BadRequest"),
    Refusal("field selector", (GET, f"{CORE}/pods?fieldSelector=spec.nodeName"), 400, "BadRequest"),
    Refusal("label selector", (GET, f"{CORE}/pods?labelSelector=a%20b"), 400, "BadRequest"),
    Refusal("label selector set", (GET, f"{CORE}/pods?labelSelector=a%20in%20b"), 400, "BadRequest"),
    Refusal("label selector tail", (GET, f"{CORE}/pods?labelSelector=a=b%20c"), 400, "BadRequest"),
    Refusal("limit", (GET, f"{CORE}/pods?limit=x"), 400, "BadRequest"),
    Refusal("version", (GET, f"{CORE}/pods?resourceVersion=x"), 400, "BadRequest", "invalid resource version"),
    Refusal("continue", (GET, f"{CORE}/pods?limit=1&continue=xx"), 400, "BadRequest", "continue"),
    Refusal("version to come", (GET, f"{CORE}/pods?resourceVersion=999999999"), 504, "Timeout",
            "Too large resource version: 999999999, current: ", ""),
    Refusal("watch version", (GET, f"{CORE}/pods?watch=1&resourceVersion=x&timeoutSeconds=1"), 500),
    Refusal("watch field", (GET, f"{CORE}/pods?watch=1&fieldSelector=x=y&timeoutSeconds=1"), 400, "BadRequest"),
]  # fmt: skip

WRITES = [
    Refusal("put missing", (PUT, f"{CORE}/configmaps/x", {"metadata": {"name": "x"}}), 404, "NotFound"),
    Refusal("put without a name", (PUT, f"{CORE}/configmaps/settings", {}), 400, "BadRequest", "name must be provided"),
    Refusal("put another name", (PUT, f"{CORE}/configmaps/settings", {"metadata": {"name": "x"}}), 400, "BadRequest",
            "the name of the object (x) does not match the name on the URL (settings)"),
    Refusal("put stale", (PUT, f"{CORE}/configmaps/settings",
                          {"metadata": {"name": "settings", "resourceVersion": "1"}}),
            409, "Conflict", f'Operation cannot be fulfilled on configmaps "settings": {STALE}'),
    Refusal("put no version", (PUT, f"{CORE}/configmaps/settings",
                               {"metadata": {"name": "settings", "resourceVersion": "x"}}), 500),
    Refusal("put another uid", (PUT, f"{CORE}/configmaps/settings", {"metadata": {"name": "settings", "uid": "x"}}),
            409, "Conflict", "Precondition failed: UID in precondition: x, UID in object meta: "),
    Refusal("patch missing", (PATCH, f"{CORE}/configmaps/x", {}, MERGE), 404, "NotFound"),
    Refusal("patch stale", (PATCH, f"{CORE}/configmaps/settings", {"metadata": {"resourceVersion": "1"}}, MERGE), 409,
            "Conflict", STALE),
    Refusal("patch stale node", (PATCH, "/api/v1/nodes/{node}", {"metadata": {"resourceVersion": "1"}}, MERGE), 409,
            "Conflict", STALE),
    Refusal("patch uid", (PATCH, f"{CORE}/configmaps/settings", {"metadata": {"uid": "x"}}, MERGE), 422, "Invalid",
            'metadata.uid: Invalid value: "x": field is immutable', "metadata.uid"),
    Refusal("patch name", (PATCH, f"{CORE}/configmaps/settings", {"metadata": {"name": "x"}}, MERGE), 400,
            "BadRequest"),
    Refusal("patch namespace", (PATCH, f"{CORE}/configmaps/settings", {"metadata": {"namespace": "x"}}, MERGE), 400,
            "BadRequest"),
    Refusal("merge patch that is a list", (PATCH, f"{CORE}/configmaps/settings", [], MERGE), 400, "BadRequest"),
    Refusal("merge patch that is no JSON", (PATCH, f"{CORE}/configmaps/settings", "{", MERGE), 400, "BadRequest"),
    Refusal("metadata away", (PATCH, f"{CORE}/configmaps/settings", {"metadata": None}, MERGE), 400, "BadRequest"),
    Refusal("json patch test", (PATCH, f"{CORE}/configmaps/settings",
                                [{"op": "test", "path": "/data/a", "value": "x"}], JSON_PATCH),
            422, "Invalid", "the server rejected our request due to an error in our request"),
    Refusal("json patch remove", (PATCH, f"{CORE}/configmaps/settings", [{"op": "remove", "path": "/data/x"}],
                                  JSON_PATCH), 422, "Invalid"),
    Refusal("json patch path", (PATCH, f"{CORE}/configmaps/settings", [{"op": "add", "path": "/x/y", "value": 1}],
                                JSON_PATCH), 422, "Invalid"),
    Refusal("json patch operation", (PATCH, f"{CORE}/configmaps/settings", [{"op": "frob", "path": "/x"}], JSON_PATCH),
            422, "Invalid"),
    Refusal("json patch that is no list", (PATCH, f"{CORE}/configmaps/settings", {"op": "add"}, JSON_PATCH), 400,
            "BadRequest"),
    Refusal("delete missing", (DELETE, f"{CORE}/configmaps/x"), 404, "NotFound"),
    Refusal("delete another uid", (DELETE, f"{CORE}/configmaps/settings", {"preconditions": {"uid": "x"}}), 409,
            "Conflict", "the UID in the precondition (x) does not match the UID in record ("),
    Refusal("delete another version",
            (DELETE, f"{CORE}/configmaps/settings", {"preconditions": {"resourceVersion": "1"}}), 409, "Conflict",
            "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ("),
    Refusal("delete propagation", (DELETE, f"{CORE}/configmaps/settings", {"propagationPolicy": "x"}), 422, "Invalid",
            'supported values: "Foreground", "Background", "Orphan", "nil"', "propagationPolicy"),
    Refusal("delete kube-system", (DELETE, "/api/v1/namespaces/kube-system"), 403, "Forbidden",
            'namespaces "kube-system" is forbidden: this namespace may not be deleted'),
]  # fmt: skip

KINDS = [
    Refusal("configmap size", (POST, f"{CORE}/configmaps", {"metadata": {"name": "x"}, "data": {"a": "x" * 1_048_577}}),
            422, "Invalid", "Too long: may not be more than 1048576 bytes", "[]"),
    Refusal("configmap key", (POST, f"{CORE}/configmaps", {"metadata": {"name": "x"}, "data": {"a b": "x"}}), 422,
            "Invalid", "a valid config key must consist of alphanumeric characters", "data[a b]"),
    Refusal("immutable data", (PATCH, f"{CORE}/configmaps/fixed", {"data": {"a": "2"}}, MERGE), 422, "Invalid",
            "field is immutable when `immutable` is set", "data"),
    Refusal("immutable for ever", (PATCH, f"{CORE}/configmaps/fixed", {"immutable": None}, MERGE), 422, "Invalid",
            "field is immutable when `immutable` is set", "immutable"),
    Refusal("taint twice", (PATCH, "/api/v1/nodes/{node}", {"spec": {"taints": [
        {"key": "a", "effect": "NoSchedule"}, {"key": "a", "value": "x", "effect": "NoSchedule"}]}}, MERGE),
            422, "Invalid", "taints must be unique by key and effect pair", "metadata.taints[1]"),
    Refusal("taint key", (PATCH, "/api/v1/nodes/{node}", {"spec": {"taints": [
        {"key": "a b", "effect": "NoSchedule"}]}}, STRATEGIC), 422, "Invalid", "name part must consist of",
            "metadata.taints[0].key"),
    Refusal("taint effect",
            (PATCH, "/api/v1/nodes/{node}", {"spec": {"taints": [{"key": "a", "effect": "No"}]}}, MERGE), 422,
            "Invalid", 'Unsupported value: "No": supported values: "NoSchedule"', "metadata.taints[0].effect"),
    Refusal("taint without effect", (PATCH, "/api/v1/nodes/{node}", {"spec": {"taints": [{"key": "a"}]}}, MERGE), 422,
            "Invalid", "Required value", "metadata.taints[0].effect"),
    Refusal("node label", (PATCH, "/api/v1/nodes/{node}", {"metadata": {"labels": {"a b": "x"}}}, MERGE), 422,
            "Invalid", "name part must consist of", "metadata.labels"),
    Refusal("no containers", (POST, f"{CORE}/pods", containers()), 422, "Invalid", "Required value",
            "spec.containers"),
    Refusal("no image", (POST, f"{CORE}/pods", containers({"name": "main"})), 422, "Invalid", "Required value",
            "spec.containers[0].image"),
    Refusal("container twice", (POST, f"{CORE}/pods", containers(MAIN, MAIN)), 422, "Invalid",
            'Duplicate value: "main"', "spec.containers[1].name"),
    Refusal("unknown volume", (POST, f"{CORE}/pods", containers(
        {**MAIN, "volumeMounts": [{"name": "v", "mountPath": "/v"}]})), 422, "Invalid", 'Not found: "v"',
            "spec.containers[0].volumeMounts[0].name"),
    Refusal("unknown priority class", (POST, f"{CORE}/pods", containers(MAIN, priorityClassName="x")), 403,
            "Forbidden", "no PriorityClass with name x was found"),
    Refusal("unknown account", (POST, f"{CORE}/pods", containers(MAIN, serviceAccountName="x")), 403, "Forbidden",
            'error looking up service account {ns}/x: serviceaccount "x" not found'),
    Refusal("pod moves", (PATCH, f"{CORE}/pods/web", {"spec": {"nodeName": "other"}}, MERGE), 422, "Invalid",
            "pod updates may not change fields other than", "spec"),
    Refusal("selector changes", (PATCH, f"{APPS}/daemonsets/agent", {"spec": {
        "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}}}}, MERGE),
            422, "Invalid", "field is immutable", "spec.selector"),
    Refusal("template leaves the selector", (PATCH, f"{APPS}/daemonsets/agent", {"spec": {
        "template": {"metadata": {"labels": {"app": "x"}}}}}, MERGE),
            422, "Invalid", "`selector` does not match template `labels`", "spec.template.metadata.labels"),
    Refusal("deployment without selector", (POST, f"{APPS}/deployments", workload(template=template({"a": "b"}))), 422,
            "Invalid", "Required value", "spec.selector"),
    Refusal("daemonset with an empty selector",
            (POST, f"{APPS}/daemonsets", workload(selector={}, template=template({"a": "b"}))), 422, "Invalid",
            "empty selector is invalid for daemonset", "spec.selector"),
    Refusal("lease exists", (POST, LEASES, {"metadata": {"name": "lock"}}), 409, "AlreadyExists",
            'leases.coordination.k8s.io "lock" already exists'),
    Refusal("lease without version", (PUT, f"{LEASES}/lock", {"metadata": {"name": "lock"}}), 422, "Invalid",
            "metadata.resourceVersion: Invalid value: 0: must be specified for an update", "metadata.resourceVersion"),
    Refusal("lease stale", (PUT, f"{LEASES}/lock", {"metadata": {"name": "lock", "resourceVersion": "1"}}), 409,
            "Conflict", STALE),
    Refusal("lease time", (POST, LEASES, {"metadata": {"name": "x"}, "spec": {"renewTime": "2026-01-01T00:00:00Z"}}),
            400, "BadRequest", 'cannot parse "Z" as ".000000"'),
    Refusal("lease milliseconds",
            (POST, LEASES, {"metadata": {"name": "x"}, "spec": {"renewTime": "2026-01-01T00:00:00.123Z"}}), 400,
            "BadRequest", "cannot parse"),
    Refusal("lease duration", (POST, LEASES, {"metadata": {"name": "x"}, "spec": {"leaseDurationSeconds": 0}}), 422,
            "Invalid", "must be greater than 0", "spec.leaseDurationSeconds"),
    Refusal("budget with both", (POST, BUDGETS, workload(minAvailable=1, maxUnavailable=1)), 422, "Invalid",
            "minAvailable and maxUnavailable cannot be both set", "spec"),
    Refusal("definition name", (POST, CRDS, {"metadata": {"name": "x"}, "spec": {
        "group": "example.com", "scope": "Cluster", "names": {"plural": "foos", "kind": "Foo"}, "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}]}}),
            422, "Invalid", 'must be spec.names.plural+"."+spec.group', "metadata.name"),
    Refusal("binding without target", (POST, f"{CORE}/pods/web/binding", {"metadata": {"name": "web"}}), 500, "",
            "target.name: Required value"),
    Refusal("bound already", (POST, f"{CORE}/pods/web/binding",
                              {"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "x"}}),
            409, "Conflict", "pod web is already assigned to node"),
    Refusal("incomplete review", (POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {}}), 422,
            "Invalid", "exactly one of nonResourceAttributes or resourceAttributes", by_version({"1.34": "spec.resourceAttributes", "1.37": "spec"})),
]  # fmt: skip


@pytest.fixture(scope="module")
def furnished(cluster: Cluster) -> tuple[Space, str]:
    """One namespace and node for the whole table: what is refused changes nothing."""
    space, node = cluster.space(unique("refused")), unique("node")
    assert cluster.post("/api/v1/nodes", {"metadata": {"name": node}}).code == 201
    space.create("configmaps", {"metadata": {"name": "settings"}, "data": {"a": "1"}})
    space.create("configmaps", {"metadata": {"name": "fixed"}, "data": {"a": "1"}, "immutable": True})
    space.create("pods", pod("web", node="nowhere"))
    agent = {"selector": {"matchLabels": {"app": "agent"}}, "template": template({"app": "agent"})}
    agent["template"]["spec"]["nodeSelector"] = {"no": "node"}
    space.create("apps/v1/daemonsets", {"metadata": {"name": "agent"}, "spec": agent})
    assert cluster.post(LEASES.format(ns=space.name), {"metadata": {"name": "lock"}}).code == 201
    return space, node


@pytest.mark.parametrize("case", [*METADATA, *BODIES, *READS, *WRITES, *KINDS], ids=lambda case: case.name)
def test_refused_with_the_same_words(case: Refusal, furnished: tuple[Space, str]) -> None:
    """Code, reason, message and the first cause's field are the real server's."""
    space, node = furnished
    method, path, *rest = case.request
    answer = space.cluster.call(method, path.format(ns=space.name, node=node), *rest)
    assert (answer.code, answer.reason) == (case.code, case.reason), answer.text
    assert case.says.format(ns=space.name) in answer.message if case.says else True, answer.message
    if case.field:
        assert case.field in [cause["field"] for cause in answer.body["details"]["causes"]], answer.body["details"]
    if answer.body:
        assert (answer.body["kind"], answer.body["status"], answer.body["code"]) == ("Status", "Failure", case.code)
