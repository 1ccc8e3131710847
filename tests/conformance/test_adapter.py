"""The adapter does and sees the same on the simulator and on a real control plane.

Each scene is played three times: over the network on both servers, on the wall clock, and against the simulator in this
process on virtual time. The faults further down need the simulator's handles.
"""

import asyncio
import contextlib
import dataclasses
import json
import random
from collections.abc import AsyncGenerator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ruamel.yaml import YAML

from cni_migrate.config import Config
from cni_migrate.core.model.effects import (
    DeleteObject,
    DeletePod,
    Effect,
    EvictPod,
    PatchNode,
    PatchObject,
    PutObject,
    RunHostTask,
)
from cni_migrate.core.model.objects import Node, ObjectRef, Pod, Snapshot, Taint
from cni_migrate.errors import ClusterError, ClusterUnreachable, Conflict, RightsMissing, Unauthorized
from cni_migrate.kube import inventory
from cni_migrate.kube.access import Ask, Reviews
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.connect import connect
from cni_migrate.kube.documents import KubeDocuments
from cni_migrate.kube.inprocess import close_api, in_process_api
from cni_migrate.kube.logs import KubeLogs, LogUnavailable
from cni_migrate.kube.networkpolicies import network_policies
from cni_migrate.kube.request import Client, denied
from cni_migrate.kube.transport import Answer
from cni_migrate.ports import Clock
from cni_migrate.sim.apiserver.app import ApiServer
from cni_migrate.sim.apiserver.auth import Rule
from cni_migrate.sim.apiserver.hooks import Fault
from cni_migrate.sim.apiserver.store import Store
from cni_migrate.sim.clock import SimClock, run_virtual
from tests.conformance.harness import Cluster, unique

Json = dict[str, Any]
MERGE = "application/merge-patch+json"


class WallClock:
    """The clock port on the wall clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class VirtualClock(SimClock):
    """The clock port on virtual time."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclasses.dataclass
class Scene:
    """A cluster, seen and changed through the adapter, and a namespace and node for the scene alone."""

    client: Client
    cluster: KubeCluster
    clock: Clock
    space: str
    node: str

    async def do(self, effect: Effect) -> tuple[str, str]:
        await self.cluster.perform([effect])
        attempt = self.cluster.attempts[effect.key]
        return attempt.result, attempt.message

    async def eventually(self, holds: Callable[[Snapshot], Any], seconds: float = 40) -> Any:
        """Wait, by the port's own means, until the snapshot shows something; what it shows."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while not (found := holds(self.cluster.snapshot())):
            assert self.clock.now() < end, "it was not seen in time"
            await self.cluster.changed(end, 0.02)
        return found

    async def patched(self, patch: Callable[[Node], PatchNode]) -> None:
        """Patch the scene's node; when one of the controllers was faster, look and try again, as the driver does."""
        for _ in range(20):
            result, message = await self.do(patch(self.cluster.snapshot().nodes[self.node]))
            if result != "conflict":
                assert result == "applied", message
                return
            await self.clock.sleep(0.2)
        raise AssertionError("the node is written all the time")

    def manifest(self, api_version: str, kind: str, name: str, **parts: Any) -> Json:
        return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": self.space}, **parts}

    async def pod(self, name: str, *, ready: bool = True) -> Pod:
        """A pod on the scene's node, made by somebody else than the adapter."""
        path = f"/api/v1/namespaces/{self.space}/pods"
        spec = {"nodeName": self.node, "containers": [{"name": "main", "image": "example.com/app:1"}]}
        body = {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec}
        assert (await self.client.request("POST", path, body=body)).status == 201
        if ready:
            status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            answer = await self.client.request(
                "PATCH", f"{path}/{name}/status", body={"status": status}, content_type=MERGE
            )
            assert answer.status == 200
        found: Pod = await self.eventually(
            lambda seen: (pod := seen.pod(self.space, name)) and pod.ready == ready and pod
        )
        return found

    async def counted(self, budget: str, **numbers: int) -> None:
        """What the disruption controller writes; on the real control plane it has written the same."""
        path = f"/apis/policy/v1/namespaces/{self.space}/poddisruptionbudgets/{budget}/status"
        status = {"status": {"observedGeneration": 1, **numbers}}
        assert (await self.client.request("PATCH", path, body=status, content_type=MERGE)).status == 200

    def evict(self, pod: Pod) -> EvictPod:
        return EvictPod(pod.namespace, pod.name, pod.uid, pod.node)


