"""The API's verbs on stored objects: get, list, create, update, patch and delete, with the rules of each.

Everything here is synchronous and knows nothing of HTTP: the HTTP application and the in-process client call the same
methods, so both meet the same validation, the same conflicts and the same events. Order of steps in a write follows
`k8s.io/apiserver/pkg/registry/generic/registry/store.go`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cni_migrate.sim.apiserver import (
    deletion,
    jsonvalue,
    kinds,
    metadata,
    namespaces,
    nodeports,
    patches,
    pods,
    status,
    validation,
)
from cni_migrate.sim.apiserver.kubernetes import Kubernetes
from cni_migrate.sim.apiserver.options import Query, Write
from cni_migrate.sim.apiserver.paging import Page, Pager
from cni_migrate.sim.apiserver.resources import Catalog, Resource
from cni_migrate.sim.apiserver.status import FieldError
from cni_migrate.sim.apiserver.store import Event, Store, Stored
from cni_migrate.sim.client import ApiError, Object, PatchType

Items = list[Stored]


class Machinery:
    """The API server without its doors.

    `after` holds what plays the built-in controllers: called after each change, they may write again. The follow-up
    is a change of its own with its own resourceVersion, as it is in a real cluster.
    """

    def __init__(self, store: Store, catalog: Catalog, kubernetes: Kubernetes) -> None:
        self.store = store
        self.catalog = catalog
        self.kubernetes = kubernetes
        self.pager = Pager(store)
        self.after: list[Callable[[Resource, Event], None]] = []

    # Reads

    def get(self, resource: Resource, namespace: str, name: str) -> Stored:
        """One object; 404 without it."""
        stored = self.store.get(resource, namespace, name)
        if stored is None:
            raise status.not_found(resource, name)
        return stored

    def list(self, resource: Resource, namespace: str | None, query: Query) -> Page:
        """The selected objects, as of one instant, in pages when a limit is given."""
        return self.pager.list(resource, namespace, query)

    # Writes

    def create(self, resource: Resource, namespace: str, body: Object, write: Write) -> Stored:
        """Store a new object; 409 when the name is taken."""
        obj = jsonvalue.copied(body)
        obj = {
            "kind": resource.kind.kind,
            "apiVersion": resource.kind.api_version,
            **_without(obj, "kind", "apiVersion"),
        }
        meta = self._new_metadata(resource, namespace, obj)
        if resource.namespaced:
            namespaces.check_accepts(self, resource, namespace, meta.get("name", ""))
        self._prepare_create(resource, obj)
        found = metadata.validate_name(resource, meta) + metadata.validate(meta)
        found += validation.VALIDATES.get(resource.key, _no_errors)(obj)
        found = found or [*self._node_ports(resource, obj)]
        if found:
            raise status.invalid(resource, meta.get("name", ""), self.kubernetes.worded(found))
        if self.store.get(resource, namespace, meta["name"]) is not None:
            raise status.already_exists(resource, meta["name"])
        metadata.note_manager(meta, write.manager, "Update", resource.kind.api_version, "", self.store.timestamp())
        if write.dry_run:
            return Stored(obj, 0)
        return self._put(resource, obj)

    def _new_metadata(self, resource: Resource, namespace: str, obj: Object) -> Object:
        meta: Object = obj.setdefault("metadata", {})
        if not isinstance(meta, dict):
            raise status.bad_request("metadata is no object")
        if meta.get("resourceVersion") not in (None, ""):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        for field in (*metadata.SERVER_OWNED, "resourceVersion", "managedFields"):
            meta.pop(field, None)
        _check_namespace(resource, namespace, meta)
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"][:58] + metadata.generated_suffix(self.store.random)
        metadata.tidy(meta)
        meta["uid"] = self.store.new_uid()
        meta["creationTimestamp"] = self.store.timestamp()
        if resource.generation:
            meta["generation"] = 1
        return meta

    def _prepare_create(self, resource: Resource, obj: Object) -> None:
        if not resource.custom:
            _check_parts(obj)
        elif "status" in resource.subresources:
            obj.pop("status", None)
        if resource.key == ("", "namespaces") and not obj["metadata"].get("name"):
            return
        self._default(resource, obj)
        kinds.CREATES.get(resource.key, _nothing)(obj)
        if resource.key == ("", "pods"):
            self._admit_pod(resource, obj)
        elif resource.key == ("", "services"):
            taken = {service.object["spec"].get("clusterIP", "") for service in self.store.select(resource)}
            kinds.allocate_cluster_ip(obj, taken)

    def _default(self, resource: Resource, obj: Object) -> None:
        kinds.DEFAULTS.get(resource.key, _nothing)(obj)
        self.kubernetes.default(resource.key, obj)

    def _node_ports(self, resource: Resource, obj: Object) -> Sequence[FieldError]:
        if resource.key != ("", "services"):
            return []
        own = obj["metadata"].get("uid")
        services = (service.object for service in self.store.select(resource))
        return nodeports.allocate(obj, (one for one in services if one["metadata"].get("uid") != own))

    def _admit_pod(self, resource: Resource, obj: Object) -> None:
        spec, name, namespace = obj["spec"], obj["metadata"].get("name", ""), obj["metadata"].get("namespace", "")
        priority = None
        if wanted := spec.get("priorityClassName"):
            classes = self.store.select(self.catalog.find("scheduling.k8s.io", "v1", "priorityclasses"))
            priority = pods.priority_of(wanted, {item.name: item.object.get("value", 0) for item in classes})
            if priority is None:
                raise status.forbidden(resource, name, f"no PriorityClass with name {wanted} was found")
        pods.admit(spec, priority)
        account = spec["serviceAccountName"]
        if self.store.get(self.catalog.find("", "v1", "serviceaccounts"), namespace, account) is None:
            why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
            raise status.forbidden(resource, name, why)

    def update(
        self, resource: Resource, namespace: str, name: str, body: Object, subresource: str, write: Write
    ) -> tuple[Stored, bool]:
        """Replace an object; says whether that created it, which only some kinds allow."""
        obj = jsonvalue.copied(body)
        meta = obj.setdefault("metadata", {})
        _check_namespace(resource, namespace, meta)
        _check_name(meta, name)
        old = self.store.get(resource, namespace, name)
        if old is None:
            if not resource.upsert or subresource:
                raise status.not_found(resource, name)
            return self.create(resource, namespace, obj, write), True
        if not meta.get("resourceVersion") and not resource.unconditional:
            raise status.version_required(resource, name)
        if (uid := meta.get("uid")) and uid != old.uid:
            raise status.uid_conflict(resource, namespace, name, uid, old.uid)
        return self._replace(resource, old, obj, subresource, write), False

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Any,
        patch_type: PatchType,
        subresource: str,
        write: Write,
    ) -> Stored:
        """Patch an object as it is now; a resourceVersion in the patch is a precondition."""
        old = self.get(resource, namespace, name)
        base = old.object
        if patch_type == "json":
            obj = patches.json_patch(base, patch)
        elif not isinstance(patch, dict):
            why = "json: cannot unmarshal array into Go value of type map[string]interface {}"
            raise status.bad_request(f"error decoding patch: {why}")
        elif patch_type == "strategic":
            if resource.custom:
                raise status.unsupported_media_type(
                    ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]
                )
            obj = patches.strategic(base, patch)
        else:
            obj = patches.merge(base, patch)
        if not isinstance(obj, dict):
            raise status.rejected_patch()
        obj = jsonvalue.copied(obj)
        meta = obj.setdefault("metadata", {})
        _check_name(meta, name)
        _check_namespace(resource, namespace, meta)
        return self._replace(resource, old, obj, subresource, write)

    def _replace(self, resource: Resource, old: Stored, new: Object, subresource: str, write: Write) -> Stored:
        """The common end of update and patch; `new` belongs to us."""
        meta, before = new["metadata"], old.object["metadata"]
        if (version := meta.get("resourceVersion")) and version != before["resourceVersion"]:
            if not str(version).isdecimal():
                raise ApiError(500, "", f'strconv.ParseUint: parsing "{version}": invalid syntax')
            raise status.conflict(resource, old.name)
        new = {
            "kind": resource.kind.kind,
            "apiVersion": resource.kind.api_version,
            **_without(new, "kind", "apiVersion"),
        }
        found = metadata.keep_owned(meta, before)
        meta["managedFields"] = before.get("managedFields")
        metadata.tidy(meta)
        new = _separated(resource, new, old.object, subresource)
        meta = new["metadata"]
        if subresource != "status":
            _check_parts(new)
            self._default(resource, new)
            kinds.prepare_update(resource, new, old.object)
        found += metadata.validate(meta)
        if subresource != "status":
            found += validation.VALIDATES.get(resource.key, _no_errors)(new)
            found += validation.UPDATES.get(resource.key, _no_changes)(new, old.object)
            found = found or [*self._node_ports(resource, new)]
        if found:
            raise status.invalid(resource, old.name, self.kubernetes.worded(found))
        if resource.generation and _spec_changed(resource, new, old.object):
            meta["generation"] = before.get("generation", 0) + 1
        return self._store_if_changed(resource, old, new, subresource, write)

    def _store_if_changed(self, resource: Resource, old: Stored, new: Object, subresource: str, write: Write) -> Stored:
        meta = new["metadata"]
        meta["resourceVersion"] = old.object["metadata"]["resourceVersion"]
        if new == {**old.object, "apiVersion": new["apiVersion"]}:
            return old
        metadata.note_manager(
            meta, write.manager, "Update", resource.kind.api_version, subresource, self.store.timestamp()
        )
        if write.dry_run:
            return Stored(new, old.version)
        if deletion.is_over(new):
            removed = self.take_out(resource, old)
            meta["resourceVersion"] = str(removed.version)
            return Stored(new, removed.version)
        return self._put(resource, new)

    def delete(
        self, resource: Resource, namespace: str, name: str, options: deletion.Options, write: Write
    ) -> tuple[Stored, bool]:
        """Delete an object, or start to; says whether it is gone."""
        return deletion.delete(self, resource, self.get(resource, namespace, name), options, write.dry_run)

    def discard(self, resource: Resource, stored: Stored) -> None:
        """Delete an object as its own deletion would, with the defaults."""
        deletion.delete(self, resource, stored, deletion.Options(), dry_run=False)

    def delete_collection(
        self, resource: Resource, namespace: str | None, query: Query, options: deletion.Options, write: Write
    ) -> Items:
        """Delete all selected objects, each as by its own delete."""
        found = self.list(resource, namespace, replace(query, limit=0, token="")).items
        for stored in found:
            deletion.delete(self, resource, stored, options, write.dry_run)
        return found

    def write(self, resource: Resource, stored: Stored, manager: str, subresource: str = "", **parts: Any) -> Stored:
        """A write of the server itself or of a built-in controller: replace top-level parts of an object."""
        new = {**stored.object, **parts}
        new["metadata"] = dict(new["metadata"])
        now = self.store.timestamp()
        metadata.note_manager(new["metadata"], manager, "Update", resource.kind.api_version, subresource, now)
        if resource.generation and not subresource and _spec_changed(resource, new, stored.object):
            new["metadata"]["generation"] = stored.object["metadata"].get("generation", 0) + 1
        return self._put(resource, new)

    def mark(self, resource: Resource, obj: Object) -> Stored:
        """Store an object with changed metadata only: a deletion that has started."""
        return self._put(resource, {**obj, "metadata": dict(obj["metadata"])})

    def take_out(self, resource: Resource, stored: Stored) -> Stored:
        """Remove an object for good."""
        removed = self.store.remove(resource, stored)
        self._follow_up(resource, Event("DELETED", removed, stored))
        return removed

    def _put(self, resource: Resource, obj: Object) -> Stored:
        before = self.store.get(resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        stored = self.store.put(resource, obj)
        self._follow_up(resource, Event("MODIFIED" if before else "ADDED", stored, before))
        return stored

    def _follow_up(self, resource: Resource, event: Event) -> None:
        for react in self.after:
            react(resource, event)


def _without(obj: Object, *keys: str) -> Object:
    return {key: value for key, value in obj.items() if key not in keys}


def _nothing(_: Object) -> None:
    return None


def _no_errors(_: Object) -> list[FieldError]:
    return []


def _no_changes(_: Object, __: Object) -> list[FieldError]:
    return []


def _check_parts(obj: Object) -> None:
    for part in ("spec", "status"):
        if part in obj and obj[part] is None:
            del obj[part]
        elif not isinstance(obj.get(part, {}), dict):
            raise status.bad_request(f"json: cannot unmarshal {part} into Go struct field")


def _check_namespace(resource: Resource, namespace: str, meta: Object) -> None:
    """The namespace in the body may be absent, but may not be another one than the request's."""
    if meta.get("namespace") not in (None, "", namespace):
        why = "the namespace of the provided object does not match the namespace sent on the request"
        raise status.bad_request(why)
    if resource.namespaced:
        meta["namespace"] = namespace
    else:
        meta.pop("namespace", None)


