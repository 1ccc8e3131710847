"""kubectl of the simulated version works on the simulator as it does on the real server, without any flags.

Every command runs on both. Pods have no kubelet here: `confirm` deletes those that terminate, as one would.
"""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cni_migrate.sim.apiserver.podlogs import LogLine
from cni_migrate.sim.client import Object
from tests.conformance.harness import MERGE, Cluster, Json, Space, template


def kubectl(cluster: Cluster, *argv: str, check: bool = True, stdin: str = "") -> str:
    """Run kubectl and return what it printed."""
    result = subprocess.run(
        [cluster.kubectl, "--kubeconfig", cluster.kubeconfig, *argv],
        capture_output=True,
        text=True,
        input=stdin,
        timeout=60,
        check=False,
    )
    assert not check or result.returncode == 0, f"kubectl {' '.join(argv)}: {result.stdout}{result.stderr}"
    return result.stdout + ("" if check else result.stderr)


@contextmanager
def confirm(space: Space) -> Iterator[None]:
    """Play the kubelets: remove the namespace's terminating pods."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.2):
            for item in space.cluster.get(space.path("pods")).body["items"]:
                if "deletionTimestamp" in item["metadata"]:
                    space.cluster.delete(space.path(f"pods/{item['metadata']['name']}"), {"gracePeriodSeconds": 0})

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def running(space: Space, name: str, node: str) -> None:
    """A running pod with a controller, so that drain takes it. A ConfigMap will do: no real controller minds it."""
    space.cluster.post(space.path("configmaps"), {"metadata": {"name": "owner"}})
    uid = space.cluster.get(space.path("configmaps/owner")).body["metadata"]["uid"]
    pod: Json = template({"n": name})
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": True}
    pod["metadata"] |= {"name": name, "ownerReferences": [owner]}
    pod["spec"]["nodeName"] = node
    space.create("pods", pod)
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert space.cluster.patch(space.path(f"pods/{name}/status"), {"status": status}).code == 200


MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: "%s"}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      nodeSelector: {no: node}
      containers: [{name: main, image: "example.com/app:%s"}]
"""


def test_apply(space: Space, tmp_path: Path) -> None:
    """Created, unchanged, configured: client-side apply with its strategic patch."""
    path = tmp_path / "manifest.yaml"
    for value, word in (("1", "created"), ("1", "unchanged"), ("2", "configured")):
        path.write_text(MANIFEST % (value, value))
        said = kubectl(space.cluster, "-n", space.name, "apply", "-f", str(path))
        assert said.split() == ["configmap/settings", word, "daemonset.apps/agent", word]
    body = space.cluster.get(space.path("apps/v1/daemonsets/agent")).body
    assert body["spec"]["template"]["spec"]["containers"][0]["image"] == "example.com/app:2"
    assert body["metadata"]["generation"] == 2
    said = kubectl(space.cluster, "-n", space.name, "delete", "-f", str(path), "--timeout=20s")
    assert said.count("deleted") == 2


def test_a_list_in_a_file(space: Space, tmp_path: Path) -> None:
    """What `get -o yaml` has written of several objects goes back by `replace`; a kind that nobody serves does not."""
    cluster, flags, path = space.cluster, ("-n", space.name), tmp_path / "list.yaml"
    for name in ("one", "two"):
        kubectl(cluster, *flags, "create", "configmap", name, "--from-literal=a=b")
    lines = kubectl(cluster, *flags, "get", "configmap", "one", "two", "-o", "yaml").splitlines()
    path.write_text("\n".join(line for line in lines if "resourceVersion:" not in line and "uid:" not in line))
    kubectl(cluster, *flags, "delete", "configmap", "two")
    kubectl(cluster, *flags, "create", "configmap", "two")
    said = kubectl(cluster, *flags, "replace", "-f", str(path))
    assert said.split() == ["configmap/one", "replaced", "configmap/two", "replaced"]
    assert kubectl(cluster, *flags, "get", "configmap", "two", "-o", "jsonpath={.data.a}") == "b"
    path.write_text("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Nonesuch, metadata: {name: a}}]\n")
    assert "Nonesuch" in kubectl(cluster, *flags, "replace", "-f", str(path), check=False)