@contextlib.asynccontextmanager
async def scene(client: Client, clock: Clock) -> AsyncGenerator[Scene]:
    name = unique("adapter")
    async with KubeCluster(client, Config(namespace=name), clock) as cluster:
        made = Scene(client, cluster, clock, name, f"node-{name}")
        assert await made.do(PutObject({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})) == (
            "applied",
            "",
        )
        await made.do(PutObject({"apiVersion": "v1", "kind": "Node", "metadata": {"name": made.node}}))
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        while (await client.request("GET", account)).status != 200:
            await clock.sleep(0.1)
        yield made


async def nodes(scene: Scene) -> None:
    before = await scene.eventually(lambda seen: not (node := seen.nodes[scene.node]).taints and node)
    taint = Taint("cni-migrate.io/x", "1", "NoExecute")
    await scene.patched(
        lambda one: PatchNode(one.name, one.uid, one.resource_version, {"a": "b"}, {"c": "d"}, True, (taint,))
    )
    after = scene.cluster.snapshot().nodes[scene.node]
    assert after.labels["a"] == "b"
    assert after.annotations["c"] == "d"
    assert after.unschedulable
    assert taint in after.taints
    cordon = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")  # set by a controller, a moment later
    await scene.eventually(lambda seen: cordon in seen.nodes[scene.node].taints)
    stale = PatchNode(before.name, before.uid, before.resource_version, {"a": "c"}, {})
    assert (await scene.do(stale))[0] == "conflict"
    other = PatchNode(before.name, "no-such-uid", after.resource_version, {"a": "c"}, {})
    assert (await scene.do(other))[0] in ("gone", "conflict")
    gone = PatchNode("no-such-node", "u", "1", {"a": "c"}, {})
    assert (await scene.do(gone))[0] == "gone"
    await scene.patched(
        lambda one: PatchNode(one.name, one.uid, one.resource_version, {"a": None}, {"c": None}, False, ())
    )
    restored = scene.cluster.snapshot().nodes[scene.node]
    assert "a" not in restored.labels
    assert "c" not in restored.annotations
    assert not restored.unschedulable
    assert taint not in restored.taints


async def evictions(scene: Scene) -> None:
    first, second = await scene.pod("p1"), await scene.pod("p2")
    selector = {"selector": {"matchLabels": {"app": "web"}}}
    budget = scene.manifest("policy/v1", "PodDisruptionBudget", "b", spec={"minAvailable": 2, **selector})
    assert (await scene.do(PutObject(budget)))[0] == "applied"
    await scene.counted("b", disruptionsAllowed=0, currentHealthy=2, desiredHealthy=2, expectedPods=2)
    await scene.eventually(lambda seen: seen.budgets[(scene.space, "b")].current_healthy == 2)
    result, message = await scene.do(scene.evict(first))
    assert result == "blocked"
    assert "b allows 0 disruptions: it needs 2 healthy pods and has 2" in message
    assert not next(pod for pod in scene.cluster.snapshot().pods_on(scene.node) if pod.name == "p1").deleting
    other = scene.manifest("policy/v1", "PodDisruptionBudget", "b2", spec={"minAvailable": 0, **selector})
    await scene.do(PutObject(other))
    await scene.clock.sleep(1)
    result, message = await scene.do(scene.evict(first))
    assert result == "failed"
    assert "more than one PodDisruptionBudget" in message
    for name in ("b", "b2"):
        await scene.do(DeleteObject(ObjectRef("policy/v1", "PodDisruptionBudget", scene.space, name)))
    await scene.eventually(lambda seen: not [key for key in seen.budgets if key[0] == scene.space])
    assert (await scene.do(scene.evict(first)))[0] == "applied"
    assert scene.cluster.snapshot().pod(scene.space, "p1").deleting  # type: ignore[union-attr]
    assert (await scene.do(scene.evict(first)))[0] == "applied"
    assert (await scene.do(EvictPod(scene.space, "p2", "another-uid", scene.node)))[0] == "gone"
    assert (await scene.do(EvictPod(scene.space, "nobody", "uid", scene.node)))[0] == "gone"
    assert (await scene.do(DeletePod(scene.space, "p2", "another-uid", scene.node)))[0] == "gone"
    await scene.eventually(lambda seen: not seen.pod(scene.space, "p2") or True)
    assert (await scene.do(DeletePod(scene.space, "p2", second.uid, scene.node)))[0] == "applied"
    assert (await scene.do(DeletePod(scene.space, "nobody", "uid", scene.node)))[0] == "gone"
    await scene.eventually(lambda seen: all(pod.deleting for pod in seen.pods_on(scene.node)))


