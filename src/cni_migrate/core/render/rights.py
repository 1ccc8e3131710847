"""The rights that an operator's own Cilium asks for: to put its objects, and for Helm to keep its release."""

from collections.abc import Iterable
from typing import Any, Final

Manifest = dict[str, Any]
Rule = dict[str, Any]

CLUSTER: Final = ""
"""What is in no namespace."""

RELEASE: Final[Rule] = {
    "apiGroups": [""],
    "resources": ["secrets"],
    "verbs": ["get", "list", "create", "update", "delete"],
}
"""Helm keeps each revision of a release in a Secret of the release's namespace, and removes old ones (helm.sh: "Storage
backends"). Their names are not known before."""


def of_objects(objects: Iterable[Manifest], *, helm: bool) -> dict[str, list[Rule]]:
    """By namespace, the rules with which these objects can be put and taken away; Helm 4 patches them (`helm`).

    A right to create cannot be one for a name (kubernetes.io: "Referring to resources"), nor is reading made one here.
    """
    found: dict[str, dict[tuple[str, str], set[str]]] = {}
    for one in objects:
        group = one["apiVersion"].rpartition("/")[0]
        here = found.setdefault(one["metadata"].get("namespace") or CLUSTER, {})
        here.setdefault((group, plural(one["kind"])), set()).add(one["metadata"]["name"])
    changes = ["update", "delete", *(["patch"] if helm else [])]
    return {
        namespace: [
            rule
            for (group, resource), names in sorted(kinds.items())
            for rule in (
                {"apiGroups": [group], "resources": [resource], "verbs": ["get", "create"]},
                {"apiGroups": [group], "resources": [resource], "resourceNames": sorted(names), "verbs": changes},
            )
        ]
        for namespace, kinds in sorted(found.items())
    }


def to_await(hooks: Iterable[Manifest]) -> dict[str, list[Rule]]:
    """By namespace, the rules with which Helm waits for its hooks: it watches each until it has ended."""
    found: dict[str, dict[tuple[str, str], None]] = {}
    for one in hooks:
        group = one["apiVersion"].rpartition("/")[0]
        found.setdefault(one["metadata"].get("namespace") or CLUSTER, {})[group, plural(one["kind"])] = None
    return {
        namespace: [
            {"apiGroups": [group], "resources": [resource], "verbs": ["list", "watch"]}
            for group, resource in sorted(kinds)
        ]
        for namespace, kinds in sorted(found.items())
    }


def plural(kind: str) -> str:
    """A kind's resource, as Kubernetes and Cilium name theirs: `ingressclasses`, `networkpolicies`, `endpoints`."""
    name = kind.lower()
    if name.endswith(("ss", "x", "ch")):
        return name + "es"
    if name.endswith("s"):
        return name
    return name[:-1] + "ies" if name.endswith("y") and name[-2:-1] not in "aeo" else name + "s"
