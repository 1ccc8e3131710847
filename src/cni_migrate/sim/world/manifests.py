"""The manifests of what runs before the migration beside Canal: DNS and a scenario's workloads."""

import math
from typing import TYPE_CHECKING, Any

from cni_migrate.sim.client import Object

if TYPE_CHECKING:
    from cni_migrate.sim.scenario import Scenario, Workload


def _meta(name: str, namespace: str, **more: Any) -> Object:
    return {"name": name, "namespace": namespace, **more}


def dns_objects(scenario: "Scenario") -> list[Object]:
    """CoreDNS: two pods, a budget and the service kube-dns."""
    labels = {"k8s-app": "kube-dns"}
    spec: Object = {
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": "coredns",
        "tolerations": [
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
            {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
        ],
        "containers": [{"name": "coredns", "image": scenario.versions.coredns}],
    }
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta("coredns", "kube-system")},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _meta("kube-dns", "kube-system", labels=labels),
            "spec": {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "selector": labels, "ports": ports}
            | {"type": "ClusterIP"},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _meta("coredns", "kube-system", labels=labels),
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
    ]


def workload_objects(scenario: "Scenario", nodes: int) -> list[Object]:
    """The scenario's own workloads, budgets and policies."""
    found: list[Object] = []
    for workload in scenario.workloads:
        copies = max(1, math.ceil(nodes / workload.every)) if workload.every else 1
        for number in range(1, copies + 1):
            name = workload.name if copies == 1 else f"{workload.name}-{number}"
            found += _workload(workload, name, nodes)
    for policy in scenario.network_policies:
        metadata = {"namespace": "default", **policy["metadata"]}
        found.append({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", **policy, "metadata": metadata})
    return found


def _workload(workload: "Workload", name: str, nodes: int) -> list[Object]:
    labels = {"app": workload.name, "instance": name, **workload.labels}
    template = _template(workload, labels)
    replicas = workload.replicas if workload.per_node is None else math.ceil(workload.per_node * nodes)
    selector = {"matchLabels": {"instance": name}}
    metadata = _meta(name, workload.namespace, labels=dict(labels))
    made: list[Object] = []
    match workload.kind:
        case "deployment":
            spec = {"replicas": replicas, "selector": selector, "template": template}
            made.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
        case "statefulset":
            spec = {"replicas": replicas, "selector": selector, "template": template, "serviceName": name}
            made.append({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec})
        case "daemonset":
            spec = {"selector": selector, "template": template}
            made.append({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": spec})
        case "job":
            template["spec"]["restartPolicy"] = "Never"
            job: Object = {"completions": 1, "parallelism": 1, "backoffLimit": 6, "template": template}
            made.append({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job})
        case "pod":
            if workload.node:
                template["spec"]["nodeName"] = workload.node
            pod = {**metadata, **({"finalizers": workload.finalizers} if workload.finalizers else {})}
            made.append({"apiVersion": "v1", "kind": "Pod", "metadata": pod, "spec": template["spec"]})
    if workload.budget is not None:
        made.append(_budget(workload, name, selector))
    return made


def _template(workload: "Workload", labels: dict[str, str]) -> Object:
    spec: Object = {
        "terminationGracePeriodSeconds": workload.grace,
        "containers": [{"name": "main", "image": workload.image}],
    }
    if workload.probed:
        request = {"httpGet": {"path": "/", "port": 8080}}
        spec["containers"][0] |= {
            "readinessProbe": {**request, "periodSeconds": 5},
            "livenessProbe": {**request, "periodSeconds": 10, "failureThreshold": 3},
        }
    if workload.host_port:
        spec["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": workload.host_port, "protocol": "TCP"}]
    if workload.host_network:
        spec["hostNetwork"] = True
    if workload.node_selector:
        spec["nodeSelector"] = dict(workload.node_selector)
    if workload.tolerations:
        spec["tolerations"] = [dict(one) for one in workload.tolerations]
    if workload.empty_dir:
        spec["volumes"] = [{"name": "scratch", "emptyDir": {}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "scratch", "mountPath": "/scratch"}]
    if workload.spread:
        term = {"topologyKey": workload.spread, "labelSelector": {"matchLabels": {"instance": labels["instance"]}}}
        spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    metadata: Object = {"labels": labels}
    if workload.finalizers:
        metadata["finalizers"] = list(workload.finalizers)
    return {"metadata": metadata, "spec": spec}


def _budget(workload: "Workload", name: str, selector: Object) -> Object:
    budget = workload.budget
    spec: Object = {"selector": selector}
    if budget is not None and budget.min_available is not None:
        spec["minAvailable"] = budget.min_available
    elif budget is not None:
        spec["maxUnavailable"] = budget.max_unavailable
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _meta(name, workload.namespace),
        "spec": spec,
    }