def _check_name(meta: Object, name: str) -> None:
    if not meta.get("name"):
        why = f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        raise status.bad_request(why)
    if meta["name"] != name:
        raise status.bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({name})")


def _separated(resource: Resource, new: Object, old: Object, subresource: str) -> Object:
    """Keep the status out of a normal write and everything but the status out of a status write.

    Labels and annotations pass through the status of most built-in kinds, but not through a custom resource's.
    """
    if "status" not in resource.subresources:
        return new
    if subresource != "status":
        return _with_part(new, "status", old)
    if resource.custom:
        meta = {**old["metadata"], "resourceVersion": new["metadata"].get("resourceVersion", "")}
        return _with_part({**old, "metadata": meta}, "status", new)
    kept = _with_part(new, "spec", old)
    kept["metadata"] = {**new["metadata"]}
    if "ownerReferences" in old["metadata"]:
        kept["metadata"]["ownerReferences"] = old["metadata"]["ownerReferences"]
    return kept


def _with_part(obj: Object, part: str, source: Object) -> Object:
    rest = _without(obj, part)
    return {**rest, part: source[part]} if part in source else rest


def _spec_changed(resource: Resource, new: Object, old: Object) -> bool:
    if resource.custom and "status" not in resource.subresources:
        beside = ("metadata", "apiVersion", "kind")
        return _without(new, *beside) != _without(old, *beside)
    if resource.key[0] in ("admissionregistration.k8s.io", "discovery.k8s.io"):
        return _without(new, "metadata") != _without(old, "metadata")
    return new.get("spec") != old.get("spec")
