"""PersistentVolumes that are on one node: whoever has one cannot run anywhere else."""

from collections.abc import Mapping
from typing import Any, Final

from cni_migrate.errors import RightsMissing
from cni_migrate.kube import paths
from cni_migrate.kube.listing import listed
from cni_migrate.kube.request import Client

HOSTNAME: Final = "kubernetes.io/hostname"


async def local_volumes(client: Client) -> Mapping[str, str]:
    """By the claim that has it (namespace/name), each volume that is on one node; nothing where they may not be read.

    Raises:
        ClusterError: the API server does not answer.
    """
    found: dict[str, str] = {}
    try:
        async for one in listed(client, paths.path("v1", "persistentvolumes")):
            spec = one.get("spec") or {}
            claim = spec.get("claimRef")
            if claim and _on_one_node(spec):
                found[f"{claim.get('namespace')}/{claim.get('name')}"] = f"PersistentVolume {one['metadata']['name']}"
    except RightsMissing:
        return {}
    return found


def _on_one_node(spec: Mapping[str, Any]) -> bool:
    """A path of a host, or a node affinity by the node's name (kubernetes.io: "Local" volumes)."""
    if "local" in spec or "hostPath" in spec:
        return True
    required = ((spec.get("nodeAffinity") or {}).get("required")) or {}
    return any(
        one.get("key") == HOSTNAME
        for term in required.get("nodeSelectorTerms") or ()
        for one in term.get("matchExpressions") or ()
    )
