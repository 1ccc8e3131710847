"""Finds what Canal has left in the API: by what its DaemonSets used, by references between objects, by Calico's groups.

An account leads to its bindings, these to their roles; a Deployment of Calico's leads to its account, budget and
Service; definitions are known by their group. What anything else uses or owns is told with the reason, never as free.

The published names lead on, too, when what has them is gone: somebody was killed, or refused, half-way.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cni_migrate.core.model.leftovers import (
    ACCOUNTS,
    AGGREGATED,
    CALICO_GROUP,
    CALICO_GROUPS,
    CALICO_WRITERS,
    CONFIG_MAPS,
    CONTROLLERS,
    KINDS,
    MADE_AT_START,
    MADE_BY_CALICO,
    Leftover,
)
from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.core.model.selector import matches
from cni_migrate.core.steps.selection import owners_by
from cni_migrate.errors import RightsMissing
from cni_migrate.kube import paths
from cni_migrate.kube.calico import OF_CALICO_ITSELF
from cni_migrate.kube.inventory import NAMES_ONLY
from cni_migrate.kube.listing import listed
from cni_migrate.kube.reading import read
from cni_migrate.kube.references import used_by
from cni_migrate.kube.request import Client

Json = Mapping[str, Any]
Accounts = Collection[tuple[str, str]]
"""ServiceAccounts as (namespace, name)."""

RBAC: Final = "rbac.authorization.k8s.io/v1"
CORE: Final = "v1"

_DEFINITIONS: Final = paths.path("apiextensions.k8s.io/v1", "customresourcedefinitions")

KEPT_NAMESPACES: Final = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})
"""Namespaces that every cluster has."""

_CHOOSING: Final = (("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"), (CORE, "Service", "services"))
"""Kinds that choose pods by labels: version, kind, plural."""

_CONTROLLERS: Final = ("kube-controllers", "typha")
"""What Calico runs as Deployments, by the last part of the image's path."""


async def leftovers(client: Client, used: Iterable[ObjectRef], namespaces: Collection[str]) -> tuple[Leftover, ...]:
    """What is left, in order.

    Args:
        client: reads the cluster.
        used: what Canal's DaemonSets named: accounts, ConfigMaps, Secrets.
        namespaces: where these were.

    Raises:
        ClusterError: something may not be read, or the API server does not answer.
    """
    return await _Search(client, sorted(namespaces)).all(used)


