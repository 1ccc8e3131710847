"""Whether what was read are Kubernetes objects: what an API server would refuse is found before anything is changed.

The rules are those of kubernetes.io ("Object Names and IDs", "Labels and Selectors", "Annotations"), and JSON's.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

Manifest = dict[str, Any]
Document = tuple[str, Any]
"""Where it stands, for people, and what stands there."""

WORKLOADS: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"})

NAMESPACED: Final = WORKLOADS | {
    "CiliumNetworkPolicy", "CiliumNodeConfig", "ConfigMap", "Endpoints", "EndpointSlice", "Ingress", "Lease",
    "LimitRange", "NetworkPolicy", "PersistentVolumeClaim", "Pod", "PodDisruptionBudget", "ResourceQuota", "Role",
    "RoleBinding", "Secret", "Service", "ServiceAccount", "ServiceMonitor",
}  # fmt: skip
"""Kinds that are known to be in a namespace; of others the API server tells."""

SERVERS: Final = frozenset(
    {
        "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
        "managedFields", "selfLink",
    }
)  # fmt: skip
"""What of metadata only an API server writes (kubernetes.io: "ObjectMeta")."""

LARGEST: Final = 200_000
"""So many values an object may have, aliases written out: an API server takes three megabytes."""

_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NAMESPACE: Final = re.compile(_LABEL)
_SEGMENT: Final = re.compile(r"(?!\.{1,2}$)[^/%]+")
_KUSTOMIZE: Final = "kustomize.config.k8s.io"


def objects_in(documents: Iterable[Document]) -> tuple[list[Manifest], list[str]]:
    """The objects of these documents, and what is wrong with the others, a sentence each.

    Lists are taken apart. What runs once around an installation by Helm is left out, and so is what only an API server
    writes, where the objects come from one (`kubectl get -o yaml`): it would refuse to be told.
    """
    found: list[Manifest] = []
    problems: list[str] = []
    for where, value in documents:
        for place, part in _apart(where, value):
            if _hook(part):
                continue
            wrong = list(_wrong(part))
            problems += [f"{place}: {one}" for one in wrong]
            if not wrong:
                found.append(_asked(part))
    return found, problems


def _apart(where: str, value: Any) -> Iterator[Document]:
    """A list's items, and theirs; whatever else as it is. An empty document is none."""
    if value is None:
        return
    if not (isinstance(value, Mapping) and _is_list(value)):
        yield where, value
        return
    items = value.get("items") or []
    if not isinstance(items, list):
        yield f"{where}: items", items
        return
    for number, item in enumerate(items, start=1):
        if item is not value:
            yield from _apart(f"{where}, item {number}", item if item is not None else "")


def hooks_in(documents: Iterable[Document], namespace: str) -> list[Manifest]:
    """What Helm runs around an installation or an upgrade, as far as it is an object; it puts it into `namespace`."""
    found = []
    for where, value in documents:
        for _, part in _apart(where, value):
            if set(re.split(r"[\s,]+", _hook(part))) & INSTALLS:
                meta = part["metadata"]
                put = {"namespace": namespace, **meta} if part.get("kind") in NAMESPACED else meta
                one = {**part, "metadata": put}
                found += [] if any(_wrong(one)) else [_asked(one)]
    return found


INSTALLS: Final = {"pre-install", "post-install", "pre-upgrade", "post-upgrade"}
"""The hooks of `helm upgrade --install` (helm.sh: "Chart Hooks")."""


def _hook(found: Any) -> str:
    meta = found.get("metadata") if isinstance(found, Mapping) else None
    annotations = meta.get("annotations") if isinstance(meta, Mapping) else None
    return str(annotations.get("helm.sh/hook", "")) if isinstance(annotations, Mapping) else ""


def _asked(found: Mapping[str, Any]) -> Manifest:
    meta = {key: value for key, value in found["metadata"].items() if key not in SERVERS}
    return {**{key: value for key, value in found.items() if key != "status"}, "metadata": meta}


def _is_list(value: Mapping[str, Any]) -> bool:
    kind = value.get("kind")
    typed = isinstance(kind, str) and kind.endswith("List") and isinstance(value.get("items"), list)
    return kind == "List" or typed