def test_create_and_get(space: Space) -> None:
    """Typed creation (which is protobuf), tables, and single fields."""
    cluster, flags = space.cluster, ("-n", space.name)
    kubectl(cluster, *flags, "create", "configmap", "settings", "--from-literal=a=b")
    assert kubectl(cluster, *flags, "get", "configmap", "settings", "-o", "jsonpath={.data.a}") == "b"
    lines = kubectl(cluster, *flags, "get", "configmaps").splitlines()
    assert lines[0].split() == ["NAME", "DATA", "AGE"]
    assert ["settings", "1"] in [line.split()[:2] for line in lines[1:]]
    kubectl(cluster, *flags, "create", "secret", "generic", "token", "--from-literal=a=b")
    assert kubectl(cluster, *flags, "get", "secret", "token", "-o", "jsonpath={.data.a}") == "Yg=="
    assert "NotFound" in kubectl(cluster, *flags, "get", "pod", "nonesuch", check=False)


def test_label_annotate_taint(cluster: Cluster, node: str) -> None:
    """The patches kubectl makes of them, and their refusals."""
    kubectl(cluster, "label", "node", node, "a=b")
    assert "already has a value" in kubectl(cluster, "label", "node", node, "a=c", check=False)
    kubectl(cluster, "label", "node", node, "a-")
    kubectl(cluster, "annotate", "node", node, "a=b")
    kubectl(cluster, "taint", "node", node, "k=v:NoSchedule")
    body = cluster.get(f"/api/v1/nodes/{node}").body
    assert "a" not in body["metadata"].get("labels", {})
    assert body["metadata"]["annotations"]["a"] == "b"
    assert {"key": "k", "value": "v", "effect": "NoSchedule"} in body["spec"]["taints"]
    kubectl(cluster, "taint", "node", node, "k:NoSchedule-")
    assert "a valid label must be" in kubectl(cluster, "label", "node", node, "a=b c", check=False)


def test_nodes_table(cluster: Cluster, node: str) -> None:
    """`get nodes` says Ready and SchedulingDisabled."""
    status = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.34.4"}}
    assert cluster.patch(f"/api/v1/nodes/{node}/status", {"status": status}).code == 200
    kubectl(cluster, "cordon", node)
    lines = kubectl(cluster, "get", "node", node).splitlines()
    assert lines[0].split() == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    name, state, roles, _, version = lines[1].split()
    assert (name, state, roles, version) == (node, "Ready,SchedulingDisabled", "<none>", "v1.34.4")


def test_cordon_and_drain(space: Space, node: str) -> None:
    """Evicts what has a controller, waits until it is gone, and leaves the node cordoned."""
    cluster = space.cluster
    for name in ("a", "b"):
        running(space, name, node)
    with confirm(space):
        said = kubectl(cluster, "drain", node, "--timeout=30s")
    assert {f"pod/{name} evicted" for name in ("a", "b")} <= set(said.splitlines())
    assert f"node/{node} drained" in said
    assert cluster.get(f"/api/v1/nodes/{node}").body["spec"]["unschedulable"] is True
    assert kubectl(cluster, "uncordon", node).strip() == f"node/{node} uncordoned"


def test_drain_waits_for_a_budget(space: Space, node: str) -> None:
    """It names the budget's refusal and gives up after its time."""
    running(space, "a", node)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"n": "a"}}}
    space.create("policy/v1/poddisruptionbudgets", {"metadata": {"name": "b"}, "spec": spec})
    path = space.path("policy/v1/poddisruptionbudgets/b")
    if space.cluster.simulator is not None:
        status = {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "observedGeneration": 1}
        space.cluster.call("PATCH", f"{path}/status", {"status": status}, MERGE)
    space.cluster.eventually(path, lambda body: body["status"].get("currentHealthy") == 1)
    said = kubectl(space.cluster, "drain", node, "--timeout=3s", check=False)
    assert "Cannot evict pod as it would violate the pod's disruption budget" in said
    assert "deletionTimestamp" not in space.cluster.get(space.path("pods/a")).body["metadata"]


def test_drain_refuses_before_it_touches_anything(space: Space, node: str) -> None:
    """A pod without a controller stops it."""
    running(space, "a", node)
    space.pod("bare", node=node)
    said = kubectl(space.cluster, "drain", node, "--timeout=3s", check=False)
    assert "cannot delete" in said
    assert "bare" in said
    assert "deletionTimestamp" not in space.cluster.get(space.path("pods/a")).body["metadata"]


