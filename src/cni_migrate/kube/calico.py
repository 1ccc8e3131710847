"""What Calico keeps in the API: its own policies and what goes with them, Felix's settings, address pools."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cni_migrate.core.model.leftovers import CALICO_GROUPS
from cni_migrate.kube import paths
from cni_migrate.kube.listing import listed
from cni_migrate.kube.request import Client

POLICY_KINDS: Final = {
    "networkpolicies": "NetworkPolicy",
    "globalnetworkpolicies": "GlobalNetworkPolicy",
    "stagednetworkpolicies": "StagedNetworkPolicy",
    "stagedglobalnetworkpolicies": "StagedGlobalNetworkPolicy",
    "hostendpoints": "HostEndpoint",
    "networksets": "NetworkSet",
    "globalnetworksets": "GlobalNetworkSet",
    "stagedkubernetesnetworkpolicies": "StagedKubernetesNetworkPolicy",
    "tiers": "Tier",
}
"""Kinds that only Calico acts on, by their plural."""

KINDS: Final = (*POLICY_KINDS, "felixconfigurations", "ippools")

ADMIN_GROUP: Final = "policy.networking.k8s.io"

ADMIN_POLICIES: Final = {
    "adminnetworkpolicies": ("AdminNetworkPolicy", "v1alpha1"),
    "baselineadminnetworkpolicies": ("BaselineAdminNetworkPolicy", "v1alpha1"),
    "clusternetworkpolicies": ("ClusterNetworkPolicy", "v1alpha2"),
}
"""Kinds of Kubernetes' policies for administrators that Felix enforces (the first two from Calico 3.29 on, the third in
their place from 3.32 on: docs.tigera.io, "Policy tiers") and Cilium does not unless it is told to."""

OF_CALICO_ITSELF: Final = frozenset(
    {"default", "adminnetworkpolicy", "baselineadminnetworkpolicy", "kube-admin", "kube-baseline"}
)
"""Tiers that Calico's controllers make by themselves."""

MIRRORED: Final = "knp.default."
"""How Calico calls its own copies of Kubernetes' NetworkPolicies."""


@dataclass(frozen=True, slots=True)
class Calico:
    """What is there: policy objects in words, FelixConfigurations by name, IPPools that are not disabled.

    `networks` are the networks of all IPPools, by name; `masquerading` the names of those whose pods' calls to what is
    in none of them are masqueraded. Felix looks at disabled ones, too (felix/dataplane/linux, masq_mgr.go).
    """

    policies: tuple[str, ...] = ()
    felix: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pools: tuple[str, ...] = ()
    networks: Mapping[str, str] = field(default_factory=dict)
    masquerading: tuple[str, ...] = ()


async def calico(client: Client, crds: Collection[str]) -> Calico:
    """Read it; nothing of what is not served.

    Raises:
        ClusterError: it may not be listed, or the API server does not answer.
    """
    found: list[str] = []
    felix: dict[str, Mapping[str, Any]] = {}
    pools: list[str] = []
    networks: dict[str, str] = {}
    masquerading: list[str] = []
    for plural, (kind, version) in ADMIN_POLICIES.items():
        if f"{plural}.{ADMIN_GROUP}" in crds:
            there = listed(client, paths.path(f"{ADMIN_GROUP}/{version}", plural))
            found += [f"{kind} {one['metadata']['name']}" async for one in there]
    served = [
        (plural, f"{group}/{version}")
        for group, version in CALICO_GROUPS.items()
        for plural in KINDS
        if f"{plural}.{group}" in crds
    ]
    for plural, group_version in served:
        async for one in listed(client, paths.path(group_version, plural)):
            meta, spec = one["metadata"], one.get("spec") or {}
            name = str(meta["name"])
            if plural == "felixconfigurations":
                felix[name] = spec
            elif plural == "ippools":
                pools += [] if spec.get("disabled") else [f"{name} {spec.get('cidr', '')}".strip()]
                networks[name] = str(spec.get("cidr", ""))
                masquerading += [name] if spec.get("natOutgoing") else []
            elif not (plural == "tiers" and name in OF_CALICO_ITSELF) and not name.startswith(MIRRORED):
                namespace = meta.get("namespace", "")
                found.append(f"{POLICY_KINDS[plural]} {f'{namespace}/' if namespace else ''}{name}")
    return Calico(tuple(sorted({*found})), felix, tuple(sorted({*pools})), networks, tuple(sorted({*masquerading})))
