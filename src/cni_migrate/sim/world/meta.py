"""Reading Kubernetes objects: metadata, selectors, taints and pod conditions. Pure functions."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from cni_migrate.sim.client import Object

Key = tuple[str, str]
"""Namespace (empty for cluster-scoped objects) and name."""


def stamp(moment: datetime) -> str:
    """A moment as Kubernetes writes `metav1.Time`: whole seconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """The moment of a `metav1.Time` or `MicroTime`."""
    return datetime.fromisoformat(text)


def key(obj: Object) -> Key:
    """The object's namespace and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def name(obj: Object) -> str:
    """`metadata.name`."""
    return str(obj["metadata"]["name"])


def namespace(obj: Object) -> str:
    """`metadata.namespace`, empty for cluster-scoped objects."""
    return str(obj["metadata"].get("namespace", ""))


def uid(obj: Object) -> str:
    """`metadata.uid`."""
    return str(obj["metadata"].get("uid", ""))


def version(obj: Object) -> int:
    """`metadata.resourceVersion` as the number that etcd and the simulator make it."""
    text = obj["metadata"].get("resourceVersion", "")
    return int(text) if text else 0


def labels(obj: Object) -> Mapping[str, str]:
    """`metadata.labels`, empty when there are none."""
    return obj["metadata"].get("labels") or {}


def controller(obj: Object) -> Object | None:
    """The owner reference with `controller: true`, if any."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def controlled_by(obj: Object) -> str:
    """The uid of the object's controller, empty for an orphan."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["uid"])
    return ""


def owner_reference(owner: Object, *, is_controller: bool = True) -> Object:
    """A reference to `owner`, as controllers put it on what they create."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name(owner),
        "uid": uid(owner),
        "controller": is_controller,
        "blockOwnerDeletion": True,
    }


def terminating(obj: Object) -> bool:
    """Whether a deletion was asked for."""
    return "deletionTimestamp" in obj["metadata"]


def condition(obj: Object, kind: str) -> Mapping[str, Any]:
    """One condition of the status by type, empty when it is not there."""
    for entry in (obj.get("status") or {}).get("conditions") or ():
        if entry.get("type") == kind:
            return entry  # type: ignore[no-any-return]
    return {}


def ready(obj: Object) -> bool:
    """Whether the condition Ready is True (pods and nodes)."""
    return condition(obj, "Ready").get("status") == "True"


def finished(pod: Object) -> bool:
    """Whether the pod's phase is Succeeded or Failed."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def host_network(pod: Object) -> bool:
    """Whether the pod uses the node's network."""
    return bool(pod["spec"].get("hostNetwork"))


def node_of(pod: Object) -> str:
    """The node the pod is bound to, empty when it is not."""
    return str(pod["spec"].get("nodeName") or "")


def containers(pod: Object) -> list[str]:
    """The names of the pod's main containers."""
    return [container["name"] for container in pod["spec"].get("containers") or ()]


def _expression(entry: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    """One requirement, with the operators of label selectors and node selectors."""
    value = values.get(entry["key"])
    wanted: list[str] = entry.get("values") or []
    match entry["operator"]:
        case "In":
            return value is not None and value in wanted
        case "NotIn":
            return value is None or value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return value is not None and int(value) > int(wanted[0])
        case "Lt":
            return value is not None and int(value) < int(wanted[0])
    return False


def matches(selector: Mapping[str, Any] | None, values: Mapping[str, str]) -> bool:
    """Whether a `metav1.LabelSelector` takes these labels: a missing one nothing, an empty one everything."""
    if selector is None:
        return False
    for wanted, value in (selector.get("matchLabels") or {}).items():
        if values.get(wanted) != value:
            return False
    return all(_expression(entry, values) for entry in selector.get("matchExpressions") or ())


def node_selected(spec: Mapping[str, Any], node: Object) -> bool:
    """Whether a pod spec's nodeSelector and required node affinity take the node.

    Terms are alternatives, the requirements of one term must all hold; an empty term takes nothing
    (k8s.io/component-helpers, scheduling/corev1/nodeaffinity).
    """
    values = labels(node)
    for wanted, value in (spec.get("nodeSelector") or {}).items():
        if values.get(wanted) != value:
            return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if affinity is None:
        return True
    fields = {"metadata.name": name(node)}
    for term in affinity.get("nodeSelectorTerms") or ():
        expressions, by_field = term.get("matchExpressions") or (), term.get("matchFields") or ()
        if not expressions and not by_field:
            continue
        if all(_expression(e, values) for e in expressions) and all(_expression(e, fields) for e in by_field):
            return True
    return False


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """Whether one toleration covers one taint (`Toleration.ToleratesTaint`): no key with Exists covers all."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def untolerated(
    taints: Iterable[Mapping[str, Any]], tolerations: Iterable[Mapping[str, Any]], effects: tuple[str, ...]
) -> list[Mapping[str, Any]]:
    """The taints of these effects that no toleration covers."""
    known = list(tolerations)
    return [t for t in taints if t.get("effect") in effects and not any(tolerates(one, t) for one in known)]


def taints(node: Object) -> list[Object]:
    """`spec.taints` of a node."""
    return list(node["spec"].get("taints") or ())


def internal_ip(node: Object) -> str:
    """The node's first InternalIP."""
    for address in (node.get("status") or {}).get("addresses") or ():
        if address["type"] == "InternalIP":
            return str(address["address"])
    return ""