def daemonset(scene: Scene, **template: Any) -> Json:
    labels = {"app": "agent"}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"nodeSelector": {"no": "where"}, "containers": [{"name": "c", "image": "i:1"}], **template},
        },
    }
    return scene.manifest("apps/v1", "DaemonSet", "agent", spec=spec)


async def objects(scene: Scene) -> None:
    key = (scene.space, "agent")
    assert await scene.do(PutObject(daemonset(scene, hostNetwork=True))) == ("applied", "")
    first = scene.cluster.snapshot().daemonsets[key]
    assert first.containers == ("c",)
    assert first.node_selector == {"no": "where"}
    await scene.clock.sleep(2)  # its controller, if there is one, writes the status
    settled = scene.cluster.snapshot().daemonsets[key]
    await scene.do(PutObject(daemonset(scene, hostNetwork=True)))
    assert scene.cluster.snapshot().daemonsets[key] == settled, "what is as it should be is not written"
    await scene.do(PutObject(daemonset(scene)))
    changed = scene.cluster.snapshot().daemonsets[key]
    assert changed.generation == settled.generation + 1, "what the manifest does not name any more is taken away"
    patch = PatchObject(ObjectRef.of(daemonset(scene)), {"spec": {"template": {"spec": {"nodeSelector": {"x": "y"}}}}})
    assert (await scene.do(patch))[0] == "applied"
    assert scene.cluster.snapshot().daemonsets[key].node_selector == {"no": "where", "x": "y"}
    stale = PatchObject(ObjectRef.of(daemonset(scene)), {"metadata": {"labels": {"a": "b"}}}, first.resource_version)
    assert (await scene.do(stale))[0] == "conflict"
    bad = daemonset(scene)
    bad["spec"]["selector"]["matchLabels"] = {"other": "label"}
    assert (await scene.do(PutObject(bad)))[0] == "failed"
    ref = ObjectRef.of(daemonset(scene))
    assert (await scene.do(DeleteObject(ref, "another-uid")))[0] == "gone"
    assert (await scene.do(DeleteObject(ref)))[0] == "applied"
    assert key not in scene.cluster.snapshot().daemonsets
    assert (await scene.do(DeleteObject(ref)))[0] == "gone"
    await scene.clock.sleep(1)
    assert key not in scene.cluster.snapshot().daemonsets


async def services_keep_their_address(scene: Scene) -> None:
    def service(port: int) -> Json:
        return scene.manifest("v1", "Service", "s", spec={"selector": {"a": "b"}, "ports": [{"port": port}]})

    path = f"/api/v1/namespaces/{scene.space}/services/s"
    await scene.do(PutObject(service(80)))
    before = (await scene.client.request("GET", path)).object["spec"]
    assert (await scene.do(PutObject(service(81))))[0] == "applied"
    after = (await scene.client.request("GET", path)).object["spec"]
    assert after["ports"][0]["port"] == 81
    assert after["clusterIP"] == before["clusterIP"]


async def config_maps_are_exact(scene: Scene) -> None:
    path = f"/api/v1/namespaces/{scene.space}/configmaps/m"
    await scene.do(PutObject(scene.manifest("v1", "ConfigMap", "m", data={"a": "1", "b": "2"})))
    await scene.do(PutObject(scene.manifest("v1", "ConfigMap", "m", data={"a": "1"})))
    found = await inventory.get_config_map(scene.client, scene.space, "m")
    assert found == {"a": "1"}
    version = (await scene.client.request("GET", path)).object["metadata"]["resourceVersion"]
    again = PutObject(scene.manifest("v1", "ConfigMap", "m", data={"a": "1"}))
    assert await scene.do(again) == ("applied", "as it was")
    assert (await scene.client.request("GET", path)).object["metadata"]["resourceVersion"] == version
    assert await inventory.get_config_map(scene.client, scene.space, "none") is None


