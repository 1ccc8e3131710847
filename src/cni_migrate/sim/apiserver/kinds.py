"""Per-kind rules of the built-in resources: defaults, what a create starts with, and validation.

Each rule follows the kind's strategy under `pkg/registry` and its validation under `pkg/apis` in kubernetes 1.34.
Validation covers what a client of this project could get wrong; unknown fields are kept, not refused.
"""

import base64
import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

from cni_migrate.sim.apiserver import names, pods, status
from cni_migrate.sim.apiserver.metadata import validate_labels
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.selectors import label_selector
from cni_migrate.sim.apiserver.status import FieldError
from cni_migrate.sim.client import Object

CONFIG_LIMIT = 1024 * 1024
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"

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
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        spec.setdefault("ipFamilies", ["IPv4"])
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


DEFAULTS: dict[Key, Callable[[Object], None]] = {
    ("", "namespaces"): lambda obj: obj["metadata"].setdefault("labels", {}).update(
        {"kubernetes.io/metadata.name": obj["metadata"]["name"]}
    ),
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
}


# What a create starts with: the status a client cannot send.


def _create_namespace(obj: Object) -> None:
    obj["spec"] = {"finalizers": ["kubernetes"]}
    obj["status"] = {"phase": "Active"}


def _create_node(obj: Object) -> None:
    """Admission TaintNodesByCondition: a new node is not ready until its conditions say otherwise."""
    spec = obj.setdefault("spec", {})
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    if not any(item.get("key") == taint["key"] and item.get("effect") == "NoSchedule" for item in spec.get("taints") or ()):
        spec["taints"] = [*(spec.get("taints") or ()), taint]
    obj.setdefault("status", {})


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
    ("apiextensions.k8s.io", "customresourcedefinitions"): _create_with(
        conditions=[], acceptedNames={"plural": "", "kind": ""}, storedVersions=[]
    ),
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
    """What an update changes by itself: a DaemonSet counts its templates."""
    if resource.key == ("apps", "daemonsets"):
        before = old["metadata"].get("annotations", {}).get(_TEMPLATE_GENERATION, "1")
        changed = new["spec"].get("template") != old["spec"].get("template")
        annotations = new["metadata"].setdefault("annotations", {})
        annotations[_TEMPLATE_GENERATION] = str(int(before) + 1) if changed else before


# Validation.


def _taints(obj: Object) -> Iterator[FieldError]:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(obj.get("spec", {}).get("taints") or ()):
        where = f"spec.taints[{index}]"
        key, effect = taint.get("key", ""), taint.get("effect", "")
        yield from (FieldError("Invalid", f"{where}.key", key, why) for why in names.qualified(key))
        value = taint.get("value", "")
        yield from (FieldError("Invalid", f"{where}.value", value, why) for why in names.label_value(value))
        if not effect:
            yield FieldError("Required", f"{where}.effect")
        elif effect not in _EFFECTS:
            detail = "supported values: " + ", ".join(f'"{name}"' for name in _EFFECTS)
            yield FieldError("NotSupported", f"{where}.effect", effect, detail)
        if (key, effect) in seen:
            yield FieldError("Duplicate", where, taint, "taints must be unique by key and effect pair")
        seen.add((key, effect))


def _workload(obj: Object) -> Iterator[FieldError]:
    spec = obj.get("spec", {})
    selector, template = spec.get("selector"), spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if selector is None:
        yield FieldError("Required", "spec.selector")
    elif not selector:
        yield FieldError("Invalid", "spec.selector", selector, "empty selector is invalid for workload")
    else:
        matcher = label_selector(selector)
        if matcher is not None and not matcher.accepts(labels):
            where = "spec.template.metadata.labels"
            yield FieldError("Invalid", where, labels, "`selector` does not match template `labels`")
    yield from validate_labels(labels, "spec.template.labels")
    yield from pods.validate_spec(template.get("spec") or {}, "spec.template.spec")
    policy = (template.get("spec") or {}).get("restartPolicy", "Always")
    if policy != "Always":
        where = "spec.template.spec.restartPolicy"
        yield FieldError("NotSupported", where, policy, 'supported values: "Always"')


