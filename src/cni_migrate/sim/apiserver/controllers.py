"""The built-in controllers without which the API itself looks wrong to a client. Each reacts with a write of its own.

Namespaces are in `namespaces`. Here: node taints that mirror a node's state (the NoSchedule pass of the node lifecycle
controller) and CustomResourceDefinitions (established at once, served at once). Everything else, such as DaemonSets,
budgets, NoExecute taints, pod CIDRs and garbage collection, is the simulated world's.
"""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from cni_migrate.sim.apiserver import namespaces
from cni_migrate.sim.apiserver.resources import Catalog, Resource
from cni_migrate.sim.apiserver.store import Event, Stored
from cni_migrate.sim.client import Kind, Object

if TYPE_CHECKING:
    from cni_migrate.sim.apiserver.machinery import Machinery

MANAGER = "kube-controller-manager"
_BY_CONDITION = {
    ("Ready", "False"): "not-ready",
    ("Ready", "Unknown"): "unreachable",
    ("MemoryPressure", "True"): "memory-pressure",
    ("DiskPressure", "True"): "disk-pressure",
    ("NetworkUnavailable", "True"): "network-unavailable",
    ("PIDPressure", "True"): "pid-pressure",
}
_OWNED = {f"node.kubernetes.io/{name}" for name in (*_BY_CONDITION.values(), "unschedulable")}


def install(machinery: "Machinery", taint_delay: float) -> None:
    """Let the controllers react to every change, the one that taints nodes after a delay."""
    machinery.after.append(partial(namespaces.react, machinery))
    machinery.after.append(partial(_taint_node_later, machinery, taint_delay))
    machinery.after.append(partial(_serve_custom, machinery))


def _wanted_taints(node: Object) -> set[str]:
    found = {
        f"node.kubernetes.io/{_BY_CONDITION[key]}"
        for condition in node.get("status", {}).get("conditions") or ()
        if (key := (condition.get("type"), condition.get("status"))) in _BY_CONDITION
    }
    if node.get("spec", {}).get("unschedulable"):
        found.add("node.kubernetes.io/unschedulable")
    return found


def _taint_node_later(machinery: "Machinery", delay: float, resource: Resource, event: Event) -> None:
    if not delay or resource.key != ("", "nodes"):
        _taint_node(machinery, resource, event)
        return

    def act() -> None:
        if (stored := machinery.store.get(resource, "", event.after.name)) is not None:
            _taint_node(machinery, resource, Event("MODIFIED", stored, None))

    asyncio.get_running_loop().call_later(delay, act)


def _taint_node(machinery: "Machinery", resource: Resource, event: Event) -> None:
    """Keep the NoSchedule taints of `node.kubernetes.io/` as the node's conditions and `unschedulable` say."""
    if resource.key != ("", "nodes") or event.change == "DELETED":
        return
    node = event.after.object
    taints = list(node.get("spec", {}).get("taints") or ())
    mine = {taint["key"] for taint in taints if taint["key"] in _OWNED and taint["effect"] == "NoSchedule"}
    wanted = _wanted_taints(node)
    if mine == wanted:
        return
    kept = [item for item in taints if item["effect"] != "NoSchedule" or item["key"] not in _OWNED - wanted]
    for key in sorted(wanted - mine):
        taint = {"key": key, "effect": "NoSchedule"}
        if key.endswith("/unschedulable"):
            taint["timeAdded"] = machinery.store.timestamp()
        kept.append(taint)
    spec = {key: value for key, value in node["spec"].items() if key != "taints"}
    machinery.write(resource, event.after, MANAGER, spec=spec | ({"taints": kept} if kept else {}))


def _serve_custom(machinery: "Machinery", resource: Resource, event: Event) -> None:
    if resource.key != ("apiextensions.k8s.io", "customresourcedefinitions"):
        return
    spec = event.after.object["spec"]
    group, plural = spec["group"], spec["names"]["plural"]
    if event.change == "DELETED":
        return
    if "deletionTimestamp" in event.after.object["metadata"]:
        _forget(machinery, machinery.catalog, group, plural)
        machinery.take_out(resource, event.after)
        return
    machinery.catalog.remove(group, plural)
    for served in custom_resources(event.after.object):
        machinery.catalog.add(served)
    if event.change == "ADDED":
        _establish(machinery, resource, event.after)


def _establish(machinery: "Machinery", resource: Resource, stored: Stored) -> None:
    spec = stored.object["spec"]
    now = machinery.store.timestamp()
    conditions = [
        {"type": "NamesAccepted", "reason": "NoConflicts", "message": "no conflicts found"},
        {"type": "Established", "reason": "InitialNamesAccepted", "message": "the initial names have been accepted"},
    ]
    status = {
        "conditions": [{**item, "status": "True", "lastTransitionTime": now} for item in conditions],
        "acceptedNames": spec["names"],
        "storedVersions": [version["name"] for version in spec["versions"] if version.get("storage")],
    }
    machinery.write(resource, stored, "kube-apiserver", "status", status=status)


def custom_resources(definition: Object) -> Iterator[Resource]:
    """The resources a CustomResourceDefinition serves, one per served version."""
    spec = definition["spec"]
    accepted = spec["names"]
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        namespaced = spec.get("scope") == "Namespaced"
        yield Resource(
            Kind(spec["group"], version["name"], accepted["plural"], accepted["kind"], namespaced),
            singular=accepted.get("singular") or accepted["kind"].lower(),
            short=tuple(accepted.get("shortNames") or ()),
            categories=tuple(accepted.get("categories") or ()),
            subresources=("status",) if "status" in (version.get("subresources") or {}) else (),
            generation=True,
            unconditional=False,
            custom=True,
        )


def _forget(machinery: "Machinery", catalog: Catalog, group: str, plural: str) -> None:
    """Remove all objects of a deleted definition, then the resource."""
    served = next((item for item in catalog if item.key == (group, plural)), None)
    if served is not None:
        for stored in machinery.store.select(served):
            machinery.take_out(served, stored)
        machinery.store.end_watches([served])
    catalog.remove(group, plural)