async def what_cannot_be_made(scene: Scene) -> None:
    homeless = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "no-such-space"}}
    result, message = await scene.do(PutObject(homeless))
    assert result == "failed"
    assert 'namespaces "no-such-space" not found' in message
    unknown = scene.manifest("example.com/v1", "Nothing", "x")
    assert (await scene.do(PutObject(unknown)))[0] == "blocked"
    assert (await scene.do(DeleteObject(ObjectRef.of(unknown))))[0] == "gone"
    early = scene.manifest("cilium.io/v2alpha1", "CiliumNodeConfig", "x")
    assert (await scene.do(PutObject(early)))[0] == "blocked"
    assert (await scene.do(DeleteObject(ObjectRef.of(early))))[0] == "gone"


async def host_tasks(scene: Scene) -> None:
    spec = {"nodeName": scene.node, "hostNetwork": True, "containers": [{"name": "task", "image": "i:1"}]}
    task = RunHostTask(scene.node, "task", scene.manifest("v1", "Pod", "task", spec=spec))
    assert await scene.do(task) == ("applied", "")
    assert [pod.name for pod in scene.cluster.snapshot().pods_on(scene.node)] == ["task"]
    assert (await scene.do(task))[0] == "applied"
    lost = {**task.pod, "metadata": {"name": "task", "namespace": "no-such-space"}}
    assert (await scene.do(RunHostTask(scene.node, "lost", lost)))[0] == "failed"


async def a_namespace_that_ends(scene: Scene) -> None:
    await scene.pod("holds-it")  # its kubelet never confirms that it has ended
    await scene.do(DeleteObject(ObjectRef("v1", "Namespace", "", scene.space)))
    result, message = await scene.do(PutObject(scene.manifest("v1", "ConfigMap", "late", data={})))
    assert result == "blocked"
    assert "being terminated" in message
    again = PutObject({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scene.space}})
    assert (await scene.do(again))[0] == "blocked"


async def documents(scene: Scene) -> None:
    store = KubeDocuments(scene.client, scene.clock)
    spec = {"holderIdentity": "me", "leaseDurationSeconds": 30, "renewTime": "2030-01-01T00:00:00.000000Z"}
    lease = scene.manifest("coordination.k8s.io/v1", "Lease", "lock", spec=spec)
    assert await store.get("Lease", scene.space, "lock") is None
    made = await store.create(lease)
    with pytest.raises(Conflict):
        await store.create(lease)
    renewed = {**made, "spec": {**spec, "renewTime": "2030-01-01T00:00:10.000000Z"}}
    newer = await store.replace(renewed)
    assert newer["spec"]["renewTime"] == "2030-01-01T00:00:10.000000Z"
    with pytest.raises(Conflict):
        await store.replace({**renewed, "spec": {**spec, "holderIdentity": "they"}})
    with pytest.raises(Conflict):
        await store.delete(made)
    await store.delete(newer)
    await store.delete(newer)
    versioned = {"name": "lock", "namespace": scene.space, "resourceVersion": newer["metadata"]["resourceVersion"]}
    with pytest.raises(ClusterError):
        await store.replace({**lease, "metadata": versioned})
    assert await store.get("Lease", scene.space, "lock") is None, "a lock that was taken away is not made anew"
    record = await store.create(scene.manifest("v1", "ConfigMap", "record", data={"a": "b"}))
    await store.delete(record)
    with pytest.raises(Conflict):
        await store.replace(record)


async def operators_requests(scene: Scene) -> None:
    store = KubeDocuments(scene.client, scene.clock)
    wishes = {"paused": "2030-01-01T00:00:00Z", "retry.worker-1": "2030-01-01T00:00:01Z"}
    made = await store.create(scene.manifest("v1", "ConfigMap", "cni-migrate-requests", data=wishes))
    found = await scene.eventually(lambda seen: seen.requests.paused_since and seen.requests)
    assert found.retry == {"worker-1": "2030-01-01T00:00:01Z"}
    await store.delete(made)
    await scene.eventually(lambda seen: not seen.requests.paused_since)


async def logs_without_a_kubelet(scene: Scene) -> None:
    await scene.pod("p")
    reader = KubeLogs(scene.client, scene.clock)
    with pytest.raises(LogUnavailable, match="not found"):
        await reader.tail(scene.space, "nobody", 10)
    with pytest.raises(LogUnavailable):
        await reader.tail(scene.space, "p", 10, since_seconds=5)


def crd(plural: str, kind: str, scope: str) -> Json:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.cilium.io"},
        "spec": {
            "group": "cilium.io",
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [{"name": "v2", "served": True, "storage": True, "schema": schema}],
        },
    }


