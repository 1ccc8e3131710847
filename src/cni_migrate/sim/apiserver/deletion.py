"""Deletion: preconditions, grace, finalizers and propagation.

Rules: `BeforeDelete` and `Store.Delete` in `k8s.io/apiserver`, `CheckGracefulDelete` of pods. A pod on a node stays,
with a deletionTimestamp, until its kubelet deletes it with grace 0. Dependents are the garbage collector's business:
`Orphan` and `Foreground` leave their finalizers for it, `Background` needs nothing but the DELETED event.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cni_migrate.sim.apiserver import namespaces, status
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.status import FieldError
from cni_migrate.sim.apiserver.store import Stored
from cni_migrate.sim.client import ApiError, Object

if TYPE_CHECKING:
    from cni_migrate.sim.apiserver.machinery import Machinery

_FINALIZERS = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Options:
    """`metav1.DeleteOptions`, the part that is emulated."""

    grace: int | None = None
    uid: str = ""
    version: str = ""
    propagation: str = ""
    dry_run: bool = False


def options_of(body: Any) -> Options:
    """The options in a request's body; 422 for a propagation policy that does not exist."""
    if not isinstance(body, dict):
        raise status.bad_request("DeleteOptions expected")
    propagation = body.get("propagationPolicy") or ""
    if body.get("orphanDependents") is not None:
        propagation = "Orphan" if body["orphanDependents"] else "Background"
    if propagation not in ("", "Background", *_FINALIZERS):
        said = '"Foreground", "Background", "Orphan", "nil"'
        wrong = FieldError("NotSupported", "propagationPolicy", propagation, f"supported values: {said}")
        cause = {"reason": "FieldValueNotSupported", "message": wrong.message, "field": wrong.field}
        details = {"group": "meta.k8s.io", "kind": "DeleteOptions", "causes": [cause]}
        message = f'DeleteOptions.meta.k8s.io "" is invalid: {wrong.field}: {wrong.message}'
        raise ApiError(422, "Invalid", message, details)
    preconditions = body.get("preconditions") or {}
    return Options(
        grace=body.get("gracePeriodSeconds"),
        uid=preconditions.get("uid") or "",
        version=preconditions.get("resourceVersion") or "",
        propagation=propagation,
        dry_run=body.get("dryRun") == ["All"],
    )


def check_preconditions(resource: Resource, stored: Stored, options: Options) -> None:
    """409 when the object is another one, or another version, than the client means."""
    version = stored.object["metadata"]["resourceVersion"]
    why = ""
    if options.uid and options.uid != stored.uid:
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({stored.uid}). "
            "The object might have been deleted and then recreated"
        )
    elif options.version and options.version != version:
        why = (
            f"the ResourceVersion in the precondition ({options.version}) does not match the ResourceVersion in "
            f"record ({version}). The object might have been modified"
        )
    if why:
        raise status.delete_conflict(resource, stored.name, why)


def is_over(obj: Object) -> bool:
    """Whether a write took away the last thing a deletion waited for: finalizers, with no grace left."""
    meta = obj["metadata"]
    return (
        "deletionTimestamp" in meta
        and not meta.get("finalizers")
        and not (obj.get("spec") or {}).get("finalizers")
        and not meta.get("deletionGracePeriodSeconds")
    )


def delete(
    machinery: "Machinery", resource: Resource, stored: Stored, options: Options, dry_run: bool
) -> tuple[Stored, bool]:
    """Delete or start to; says whether the object is gone."""
    check_preconditions(resource, stored, options)
    dry_run = dry_run or options.dry_run
    if resource.key == ("", "namespaces"):
        return namespaces.delete(machinery, resource, stored, dry_run)
    meta: Object = dict(stored.object["metadata"])
    if resource.key == ("", "pods"):
        left = _grace_of_pod(machinery.store.now(), stored.object, meta, options.grace)
        if left is None:
            return stored, False
    else:
        left = 0
    _set_finalizers(meta, options.propagation)
    if resource.key == ("apiextensions.k8s.io", "customresourcedefinitions"):
        meta["finalizers"] = [*meta.get("finalizers", ()), "customresourcecleanup.apiextensions.k8s.io"]
    if meta.get("finalizers") and "deletionTimestamp" not in meta:
        meta["deletionTimestamp"] = machinery.store.timestamp()
        meta["deletionGracePeriodSeconds"] = 0
        if "generation" in meta:
            meta["generation"] += 1
    waits = bool(left or meta.get("finalizers"))
    marked = {**stored.object, "metadata": meta}
    if dry_run:
        return Stored(marked, stored.version), not waits
    if meta != stored.object["metadata"]:
        stored = machinery.mark(resource, marked)
    return (stored, False) if waits else (machinery.take_out(resource, stored), True)


def _grace_of_pod(now: datetime, pod: Object, meta: Object, asked: int | None) -> int | None:
    """Set the grace in the metadata and return it; None when an earlier deletion with no longer grace is under way."""
    if asked is not None and asked < 0:
        asked = 1
    if "deletionTimestamp" in meta:
        current = meta.get("deletionGracePeriodSeconds") or 0
        if current == 0:
            return 0
        if asked is None or asked >= current:
            return None
        moment = datetime.fromisoformat(meta["deletionTimestamp"])
        moment += timedelta(seconds=asked - current)
        if moment < now:
            moment, asked = now, min(asked, 1)
        meta["deletionTimestamp"] = moment.strftime(_FORMAT)
        meta["deletionGracePeriodSeconds"] = asked
        return asked
    grace = pod["spec"].get("terminationGracePeriodSeconds", 0) if asked is None else asked
    if not pod["spec"].get("nodeName") or pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
        grace = 0
    meta["deletionTimestamp"] = (now + timedelta(seconds=grace)).strftime(_FORMAT)
    meta["deletionGracePeriodSeconds"] = grace
    meta["generation"] = meta.get("generation", 0) + 1
    return int(grace)


def _set_finalizers(meta: Object, propagation: str) -> None:
    """`orphan` or `foregroundDeletion`, as the options say; the garbage collector takes them away."""
    if not propagation:
        return
    others = [item for item in meta.get("finalizers") or () if item not in _FINALIZERS.values()]
    wanted = _FINALIZERS.get(propagation)
    meta["finalizers"] = [*others, wanted] if wanted else others
    if not meta["finalizers"]:
        del meta["finalizers"]