@dataclass
class _Search:
    client: Client
    namespaces: list[str]
    found: dict[ObjectRef, Leftover] = field(default_factory=dict)
    pods: dict[str, list[Json]] = field(default_factory=dict)

    async def all(self, used: Iterable[ObjectRef]) -> tuple[Leftover, ...]:
        wanted = {*used}
        for namespace in self.namespaces:
            wanted |= {ObjectRef(CORE, "ServiceAccount", namespace, name) for name in ACCOUNTS}
            wanted |= {ObjectRef(CORE, "ConfigMap", namespace, name) for name in CONFIG_MAPS}
            wanted |= await self._controllers(namespace)
        for ref in sorted(wanted):
            await self._named(ref)
        accounts = {(ref.namespace, ref.name) for ref in wanted if ref.kind == "ServiceAccount"}
        definitions = [one async for one in listed(self.client, _DEFINITIONS, accept=NAMES_ONLY)]
        served = await self._by_an_api_server(definitions)
        await self._roles(accounts, served)
        await self._definitions(definitions, served)
        for namespace in self.namespaces:
            await self._namespace(namespace)
        return tuple(sorted(self.found.values()))

    def _take(self, ref: ObjectRef, raw: Json, kept: str = "") -> None:
        self.found[ref] = Leftover(ref, str(raw["metadata"].get("uid", "")), _owner(raw), kept)

    async def _listed(self, version: str, plural: str, namespace: str = "") -> list[Json]:
        return [one async for one in listed(self.client, paths.path(version, plural, namespace=namespace))]

    async def _controllers(self, namespace: str) -> set[ObjectRef]:
        """Calico's Deployments, with the budgets and Services of their pods; answers what they use."""
        uses: set[ObjectRef] = set()
        labels: list[Mapping[str, str]] = [*CONTROLLERS]
        for raw in await self._listed("apps/v1", "deployments", namespace):
            template = raw["spec"]["template"]
            if not any(_of_calico(one) for one in template["spec"].get("containers") or ()):
                continue
            self._take(ObjectRef("apps/v1", "Deployment", namespace, raw["metadata"]["name"]), raw)
            uses |= {*used_by(template["spec"], namespace)}
            labels.append(template["metadata"].get("labels") or {})
        others = [pod["metadata"].get("labels") or {} for pod in await self._others(namespace)]
        for version, kind, plural in _CHOOSING:
            for raw in await self._listed(version, plural, namespace):
                selector = raw["spec"].get("selector")
                selector = {"matchLabels": selector} if kind == "Service" and selector else selector
                # One that chooses anybody's pods is not Calico's.
                if any(matches(selector, one) for one in labels) and not any(matches(selector, one) for one in others):
                    self._take(ObjectRef(version, kind, namespace, raw["metadata"]["name"]), raw)
        return uses

    async def _named(self, ref: ObjectRef) -> None:
        """An account, a ConfigMap or a Secret, if it is there."""
        if ref.name in ("default", "kube-root-ca.crt"):
            return
        place = paths.known(ref.api_version, ref.kind)
        assert place is not None
        where = paths.path(ref.api_version, place.plural, namespace=ref.namespace, name=ref.name)
        try:
            found = await read(self.client, where, ref)
        except RightsMissing:
            if ref.kind != "Secret":
                raise
            # No right to read Secrets is asked for: that it is there is taken from who named it.
            self.found[ref] = Leftover(ref, kept="it was not looked at, for want of rights")
            return
        if found is None:
            return
        users = [f"pod {pod['metadata']['name']}" for pod in await self._others(ref.namespace) if ref in _uses(pod)]
        self._take(ref, found, f"{users[0]} uses it" if users else "")

    async def _namespace(self, name: str) -> None:
        """A namespace of Canal's own, as flannel's manifest has one. Nobody deletes it unasked: it may hold more."""
        if name in KEPT_NAMESPACES or await self._others(name):
            return
        ref = ObjectRef(CORE, "Namespace", "", name)
        found = await read(self.client, paths.path(CORE, "namespaces", name=name), ref)
        if found is not None and not found["metadata"].get("deletionTimestamp"):
            self._take(ref, found, "all that is in it would go with it: look first")

    async def _others(self, namespace: str) -> list[Json]:
        """The namespace's pods, those of Calico left out."""
        if namespace not in self.pods:
            self.pods[namespace] = await self._listed(CORE, "pods", namespace)
        return [
            pod
            for pod in self.pods[namespace]
            if not any(_of_calico(one) for one in pod["spec"].get("containers") or ())
            and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        ]

    async def _by_an_api_server(self, definitions: Iterable[Json]) -> bool:
        """Whether an API server of Calico's own serves what is written under its definitions.

        Without them it answers nothing, and then the API server lists and deletes no namespace (docs.tigera.io:
        "Install the Calico API server"; kubernetes.io: "Kubernetes API Aggregation Layer").
        """
        groups = {_name(raw).partition(".")[2] for raw in definitions}
        if CALICO_GROUP not in groups or AGGREGATED in groups:
            return False
        return (await self.client.request("GET", f"/apis/{AGGREGATED}")).status != 404

    async def _roles(self, accounts: Accounts, served: bool) -> None:
        """The bindings of Canal's accounts, and their roles; and the roles that are about Calico only."""
        roles = {_name(raw): raw for raw in await self._listed(RBAC, "clusterroles")}
        about = set() if served else {name for name, raw in roles.items() if _about_calico(raw)}
        bindings = [("", "ClusterRoleBinding", raw) for raw in await self._listed(RBAC, "clusterrolebindings")]
        for space in self.namespaces:
            bindings += [(space, "RoleBinding", raw) for raw in await self._listed(RBAC, "rolebindings", space)]
        wanted = {(name, "") for name in about}
        others: dict[tuple[str, str], str] = {}
        for space, kind, raw in bindings:
            local = raw["roleRef"]["kind"] == "Role"
            role = (str(raw["roleRef"]["name"]), space if local else "")
            subjects = [(one.get("namespace", ""), str(one["name"])) for one in raw.get("subjects") or ()]
            of_calico = not local and role[0] in about
            rest = [] if of_calico else [name for where, name in subjects if (where, name) not in accounts]
            if not of_calico and len(rest) == len(subjects):
                others.setdefault(role, f"{kind} {_name(raw)} binds it")
                continue
            if rest:
                others.setdefault(role, f"{kind} {_name(raw)} binds it")
            self._take(ObjectRef(RBAC, kind, space, _name(raw)), raw, f"it is for {rest[0]}, too" if rest else "")
            wanted.add(role)
        for name, space in wanted:
            raw_role = roles.get(name) if not space else await self._role(space, name)
            if raw_role is not None and "kubernetes.io/bootstrapping" not in (raw_role["metadata"].get("labels") or {}):
                kind = "Role" if space else "ClusterRole"
                self._take(ObjectRef(RBAC, kind, space, name), raw_role, others.get((name, space), ""))

    async def _role(self, namespace: str, name: str) -> Json | None:
        answer = await self.client.request("GET", paths.path(RBAC, "roles", namespace=namespace, name=name))
        return answer.object if answer.ok else None

    async def _definitions(self, definitions: Iterable[Json], served: bool) -> None:
        """Calico's definitions; one under which somebody has written something, or that a server needs, is kept."""
        for raw in definitions:
            plural, _, group = _name(raw).partition(".")
            if (version := CALICO_GROUPS.get(group)) is None:
                continue
            kind = KINDS.get(plural, plural)
            held: list[str] = []
            if plural not in MADE_BY_CALICO:
                there = await self._listed(f"{group}/{version}", plural)
                held = [
                    _shown(one)
                    for one in there
                    if not (_by_calico(plural, one) or (plural == "tiers" and _by_itself(one)))
                ]
            more = f" and {len(held) - 1} more" if len(held) > 1 else ""
            why = f"with it would go {kind} {held[0]}{more}" if held else ""
            if served and group == CALICO_GROUP:
                why = why or f"Calico's API server, APIService v3.{AGGREGATED}, needs it: remove that first"
            self._take(ObjectRef("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", _name(raw)), raw, why)