def _configmap(obj: Object) -> Iterator[FieldError]:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    for field, content in (("data", data), ("binaryData", binary)):
        for key in content:
            if not names.config_key(key):
                detail = (
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  "
                    "or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                )
                yield FieldError("Invalid", f"{field}[{key}]", key, detail)
    size = sum(len(value.encode()) for value in data.values())
    size += sum(len(base64.b64decode(value)) for value in binary.values())
    if size > CONFIG_LIMIT:
        yield FieldError("TooLong", "", detail=f"may not be more than {CONFIG_LIMIT} bytes")


def _budget(obj: Object) -> Iterator[FieldError]:
    spec = obj.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        yield FieldError("Invalid", "spec", spec, "minAvailable and maxUnavailable cannot be both set")


def _lease(obj: Object) -> Iterator[FieldError]:
    spec = obj.get("spec") or {}
    for field in ("acquireTime", "renewTime"):
        if (value := spec.get(field)) is not None and not _MICRO_TIME.fullmatch(str(value)):
            raise status.bad_request(
                f'Lease in version "v1" cannot be handled as a Lease: parsing time "{value}" as '
                f'"2006-01-02T15:04:05.000000Z07:00": cannot parse "{str(value)[19:]}" as ".000000"'
            )
    if (seconds := spec.get("leaseDurationSeconds")) is not None and seconds <= 0:
        yield FieldError("Invalid", "spec.leaseDurationSeconds", seconds, "must be greater than 0")
    if (transitions := spec.get("leaseTransitions")) is not None and transitions < 0:
        yield FieldError("Invalid", "spec.leaseTransitions", transitions, "must be greater than or equal to 0")


def _crd(obj: Object) -> Iterator[FieldError]:
    spec = obj["spec"]
    group, plural = spec.get("group", ""), spec.get("names", {}).get("plural", "")
    if not group:
        yield FieldError("Required", "spec.group")
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        yield FieldError("Required", "spec.scope")
    if not spec.get("names", {}).get("kind"):
        yield FieldError("Required", "spec.names.kind")
    wanted = f"{plural}.{group}"
    if obj["metadata"]["name"] != wanted:
        detail = "must be spec.names.plural+\".\"+spec.group"
        yield FieldError("Invalid", "metadata.name", obj["metadata"]["name"], detail)
    if sum(1 for version in spec.get("versions") or () if version.get("storage")) != 1:
        detail = "must have exactly one version marked as storage version"
        yield FieldError("Invalid", "spec.versions", spec.get("versions"), detail)


VALIDATES: dict[Key, Callable[[Object], Iterator[FieldError]]] = {
    ("", "configmaps"): _configmap,
    ("", "nodes"): _taints,
    ("", "pods"): lambda obj: iter(pods.validate_spec(obj.get("spec") or {}, "spec")),
    ("apiextensions.k8s.io", "customresourcedefinitions"): _crd,
    ("apps", "daemonsets"): _workload,
    ("apps", "deployments"): _workload,
    ("apps", "replicasets"): _workload,
    ("apps", "statefulsets"): _workload,
    ("coordination.k8s.io", "leases"): _lease,
    ("policy", "poddisruptionbudgets"): _budget,
}


def _immutable(*path: str) -> Callable[[Object, Object], Iterator[FieldError]]:
    def validate(new: Object, old: Object) -> Iterator[FieldError]:
        after: Any = new
        before: Any = old
        for step in path:
            after, before = (after or {}).get(step), (before or {}).get(step)
        if after != before:
            yield FieldError("Invalid", ".".join(path), after, "field is immutable")

    return validate


def _role_reference(new: Object, old: Object) -> Iterator[FieldError]:
    if new.get("roleRef") != old.get("roleRef"):
        yield FieldError("Invalid", "roleRef", new.get("roleRef"), "cannot change roleRef")


def _node_update(new: Object, old: Object) -> Iterator[FieldError]:
    before = old.get("spec", {}).get("podCIDRs")
    if before and new.get("spec", {}).get("podCIDRs") != before:
        detail = 'node updates may not change podCIDR except from "" to valid'
        yield FieldError("Forbidden", "spec.podCIDRs", detail=detail)


def _configmap_update(new: Object, old: Object) -> Iterator[FieldError]:
    if old.get("immutable"):
        if not new.get("immutable"):
            yield FieldError("Forbidden", "immutable", detail="field is immutable when `immutable` is set")
        for field in ("data", "binaryData"):
            if new.get(field) != old.get(field):
                yield FieldError("Forbidden", field, detail="field is immutable when `immutable` is set")


def _service_update(new: Object, old: Object) -> Iterator[FieldError]:
    before, after = old["spec"].get("clusterIP"), new["spec"].get("clusterIP")
    if before and after != before and new["spec"].get("type") != "ExternalName":
        detail = "may not change once set"
        yield FieldError("Invalid", "spec.clusterIPs[0]", [after] if after else None, detail)


UPDATES: dict[Key, Callable[[Object, Object], Iterator[FieldError]]] = {
    ("", "configmaps"): _configmap_update,
    ("", "nodes"): _node_update,
    ("", "pods"): lambda new, old: iter(pods.validate_update(new, old)),
    ("", "secrets"): _immutable("type"),
    ("", "services"): _service_update,
    ("apps", "daemonsets"): _immutable("spec", "selector"),
    ("apps", "deployments"): _immutable("spec", "selector"),
    ("apps", "replicasets"): _immutable("spec", "selector"),
    ("apps", "statefulsets"): _immutable("spec", "selector"),
    ("batch", "jobs"): _immutable("spec", "template"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"): _role_reference,
    ("rbac.authorization.k8s.io", "rolebindings"): _role_reference,
}


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