async def ciliums_kinds(scene: Scene) -> None:
    kinds = [
        crd("ciliumnodes", "CiliumNode", "Cluster"),
        crd("ciliumendpoints", "CiliumEndpoint", "Namespaced"),
        crd("ciliumnodeconfigs", "CiliumNodeConfig", "Namespaced"),
    ]
    assert not scene.cluster.snapshot().served
    for kind in kinds:
        assert (await scene.do(PutObject(kind)))[0] == "applied"
    wanted = {f"cilium.io/v2/{kind['spec']['names']['plural']}" for kind in kinds}
    await scene.eventually(lambda seen: set(seen.served) == wanted)
    node = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNode",
        "metadata": {"name": scene.node},
        "spec": {"ipam": {"podCIDRs": ["10.245.1.0/24"]}},
    }
    assert (await scene.do(PutObject(node)))[0] == "applied"
    found = await scene.eventually(lambda seen: seen.cilium_nodes.get(scene.node))
    assert found.pod_cidrs == ("10.245.1.0/24",)
    status = {"networking": {"addressing": [{"ipv4": "10.245.1.7"}]}}
    endpoint = scene.manifest("cilium.io/v2", "CiliumEndpoint", "p", status=status)
    assert (await scene.do(PutObject(endpoint)))[0] == "applied"
    found = await scene.eventually(lambda seen: seen.endpoints.get((scene.space, "p")))
    assert found.ip == "10.245.1.7"
    for kind in kinds:
        assert (await scene.do(DeleteObject(ObjectRef.of(kind))))[0] == "applied"
    await scene.eventually(lambda seen: not seen.served and not seen.cilium_nodes and not seen.endpoints, 120)


async def what_preflight_reads(scene: Scene) -> None:
    policy = scene.manifest("networking.k8s.io/v1", "NetworkPolicy", "deny", spec={"podSelector": {}})
    await scene.do(PutObject(policy))
    hook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": scene.space},
        "webhooks": [
            {
                "name": "hook.example.com",
                "clientConfig": {"service": {"namespace": "a", "name": "b"}},
                "rules": [
                    {"apiGroups": ["example.com"], "apiVersions": ["*"], "operations": ["*"], "resources": ["things"]}
                ],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
    assert (await scene.do(PutObject(hook)))[0] == "applied"
    found = await inventory.inventory(scene.client)
    policies = [one["metadata"] for one in await network_policies(scene.client)]
    assert (scene.space, "deny") in [(one["namespace"], one["name"]) for one in policies]
    (webhook,) = [one for one in found.webhooks if one.configuration == scene.space]
    assert (webhook.failure_policy, webhook.service) == ("Fail", "a/b")
    assert webhook.rules == (inventory.WebhookRule(("example.com",), ("things",), ("*",)),)
    assert found.version.startswith("v1.")
    await scene.do(DeleteObject(ObjectRef.of(hook)))


async def rights(scene: Scene) -> None:
    asks = [
        Ask("create", "", "pods", "eviction"),
        Ask("patch", "", "nodes"),
        Ask("get", "", "pods", "log", scene.space),
    ]
    assert await Reviews(scene.client).allowed(asks) == dict.fromkeys(asks, True)


SCENES = [
    nodes,
    evictions,
    objects,
    services_keep_their_address,
    config_maps_are_exact,
    what_cannot_be_made,
    host_tasks,
    a_namespace_that_ends,
    documents,
    operators_requests,
    logs_without_a_kubelet,
    ciliums_kinds,
    what_preflight_reads,
    rights,
]
Play = Callable[[Scene], Coroutine[Any, Any, None]]


@pytest.mark.parametrize("play", SCENES, ids=lambda play: play.__name__)
def test_over_the_network(cluster: Cluster, play: Play) -> None:
    async def main() -> None:
        clock = WallClock()
        async with connect(clock=clock, kubeconfig=str(cluster.kubeconfig)) as client, scene(client, clock) as made:
            await play(made)

    asyncio.run(main())


def inside(body: Callable[[ApiServer, Client, VirtualClock], Coroutine[Any, Any, None]], **auth: Any) -> None:
    """Run against the simulator in this process, on virtual time."""

    async def main() -> None:
        clock = VirtualClock()
        app = ApiServer(Store(clock), **auth)
        api = await in_process_api(app, token="me")
        await body(app, Client(api, clock, random.Random(3)), clock)
        await close_api(api)

    run_virtual(main())


@pytest.mark.parametrize("play", SCENES, ids=lambda play: play.__name__)
def test_in_process(play: Play) -> None:
    async def body(_: ApiServer, client: Client, clock: VirtualClock) -> None:
        async with scene(client, clock) as made:
            await play(made)

    inside(body)


def test_a_real_denial_names_the_right(cluster: Cluster) -> None:
    user = unique("user")
    limited = cluster.as_user(user, [{"verbs": ["list"], "apiGroups": [""], "resources": ["nodes"]}])
    path = "/api/v1/namespaces/default/pods/p/eviction"
    answer = limited.post(path, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}})
    with pytest.raises(RightsMissing, match="create pods/eviction in namespace default"):
        denied(Answer(answer.code, {}, answer.body), "POST", path)
    answer = limited.get("/api/v1/pods")
    with pytest.raises(RightsMissing, match="list pods"):
        denied(Answer(answer.code, {}, answer.body), "GET", "/api/v1/pods")


