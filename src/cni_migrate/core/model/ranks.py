"""The order in which objects are applied: none before what it needs. They are deleted the other way round."""

from typing import Final

_RANKS: Final = (
    ("Namespace", "CustomResourceDefinition", "PriorityClass"),
    ("ServiceAccount", "ClusterRole", "Role"),
    # A binding is judged by the role that it names (kubernetes.io: "Privilege escalation prevention").
    ("ClusterRoleBinding", "RoleBinding"),
    ("ConfigMap", "Secret", "Service", "LimitRange", "ResourceQuota", "NetworkPolicy", "PodDisruptionBudget"),
    ("DaemonSet", "Deployment", "StatefulSet", "ReplicaSet", "Job", "CronJob", "Pod"),
)

WORKLOADS: Final = len(_RANKS) - 1
"""The rank of what runs pods: these read the ranks before it when they start."""

LAST: Final = len(_RANKS)
"""The rank of all other kinds. A program that is among the workloads may have to define them first."""


def rank(kind: str) -> int:
    """The place of a kind in the order, from 0; those of one rank do not need each other."""
    return next((place for place, kinds in enumerate(_RANKS) if kind in kinds), LAST)
