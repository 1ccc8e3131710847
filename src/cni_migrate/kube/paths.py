"""Where the API serves what: kinds to URL paths and back.

Only kinds that this program itself writes are in the table; for others `discovery` asks the API server. The paths are
those of the "Kubernetes API Concepts" page (kubernetes.io).
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Place:
    """Where a kind is served: its plural, and whether its objects live in a namespace."""

    plural: str
    namespaced: bool = True


PLACES: Final[dict[str, Place]] = {
    "ClusterRole": Place("clusterroles", namespaced=False),
    "ClusterRoleBinding": Place("clusterrolebindings", namespaced=False),
    "ConfigMap": Place("configmaps"),
    "CustomResourceDefinition": Place("customresourcedefinitions", namespaced=False),
    "DaemonSet": Place("daemonsets"),
    "Deployment": Place("deployments"),
    "Lease": Place("leases"),
    "Namespace": Place("namespaces", namespaced=False),
    "NetworkPolicy": Place("networkpolicies"),
    "Node": Place("nodes", namespaced=False),
    "Pod": Place("pods"),
    "PodDisruptionBudget": Place("poddisruptionbudgets"),
    "Role": Place("roles"),
    "RoleBinding": Place("rolebindings"),
    "Secret": Place("secrets"),
    "Service": Place("services"),
    "ServiceAccount": Place("serviceaccounts"),
    "CiliumClusterwideNetworkPolicy": Place("ciliumclusterwidenetworkpolicies", namespaced=False),
    "CiliumEndpoint": Place("ciliumendpoints"),
    "CiliumIdentity": Place("ciliumidentities", namespaced=False),
    "CiliumNetworkPolicy": Place("ciliumnetworkpolicies"),
    "CiliumNode": Place("ciliumnodes", namespaced=False),
    "CiliumNodeConfig": Place("ciliumnodeconfigs"),
}
"""Kinds whose name means one thing in every group that this program deals with."""


GROUPS: Final = frozenset(
    {
        "", "apiextensions.k8s.io", "apps", "cilium.io", "coordination.k8s.io", "networking.k8s.io", "policy",
        "rbac.authorization.k8s.io",
    }
)  # fmt: skip
"""Groups for which `PLACES` may be used.

A kind of the same name in another group (Calico has a NetworkPolicy too) is asked for.
"""


def known(api_version: str, kind: str) -> Place | None:
    """The place of a kind of a well-known group, or None: ask the API server."""
    return PLACES.get(kind) if group_of(api_version) in GROUPS else None


def built_in(api_version: str) -> bool:
    """Whether every API server serves the group: a 404 without a reason is then somebody else's, on the way to it."""
    return group_of(api_version) in GROUPS - {"cilium.io"}


def group_of(api_version: str) -> str:
    """The API group of an `apiVersion`; '' is the core group."""
    return api_version.rpartition("/")[0]


def root(api_version: str) -> str:
    """The path under which a group version is served."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def path(api_version: str, plural: str, *, namespace: str = "", name: str = "", sub: str = "") -> str:
    """The path of a collection, an object, or an object's subresource."""
    parts = [root(api_version)]
    if namespace:
        parts += ["namespaces", namespace]
    parts += [part for part in (plural, name, sub) if part]
    return "/".join(parts)


@dataclass(frozen=True, slots=True)
class Right:
    """What a request needs to be allowed (kubernetes.io: "Authorization Overview", request attributes)."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {resource}{where}"

    @property
    def rule(self) -> str:
        """The RBAC rule that grants it."""
        if not self.resource or self.resource.startswith("/"):
            return f'{{nonResourceURLs: ["{self.resource}"], verbs: ["{self.verb}"]}}'
        return f'{{apiGroups: ["{self.group}"], resources: ["{self.resource}"], verbs: ["{self.verb}"]}}'


_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def right(method: str, url_path: str, *, watch: bool = False) -> Right:
    """The right that a request needs, from its method and path."""
    parts = url_path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, rest = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return Right("get", "", url_path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    resource = "/".join([rest[0], *rest[2:3]])  # what follows a proxy is a page, not a resource
    reading = "watch" if watch else "get" if name else "list"
    verb = "deletecollection" if method == "DELETE" and not name else _VERBS.get(method, reading)
    return Right(verb, group, resource, namespace, name)
