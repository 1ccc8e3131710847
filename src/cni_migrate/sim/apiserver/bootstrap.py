"""What a new cluster holds before anybody has asked for anything."""

from typing import TYPE_CHECKING

from cni_migrate.sim.apiserver import namespaces
from cni_migrate.sim.apiserver.options import Write
from cni_migrate.sim.client import Object

if TYPE_CHECKING:
    from cni_migrate.sim.apiserver.machinery import Machinery

_CLASSES = {
    "system-cluster-critical": (2_000_000_000, "Used for system critical pods that must run in the cluster."),
    "system-node-critical": (2_000_001_000, "Used for system critical pods that must not be moved from their node."),
}


def furnish(machinery: "Machinery") -> None:
    """The four namespaces, the two system priority classes, `cluster-admin` and the service `kubernetes`."""
    write, find = Write("kube-apiserver"), machinery.catalog.find
    for name in namespaces.INITIAL:
        machinery.create(find("", "v1", "namespaces"), "", {"metadata": {"name": name}}, write)
    for name, (value, description) in _CLASSES.items():
        body: Object = {"metadata": {"name": name}, "value": value, "description": f"{description}"}
        machinery.create(find("scheduling.k8s.io", "v1", "priorityclasses"), "", body, write)
    role: Object = {
        "metadata": {"name": "cluster-admin", "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
        "rules": [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
            {"verbs": ["*"], "nonResourceURLs": ["*"]},
        ],
    }
    machinery.create(find("rbac.authorization.k8s.io", "v1", "clusterroles"), "", role, write)
    service: Object = {
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "clusterIP": "10.96.0.1",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    }
    machinery.create(find("", "v1", "services"), "default", service, write)
