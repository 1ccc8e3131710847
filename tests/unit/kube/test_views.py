"""Each view, field by field, from objects as the API shows them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cni_migrate.core.model.objects import CiliumNode, Endpoint, Requests, Requirement, Taint, Toleration
from cni_migrate.kube import views


def pod(**parts: Any) -> dict[str, Any]:
    meta = {"namespace": "web", "name": "p", "uid": "u1", "resourceVersion": "5", **parts.pop("metadata", {})}
    return {"metadata": meta, "spec": parts.pop("spec", {}), "status": parts.pop("status", {}), **parts}


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def test_a_node() -> None:
    found = views.node(
        {
            "metadata": {
                "name": "n1",
                "uid": "u",
                "resourceVersion": "7",
                "labels": {"a": "b"},
                "annotations": {"c": "d"},
            },
            "spec": {
                "unschedulable": True,
                "podCIDR": "10.244.1.0/24",
                "taints": [{"key": "k", "effect": "NoSchedule"}, {"key": "k", "value": "v", "effect": "NoExecute"}],
            },
            "status": {
                "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
                "nodeInfo": {"bootID": "boot"},
                "addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "10.0.0.1"}],
            },
        }
    )
    assert (found.name, found.uid, found.resource_version) == ("n1", "u", "7")
    assert (found.labels, found.annotations) == ({"a": "b"}, {"c": "d"})
    assert found.taints == (Taint("k", "", "NoSchedule"), Taint("k", "v", "NoExecute"))
    assert found.unschedulable
    assert found.ready
    assert (found.boot_id, found.internal_ip, found.pod_cidr) == ("boot", "10.0.0.1", "10.244.1.0/24")


def test_a_node_of_two_families() -> None:
    """Its network and address are those of IPv4, also where IPv6 comes first: no podCIDR elsewhere was seen there."""
    raw = {
        "metadata": {"name": "w1"},
        "spec": {"podCIDR": "fd00:1::/64", "podCIDRs": ["fd00:1::/64", "10.99.1.0/24"]},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "fd00::7"}, {"type": "InternalIP", "address": "192.0.2.7"}]
        },
    }
    seen = views.node(raw)
    assert (seen.pod_cidr, seen.internal_ip) == ("10.99.1.0/24", "192.0.2.7")
    assert seen.pod_cidrs == ("fd00:1::/64", "10.99.1.0/24")
    assert seen.more_addresses == ("fd00::7",)


def test_a_node_of_several_networks() -> None:
    """The first address is the one it is known by; the others, and those outside, are its own as well."""
    told = [
        ("ExternalIP", "203.0.113.7"),
        ("InternalIP", "192.0.2.7"),
        ("InternalIP", "198.51.100.7"),
        ("Hostname", "w1"),
    ]
    raw = {"metadata": {"name": "w1"}, "status": {"addresses": [{"type": t, "address": a} for t, a in told]}}
    seen = views.node(raw)
    assert (seen.internal_ip, seen.more_addresses) == ("192.0.2.7", ("203.0.113.7", "198.51.100.7"))


def test_a_node_that_has_only_a_name() -> None:
    found = views.node({"metadata": {"name": "n1"}})
    assert not found.ready
    assert not found.unschedulable
    assert found.taints == ()


def _with_port(port: dict[str, Any]) -> dict[str, Any]:
    return {"containers": [{"name": "a"}, {"name": "b", "ports": [port]}]}


@pytest.mark.parametrize(
    ("raw", "field", "expected"),
    [
        (pod(), "node", ""),
        (pod(spec={"nodeName": "n1"}), "node", "n1"),
        (pod(status={"podIP": "10.0.0.5"}), "ip", "10.0.0.5"),
        (pod(spec={"hostNetwork": True}), "host_network", True),
        (pod(status={"phase": "Running"}), "phase", "Running"),
        (pod(status=READY), "ready", True),
        (pod(status={"conditions": [{"type": "Ready", "status": "Unknown"}]}), "ready", False),
        (pod(status=READY, metadata={"deletionTimestamp": "2030-01-01T00:00:00Z"}), "ready", False),
        (pod(metadata={"deletionTimestamp": "2030-01-01T00:00:00Z"}), "deleting", True),
        (pod(metadata={"deletionTimestamp": "2030-01-01T00:00:00Z"}), "due_gone", datetime(2030, 1, 1, tzinfo=UTC)),
        (pod(), "due_gone", None),
        (pod(metadata={"annotations": {"kubernetes.io/config.mirror": "x"}}), "mirror", True),
        (pod(), "mirror", False),
        (
            pod(
                spec={
                    "volumes": [
                        {"name": "a", "persistentVolumeClaim": {"claimName": "c"}},
                        {"name": "b", "ephemeral": {}},
                    ]
                }
            ),
            "claims",
            ("c", "p-b"),
        ),
        (pod(spec={"volumes": [{"name": "a", "configMap": {}}]}), "local_storage", False),
        (pod(spec={"volumes": [{"name": "a", "configMap": {}}, {"name": "b", "emptyDir": {}}]}), "local_storage", True),
        (pod(spec=_with_port({"containerPort": 80})), "host_ports", False),
        (pod(spec=_with_port({"containerPort": 80, "hostPort": 80})), "host_ports", True),
        (pod(spec={"hostNetwork": True, **_with_port({"hostPort": 80})}), "host_ports", False),
        (pod(metadata={"labels": {"controller-revision-hash": "abc"}}), "revision", "abc"),
        (pod(spec={"containers": [{"name": "a"}, {"name": "b"}]}), "containers", ("a", "b")),
        (pod(), "controller", None),
        (
            pod(
                metadata={
                    "ownerReferences": [
                        {"kind": "Other", "name": "o", "uid": "0"},
                        {"kind": "DaemonSet", "name": "d", "uid": "1", "controller": True},
                    ]
                }
            ),
            "controller",
            ("DaemonSet", "d", "1"),
        ),
        (pod(metadata={"ownerReferences": [{"kind": "Other", "name": "o", "uid": "0"}]}), "controller", None),
        (
            pod(spec={"tolerations": [{"operator": "Exists"}, {"key": "k", "value": "v", "effect": "NoExecute"}]}),
            "tolerations",
            (Toleration("", "Exists", "", ""), Toleration("k", "Equal", "v", "NoExecute")),
        ),
    ],
)
def test_a_pod(raw: dict[str, Any], field: str, expected: Any) -> None:
    assert getattr(views.pod(raw), field) == expected


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"name": "c", "state": {"waiting": {"reason": reason, **({"message": message} if message else {})}}}


@pytest.mark.parametrize(
    ("spec", "status", "trouble"),
    [
        ({"nodeName": "n"}, {"phase": "Running", "containerStatuses": [{"name": "c", "state": {"running": {}}}]}, ""),
        ({"nodeName": "n"}, {"containerStatuses": [waiting("ContainerCreating")]}, "ContainerCreating"),
        (
            {"nodeName": "n"},
            {"containerStatuses": [waiting("CrashLoopBackOff", "back-off 10s restarting")]},
            "CrashLoopBackOff: back-off 10s restarting",
        ),
        (
            {},
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
                ]
            },
            "Unschedulable: 0/3 nodes",
        ),
        (
            {"nodeName": "n"},
            {
                "initContainerStatuses": [waiting("ImagePullBackOff", "no such image")],
                "containerStatuses": [waiting("PodInitializing")],
            },
            "ImagePullBackOff: no such image",
        ),
        (
            {"nodeName": "n"},
            {
                "initContainerStatuses": [
                    {"name": "i", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
                ],
                "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 2, "reason": "Error"}}}],
            },
            "Error (exit code 2)",
        ),
        ({"nodeName": "n"}, {"phase": "Failed", "reason": "Evicted", "message": "low on disk"}, "Evicted: low on disk"),
    ],
)
def test_what_troubles_a_pod(spec: dict[str, Any], status: dict[str, Any], trouble: str) -> None:
    assert views.pod(pod(spec=spec, status=status)).trouble == trouble


def test_the_termination_message_is_the_first_containers() -> None:
    """The statuses are ordered by name, not as in the spec."""
    statuses = [
        {"name": "a", "state": {"terminated": {"exitCode": 0, "message": "other"}}},
        {"name": "task", "state": {"terminated": {"exitCode": 0, "message": '{"ok": true}'}}},
    ]
    raw = pod(spec={"containers": [{"name": "task"}, {"name": "a"}]}, status={"containerStatuses": statuses})
    assert views.pod(raw).message == '{"ok": true}'


def test_a_daemonset() -> None:
    found = views.daemonset(
        {
            "metadata": {
                "namespace": "kube-system",
                "name": "canal",
                "uid": "u",
                "resourceVersion": "3",
                "generation": 4,
                "ownerReferences": [
                    {"kind": "Node", "name": "w1"},
                    {"kind": "Installation", "name": "default", "controller": True},
                ],
            },
            "spec": {
                "updateStrategy": {"type": "OnDelete"},
                "template": {
                    "spec": {
                        "nodeSelector": {"kubernetes.io/os": "linux"},
                        "initContainers": [{"name": "install", "image": "i:1"}],
                        "containers": [{"name": "flannel", "image": "f:1"}, {"name": "calico", "image": "c:1"}],
                    }
                },
            },
            "status": {"observedGeneration": 3, "desiredNumberScheduled": 5, "updatedNumberScheduled": 4},
        }
    )
    assert (found.desired, found.updated, found.available) == (5, 4, 0)
    assert found.node_selector == {"kubernetes.io/os": "linux"}
    assert found.containers == ("flannel", "calico")
    assert found.images == ("i:1", "f:1", "c:1")
    assert (found.generation, found.observed_generation, found.desired) == (4, 3, 5)
    assert found.update_strategy == "OnDelete"
    assert found.node_terms is None
    assert found.owner == "Installation default"


def test_a_daemonsets_required_node_affinity_is_seen() -> None:
    """Each alternative with its requirements, on labels and on the node's name; a preferred one does not count."""
    terms = [
        {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}]},
        {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["w1"]}]},
        {},
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}

    def of(affinity: dict[str, Any]) -> Any:
        template = {"spec": {"containers": [], "affinity": {"nodeAffinity": affinity}}}
        return views.daemonset({"metadata": {"name": "canal"}, "spec": {"template": template}}).node_terms

    assert of(required) == (
        (Requirement("kubernetes.io/arch", "In", ("arm64",)),),
        (Requirement("metadata.name", "NotIn", ("w1",), on_name=True),),
        (),
    )
    assert of({"preferredDuringSchedulingIgnoredDuringExecution": []}) is None


