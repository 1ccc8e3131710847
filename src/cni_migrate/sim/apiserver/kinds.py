"""Per-kind rules of the built-in resources: defaults, and what a create or an update sets by itself.

Each rule follows the kind's defaults under `pkg/apis` and its strategy under `pkg/registry` in kubernetes 1.34.
"""

import base64
import ipaddress
from collections.abc import Callable
from typing import Any

from cni_migrate.sim.apiserver import nodeports, pods
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.client import Object

_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"

_NODE_INFO = (
    "machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion",
    "kubeProxyVersion", "operatingSystem", "architecture",
)  # fmt: skip

Key = tuple[str, str]


# Defaults: what an absent field means, on create and on update.


def _default_template(spec: Object) -> None:
    if isinstance(template := spec.get("template"), dict):
        template.setdefault("metadata", {})
        pods.default_spec(template.setdefault("spec", {}))


def _default_daemonset(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    _default_template(spec)


def _default_deployment(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    _default_template(spec)


def _default_replicaset(obj: Object) -> None:
    obj.setdefault("spec", {}).setdefault("replicas", 1)
    _default_template(obj["spec"])


def _default_statefulset(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    _default_template(spec)


def _default_networkpolicy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    spec.setdefault("policyTypes", ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
        for port in rule.get("ports") or ():
            port.setdefault("protocol", "TCP")


def _default_service(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
        both = spec.get("clusterIP") == "None" and not spec.get("selector")
        spec.setdefault("ipFamilyPolicy", "RequireDualStack" if both else "SingleStack")
        spec.setdefault("ipFamilies", ["IPv4", "IPv6"] if both else ["IPv4"])
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))


def _default_secret(obj: Object) -> None:
    obj.setdefault("type", "Opaque")
    if plain := obj.pop("stringData", None):
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _default_crd(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    crd_names = spec.setdefault("names", {})
    if kind := crd_names.get("kind"):
        crd_names.setdefault("singular", kind.lower())
        crd_names.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {"strategy": "None"})


def _default_rolebinding(obj: Object) -> None:
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")
    if reference := obj.get("roleRef"):
        reference.setdefault("apiGroup", "rbac.authorization.k8s.io")


def _default_event(obj: Object) -> None:
    for field in ("eventTime", "firstTimestamp", "lastTimestamp"):
        obj.setdefault(field, None)
    for field in ("reportingComponent", "reportingInstance"):
        obj.setdefault(field, "")
    obj.setdefault("source", {})


def _default_priorityclass(obj: Object) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


DEFAULTS: dict[Key, Callable[[Object], None]] = {
    ("", "namespaces"): lambda obj: (
        obj["metadata"].setdefault("labels", {}).update({"kubernetes.io/metadata.name": obj["metadata"]["name"]})
    ),
    ("", "events"): _default_event,
    ("", "pods"): lambda obj: pods.default_spec(obj.setdefault("spec", {})),
    ("", "secrets"): _default_secret,
    ("", "services"): _default_service,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _default_crd,
    ("apps", "daemonsets"): _default_daemonset,
    ("apps", "deployments"): _default_deployment,
    ("apps", "replicasets"): _default_replicaset,
    ("apps", "statefulsets"): _default_statefulset,
    ("networking.k8s.io", "networkpolicies"): _default_networkpolicy,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): _default_rolebinding,
    ("rbac.authorization.k8s.io", "rolebindings"): _default_rolebinding,
    ("scheduling.k8s.io", "priorityclasses"): _default_priorityclass,
}


# What a create starts with: the status a client cannot send.


def _create_namespace(obj: Object) -> None:
    obj["spec"] = {"finalizers": ["kubernetes"]}
    obj["status"] = {"phase": "Active"}


def _create_node(obj: Object) -> None:
    """Admission TaintNodesByCondition: a new node is not ready until its conditions say otherwise."""
    spec = obj.setdefault("spec", {})
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    if not any(
        item.get("key") == taint["key"] and item.get("effect") == "NoSchedule" for item in spec.get("taints") or ()
    ):
        spec["taints"] = [*(spec.get("taints") or ()), taint]
    status = obj.setdefault("status", {})
    status.setdefault("daemonEndpoints", {"kubeletEndpoint": {"Port": 0}})
    status["nodeInfo"] = dict.fromkeys(_NODE_INFO, "") | (status.get("nodeInfo") or {})


def _create_crd(obj: Object) -> None:
    stored = [version["name"] for version in obj["spec"].get("versions") or () if version.get("storage")]
    accepted = {"plural": "", "kind": ""}
    obj["status"] = {"conditions": None, "acceptedNames": accepted, "storedVersions": stored}


def _create_daemonset(obj: Object) -> None:
    obj["metadata"].setdefault("annotations", {})[_TEMPLATE_GENERATION] = "1"
    counters = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
    obj["status"] = dict.fromkeys(counters, 0)


def _create_with(**initial: Any) -> Callable[[Object], None]:
    def create(obj: Object) -> None:
        obj["status"] = dict(initial)

    return create


CREATES: dict[Key, Callable[[Object], None]] = {
    ("", "namespaces"): _create_namespace,
    ("", "nodes"): _create_node,
    ("", "pods"): pods.prepare_create,
    ("", "services"): _create_with(loadBalancer={}),
    ("apiextensions.k8s.io", "customresourcedefinitions"): _create_crd,
    ("apps", "daemonsets"): _create_daemonset,
    ("apps", "deployments"): _create_with(),
    ("apps", "replicasets"): _create_with(replicas=0),
    ("apps", "statefulsets"): _create_with(replicas=0, availableReplicas=0),
    ("batch", "jobs"): _create_with(),
    ("policy", "poddisruptionbudgets"): _create_with(
        disruptionsAllowed=0, currentHealthy=0, desiredHealthy=0, expectedPods=0
    ),
}


def prepare_update(resource: Resource, new: Object, old: Object) -> None:
    """What an update changes by itself: a DaemonSet counts its templates; what pods and Services were given stays."""
    if resource.key == ("", "services"):
        nodeports.keep(new, old)
    if resource.key == ("", "pods"):
        pods.admit_tolerations(new["spec"])
    if resource.key == ("apps", "daemonsets"):
        before = old["metadata"].get("annotations", {}).get(_TEMPLATE_GENERATION, "1")
        changed = new["spec"].get("template") != old["spec"].get("template")
        annotations = new["metadata"].setdefault("annotations", {})
        annotations[_TEMPLATE_GENERATION] = str(int(before) + 1) if changed else before


def allocate_cluster_ip(obj: Object, taken: set[str], network: str = "10.96.0.0/16") -> None:
    """Give a new Service the next free address, unless it wants none or a certain one."""
    spec = obj["spec"]
    if spec["type"] == "ExternalName":
        return
    address = spec.get("clusterIP")
    if not address:
        hosts = ipaddress.ip_network(network).hosts()
        address = next(str(host) for index, host in enumerate(hosts) if index >= 10 and str(host) not in taken)
    spec["clusterIP"] = address
    spec["clusterIPs"] = [address]