def _name(raw: Json) -> str:
    return str(raw["metadata"]["name"])


def _of_calico(container: Json) -> bool:
    image = str(container.get("image", "")).partition("@")[0]
    path, _, last = image.rpartition("/")
    last = last.partition(":")[0]
    return "calico" in f"{path}/{last} {container.get('name', '')}" and any(one in last for one in _CONTROLLERS)


def _uses(pod: Json) -> set[ObjectRef]:
    return {*used_by(pod["spec"], str(pod["metadata"].get("namespace", "")))}


def _about_calico(role: Json) -> bool:
    """Whether a role of Calico's manifests speaks of Calico's own kinds only."""
    rules = role.get("rules") or ()
    named = str(role["metadata"]["name"]).startswith(("calico-", "canal-"))
    return bool(rules) and named and all(set(rule.get("apiGroups") or ("",)) <= set(CALICO_GROUPS) for rule in rules)


def _by_calico(plural: str, one: Json) -> bool:
    """Whether calico-node has made this object, and nobody has changed it since."""
    meta = one["metadata"]
    writers = {str(entry.get("manager", "")) for entry in meta.get("managedFields") or ()}
    own = meta["name"] in MADE_AT_START.get(plural, ()) and bool(writers) and writers <= CALICO_WRITERS
    return own and meta.get("generation") == 1


def _by_itself(one: Json) -> bool:
    return one["metadata"]["name"] in OF_CALICO_ITSELF


def _shown(one: Json) -> str:
    meta = one["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


def _owner(raw: Json) -> str:
    """Who keeps an object and would make it again: a controller, or whoever has marked it as theirs."""
    meta = raw["metadata"]
    for one in meta.get("ownerReferences") or ():
        return f"{one['kind']} {one['name']}"
    annotations = meta.get("annotations") or {}
    found = owners_by(meta.get("labels") or {}, annotations)
    release = annotations.get("meta.helm.sh/release-name")
    return f"Helm release {release}" if release and found == ["Helm"] else " and ".join(found)
