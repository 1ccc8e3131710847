"""Create, update and patch: what is stored, what is kept, what counts as a change."""

import re

import pytest

from tests.conformance.harness import JSON_PATCH, MERGE, STRATEGIC, Cluster, Json, Space, by_version, pod, template

MICRO = "2026-11-23T02:00:00.000000Z"


def test_create_answers_what_is_stored(space: Space) -> None:
    """201 with uid, resourceVersion and creationTimestamp of the server's own."""
    sent = {"metadata": {"name": "a", "uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z"}, "data": {"k": "v"}}
    body = space.create("configmaps", sent)
    assert (body["kind"], body["apiVersion"], body["data"]) == ("ConfigMap", "v1", {"k": "v"})
    assert re.fullmatch(r"[0-9a-f-]{36}", body["metadata"]["uid"])
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["metadata"]["creationTimestamp"])
    assert body["metadata"]["creationTimestamp"] > "2002"
    assert space.cluster.get(space.path("configmaps/a")).body == body


def test_generate_name(space: Space) -> None:
    """Five characters are added, other ones each time."""
    names = {space.create("configmaps", {"metadata": {"generateName": "a-"}})["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(re.fullmatch(r"a-[b-df-hj-np-tv-xz2-9]{5}", name) for name in names)


def test_versions_grow_over_all_resources(space: Space) -> None:
    """One counter for everything."""
    first = space.create("configmaps", {"metadata": {"name": "a"}})
    second = space.create("secrets", {"metadata": {"name": "a"}})
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])


def test_dry_run_stores_nothing(space: Space) -> None:
    """The answer is as if, the object is not there."""
    answer = space.cluster.post(space.path("configmaps") + "?dryRun=All", {"metadata": {"name": "a"}})
    assert answer.code == 201
    assert answer.body["metadata"]["uid"]
    assert space.cluster.get(space.path("configmaps/a")).code == 404


