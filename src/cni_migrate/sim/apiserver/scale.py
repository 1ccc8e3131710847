"""The subresource `scale` of Deployments, ReplicaSets and StatefulSets: how many pods, as an autoscaling/v1 Scale.

Follows `k8s.io/kubernetes/pkg/registry/apps/deployment/storage` (ScaleREST): a write changes `spec.replicas` alone, and
a resourceVersion in it is a precondition.
"""

from typing import Any

from cni_migrate.sim.apiserver import patches, status
from cni_migrate.sim.apiserver.machinery import Machinery
from cni_migrate.sim.apiserver.options import Write
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.store import Stored
from cni_migrate.sim.client import ApiError, Object, PatchType

_COPIED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
_OPERATORS = {"In": "in", "NotIn": "notin"}


def scale(stored: Stored) -> Object:
    """What is stored, as a Scale."""
    obj = stored.object
    meta, spec = obj["metadata"], obj["spec"]
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: meta[key] for key in _COPIED if key in meta},
        "spec": {"replicas": spec.get("replicas", 1)},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": _selector(spec.get("selector") or {}),
        },
    }


def replaced(machinery: Machinery, resource: Resource, where: tuple[str, str], body: Any, write: Write) -> Object:
    """Write a whole Scale; answers the new one. 400 for anything else, 422 for fewer pods than none."""
    if not isinstance(body, dict) or body.get("kind", "Scale") != "Scale":
        raise status.bad_request(f"expected input object type to be Scale, but {type(body).__name__}")
    namespace, name = where
    replicas = (body.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        cause = {"reason": "FieldValueInvalid", "message": why, "field": "spec.replicas"}
        details = {"name": name, "group": "autoscaling", "kind": "Scale", "causes": [cause]}
        message = f'Scale.autoscaling "{name}" is invalid: spec.replicas: {why}'
        raise ApiError(422, "Invalid", message, details)
    change: Object = {"spec": {"replicas": replicas}}
    if version := (body.get("metadata") or {}).get("resourceVersion"):
        change["metadata"] = {"resourceVersion": version}
    return scale(machinery.patch(resource, namespace, name, change, "merge", "", write))


def patched(
    machinery: Machinery,
    resource: Resource,
    where: tuple[str, str],
    patch: tuple[Any, PatchType],
    write: Write,
) -> Object:
    """Patch the Scale as it is now; answers the new one."""
    change, how = patch
    old = scale(machinery.get(resource, *where))
    new = patches.json_patch(old, change) if how == "json" else patches.merge(old, change)
    return replaced(machinery, resource, where, new, write)


def _selector(selector: Object) -> str:
    """A label selector as text."""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for one in selector.get("matchExpressions") or ():
        key, operator = one["key"], one["operator"]
        if operator in _OPERATORS:
            parts.append(f"{key} {_OPERATORS[operator]} ({','.join(sorted(one['values']))})")
        else:
            parts.append(key if operator == "Exists" else f"!{key}")
    return ",".join(parts)
