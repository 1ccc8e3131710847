"""Which resources are served, and what the API server must know about each.

The catalogue starts with Kubernetes' built-in resources and grows and shrinks with CustomResourceDefinitions. Events of
`events.k8s.io` are kept apart from those of the core group here; in a real cluster they are two views of the same.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cni_migrate.sim.client import ApiError, Kind

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Resource:
    """One served resource in one version.

    `generation` says whether `metadata.generation` counts changes of the spec; `echoes_deleted` whether a delete
    answers the object or a bare Status; `upsert` whether PUT may create; `unconditional` whether PUT works without a
    resourceVersion. All four differ from kind to kind (the strategies under `pkg/registry` in kubernetes).
    """

    kind: Kind
    singular: str
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    generation: bool = False
    echoes_deleted: bool = False
    upsert: bool = False
    unconditional: bool = True
    custom: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the resource in whatever version: its group and plural."""
        return self.kind.group, self.kind.plural

    @property
    def qualified(self) -> str:
        """`pods` or `daemonsets.apps`, as messages name it."""
        return f"{self.kind.plural}.{self.kind.group}" if self.kind.group else self.kind.plural

    @property
    def namespaced(self) -> bool:
        """Whether its objects live in namespaces."""
        return self.kind.namespaced


def _core(plural: str, kind: str, short: str = "", *, upsert: bool = False, echoes_deleted: bool = False) -> Resource:
    return _builtin("", "v1", plural, kind, short, upsert=upsert, echoes_deleted=echoes_deleted)


def _builtin(
    group: str,
    version: str,
    plural: str,
    kind: str,
    short: str = "",
    *,
    namespaced: bool = True,
    subresources: tuple[str, ...] = (),
    verbs: tuple[str, ...] = ALL_VERBS,
    **more: bool,
) -> Resource:
    shorts = tuple(short.split()) if short else ()
    everywhere = plural in ("pods", "services", "daemonsets", "deployments", "replicasets", "statefulsets", "jobs")
    return Resource(
        Kind(group, version, plural, kind, namespaced),
        singular=kind.lower(),
        short=shorts,
        categories=("all",) if everywhere else (),
        subresources=subresources,
        verbs=verbs,
        **more,
    )


_POD = ("binding", "ephemeralcontainers", "eviction", "log", "proxy", "status")
_REVIEW = ("create",)

BUILTIN: tuple[Resource, ...] = (
    _core("configmaps", "ConfigMap", "cm"),
    _core("endpoints", "Endpoints", "ep", upsert=True),
    _core("events", "Event", "ev", upsert=True),
    _builtin("", "v1", "namespaces", "Namespace", "ns", namespaced=False, subresources=("finalize", "status"),
             verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"), echoes_deleted=True),
    _builtin("", "v1", "nodes", "Node", "no", namespaced=False, subresources=("status",)),
    _builtin("", "v1", "persistentvolumes", "PersistentVolume", "pv", namespaced=False, subresources=("status",)),
    _builtin("", "v1", "pods", "Pod", "po", subresources=_POD, generation=True, echoes_deleted=True),
    _core("secrets", "Secret"),
    _core("serviceaccounts", "ServiceAccount", "sa", echoes_deleted=True),
    _builtin("", "v1", "services", "Service", "svc", subresources=("status",), echoes_deleted=True, upsert=True),
    _builtin("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration",
             namespaced=False, generation=True, unconditional=False),
    _builtin("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations",
             "ValidatingWebhookConfiguration", namespaced=False, generation=True, unconditional=False),
    _builtin("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", "crd crds",
             namespaced=False, subresources=("status",), generation=True, unconditional=False),
    _builtin("apps", "v1", "controllerrevisions", "ControllerRevision"),
    _builtin("apps", "v1", "daemonsets", "DaemonSet", "ds", subresources=("status",), generation=True),
    _builtin("apps", "v1", "deployments", "Deployment", "deploy", subresources=("scale", "status"), generation=True),
    _builtin("apps", "v1", "replicasets", "ReplicaSet", "rs", subresources=("scale", "status"), generation=True),
    _builtin("apps", "v1", "statefulsets", "StatefulSet", "sts", subresources=("scale", "status"), generation=True),
    _builtin("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False,
             verbs=_REVIEW),
    _builtin("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False, verbs=_REVIEW),
    _builtin("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False,
             verbs=_REVIEW),
    _builtin("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", namespaced=False,
             verbs=_REVIEW),
    _builtin("batch", "v1", "cronjobs", "CronJob", "cj", subresources=("status",), generation=True),
    _builtin("batch", "v1", "jobs", "Job", subresources=("status",), generation=True),
    _builtin("coordination.k8s.io", "v1", "leases", "Lease", upsert=True, unconditional=False),
    _builtin("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", generation=True),
    _builtin("events.k8s.io", "v1", "events", "Event", "ev", upsert=True),
    _builtin("networking.k8s.io", "v1", "ingressclasses", "IngressClass", namespaced=False, generation=True),
    _builtin("networking.k8s.io", "v1", "ingresses", "Ingress", "ing", subresources=("status",), generation=True),
    _builtin("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "netpol", generation=True),
    _builtin("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", namespaced=False, subresources=("status",)),
    _builtin("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb", subresources=("status",),
             generation=True, unconditional=False),
    _builtin("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False,
             upsert=True),
    _builtin("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False, upsert=True),
    _builtin("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", upsert=True),
    _builtin("rbac.authorization.k8s.io", "v1", "roles", "Role", upsert=True),
    _builtin("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", "pc", namespaced=False, generation=True),
)  # fmt: skip


class Catalog:
    """The resources served now, by path and by (group, plural)."""

    def __init__(self, resources: Iterable[Resource] = BUILTIN) -> None:
        self._served: dict[tuple[str, str, str], Resource] = {}
        for resource in resources:
            self.add(resource)

    def add(self, resource: Resource) -> None:
        """Serve a resource (again)."""
        self._served[resource.kind.group, resource.kind.version, resource.kind.plural] = resource

    def remove(self, group: str, plural: str) -> None:
        """Serve no version of it any more."""
        for key in [key for key in self._served if key[0] == group and key[2] == plural]:
            del self._served[key]

    def find(self, group: str, version: str, plural: str) -> Resource:
        """The resource served at this path; 404 without it."""
        try:
            return self._served[group, version, plural]
        except KeyError:
            raise ApiError(404, "NotFound", "the server could not find the requested resource") from None

    def serves(self, group: str, version: str) -> bool:
        """Whether there is anything in this group and version."""
        return any(key[:2] == (group, version) for key in self._served)

    def of(self, kind: Kind) -> Resource:
        """The resource that serves a client's kind; 404 without it."""
        return self.find(kind.group, kind.version, kind.plural)

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._served.values())
