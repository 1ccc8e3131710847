"""The resource types the world reads and writes."""

from typing import Final

from cni_migrate.sim.client import Kind

NODE: Final = Kind("", "v1", "nodes", "Node", namespaced=False)
POD: Final = Kind("", "v1", "pods", "Pod")
NAMESPACE: Final = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
CONFIG_MAP: Final = Kind("", "v1", "configmaps", "ConfigMap")
SERVICE: Final = Kind("", "v1", "services", "Service")
SERVICE_ACCOUNT: Final = Kind("", "v1", "serviceaccounts", "ServiceAccount")
DAEMON_SET: Final = Kind("apps", "v1", "daemonsets", "DaemonSet")
DEPLOYMENT: Final = Kind("apps", "v1", "deployments", "Deployment")
REPLICA_SET: Final = Kind("apps", "v1", "replicasets", "ReplicaSet")
STATEFUL_SET: Final = Kind("apps", "v1", "statefulsets", "StatefulSet")
JOB: Final = Kind("batch", "v1", "jobs", "Job")
BUDGET: Final = Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NETWORK_POLICY: Final = Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
CRD: Final = Kind(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
CLUSTER_ROLE: Final = Kind("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
LEASE: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")

CILIUM_NODE: Final = Kind("cilium.io", "v2", "ciliumnodes", "CiliumNode", namespaced=False)
CILIUM_ENDPOINT: Final = Kind("cilium.io", "v2", "ciliumendpoints", "CiliumEndpoint")
CILIUM_IDENTITY: Final = Kind("cilium.io", "v2", "ciliumidentities", "CiliumIdentity", namespaced=False)
CILIUM_NODE_CONFIG_V2: Final = Kind("cilium.io", "v2", "ciliumnodeconfigs", "CiliumNodeConfig")
CILIUM_NODE_CONFIG_V2ALPHA1: Final = Kind("cilium.io", "v2alpha1", "ciliumnodeconfigs", "CiliumNodeConfig")

WATCHED: Final = (
    NAMESPACE,
    NODE,
    SERVICE,
    CONFIG_MAP,
    NETWORK_POLICY,
    DAEMON_SET,
    DEPLOYMENT,
    REPLICA_SET,
    STATEFUL_SET,
    JOB,
    BUDGET,
    CRD,
    POD,
)
"""What the world keeps a copy of. CiliumNodes, and the ConfigMaps of programs, are read when a program starts."""

LATE: Final = (CILIUM_IDENTITY, CILIUM_ENDPOINT)
"""The same for what is not served from the beginning."""