def test_put_replaces(space: Space) -> None:
    """What is not sent is gone; uid and creation stay; no version is needed for a ConfigMap."""
    before = space.create("configmaps", {"metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "v"}})
    answer = space.cluster.put(space.path("configmaps/a"), {"metadata": {"name": "a"}, "data": {"n": "w"}})
    assert answer.code == 200
    assert answer.body["data"] == {"n": "w"}
    assert "labels" not in answer.body["metadata"]
    assert answer.body["metadata"]["uid"] == before["metadata"]["uid"]


def test_compare_and_set(space: Space) -> None:
    """Of two writers with the same version one wins, by PUT and by merge patch."""
    for method, content_type in (("PUT", "application/json"), ("PATCH", MERGE)):
        name = method.lower()
        read = space.create("configmaps", {"metadata": {"name": name}})
        body = {"metadata": {"name": name, "resourceVersion": read["metadata"]["resourceVersion"]}, "data": {"k": "1"}}
        first = space.cluster.call(method, space.path(f"configmaps/{name}"), body, content_type)
        assert first.code == 200
        body["data"] = {"k": "2"}
        second = space.cluster.call(method, space.path(f"configmaps/{name}"), body, content_type)
        assert (second.code, second.reason) == (409, "Conflict")
        assert second.body["details"] == {"name": name, "kind": "configmaps"}


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC])
def test_a_patch_that_changes_nothing(space: Space, content_type: str) -> None:
    """It is no write: the version stays."""
    before = space.create("configmaps", {"metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "v"}})
    patch = {"metadata": {"labels": {"x": "y"}}, "data": {"k": "v"}}
    answer = space.cluster.patch(space.path("configmaps/a"), patch, content_type)
    assert answer.version == before["metadata"]["resourceVersion"]


def test_merge_patch_null_removes(space: Space) -> None:
    """Also when there is nothing to remove."""
    space.create("configmaps", {"metadata": {"name": "a", "labels": {"x": "y", "z": "1"}}})
    answer = space.cluster.patch(space.path("configmaps/a"), {"metadata": {"labels": {"x": None, "nope": None}}})
    assert answer.body["metadata"]["labels"] == {"z": "1"}


JSON_PATCHES: list[tuple[str, list[Json], Json]] = [
    ("add", [{"op": "add", "path": "/data/n", "value": "1"}], {"k": "v", "n": "1"}),
    ("replace", [{"op": "replace", "path": "/data/k", "value": "1"}], {"k": "1"}),
    ("replace what is missing", [{"op": "replace", "path": "/data/n", "value": "1"}], {"k": "v", "n": "1"}),
    ("remove", [{"op": "add", "path": "/data/n", "value": "1"}, {"op": "remove", "path": "/data/k"}], {"n": "1"}),
    ("test", [{"op": "test", "path": "/data/k", "value": "v"}, {"op": "remove", "path": "/data/k"}], {}),
    ("test what is missing", [{"op": "test", "path": "/data/n", "value": None}], {"k": "v"}),
    ("move", [{"op": "move", "from": "/data/k", "path": "/data/n"}], {"n": "v"}),
    ("copy", [{"op": "copy", "from": "/data/k", "path": "/data/n"}], {"k": "v", "n": "v"}),
    ("escapes", [{"op": "add", "path": "/metadata/labels", "value": {}},
                 {"op": "add", "path": "/metadata/labels/a.b~1c", "value": "d"}], {"k": "v"}),
]  # fmt: skip


@pytest.mark.parametrize(("operations", "data"), [case[1:] for case in JSON_PATCHES], ids=[c[0] for c in JSON_PATCHES])
def test_json_patch(space: Space, operations: list[Json], data: Json) -> None:
    """RFC 6902, with the real server's library's leniency in `replace`."""
    space.create("configmaps", {"metadata": {"name": "a"}, "data": {"k": "v"}})
    answer = space.cluster.patch(space.path("configmaps/a"), operations, JSON_PATCH)
    assert answer.code == 200, answer.text
    assert answer.body.get("data", {}) == data


def daemonset(**spec: object) -> Json:
    body: Json = {"selector": {"matchLabels": {"app": "x"}}, "template": template({"app": "x"}), **spec}
    body["template"]["spec"]["nodeSelector"] = {"no": "node"}
    body["template"]["spec"]["volumes"] = [{"name": "e", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/x"}}]
    return {"metadata": {"name": "ds"}, "spec": body}


def test_strategic_patch_merges_containers_by_name(space: Space) -> None:
    """Named items are merged, new ones come in, $patch deletes, $setElementOrder orders, env merges by name."""
    path = space.path("apps/v1/daemonsets/ds")
    space.create("apps/v1/daemonsets", daemonset())
    pod_spec = {
        "$setElementOrder/containers": [{"name": "side"}, {"name": "main"}],
        "containers": [{"name": "side", "image": "s"}, {"name": "main", "env": [{"name": "A", "value": "1"}]}],
        "volumes": [{"$patch": "delete", "name": "e"}],
    }
    answer = space.cluster.patch(path, {"spec": {"template": {"spec": pod_spec}}}, STRATEGIC)
    spec = answer.body["spec"]["template"]["spec"]
    assert [(item["name"], item["image"]) for item in spec["containers"]] == [
        ("side", "s"),
        ("main", "example.com/app:1"),
    ]
    assert [volume["name"] for volume in spec["volumes"]] == ["h"]
    env = [{"name": "B", "value": "2"}, {"$patch": "delete", "name": "A"}]
    answer = space.cluster.patch(
        path, {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": env}]}}}}, STRATEGIC
    )
    main = answer.body["spec"]["template"]["spec"]["containers"][1]
    assert main["env"] == [{"name": "B", "value": "2"}]


def test_strategic_patch_of_conditions(space: Space, node: str) -> None:
    """Conditions merge by type; new ones stand where the patch has them."""
    path = f"/api/v1/nodes/{node}/status"
    cluster = space.cluster
    found: list[tuple[str, str]] = []
    for conditions in ([("A", "True"), ("B", "True")], [("C", "True"), ("A", "False")]):
        body = {"status": {"conditions": [{"type": kind, "status": status} for kind, status in conditions]}}
        answer = cluster.patch(path, body, STRATEGIC)
        found = [(item["type"], item["status"]) for item in answer.body["status"]["conditions"]]
    assert [item for item in found if item[0] in "ABC"] == [("C", "True"), ("A", "False"), ("B", "True")]


def test_strategic_patch_adds_finalizers(space: Space) -> None:
    """They are a set; the patch's come first."""
    space.create("configmaps", {"metadata": {"name": "a", "finalizers": ["example.com/a"]}})
    patch = {"metadata": {"finalizers": ["example.com/b"]}}
    answer = space.cluster.patch(space.path("configmaps/a"), patch, STRATEGIC)
    assert answer.body["metadata"]["finalizers"] == ["example.com/b", "example.com/a"]


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC])
def test_taints_are_replaced_as_a_whole(cluster: Cluster, node: str, content_type: str) -> None:
    """By merge and by strategic patch."""
    path = f"/api/v1/nodes/{node}"
    for key in ("a", "b"):
        taint = {"key": key, "effect": "NoSchedule"}
        answer = cluster.patch(path, {"spec": {"taints": [taint]}}, content_type)
        assert answer.body["spec"]["taints"] == [taint]


def test_status_and_spec_are_separate(space: Space) -> None:
    """A normal write leaves the status, a status write leaves the spec; labels pass through the latter."""
    cluster = space.cluster
    space.pod("p", node="nowhere")
    path = space.path("pods/p")
    answer = cluster.patch(path, {"status": {"phase": "Failed"}})
    assert answer.body["status"]["phase"] == "Pending"
    patch = {"metadata": {"labels": {"x": "y"}}, "spec": {"nodeName": "other"}, "status": {"phase": "Running"}}
    answer = cluster.patch(f"{path}/status", patch)
    assert answer.code == 200, answer.text
    assert answer.body["status"]["phase"] == "Running"
    assert answer.body["spec"]["nodeName"] == "nowhere"
    assert answer.body["metadata"]["labels"] == {"x": "y"}


def test_generation_counts_the_spec(space: Space) -> None:
    """Not metadata, not status, not what changes nothing."""
    path = space.path("apps/v1/daemonsets/ds")
    assert space.create("apps/v1/daemonsets", daemonset())["metadata"]["generation"] == 1
    answer = space.cluster.patch(path, {"metadata": {"annotations": {"x": "y"}}})
    assert answer.body["metadata"]["generation"] == 1
    answer = space.cluster.patch(path, {"spec": {"minReadySeconds": 5}})
    assert answer.body["metadata"]["generation"] == 2
    answer = space.cluster.patch(path, {"spec": {"minReadySeconds": 5}})
    assert answer.body["metadata"]["generation"] == 2
    annotation = "deprecated.daemonset.template.generation"
    assert answer.body["metadata"]["annotations"][annotation] == "1"
    answer = space.cluster.patch(path, {"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}})
    assert answer.body["metadata"]["annotations"][annotation] == "2"


def test_defaults_of_a_pod(space: Space) -> None:
    """What a client reads that only sent containers."""
    body = space.pod("p", node="nowhere", schedulerName="default-scheduler")
    spec, container = body["spec"], body["spec"]["containers"][0]
    assert body["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert body["metadata"]["generation"] == 1
    expected = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "enableServiceLinks": True,
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    assert {key: spec.get(key) for key in expected} == expected
    toleration = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    assert spec["tolerations"] == [
        {"key": f"node.kubernetes.io/{name}", **toleration} for name in ("not-ready", "unreachable")
    ]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["terminationMessagePolicy"] == "File"
    assert container["resources"] == {}


def test_defaults_of_a_host_network_pod(space: Space) -> None:
    """Ports, priority, tolerations that are there already, and the pull policy of `latest`."""
    container = {"name": "main", "image": "example.com/app", "ports": [{"containerPort": 80}]}
    body = space.create(
        "pods",
        pod(
            "p",
            containers=[container],
            hostNetwork=True,
            priorityClassName="system-node-critical",
            tolerations=[{"operator": "Exists"}],
        ),
    )
    assert body["spec"]["priority"] == 2_000_001_000
    assert body["spec"]["tolerations"] == [{"operator": "Exists"}]
    assert body["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    assert body["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]


def test_default_tolerations_cannot_be_taken_away(space: Space) -> None:
    """Admission puts them back on every update."""
    space.pod("p", node="nowhere")
    answer = space.cluster.patch(space.path("pods/p"), {"spec": {"tolerations": []}})
    assert answer.code == 200
    assert len(answer.body["spec"]["tolerations"]) == 2


WORKLOADS: list[tuple[str, Json, Json]] = [
    ("apps/v1/daemonsets", {}, {
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        "revisionHistoryLimit": 10}),
    ("apps/v1/deployments", {"replicas": 0}, {
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}),
    ("apps/v1/replicasets", {"replicas": 0}, {"replicas": 0}),
    ("apps/v1/statefulsets", {"replicas": 0, "serviceName": "x"}, {
        "podManagementPolicy": "OrderedReady", "updateStrategy": {
            "type": "RollingUpdate",
            "rollingUpdate": by_version({"1.34": {"partition": 0}, "1.37": {"partition": 0, "maxUnavailable": 1}})},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"}}),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "sent", "defaults"), WORKLOADS, ids=[case[0] for case in WORKLOADS])
def test_defaults_of_workloads(space: Space, resource: str, sent: Json, defaults: Json) -> None:
    """Strategies, limits and the template's pod defaults."""
    spec = {"selector": {"matchLabels": {"app": "x"}}, "template": template({"app": "x"}), **sent}
    spec["template"]["spec"]["nodeSelector"] = {"no": "node"}
    body = space.create(resource, {"metadata": {"name": "x"}, "spec": spec})
    assert {key: body["spec"].get(key) for key in defaults} == defaults
    assert body["spec"]["template"]["spec"]["restartPolicy"] == "Always"
    assert "serviceAccountName" not in body["spec"]["template"]["spec"]


def test_defaults_of_a_service(space: Space) -> None:
    """An address out of the service range, a target port, and no second address on update."""
    body = space.create(
        "services", {"metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}}
    )
    assert body["spec"]["clusterIP"].startswith("10.96.")
    assert body["spec"]["clusterIPs"] == [body["spec"]["clusterIP"]]
    assert body["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert body["status"] == {"loadBalancer": {}}
    answer = space.cluster.patch(space.path("services/s"), {"spec": {"selector": {"a": "c"}}})
    assert answer.body["spec"]["clusterIP"] == body["spec"]["clusterIP"]


def test_node_ports(space: Space) -> None:
    """Out of the range of node ports, unique, one for two protocols of a port; kept on a PUT that names none."""

    def service(name: str, ports: list[Json], kind: str = "NodePort") -> Json:
        return {"metadata": {"name": name}, "spec": {"type": kind, "selector": {"a": "b"}, "ports": ports}}

    def ports_of(body: Json) -> list[int]:
        return [port.get("nodePort", 0) for port in body["spec"]["ports"]]

    both = [{"name": "tcp", "port": 53}, {"name": "udp", "port": 53, "protocol": "UDP"}, {"name": "web", "port": 80}]
    first = space.create("services", service("first", both))
    second = space.create("services", service("second", [{"port": 80}]))
    tcp, udp, web = ports_of(first)
    assert tcp == udp
    assert len({tcp, web, *ports_of(second)}) == 3
    assert all(30000 <= port <= 32767 for port in (tcp, web, *ports_of(second)))
    assert first["spec"]["externalTrafficPolicy"] == "Cluster"

    again = space.cluster.put(
        space.path("services/first"),
        {**first, "spec": {**first["spec"], "ports": [{"name": "web", "port": 81}, {"name": "new", "port": 82}]}},
    )
    assert again.code == 200, again.text
    assert ports_of(again.body)[0] == web
    assert 30000 <= ports_of(again.body)[1] <= 32767
    assert ports_of(again.body)[1] not in {web, *ports_of(second)}

    taken = space.cluster.post(space.path("services"), service("third", [{"port": 80, "nodePort": web}]))
    assert (taken.code, taken.reason) == (422, "Invalid")
    assert taken.message.endswith(f"spec.ports[0].nodePort: Invalid value: {web}: provided port is already allocated")
    far = space.cluster.post(space.path("services"), service("third", [{"port": 80, "nodePort": 80}]))
    assert far.code == 422
    assert "not in the valid range. The range of valid ports is 30000-32767" in far.message

    plain = space.cluster.patch(space.path("services/first"), {"spec": {"type": "ClusterIP"}})
    assert plain.code == 200, plain.text
    assert ports_of(plain.body) == [0, 0]
    assert "externalTrafficPolicy" not in plain.body["spec"]
    assert ports_of(space.create("services", service("third", [{"port": 80, "nodePort": web}]))) == [web]
    later = space.cluster.patch(space.path("services/first"), {"spec": {"type": "NodePort"}})
    assert all(30000 <= port <= 32767 for port in ports_of(later.body))
    assert len({*ports_of(later.body), web}) == 3


def test_defaults_of_a_network_policy(space: Space) -> None:
    """Policy types follow from the rules."""
    spec = {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}], "egress": [{}]}
    body = space.create("networking.k8s.io/v1/networkpolicies", {"metadata": {"name": "n"}, "spec": spec})
    assert body["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert body["spec"]["ingress"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]


def test_string_data_of_a_secret(space: Space) -> None:
    """It is written, never read."""
    body = space.create("secrets", {"metadata": {"name": "s"}, "stringData": {"k": "v"}})
    assert (body["type"], body["data"]) == ("Opaque", {"k": "dg=="})
    assert "stringData" not in body


def test_namespace_is_furnished(space: Space) -> None:
    """Active, with its name as a label, a service account and the cluster's CA."""
    cluster = space.cluster
    body = cluster.get(f"/api/v1/namespaces/{space.name}").body
    assert body["status"] == {"phase": "Active"}
    assert body["spec"] == {"finalizers": ["kubernetes"]}
    assert body["metadata"]["labels"] == {"kubernetes.io/metadata.name": space.name}
    cluster.eventually(space.path("configmaps/kube-root-ca.crt"), lambda body: "ca.crt" in body["data"])


def test_initial_namespaces(cluster: Cluster) -> None:
    """Those every cluster has."""
    names = {item["metadata"]["name"] for item in cluster.get("/api/v1/namespaces").body["items"]}
    assert {"default", "kube-node-lease", "kube-public", "kube-system"} <= names


def test_lease_by_put(space: Space) -> None:
    """PUT may create one; after that it needs the version."""
    path = space.path("coordination.k8s.io/v1/leases/l")
    body: Json = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me", "renewTime": MICRO}}
    made = space.cluster.put(path, body)
    assert made.code == 201
    body["metadata"]["resourceVersion"] = made.version
    body["spec"]["leaseDurationSeconds"] = 15
    again = space.cluster.put(path, body)
    assert again.code == 200
    assert again.body["spec"] == {"holderIdentity": "me", "renewTime": MICRO, "leaseDurationSeconds": 15}
    assert space.cluster.put(path, body).code == 409


def test_field_manager_is_noted(space: Space) -> None:
    """From `fieldManager`, else from the User-Agent. The real server notes nobody who sets no field."""
    path = space.path("configmaps")
    body = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"a": "b"}}
    space.cluster.post(path + "?fieldManager=tool", body)
    space.cluster.patch(path + "/a", {"data": {"k": "v"}})
    managers = space.cluster.get(path + "/a").body["metadata"]["managedFields"]
    found = {(entry["manager"], entry["operation"]) for entry in managers}
    assert found == {("tool", "Update"), ("python-httpx", "Update")}


def test_binding(space: Space) -> None:
    """It names the node and says PodScheduled; the generation stays."""
    space.pod("p")
    body = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "nowhere"}}
    answer = space.cluster.post(space.path("pods/p/binding"), body)
    assert (answer.code, answer.body["status"]) == (201, "Success")
    found = space.cluster.get(space.path("pods/p")).body
    assert found["spec"]["nodeName"] == "nowhere"
    assert found["metadata"]["generation"] == 1
    scheduled = [item for item in found["status"]["conditions"] if item["type"] == "PodScheduled"]
    assert [item["status"] for item in scheduled] == ["True"]