@pytest.mark.parametrize("selector", [None, {}, {"matchLabels": {"a": "b"}}])
def test_a_budget_keeps_its_selector_as_it_is(selector: dict[str, Any] | None) -> None:
    """None selects nothing, {} everything: the difference must not be lost."""
    spec = {"unhealthyPodEvictionPolicy": "AlwaysAllow"} | ({} if selector is None else {"selector": selector})
    status = {"disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2}
    found = views.budget(
        {"metadata": {"namespace": "n", "name": "b", "resourceVersion": "4"}, "spec": spec, "status": status}
    )
    assert (found.namespace, found.name, found.resource_version) == ("n", "b", "4")
    assert (found.selector, found.unhealthy_always_allowed) == (selector, True)
    assert (found.disruptions_allowed, found.current_healthy, found.desired_healthy) == (1, 3, 2)


@pytest.mark.parametrize(
    ("spec", "never"),
    [
        ({"maxUnavailable": 0}, "maxUnavailable: 0"),
        ({"maxUnavailable": "0%"}, "maxUnavailable: 0%"),
        ({"minAvailable": "100%"}, "minAvailable: 100%"),
        ({"minAvailable": 100}, ""),
        ({"maxUnavailable": 1}, ""),
        ({}, ""),
    ],
)
def test_a_budget_that_is_closed_whatever_happens_is_known(spec: dict[str, Any], never: str) -> None:
    """A hundred pods are a number, all of them are not: one more replica opens the first only."""
    assert views.budget({"metadata": {"namespace": "n", "name": "b"}, "spec": spec}).never == never


def test_a_cilium_node_before_and_after_it_has_a_cidr() -> None:
    raw: dict[str, Any] = {"metadata": {"name": "n1"}, "spec": {"ipam": {}}}
    assert views.cilium_node(raw) == CiliumNode("n1", ())
    raw["spec"]["ipam"]["podCIDRs"] = ["10.245.1.0/24"]
    assert views.cilium_node(raw) == CiliumNode("n1", ("10.245.1.0/24",))


def test_an_endpoint_knows_its_pod() -> None:
    raw = {
        "metadata": {"namespace": "n", "name": "p", "ownerReferences": [{"kind": "Pod", "name": "p", "uid": "u1"}]},
        "status": {"networking": {"addressing": [{"ipv4": "10.245.0.7"}]}},
    }
    assert views.endpoint(raw) == Endpoint("n", "p", "u1", "10.245.0.7")
    assert views.endpoint({"metadata": {"namespace": "n", "name": "p"}}) == Endpoint("n", "p", "", "")


def test_requests_have_one_key_per_wish() -> None:
    data = {"paused": "2030-01-01T00:00:00Z", "retry.worker-1": "t1", "skip.worker.two": "broken disk", "other": "x"}
    expected = Requests("2030-01-01T00:00:00Z", {"worker-1": "t1"}, {"worker.two": "broken disk"})
    assert views.requests({"metadata": {"name": "r"}, "data": data}) == expected
    assert views.requests({"metadata": {"name": "r"}}) == Requests()


def test_what_recurs_is_shared() -> None:
    first, second = (views.pod(pod(metadata={"labels": {"app": "web", "x": str(1)}})) for _ in range(2))
    assert first.labels is second.labels
    assert first.namespace is second.namespace


def test_bulky_annotations_are_dropped() -> None:
    noted = {"kubectl.kubernetes.io/last-applied-configuration": "{...}", "kept": "1"}
    assert views.pod(pod(metadata={"annotations": noted})).annotations == {"kept": "1"}
