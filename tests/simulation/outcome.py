"""What a cluster is like in the end, without what may differ between two runs: names of pods, uids, times."""

from ipaddress import ip_address, ip_network
from typing import Any

from cni_migrate.config import Config
from cni_migrate.sim.apiserver.store import Stored
from cni_migrate.sim.simulation import Simulation


def outcome(sim: Simulation, config: Config) -> dict[str, Any]:
    """Nodes with their marks, which DaemonSets there are, and on which network the pods of each workload are."""
    nodes = {}
    for stored in _all(sim, "", "v1", "nodes"):
        node = stored.object
        nodes[stored.key] = {
            "labels": dict(sorted(node["metadata"].get("labels", {}).items())),
            "taints": sorted(f"{t['key']}={t.get('value', '')}:{t['effect']}" for t in node["spec"].get("taints", [])),
            "unschedulable": bool(node["spec"].get("unschedulable")),
            "ours": sorted(k for k in node["metadata"].get("annotations", {}) if k.startswith("cni-migrate.io/")),
            "files": sorted(sim.world.host(stored.key).plane.files),
        }
    workloads: dict[str, list[str]] = {}
    for stored in _all(sim, "", "v1", "pods"):
        pod = stored.object
        if pod["spec"].get("hostNetwork") or pod["status"].get("phase") in ("Succeeded", "Failed"):
            continue
        owner = next((ref["name"] for ref in pod["metadata"].get("ownerReferences", [])), "-")
        kind = f"{pod['metadata']['namespace']}/{owner}"
        workloads.setdefault(kind, []).append(_network(pod, config))
    return {
        "nodes": nodes,
        "daemonsets": sorted(stored.key for stored in _all(sim, "apps", "v1", "daemonsets")),
        "workloads": {kind: sorted(networks) for kind, networks in sorted(workloads.items())},
    }


def _all(sim: Simulation, group: str, version: str, plural: str) -> list[Stored]:
    return sim.store.select(sim.app.catalog.find(group, version, plural))


def _network(pod: dict[str, Any], config: Config) -> str:
    address = pod["status"].get("podIP", "")
    for name, cidr in (("canal", config.canal.pod_cidr), ("cilium", config.cilium.pod_cidr)):
        if address and ip_address(address) in ip_network(cidr):
            return name
    return f"none ({address or pod['status'].get('phase')})"
