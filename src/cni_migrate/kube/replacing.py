"""What a PUT sends: the manifest, with what belongs to the server or to others kept.

Kept from the live object: its identity and version, finalizers and owners, labels and annotations that the manifest
does not name (controllers put theirs there, for example `deployment.kubernetes.io/revision`), its status, a Service's
addresses, a Namespace's finalizers and a ServiceAccount's secrets. All else is exactly the manifest's.
"""

import copy
from collections.abc import Mapping
from typing import Any, Final

Json = Mapping[str, Any]

_ALLOCATED: Final = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort")
"""What the API server fills into a Service once (kubernetes.io: "Service", virtual IP addressing)."""


def replacement(manifest: Json, live: Json) -> dict[str, Any]:
    """The body of the PUT that makes `live` be `manifest`."""
    body: dict[str, Any] = copy.deepcopy(dict(manifest))
    meta, kept = body["metadata"], live["metadata"]
    body["metadata"] = {**{key: value for key, value in kept.items() if key != "managedFields"}, **meta}
    for part in ("labels", "annotations"):
        if part in kept or part in meta:
            body["metadata"][part] = {**(kept.get(part) or {}), **(meta.get(part) or {})}
    body["metadata"]["resourceVersion"] = kept["resourceVersion"]
    if "status" in live:
        body.setdefault("status", live["status"])
    match manifest["kind"]:
        case "Service":
            spec = body.setdefault("spec", {})
            for key in _ALLOCATED:
                if key in live.get("spec", {}):
                    spec.setdefault(key, live["spec"][key])
        case "Namespace":
            body.setdefault("spec", live.get("spec") or {})
        case "ServiceAccount":
            for key in ("secrets", "imagePullSecrets"):
                if key in live:
                    body.setdefault(key, live[key])
        case _:
            pass
    return body


def same(body: Json, live: Json) -> bool:
    """Whether a PUT of `body` would change nothing, as far as this side can tell.

    It cannot for kinds with defaults (a DaemonSet's manifest names few of them); for those the API server itself makes
    an equal PUT a no-op.
    """
    meta = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
    return dict(body) == {**live, "metadata": meta}


def holds(live: Json, sent: Json) -> bool:
    """Whether an object has the content that was sent: all but metadata and status."""
    return all(live.get(key) == value for key, value in sent.items() if key not in ("metadata", "status"))


_EXACT: Final = frozenset({"data", "binaryData", "nodeSelector", "matchLabels", "rules", "subjects"})
"""Fields to which no API server adds anything by itself."""


def intact(live: Any, sent: Any, field: str = "") -> bool:
    """Whether an object still says all that its manifest says; what a server has filled in beside that does not count.

    Lists have to be as long. A wrong no costs a PUT that changes nothing.
    """
    if isinstance(sent, Mapping) and isinstance(live, Mapping):
        if field in _EXACT:
            return dict(live) == dict(sent)
        return all(key in live and intact(live[key], value, key) for key, value in sent.items())
    if isinstance(sent, list) and isinstance(live, list) and field not in _EXACT:
        return len(live) == len(sent) and all(map(intact, live, sent))
    return bool(live == sent)