def test_describe(space: Space, node: str) -> None:
    """Nodes and pods, with events."""
    running(space, "a", node)
    involved = {"kind": "Pod", "namespace": space.name, "name": "a"}
    pod = space.cluster.get(space.path("pods/a")).body
    event = {"involvedObject": {**involved, "uid": pod["metadata"]["uid"]}, "reason": "Tested", "message": "it was"}
    space.create("events", {"metadata": {"name": "e"}, "type": "Normal", **event})
    said = kubectl(space.cluster, "-n", space.name, "describe", "pod", "a")
    lines = [line.split() for line in said.splitlines()]
    assert ["Name:", "a"] in lines
    assert ["Controlled", "By:", "ConfigMap/owner"] in lines
    assert ["Normal", "Tested", "<unknown>", "it", "was"] in lines
    lines = [line.split() for line in kubectl(space.cluster, "describe", "node", node).splitlines()]
    assert ["Name:", node] in lines
    assert [space.name, "a"] in [line[:2] for line in lines]


def test_wait(space: Space) -> None:
    """For a condition, for a field and for the end."""
    cluster, flags = space.cluster, ("-n", space.name)
    space.pod("a", node="nowhere")
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}

    def later(act: str) -> threading.Timer:
        def run() -> None:
            if act == "ready":
                cluster.patch(space.path("pods/a/status"), {"status": status})
            else:
                cluster.delete(space.path("pods/a"), {"gracePeriodSeconds": 0})

        timer = threading.Timer(1, run)
        timer.start()
        return timer

    for act, condition in (("ready", "condition=Ready"), ("gone", "delete")):
        timer = later(act)
        started = time.monotonic()
        assert "pod/a" in kubectl(cluster, *flags, "wait", f"--for={condition}", "pod/a", "--timeout=20s")
        assert time.monotonic() - started < 15
        timer.join()


