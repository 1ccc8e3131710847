"""`as=Table`: the columns `kubectl get` prints."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.client import Object

Row = Callable[[Object, str], list[Any]]

_WIDE = {"IP", "Node", "Nominated Node", "Readiness Gates", "Internal-IP", "External-IP", "OS-Image", "Kernel-Version",
         "Container-Runtime", "Containers", "Images", "Selector"}  # fmt: skip


def wanted(accept: str) -> bool:
    """Whether the client would rather have a table."""
    return "as=Table" in accept


def age(obj: Object, now: datetime) -> str:
    """The object's age as kubectl writes it."""
    made = datetime.strptime(obj["metadata"]["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    seconds = max(0, int((now - made).total_seconds()))
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours = seconds // 60, seconds // 3600
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    return f"{hours}h" if hours < 48 else f"{hours // 24}d"


def _node(obj: Object, age: str) -> list[Any]:
    conditions = {item.get("type"): item.get("status") for item in obj["status"].get("conditions") or ()}
    ready = {"True": "Ready", "False": "NotReady"}.get(conditions.get("Ready", ""), "NotReady")
    if "Ready" not in conditions:
        ready = "Unknown"
    if obj["spec"].get("unschedulable"):
        ready += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    roles = [key.removeprefix(prefix) for key in obj["metadata"].get("labels") or () if key.startswith(prefix)]
    info = obj["status"].get("nodeInfo") or {}
    addresses = {item["type"]: item["address"] for item in obj["status"].get("addresses") or ()}
    return [
        obj["metadata"]["name"],
        ready,
        ",".join(sorted(roles)) or "<none>",
        age,
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _pod_state(obj: Object) -> str:
    state: str = obj["status"].get("reason") or obj["status"].get("phase", "Unknown")
    for container in obj["status"].get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        ended = (container.get("state") or {}).get("terminated") or {}
        state = waiting.get("reason") or ended.get("reason") or state
    return "Terminating" if "deletionTimestamp" in obj["metadata"] else state


def _pod(obj: Object, age: str) -> list[Any]:
    statuses = obj["status"].get("containerStatuses") or []
    ready = sum(1 for item in statuses if item.get("ready"))
    return [
        obj["metadata"]["name"],
        f"{ready}/{len(obj['spec'].get('containers') or ())}",
        _pod_state(obj),
        str(sum(item.get("restartCount", 0) for item in statuses)),
        age,
        obj["status"].get("podIP", "<none>"),
        obj["spec"].get("nodeName", "<none>"),
        obj["status"].get("nominatedNodeName", "<none>"),
        "<none>",
    ]


def _selector(labels: Object | None) -> str:
    return ",".join(f"{key}={value}" for key, value in (labels or {}).items()) or "<none>"


def _daemonset(obj: Object, age: str) -> list[Any]:
    state, pod = obj["status"], obj["spec"]["template"]["spec"]
    return [
        obj["metadata"]["name"],
        state.get("desiredNumberScheduled", 0),
        state.get("currentNumberScheduled", 0),
        state.get("numberReady", 0),
        state.get("updatedNumberScheduled", 0),
        state.get("numberAvailable", 0),
        _selector(pod.get("nodeSelector")),
        age,
        ",".join(item["name"] for item in pod.get("containers") or ()),
        ",".join(item["image"] for item in pod.get("containers") or ()),
        _selector(obj["spec"]["selector"].get("matchLabels")),
    ]


def _deployment(obj: Object, age: str) -> list[Any]:
    state, pod = obj["status"], obj["spec"]["template"]["spec"]
    return [
        obj["metadata"]["name"],
        f"{state.get('readyReplicas', 0)}/{obj['spec'].get('replicas', 1)}",
        state.get("updatedReplicas", 0),
        state.get("availableReplicas", 0),
        age,
        ",".join(item["name"] for item in pod.get("containers") or ()),
        ",".join(item["image"] for item in pod.get("containers") or ()),
        _selector(obj["spec"]["selector"].get("matchLabels")),
    ]


def _configmap(obj: Object, age: str) -> list[Any]:
    return [obj["metadata"]["name"], len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age]


def _namespace(obj: Object, age: str) -> list[Any]:
    return [obj["metadata"]["name"], obj["status"].get("phase", ""), age]


def _generic(obj: Object, age: str) -> list[Any]:
    return [obj["metadata"]["name"], age]


_ROWS: dict[tuple[str, str], tuple[str, Row]] = {
    ("", "nodes"): (
        "Name Status Roles Age Version Internal-IP External-IP OS-Image Kernel-Version Container-Runtime", _node),
    ("", "pods"): ("Name Ready Status Restarts Age IP Node Nominated_Node Readiness_Gates", _pod),
    ("", "configmaps"): ("Name Data Age", _configmap),
    ("", "namespaces"): ("Name Status Age", _namespace),
    ("apps", "daemonsets"): (
        "Name Desired Current Ready Up-to-date Available Node_Selector Age Containers Images Selector", _daemonset),
    ("apps", "deployments"): (
        "Name Ready Up-to-date Available Age Containers Images Selector", _deployment),
}  # fmt: skip


def table(resource: Resource, objects: Sequence[Object], now: datetime, version: int) -> Object:
    """The objects as a `meta.k8s.io/v1` Table; each row carries its object's metadata."""
    names, row = _ROWS.get(resource.key, ("Name Age", _generic))
    columns = [name.replace("_", " ") for name in names.split()]
    rows = []
    for obj in objects:
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
        rows.append({"cells": row(obj, age(obj, now)), "object": partial})
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": str(version)},
        "columnDefinitions": [_column(name) for name in columns],
        "rows": rows,
    }


def _column(name: str) -> Object:
    return {
        "name": name,
        "type": "string",
        "format": "name" if name == "Name" else "",
        "description": "",
        "priority": 1 if name in _WIDE else 0,
    }
