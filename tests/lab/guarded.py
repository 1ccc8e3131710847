"""Workloads under a NetworkPolicy: on every node a server, a caller that may reach it, and one that may not."""

import json
from typing import Any

from tests.lab.cluster import Cluster
from tests.lab.images import PROBER
from tests.lab.listing import Listing
from tests.lab.probing import Pod, process_of
from tests.lab.processes import run

NAMESPACE = "guarded"
SERVER = "server"
CALLERS = {"ok": True, "bad": False}
"""The callers, and whether the policy lets them through."""

Pods = dict[tuple[str, str], Pod]
"""By role and node."""


def objects(nodes: list[str]) -> list[dict[str, Any]]:
    """The namespace, the policy, and three Deployments and a Service per node."""
    deny = {"podSelector": {}, "policyTypes": ["Ingress"]}
    allow = {
        "podSelector": {"matchLabels": {"role": SERVER}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"role": "ok"}}}]}],
    }
    found: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        _object("networking.k8s.io/v1", "NetworkPolicy", "deny-all", deny),
        _object("networking.k8s.io/v1", "NetworkPolicy", "allow-ok", allow),
    ]
    for node in nodes:
        found += [_deployment(role, node) for role in (SERVER, *CALLERS)]
        port = {"port": 80, "targetPort": 8080}
        found.append(
            _object("v1", "Service", f"{SERVER}-{node}", {"selector": {"role": SERVER, "at": node}, "ports": [port]})
        )
    return found


def _object(version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def _deployment(role: str, node: str) -> dict[str, Any]:
    labels = {"role": role, "at": node}
    container = {
        "name": "prober",
        "image": PROBER,
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        # Without it a pod has next to no share of its node's processors, and what it does not answer looks lost.
        "resources": {"requests": {"cpu": "50m"}},
    }
    pod = {
        "nodeSelector": {"kubernetes.io/hostname": node},
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
    }
    spec = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return _object("apps/v1", "Deployment", f"{role}-{node}", spec)


def deploy(here: Cluster) -> None:
    """Bring them up and wait for them."""
    manifest = here.lab.folder / "guarded.json"
    items = {"apiVersion": "v1", "kind": "List", "items": objects(here.lab.state()["nodes"])}
    manifest.write_text(json.dumps(items))
    here.control_plane.kubectl("apply", "-f", str(manifest))
    settle(here)


def settle(here: Cluster) -> None:
    """Wait until all are Ready."""
    for name in here.control_plane.kubectl("get", "deploy", "-n", NAMESPACE, "-o", "name").stdout.split():
        here.control_plane.kubectl("rollout", "status", "-n", NAMESPACE, name, "--timeout=180s")


def pods(here: Cluster) -> Pods | None:
    """The pods that are not being deleted; None when the API server did not answer."""
    asking = listing(here)
    found = told(asking)
    asking.close()
    if found is None:
        return None
    return {key: pod for key, pod in found if pod.ends is None}


def listing(here: Cluster) -> Listing:
    """Asks for these pods."""
    return Listing(here.lab, NAMESPACE)


def told(listing: Listing) -> list[tuple[tuple[str, str], Pod]] | None:
    """Every pod, also those on their way out, with its role and node; None when the API server did not answer."""
    found = listing.pods()
    if found is None:
        return None
    return [((pod["metadata"]["labels"]["role"], pod["metadata"]["labels"]["at"]), Pod.of(pod)) for pod in found]


def services(here: Cluster) -> dict[str, str]:
    """Of each node the ClusterIP of its server."""
    found = json.loads(here.control_plane.kubectl("get", "svc", "-n", NAMESPACE, "-o", "json").stdout)["items"]
    return {service["spec"]["selector"]["at"]: service["spec"]["clusterIP"] for service in found}


def routes(here: Cluster, role: str, node: str) -> list[str]:
    """The routes inside a pod."""
    inside = process_of((pods(here) or {})[role, node].uid)
    return run("nsenter", f"--target={inside}", "--net", "ip", "route").stdout.splitlines()
