"""Pods from templates, and the hashes that tell templates apart."""

import hashlib
import json
from copy import deepcopy

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta


def fingerprint(template: Object) -> str:
    """A short hash of a pod template, the same for equal ones."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def pod_from(template: Object, owner: Object, *, name: str = "", labels: dict[str, str] | None = None) -> Object:
    """A new pod of a controller; without a name the server makes one from the owner's."""
    described = template.get("metadata") or {}
    metadata: Object = {
        "namespace": meta.namespace(owner),
        "labels": {**(described.get("labels") or {}), **(labels or {})},
        "ownerReferences": [meta.owner_reference(owner)],
    }
    if name:
        metadata["name"] = name
    else:
        metadata["generateName"] = f"{meta.name(owner)}-"
    for field in ("annotations", "finalizers"):
        if described.get(field):
            metadata[field] = deepcopy(described[field])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": deepcopy(template["spec"])}


def amount(value: int | str | None, total: int, default: int | str, *, up: bool) -> int:
    """An IntOrString of `total`: a percentage is rounded up or down as the field's rule says."""
    given = default if value is None else value
    if isinstance(given, str) and given.endswith("%"):
        hundredths = int(given[:-1]) * total
        return -(-hundredths // 100) if up else hundredths // 100
    return int(given)
