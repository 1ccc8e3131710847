"""Per-kind validation of the built-in resources, on create and on update.

Each rule follows the kind's validation under `pkg/apis` in kubernetes 1.34. They cover what a client of this project
could get wrong; unknown fields are kept, not refused.
"""

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any

from cni_migrate.sim.apiserver import names, pods, status
from cni_migrate.sim.apiserver.metadata import validate_labels
from cni_migrate.sim.apiserver.selectors import label_selector
from cni_migrate.sim.apiserver.status import FieldError
from cni_migrate.sim.client import Object

CONFIG_LIMIT = 1024 * 1024
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
_BUDGET = ("minAvailable", "selector", "maxUnavailable", "unhealthyPodEvictionPolicy")

Key = tuple[str, str]


def _taints(obj: Object) -> Iterator[FieldError]:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(obj.get("spec", {}).get("taints") or ()):
        where = f"metadata.taints[{index}]"  # that is what the real server says
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
            told = {"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint.get("timeAdded")}
            yield FieldError("Duplicate", where, told, "taints must be unique by key and effect pair")
        seen.add((key, effect))


def _workload(obj: Object) -> Iterator[FieldError]:
    spec = obj.get("spec", {})
    selector, template = spec.get("selector"), spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if selector is None and obj["kind"] != "DaemonSet":
        yield FieldError("Required", "spec.selector")
    elif selector is None:
        where = "spec.template.metadata.labels"
        yield FieldError("Invalid", where, labels or None, "`selector` does not match template `labels`")
    elif not selector:
        kind = obj["kind"].lower()
        yield FieldError("Invalid", "spec.selector", selector, f"empty selector is invalid for {kind}")
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
        yield FieldError("TooLong", "[]", detail=f"may not be more than {CONFIG_LIMIT} bytes")


def _budget(obj: Object) -> Iterator[FieldError]:
    spec = obj.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        told = {field[0].upper() + field[1:]: spec.get(field) for field in _BUDGET}
        yield FieldError("Invalid", "spec", told, "minAvailable and maxUnavailable cannot be both set")


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
        detail = 'must be spec.names.plural+"."+spec.group'
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
        told = {field[0].upper() + field[1:]: value for field, value in (new.get("roleRef") or {}).items()}
        yield FieldError("Invalid", "roleRef", told, "cannot change roleRef")


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
