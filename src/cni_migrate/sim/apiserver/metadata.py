"""What holds for `metadata` whatever the kind: validation, and what a client cannot change.

Rules: `k8s.io/apimachinery/pkg/api/validation/objectmeta.go` and `BeforeCreate`/`BeforeUpdate` in
`k8s.io/apiserver/pkg/registry/rest`.
"""

from typing import Any

from cni_migrate.sim.apiserver import names
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.status import FieldError
from cni_migrate.sim.client import Object

ANNOTATIONS_LIMIT = 256 * 1024
_DNS_LABELS = {("", "namespaces"), ("", "services")}
_STANDARD_FINALIZERS = ("foregroundDeletion", "orphan", "kubernetes")
_NOT_A_FINALIZER = "name is neither a standard finalizer name nor is it fully qualified"
_GENERATED = "bcdfghjklmnpqrstvwxz2456789"

SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")


def generated_suffix(pick: Any) -> str:
    """Five characters for `generateName`, from the store's random numbers."""
    return "".join(pick.choice(_GENERATED) for _ in range(5))


def _name_problems(resource: Resource, name: str) -> list[str]:
    if resource.kind.group == "rbac.authorization.k8s.io":
        return names.path_segment(name)
    return names.label(name) if resource.key in _DNS_LABELS else names.subdomain(name)


def validate_name(resource: Resource, metadata: Object) -> list[FieldError]:
    """The name's own rules; asked only on create."""
    name = metadata.get("name", "")
    if not name:
        return [FieldError("Required", "metadata.name", detail="name or generateName is required")]
    return [FieldError("Invalid", "metadata.name", name, problem) for problem in _name_problems(resource, name)]


def validate_labels(labels: Any, field: str) -> list[FieldError]:
    """Keys and values of a map of labels."""
    found = []
    for key, value in (labels or {}).items():
        found += [FieldError("Invalid", field, key, problem) for problem in names.qualified(key)]
        found += [FieldError("Invalid", field, value, problem) for problem in names.label_value(value)]
    return found


def validate(metadata: Object) -> list[FieldError]:
    """Labels, annotations, finalizers and owners."""
    found = validate_labels(metadata.get("labels"), "metadata.labels")
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        found += [FieldError("Invalid", "metadata.annotations", key, why) for why in names.qualified(key.lower())]
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > ANNOTATIONS_LIMIT:
        detail = f"may not be more than {ANNOTATIONS_LIMIT} bytes"
        found.append(FieldError("TooLong", "metadata.annotations", detail=detail))
    finalizers = metadata.get("finalizers") or ()
    for finalizer in finalizers:
        found += [FieldError("Invalid", "metadata.finalizers", finalizer, why) for why in names.qualified(finalizer)]
    for index, finalizer in enumerate(finalizers):
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            where = f"metadata.finalizers[{index}]"
            found.append(FieldError("Invalid", where, finalizer, _NOT_A_FINALIZER))
    return found + _owners(metadata.get("ownerReferences") or ())


def _owners(owners: Any) -> list[FieldError]:
    found = []
    controllers = [owner for owner in owners if owner.get("controller")]
    for index, owner in enumerate(owners):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                where = f"metadata.ownerReferences[{index}].{field}"
                detail = "version must not be empty" if field == "apiVersion" else "must not be empty"
                found.append(FieldError("Invalid", where, owner.get(field, ""), detail))
    if len(controllers) > 1:
        said = " and ".join(f"{owner['kind']}/{owner['name']}" for owner in controllers[:2])
        detail = f'Only one reference can have Controller set to true. Found "true" in references for {said}'
        found.append(FieldError("Invalid", "metadata.ownerReferences", owners, detail))
    return found


def keep_owned(new: Object, old: Object) -> list[FieldError]:
    """Put back what only the server sets; what a client tried to change in vain is ignored, as BeforeUpdate does."""
    found = []
    if (uid := new.get("uid")) and uid != old["uid"]:
        found.append(FieldError("Invalid", "metadata.uid", uid, "field is immutable"))
    for field in SERVER_OWNED:
        if field in old:
            new[field] = old[field]
        else:
            new.pop(field, None)
    if "deletionTimestamp" in old:
        added = [item for item in new.get("finalizers") or () if item not in (old.get("finalizers") or ())]
        if added:
            detail = (
                "no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{', '.join(chr(34) + item + chr(34) for item in added)}}}"
            )
            found.append(FieldError("Forbidden", "metadata.finalizers", detail=detail))
    return found


def tidy(metadata: Object) -> None:
    """Drop what the API server's own encoding would leave out: empty maps, lists and strings."""
    for field in ("labels", "annotations", "finalizers", "ownerReferences", "managedFields", "generateName"):
        if field in metadata and not metadata[field]:
            del metadata[field]
    if "namespace" in metadata and not metadata["namespace"]:
        del metadata["namespace"]


def note_manager(metadata: Object, manager: str, operation: str, api_version: str, subresource: str, now: str) -> None:
    """Keep `managedFields` to one entry per (manager, operation, subresource), with the time and without the fields."""
    entry: Object = {
        "manager": manager,
        "operation": operation,
        "apiVersion": api_version,
        "time": now,
        "fieldsType": "FieldsV1",
        "fieldsV1": {},
    }
    if subresource:
        entry["subresource"] = subresource
    others = [
        item
        for item in metadata.get("managedFields") or ()
        if (item.get("manager"), item.get("operation"), item.get("subresource", ""))
        != (manager, operation, subresource)
    ]
    metadata["managedFields"] = [*others, entry]