def test_a_certificate_that_is_not_trusted(cluster: Cluster, tmp_path: Any) -> None:
    """The simulator speaks no TLS: there is nothing to distrust."""
    config = YAML(typ="safe", pure=True).load(cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"].pop("certificate-authority-data", None)
    stranger = tmp_path / "kubeconfig"
    stranger.write_text(json.dumps(config))

    async def main() -> None:
        async with connect(clock=WallClock(), kubeconfig=str(stranger)):
            pass

    if cluster.name == "real":
        with pytest.raises(ClusterUnreachable, match="its TLS certificate is not trusted") as caught:
            asyncio.run(main())
        assert cluster.url in str(caught.value)
    else:
        asyncio.run(main())


# Faults, on the simulator in this process


@pytest.mark.parametrize("cut", ["before", "after"])
def test_lost_answers_do_no_harm(cut: Any) -> None:
    async def body(app: ApiServer, client: Client, clock: VirtualClock) -> None:
        async with scene(client, clock) as made:
            pod = await made.pod("p")

            def lose(method: str, path: str) -> None:
                app.hooks.faults = [Fault(method, path, cut=cut)]

            lose("POST", "/configmaps")
            assert (await made.do(PutObject(made.manifest("v1", "ConfigMap", "m", data={"a": "1"}))))[0] == "applied"
            lose("PUT", "/configmaps/m")
            await made.do(PutObject(made.manifest("v1", "ConfigMap", "m", data={"a": "2"})))
            assert await inventory.get_config_map(client, made.space, "m") == {"a": "2"}
            lose("POST", "/eviction")
            assert (await made.do(made.evict(pod)))[0] == "applied"
            store = KubeDocuments(client, clock)
            spec = {"holderIdentity": "me", "leaseDurationSeconds": 30}
            lose("POST", "/leases")
            lease = await store.create(made.manifest("coordination.k8s.io/v1", "Lease", "l", spec=spec))
            lose("PUT", "/leases/l")
            newer = await store.replace({**lease, "spec": {**spec, "leaseTransitions": 1}})
            assert newer["spec"]["leaseTransitions"] == 1

    inside(body)


def test_a_node_patch_whose_answer_was_lost_is_looked_at_again() -> None:
    """It was carried out, so its repetition is stale: a conflict, and the watch shows the truth."""

    async def body(app: ApiServer, client: Client, clock: VirtualClock) -> None:
        async with scene(client, clock) as made:
            node = await made.eventually(lambda seen: not (one := seen.nodes[made.node]).taints and one)
            app.hooks.faults = [Fault("PATCH", "/nodes/", cut="after")]
            patch = PatchNode(node.name, node.uid, node.resource_version, {"a": "b"}, {})
            assert (await made.do(patch))[0] == "conflict"
            await made.eventually(lambda seen: seen.nodes[made.node].labels.get("a") == "b")

    inside(body)


def test_an_outage_of_half_a_minute_is_not_noticed_by_the_caller() -> None:
    async def body(app: ApiServer, client: Client, clock: VirtualClock) -> None:
        async with scene(client, clock) as made:
            outage = [Fault(code=503, times=None), Fault(watch="cut", events=0, times=None)]
            app.hooks.faults = outage
            asyncio.get_running_loop().call_later(30, app.hooks.faults.clear)
            made_later = PutObject(made.manifest("v1", "ConfigMap", "m", data={}))
            assert (await made.do(made_later))[0] == "applied"
            assert clock.seconds() >= 30

    inside(body)


def test_refused_credentials_leave_the_watches_alone() -> None:
    async def body(app: ApiServer, client: Client, clock: VirtualClock) -> None:
        async with scene(client, clock) as made:
            assert app.auth.tokens is not None
            watching = app.hooks.snapshot()
            del app.auth.tokens["me"]
            with pytest.raises(Unauthorized):
                await made.do(PutObject(made.manifest("v1", "ConfigMap", "m", data={})))
            app.auth.tokens["me"] = "kubernetes-admin"
            await clock.sleep(5)
            ended = {key: one.requests for key, one in app.hooks.snapshot().items() if "watch" in str(key).lower()}
            assert all(number == watching[key].requests for key, number in ended.items() if key in watching)
            assert (await made.do(PutObject(made.manifest("v1", "ConfigMap", "m", data={}))))[0] == "applied"

    inside(body, tokens={"me": "kubernetes-admin"})


def test_a_missing_right_is_raised() -> None:
    async def body(app: ApiServer, client: Client, clock: VirtualClock) -> None:
        async with scene(client, clock) as made:
            pod = await made.pod("p")
            app.auth.rules = {"kubernetes-admin": [Rule(verbs=("get", "list", "watch"))]}
            with pytest.raises(RightsMissing, match=f"create pods/eviction in namespace {made.space}"):
                await made.do(made.evict(pod))
            asks = [Ask("create", "", "pods", "eviction"), Ask("list", "", "pods")]
            assert list((await Reviews(client).allowed(asks)).values()) == [False, True]

    inside(body, tokens={"me": "kubernetes-admin"})


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_to_the_watches_the_cache_ends_up_right(seed: int) -> None:
    rng = random.Random(seed)

    async def body(app: ApiServer, client: Client, clock: VirtualClock) -> None:
        async with scene(client, clock) as made:
            for watch in ("cut", "close", "expire"):
                app.hooks.faults.append(
                    Fault(path="pods|nodes", watch=watch, times=None, every=3, events=rng.randint(1, 6))
                )
            app.hooks.faults.append(Fault("GET", "pods|nodes", code=500, times=None, every=7))
            path = f"/api/v1/namespaces/{made.space}/pods"
            for step in range(150):
                name = f"p{rng.randrange(12)}"
                match rng.randrange(4):
                    case 0 | 1:
                        spec = {"nodeName": made.node, "containers": [{"name": "c", "image": "i"}]}
                        meta = {"name": name, "labels": {"step": str(step)}}
                        await client.request("POST", path, body={"metadata": meta, "spec": spec})
                    case 2:
                        gone = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": rng.choice([0, 30])}
                        await client.request("DELETE", f"{path}/{name}", body=gone)
                    case _:
                        labels = {"metadata": {"labels": {"step": str(step)}}}
                        await client.request("PATCH", f"{path}/{name}", body=labels, content_type=MERGE)
                        seen = made.cluster.snapshot().pod(made.space, name)
                        if seen is not None and rng.random() < 0.3:
                            await made.do(made.evict(seen))
                            after = made.cluster.snapshot().pod(made.space, name)
                            assert after is None or after.uid != seen.uid or after.deleting
                await clock.sleep(rng.random() * 3)
            app.hooks.faults.clear()
            await clock.sleep(600)
            listed = (await client.request("GET", path)).object["items"]
            truth = {
                one["metadata"]["name"]: (one["metadata"]["uid"], one["metadata"]["labels"]["step"]) for one in listed
            }
            pods = made.cluster.snapshot().pods_on(made.node)
            assert {pod.name: (pod.uid, pod.labels["step"]) for pod in pods} == truth
            deleting = {one["metadata"]["name"] for one in listed if "deletionTimestamp" in one["metadata"]}
            assert {pod.name for pod in pods if pod.deleting} == deleting

    inside(body)


def test_an_idle_hour_costs_few_requests() -> None:
    async def body(app: ApiServer, client: Client, clock: VirtualClock) -> None:
        async with scene(client, clock) as made:
            await clock.sleep(300)
            before = app.hooks.requests
            made.cluster.snapshot()
            begun = clock.now()
            await made.cluster.changed(begun + timedelta(hours=1), 0.02)
            assert clock.now() - begun == timedelta(hours=1), "nothing has changed"
            assert app.hooks.requests - before < 250

    inside(body)