def _wrong(found: Any) -> Iterator[str]:
    """What is wrong with one object; what is asked later relies on what was asked before."""
    if not isinstance(found, Mapping):
        yield "no Kubernetes object"
        return
    if plain := _not_plain(found, set(), {})[0]:
        yield plain
        return
    for key in ("apiVersion", "kind"):
        if not isinstance(found.get(key), str) or not found[key]:
            yield f"no Kubernetes object: its {key} is {_shown(found.get(key))}"
            return
    kind, group = found["kind"], found["apiVersion"].rpartition("/")[0]
    if group == _KUSTOMIZE:
        yield f"a {kind} is for kustomize alone: name what `kustomize build` prints"
        return
    meta = found.get("metadata")
    if not isinstance(meta, Mapping) or not meta.get("name"):
        yield f"a {kind} without a name"
        return
    named = f"{kind} {_shown(meta['name'])}"
    yield from (f"{named}: {one}" for one in (*_metadata(kind, group, meta), *_content(kind, found)))


def _metadata(kind: str, group: str, meta: Mapping[str, Any]) -> Iterator[str]:
    rule = _SEGMENT if group == "rbac.authorization.k8s.io" else _SUBDOMAIN
    name, namespace = meta["name"], meta.get("namespace")
    if not isinstance(name, str) or len(name) > 253 or not rule.fullmatch(name):
        yield "that is no name that Kubernetes takes"
    if namespace and not (isinstance(namespace, str) and len(namespace) <= 63 and _NAMESPACE.fullmatch(namespace)):
        yield f"its namespace is {_shown(namespace)}"
    if kind in NAMESPACED and not namespace:
        yield "it names no namespace: write metadata.namespace"
    for key in ("labels", "annotations"):
        yield from _texts(f"metadata.{key}", meta.get(key))


def _content(kind: str, found: Mapping[str, Any]) -> Iterator[str]:
    """The parts that are looked into here."""
    if kind in ("ConfigMap", "Secret"):
        for key in ("data", "stringData"):
            yield from _texts(key, found.get(key))
    if kind not in WORKLOADS:
        return
    spec, path = found, ["spec", *(["jobTemplate", "spec"] if kind == "CronJob" else []), "template", "spec"]
    for number, key in enumerate(path, start=1):
        spec = spec.get(key)  # type: ignore[assignment]  # it may be anything, as the next line asks
        if not isinstance(spec, Mapping):
            yield f"{'.'.join(path[:number])} is {_shown(spec)}"
            return
    for key in ("initContainers", "containers", "volumes"):
        parts = spec.get(key) or []
        if not isinstance(parts, list) or not all(isinstance(one, Mapping) for one in parts):
            yield f"{'.'.join(path)}.{key} is no list of objects"
            continue
        for one in parts if key != "volumes" else ():
            yield from _container(str(one.get("name", "")), one)


def _container(name: str, container: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(image := container.get("image"), str) or not image:
        yield f"the image of container {name or 'of no name'} is {_shown(image)}"
    env, args = container.get("env") or [], container.get("args") or []
    if not isinstance(env, list) or not all(isinstance(one, Mapping) for one in env):
        yield f"env of {name} is no list of objects"
    if not isinstance(args, list) or not all(isinstance(one, str) for one in args):
        yield f"args of {name} is no list of texts"


def _texts(key: str, found: Any) -> Iterator[str]:
    """What is wrong with a map whose values have to be texts; YAML takes `true` and `1` for something else."""
    if found is None:
        return
    if not isinstance(found, Mapping):
        yield f"{key} is {_shown(found)}"
        return
    other = [name for name, text in found.items() if text is not None and not isinstance(text, str)]
    if other:
        yield f"{key}: {', '.join(f'{name} is {_shown(found[name])}' for name in other[:3])}: write it in quotes"


def _not_plain(value: Any, above: set[int], sizes: dict[int, int]) -> tuple[str, int]:
    """Why a value cannot be sent as JSON, or ''; and how many values it has, with aliases written out."""
    if not isinstance(value, Mapping | list):
        return _not_scalar(value), 1
    mark = id(value)
    if mark in above:
        return "an alias is part of what it stands for", 0
    if mark in sizes:
        return "", sizes[mark]
    above.add(mark)
    size = 1
    for key, part in value.items() if isinstance(value, Mapping) else ((None, part) for part in value):
        if key is not None and not isinstance(key, str):
            return f"a key is {_shown(key)}, and keys have to be texts: write it in quotes", 0
        wrong, more = _not_plain(part, above, sizes)
        size += more
        if wrong or size > LARGEST:
            return wrong or f"it has more than {LARGEST} values", 0
    above.discard(mark)
    sizes[mark] = size
    return "", size


def _not_scalar(value: Any) -> str:
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return ""
    return f"a value is {_shown(value)}, which is no JSON"


def _shown(value: Any) -> str:
    """A value for people, short."""
    if value is None:
        return "missing"
    if isinstance(value, Mapping | list):
        return "a map" if isinstance(value, Mapping) else "a list"
    words = str(value).lower() if isinstance(value, bool) else str(value)
    return words if len(words) <= 60 else f"{words[:60]}…"
