"""What is served: `/api`, `/apis`, the resource lists, `/version` and OpenAPI.

Discovery is the unaggregated form; a client that prefers the aggregated one gets this and falls back. The OpenAPI v3
documents hold no schemas. They hold what kubectl looks for: that the server takes `fieldValidation`, so that kubectl
leaves validation to it.
"""

import re

from cni_migrate.sim.apiserver.kubernetes import Kubernetes
from cni_migrate.sim.apiserver.resources import Catalog, Resource
from cni_migrate.sim.client import Object

_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
CORE: Object = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups(catalog: Catalog) -> dict[str, list[str]]:
    """The named groups with their versions, in the order they came."""
    found: dict[str, list[str]] = {}
    for resource in catalog:
        if resource.kind.group:
            versions = found.setdefault(resource.kind.group, [])
            if resource.kind.version not in versions:
                versions.append(resource.kind.version)
    return found


def _priority(version: str) -> tuple[int, int, int]:
    """GA before beta before alpha, newer first: the order in which clients are to prefer them."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return 3, 0, 0
    stage = ("", "beta", "alpha").index(found[2] or "")
    return stage, -int(found[1]), -int(found[3] or 0)


def _group(name: str, versions: list[str]) -> Object:
    versions = sorted(versions, key=_priority)
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list(catalog: Catalog) -> Object:
    """`/apis`."""
    found = [_group(name, versions) for name, versions in groups(catalog).items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def group(catalog: Catalog, name: str) -> Object | None:
    """`/apis/GROUP`; None when nothing of it is served."""
    versions = groups(catalog).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def resource_list(catalog: Catalog, name: str, version: str) -> Object | None:
    """`/api/v1` or `/apis/GROUP/VERSION`; None when nothing of it is served."""
    served = [item for item in catalog if item.kind.group == name and item.kind.version == version]
    if not served:
        return None
    entries: list[Object] = []
    for resource in sorted(served, key=lambda item: item.kind.plural):
        entries.append(_entry(resource))
        entries += [_subresource(resource, sub) for sub in resource.subresources]
    group_version = f"{name}/{version}" if name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}


def _entry(resource: Resource) -> Object:
    entry: Object = {
        "name": resource.kind.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short:
        entry["shortNames"] = list(resource.short)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    return entry


_SUBRESOURCES: dict[str, Object] = {
    "binding": {"kind": "Binding", "verbs": ["create"]},
    "eviction": {"kind": "Eviction", "group": "policy", "version": "v1", "verbs": ["create"]},
    "finalize": {"verbs": ["update"]},
    "log": {"verbs": ["get"]},
    "proxy": {"kind": "PodProxyOptions", "verbs": ["create", "delete", "get", "patch", "update"]},
    "scale": {"kind": "Scale", "group": "autoscaling", "version": "v1", "verbs": ["get", "patch", "update"]},
}


def _subresource(resource: Resource, name: str) -> Object:
    entry: Object = {
        "name": f"{resource.kind.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": resource.kind.kind,
        "verbs": ["get", "patch", "update"],
    }
    return entry | _SUBRESOURCES.get(name, {})


def openapi_index(catalog: Catalog) -> Object:
    """`/openapi/v3`: where each group's document is."""
    named = [f"apis/{name}/{version}" for name, versions in groups(catalog).items() for version in versions]
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in ("api/v1", *named)}}


def openapi_document(catalog: Catalog, name: str, version: str, kubernetes: Kubernetes) -> Object | None:
    """`/openapi/v3/apis/GROUP/VERSION`: the paths, each with the parameter `fieldValidation`, and no schemas."""
    served = [item for item in catalog if item.kind.group == name and item.kind.version == version]
    if not served:
        return None
    base = f"/apis/{name}/{version}" if name else f"/api/{version}"
    paths: Object = {}
    parameters = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string", "uniqueItems": True}}]
    for resource in served:
        scope = "/namespaces/{namespace}" if resource.namespaced else ""
        kind = {"group": name, "version": version, "kind": resource.kind.kind}
        operation = {"parameters": parameters, "responses": {}, "x-kubernetes-group-version-kind": kind}
        collection = f"{base}{scope}/{resource.kind.plural}"
        paths[collection] = {"post": {**operation, "x-kubernetes-action": "post"}}
        paths[f"{collection}/{{name}}"] = {
            "patch": {**operation, "x-kubernetes-action": "patch"},
            "put": {**operation, "x-kubernetes-action": "put"},
        }
    info = {"title": "Kubernetes", "version": f"v{kubernetes.version}"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}
