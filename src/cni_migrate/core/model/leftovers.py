"""What Canal has left in the API when its DaemonSets are gone: whose each object is, and what removes it."""

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.core.model.ranks import rank

CALICO_GROUP: Final = "crd.projectcalico.org"
AGGREGATED: Final = "projectcalico.org"
CALICO_GROUPS: Final = {CALICO_GROUP: "v1", AGGREGATED: "v3"}
"""Calico's API groups, with the version in which each is served (docs.tigera.io: "Native v3 CRDs" for the second).

Where the second has no definitions, and is served all the same, an API server of Calico's is there."""

ACCOUNTS: Final = ("canal", "flannel", "calico-node", "calico-cni-plugin", "calico-kube-controllers")
CONFIG_MAPS: Final = ("canal-config", "kube-flannel-cfg", "rke2-canal-config")
"""Accounts and ConfigMaps of the manifests that Calico, flannel and RKE2 publish.

They are looked for beside what the DaemonSets named, as the account of Calico's plugin may be named nowhere
(projectcalico/calico, manifests/canal.yaml)."""

CONTROLLERS: Final = ({"k8s-app": "calico-kube-controllers"}, {"k8s-app": "calico-typha"})
"""Labels of the pods of Calico's Deployments in the same manifests, by which their budgets and Services choose them."""

ROLES: Final = (
    "calico-node", "calico-cni-plugin", "calico-kube-controllers", "calico-tier-getter", "canal", "canal-calico",
    "canal-flannel", "calico", "flannel",
)  # fmt: skip
"""Cluster roles and bindings of the same manifests: the rights to delete them are asked for by name."""

KINDS: Final = {
    "bgpconfigurations": "BGPConfiguration", "bgpfilters": "BGPFilter", "bgppeers": "BGPPeer",
    "blockaffinities": "BlockAffinity", "caliconodestatuses": "CalicoNodeStatus",
    "clusterinformations": "ClusterInformation", "felixconfigurations": "FelixConfiguration",
    "globalnetworkpolicies": "GlobalNetworkPolicy", "globalnetworksets": "GlobalNetworkSet",
    "hostendpoints": "HostEndpoint", "ipamblocks": "IPAMBlock", "ipamconfigs": "IPAMConfig",
    "ipamhandles": "IPAMHandle", "ippools": "IPPool", "ipreservations": "IPReservation",
    "kubecontrollersconfigurations": "KubeControllersConfiguration", "networkpolicies": "NetworkPolicy",
    "networksets": "NetworkSet", "stagedglobalnetworkpolicies": "StagedGlobalNetworkPolicy",
    "stagedkubernetesnetworkpolicies": "StagedKubernetesNetworkPolicy",
    "stagednetworkpolicies": "StagedNetworkPolicy", "tiers": "Tier",
}  # fmt: skip
"""The kinds that Calico defines, by their plural."""

MADE_BY_CALICO: Final = frozenset(
    {"blockaffinities", "caliconodestatuses", "clusterinformations", "ipamblocks", "ipamconfigs", "ipamhandles",
     "kubecontrollersconfigurations"}
)  # fmt: skip
"""Kinds whose objects Calico's programs make by themselves: nobody loses anything with them."""

MADE_AT_START: Final = {
    "felixconfigurations": frozenset({"default"}),
    "bgpconfigurations": frozenset({"default"}),
    "ippools": frozenset({"default-ipv4-ippool", "default-ipv6-ippool"}),
}
"""What calico-node makes when it starts first, by kind (projectcalico/calico, node/pkg/lifecycle/startup)."""

CALICO_WRITERS: Final = frozenset({"Go-http-client", "calico-node"})
"""Under which names it is told to have written (`metadata.managedFields`); 3.32 gives itself none, nor does calicoctl.
So an object is calico-node's own only while it has never been changed."""


@dataclass(frozen=True, slots=True, order=True)
class Leftover:
    """One object that Canal has left.

    `owner` keeps it and would put it back; `kept` says why it is not removed even when asked: it is used by others, or
    holds what an operator has written. An object with neither is removed when that is asked for.
    """

    ref: ObjectRef
    uid: str = field(default="", compare=False)
    owner: str = ""
    kept: str = ""

    @property
    def removable(self) -> bool:
        """Whether it may be removed when that is asked for."""
        return not self.owner and not self.kept


def commands(found: Iterable[Leftover]) -> Iterator[str]:
    """The kubectl commands that remove these objects, one for each kind and namespace, workloads first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in sorted(found, key=lambda leftover: (-rank(leftover.ref.kind), leftover)):
        groups.setdefault((_resource(one.ref), one.ref.namespace), []).append(one.ref.name)
    for (resource, namespace), named in groups.items():
        where = ["-n", namespace] if namespace else []
        yield shlex.join(["kubectl", "delete", resource, *where, *named])


def _resource(ref: ObjectRef) -> str:
    return "crd" if ref.kind == "CustomResourceDefinition" else ref.kind.lower()
