"""Workloads under a NetworkPolicy: on every node a server, a caller that may reach it, and one that may not."""

import json
from dataclasses import dataclass
from typing import Any

from tests.lab.cluster import Cluster
from tests.lab.images import PROBER
from tests.lab.probing import process_of
from tests.lab.processes import run

NAMESPACE = "guarded"
CALLERS = {"ok": True, "bad": False}
"""The callers, and whether the policy lets them through."""


@dataclass(frozen=True)
class Call:
    """One caller's try to reach one server."""

    caller: str
    source: str
    target: str
    way: str
    """`address` of the pod, or `ClusterIP` of its Service."""
    reached: bool


def objects(nodes: list[str]) -> list[dict[str, Any]]:
    """The namespace, the policy, and three Deployments and a Service per node."""
    deny = {"podSelector": {}, "policyTypes": ["Ingress"]}
    allow = {
        "podSelector": {"matchLabels": {"role": "server"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"role": "ok"}}}]}],
    }
    found: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        _object("networking.k8s.io/v1", "NetworkPolicy", "deny-all", deny),
        _object("networking.k8s.io/v1", "NetworkPolicy", "allow-ok", allow),
    ]
    for node in nodes:
        found += [_deployment(role, node) for role in ("server", *CALLERS)]
        port = {"port": 80, "targetPort": 8080}
        found.append(
            _object("v1", "Service", f"server-{node}", {"selector": {"role": "server", "at": node}, "ports": [port]})
        )
    return found


def _object(version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def _deployment(role: str, node: str) -> dict[str, Any]:
    labels = {"role": role, "at": node}
    container = {"name": "prober", "image": PROBER, "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}
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


def pods(here: Cluster) -> dict[tuple[str, str], dict[str, Any]]:
    """The pods, by role and node."""
    found = json.loads(here.control_plane.kubectl("get", "pods", "-n", NAMESPACE, "-o", "json").stdout)["items"]
    return {
        (pod["metadata"]["labels"]["role"], pod["metadata"]["labels"]["at"]): pod
        for pod in found
        if "deletionTimestamp" not in pod["metadata"]
    }


def calls(here: Cluster) -> list[Call]:
    """Every caller tries every server, by both ways, three times; it was reached if any came through."""
    there = pods(here)
    kubectl = here.control_plane.kubectl
    nodes = here.lab.state()["nodes"]
    targets: dict[str, tuple[str, str]] = {}
    for node in nodes:
        address = kubectl("get", "svc", "-n", NAMESPACE, f"server-{node}", "-o", "jsonpath={.spec.clusterIP}").stdout
        targets[f"{there['server', node]['status']['podIP']}:8080"] = (node, "address")
        targets[f"{address}:80"] = (node, "ClusterIP")
    found = []
    for role in CALLERS:
        for node in nodes:
            pod = there[role, node]["metadata"]["name"]
            ask = ["exec", "-n", NAMESPACE, pod, "--", "/prober", "probe", "-timeout", "1s", *targets]
            reached = {
                answer["target"]
                for _ in range(3)
                for answer in map(json.loads, kubectl(*ask, check=False).stdout.splitlines())
                if answer["ok"]
            }
            found += [Call(role, node, *where, target in reached) for target, where in targets.items()]
    return found


def routes(here: Cluster, role: str, node: str) -> list[str]:
    """The routes inside a pod."""
    inside = process_of(pods(here)[role, node]["metadata"]["uid"])
    return run("nsenter", f"--target={inside}", "--net", "ip", "route").stdout.splitlines()
