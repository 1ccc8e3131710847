"""The life of a namespace: what is made in a new one, what is refused in an ending one, and how it ends.

Plays the namespace controller, the service account controller and the NamespaceLifecycle admission plugin. Deleting a
namespace deletes what is in it; it goes itself when its last object has gone.
"""

from typing import TYPE_CHECKING

from cni_migrate.sim.apiserver import status
from cni_migrate.sim.apiserver.options import Write
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.store import Event, Stored
from cni_migrate.sim.client import Object

if TYPE_CHECKING:
    from cni_migrate.sim.apiserver.machinery import Machinery

INITIAL = ("default", "kube-node-lease", "kube-public", "kube-system")
_MANAGER = "kube-controller-manager"
_CA_NOTE = {"kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver."}


def check_accepts(machinery: "Machinery", resource: Resource, namespace: str, name: str) -> None:
    """404 when the namespace does not exist, 403 when it is being deleted."""
    spaces = machinery.catalog.find("", "v1", "namespaces")
    stored = machinery.store.get(spaces, "", namespace)
    if stored is None:
        raise status.not_found(spaces, namespace)
    if "deletionTimestamp" in stored.object["metadata"]:
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        raise status.forbidden(resource, name, why, [cause])


def furnish(machinery: "Machinery", namespace: str) -> None:
    """What the controllers put into every namespace: the default service account and the cluster's CA."""
    write = Write(_MANAGER)
    accounts = machinery.catalog.find("", "v1", "serviceaccounts")
    machinery.create(accounts, namespace, {"metadata": {"name": "default"}}, write)
    body: Object = {"metadata": {"name": "kube-root-ca.crt", "annotations": _CA_NOTE}, "data": {"ca.crt": ""}}
    machinery.create(machinery.catalog.find("", "v1", "configmaps"), namespace, body, write)


def delete(machinery: "Machinery", resource: Resource, stored: Stored, dry_run: bool) -> tuple[Stored, bool]:
    """Mark it as Terminating and delete what is in it."""
    if stored.name in INITIAL[:1] + INITIAL[2:]:
        raise status.forbidden(resource, stored.name, "this namespace may not be deleted")
    if "deletionTimestamp" in stored.object["metadata"]:
        return stored, False
    meta = {**stored.object["metadata"], "deletionTimestamp": machinery.store.timestamp()}
    marked = {**stored.object, "metadata": meta, "status": {"phase": "Terminating"}}
    if dry_run:
        return Stored(marked, stored.version), False
    answer = machinery.mark(resource, marked)
    for other in list(machinery.catalog):
        if other.namespaced:
            for item in machinery.store.select(other, stored.name):
                if machinery.store.get(other, item.namespace, item.name) is item:
                    machinery.discard(other, item)
    return answer, False


def react(machinery: "Machinery", resource: Resource, event: Event) -> None:
    """Furnish a new namespace; end a terminating one with its last object."""
    if resource.key == ("", "namespaces"):
        if event.change == "ADDED":
            furnish(machinery, event.after.name)
        elif event.change == "MODIFIED":
            _end_if_empty(machinery, event.after.name)
    elif event.change == "DELETED" and event.after.namespace:
        _end_if_empty(machinery, event.after.namespace)


def _end_if_empty(machinery: "Machinery", name: str) -> None:
    spaces = machinery.catalog.find("", "v1", "namespaces")
    stored = machinery.store.get(spaces, "", name)
    if stored is None or "deletionTimestamp" not in stored.object["metadata"]:
        return
    if any(table.by_namespace.get(name) for table in machinery.store.tables()):
        return
    machinery.take_out(spaces, stored)