def test_get_watch(space: Space) -> None:
    """`get -w` prints changes as they come."""
    with subprocess.Popen(
        [space.cluster.kubectl, "--kubeconfig", space.cluster.kubeconfig, "-n", space.name, "get", "pods", "-w"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        time.sleep(1)
        space.pod("a")
        assert process.stdout is not None
        assert process.stdout.readline().split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
        assert process.stdout.readline().split()[:3] == ["a", "0/1", "Pending"]
        process.kill()


def test_delete_namespace(space: Space) -> None:
    """Kubectl waits until it is gone."""
    kubectl(space.cluster, "create", "namespace", f"{space.name}-two")
    assert "deleted" in kubectl(space.cluster, "delete", "namespace", f"{space.name}-two", "--timeout=40s")


def test_can_i_and_whoami(cluster: Cluster) -> None:
    """Reviews, in protobuf."""
    assert kubectl(cluster, "auth", "can-i", "create", "pods", "--subresource=eviction").strip() == "yes"
    assert "kubernetes-admin" in kubectl(cluster, "auth", "whoami")


def test_definition_by_apply(cluster: Cluster, tmp_path: Path) -> None:
    """A CRD can be waited for, and its resource is known by its short name then."""
    path = tmp_path / "definition.yaml"
    path.write_text(
        """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: bars.kubectl.example.com}
spec:
  group: kubectl.example.com
  scope: Cluster
  names: {plural: bars, kind: Bar, shortNames: [br]}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
    )
    kubectl(cluster, "apply", "-f", str(path))
    kubectl(cluster, "wait", "--for=condition=established", "crd/bars.kubectl.example.com", "--timeout=20s")
    body = '{"apiVersion": "kubectl.example.com/v1", "kind": "Bar", "metadata": {"name": "a"}}'
    kubectl(cluster, "create", "-f", "-", stdin=body)
    assert "bar.kubectl.example.com/a" in kubectl(cluster, "get", "br", "-o", "name")
    kubectl(cluster, "delete", "crd", "bars.kubectl.example.com", "--timeout=30s")


@pytest.fixture
def logged(space: Space, node: str) -> Iterator[Space]:
    """A pod with three lines in its log; on the simulator only, where somebody plays the kubelet."""
    running(space, "a", node)
    app = space.cluster.simulator
    assert app is not None

    async def source(pod: Object, container: str, previous: bool) -> list[LogLine]:
        now = app.store.now()
        return [LogLine(now, f"{pod['metadata']['name']} {container} {number}") for number in range(3)]

    app.logs = source
    yield space
    app.logs = None


def test_logs(request: pytest.FixtureRequest, cluster: Cluster) -> None:
    """All lines, the last one, with time stamps, by bytes. How the real server fetches them is in test_logs."""
    if cluster.simulator is None:
        return
    space: Space = request.getfixturevalue("logged")
    flags = ("-n", space.name, "logs", "a")
    assert kubectl(cluster, *flags).splitlines() == ["a main 0", "a main 1", "a main 2"]
    assert kubectl(cluster, *flags, "--tail=1") == "a main 2\n"
    assert kubectl(cluster, *flags, "--limit-bytes=4") == "a ma"
    stamp, rest = kubectl(cluster, *flags, "--tail=1", "--timestamps").split(" ", 1)
    assert stamp.endswith("Z")
    assert rest == "a main 2\n"


def test_scale(space: Space) -> None:
    """A number of pods by its subresource: with what it has to be before, and not below none."""
    cluster, flags = space.cluster, ("-n", space.name)
    kubectl(cluster, *flags, "create", "deployment", "web", "--image=example.com/app:1", "--replicas=2")
    assert kubectl(cluster, *flags, "scale", "deployment/web", "--replicas=3").split()[-1] == "scaled"
    kubectl(cluster, *flags, "scale", "deployment", "web", "--current-replicas=3", "--replicas=1")
    found = cluster.get(space.path("apps/v1/deployments/web/scale")).body
    assert (found["kind"], found["apiVersion"], found["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 1})
    assert found["status"]["selector"] == "app=web"
    assert cluster.get(space.path("apps/v1/deployments/web")).body["spec"]["replicas"] == 1
    stale = {"metadata": {**found["metadata"], "resourceVersion": "1"}, "spec": {"replicas": 5}}
    assert cluster.put(space.path("apps/v1/deployments/web/scale"), stale).code == 409
    less = {"metadata": found["metadata"], "spec": {"replicas": -1}}
    refused = cluster.put(space.path("apps/v1/deployments/web/scale"), less)
    assert (refused.code, refused.body["reason"]) == (422, "Invalid")


TYPED = {
    "deployments": ["create", "deployment", "one", "--image=example.com/a:1", "--replicas=2", "--port=80"],
    "jobs": ["create", "job", "one", "--image=example.com/a:1", "--", "sleep", "1"],
    "services": ["create", "service", "clusterip", "one", "--tcp=80:8080"],
    "poddisruptionbudgets": ["create", "pdb", "one", "--selector=app=x", "--min-available=50%"],
    "roles": ["create", "role", "one", "--verb=get,list", "--resource=pods,secrets"],
    "rolebindings": ["create", "rolebinding", "one", "--role=r", "--user=jane"],
}
"""What kubectl's typed clients send in protobuf: the resource, and the command."""


@pytest.mark.parametrize("plural", TYPED)
def test_typed_creation(space: Space, plural: str) -> None:
    """What was said in protobuf is what is there."""
    command = TYPED[plural]
    kubectl(space.cluster, "-n", space.name, *command)
    wanted = json.loads(kubectl(space.cluster, "-n", space.name, *_dry(command)))
    found = json.loads(kubectl(space.cluster, "-n", space.name, "get", plural, "one", "-o", "json"))
    assert _within(wanted.get("spec"), found.get("spec"))
    for part in ("rules", "subjects", "roleRef"):
        assert found.get(part) == wanted.get(part)


def _dry(command: list[str]) -> list[str]:
    """The same command, which only prints the object as JSON; before what is no option of its own."""
    at = command.index("--") if "--" in command else len(command)
    return [*command[:at], "--dry-run=client", "-o", "json", *command[at:]]


def _within(part: object, whole: object) -> bool:
    """Whether all of one value is in the other, but for what is empty."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(_within(value, whole.get(key)) for key, value in part.items() if value not in (None, {}, [], ""))
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) == len(whole) and all(map(_within, part, whole))
    return part == whole
