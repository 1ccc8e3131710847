"""Checks of what Calico does beside flannel and Cilium will not do: its own policies, its settings, its addresses."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cni_migrate.core.model.cidr import overlap, within
from cni_migrate.core.model.words import many
from cni_migrate.core.preflight.registry import Facts, Finding, blocker, check, info, warning


@check
def calico_policies(facts: Facts) -> Iterator[Finding]:
    """No policies of kinds that only Calico enforces: what they forbid would be open."""
    if facts.calico_policies:
        yield blocker(
            "CALICO_POLICIES",
            f"{many(len(facts.calico_policies), 'object')} of kinds that Calico enforces and Cilium does not,"
            " so what they forbid would be open on each node once it is migrated",
            "translate them into NetworkPolicies or CiliumNetworkPolicies and delete them; or --waive CALICO_POLICIES"
            " when they forbid nothing that matters",
            facts.calico_policies,
        )


@check
def cleaning_image(facts: Facts) -> Iterator[Finding]:
    """What Calico leaves on hosts can be seen with the programs that it brought: a configured image may lack them.

    Seen on the real one, 3.32: without nft the table `arp calico-arp` stayed on every host, and they were called clean.
    """
    if facts.found.calico and facts.config.host_task.image:
        yield warning(
            "CLEANING_IMAGE",
            f"Canal is removed from hosts in {facts.config.host_task.image}, as host_task.image says, instead of"
            " Calico's own: on a node without nft, if that image has none, Calico's tables of nftables stay, unseen",
            "leave host_task.image empty, or see that it has nft and ipset",
        )


FELIX_BLOCKS: Final = {
    "bpfEnabled": "Calico's eBPF data plane and Cilium's cannot share a node",
    "wireguardEnabled": "Calico encrypts traffic between nodes, Cilium as it is installed here does not",
    "wireguardEnabledV6": "Calico encrypts traffic between nodes, Cilium as it is installed here does not",
}
"""Settings of felix (docs.tigera.io: "Felix configuration") with which nodes cannot be in between."""

APPENDS: Final = "chainInsertMode"
"""With `Append` felix moves its jumps behind all others in a chain whenever it looks (felix/iptables, table.go): behind
Cilium's in FORWARD, too, which accepts what comes by its links."""

FELIX_TELLS: Final = {
    APPENDS: (
        "Append",
        "Calico's chains come after others': rules before them may let through what it forbids",
    ),
    "defaultEndpointToHostAction": (
        "Drop",
        "pods may not call their own node: Cilium lets them without its host firewall",
    ),
    "failsafeInboundHostPorts": ("", "host endpoints' failsafe ports mean nothing to Cilium"),
    "nftablesMode": ("Enabled", "Calico's rules are in nft tables of its own, which clean-up has to take, too"),
    "iptablesBackend": ("NFT", "Calico's rules are in the nft variant of iptables whatever the host uses"),
}
"""Settings that are worth knowing: the value that is (none: any), and what it means."""

TRUE: Final = ("true", "1", "yes", "y", "t")
"""What felix takes for true in its environment (felix/config, param_types.go)."""


@dataclass(frozen=True, slots=True)
class _Setting:
    """One setting of felix: `where` it was made, `by` a FelixConfiguration or the environment."""

    where: str
    by: str
    value: str

    @property
    def on(self) -> bool:
        return self.value.lower() in TRUE


def _settings(facts: Facts, key: str) -> list[_Setting]:
    """Where felix is told this: by its environment, which goes before objects in the API; else by those."""
    told = facts.found.felix
    found = [
        _Setting(f"DaemonSet {place}: FELIX_{key.upper()}", "calico-node's environment", values[key.lower()])
        for place, values in told.items()
        if values.get(key.lower())
    ]
    if not told or len(found) < len(told):
        found += [
            _Setting(f"{name}: {key}", "FelixConfiguration", str(spec[key]))
            for name, spec in facts.felix.items()
            if spec.get(key)
        ]
    return found


@check
def felix(facts: Facts) -> Iterator[Finding]:
    """Felix's settings leave room for Cilium beside it."""
    for key, why in FELIX_BLOCKS.items():
        if found := [one for one in _settings(facts, key) if one.on]:
            yield blocker("FELIX", f"{_by(found)} sets {key}: {why}", f"turn {key} off first", _where(found))
    for key, (value, why) in FELIX_TELLS.items():
        found = [one for one in _settings(facts, key) if value.lower() in ("", one.value.lower())]
        if found and key == APPENDS and facts.policies:
            yield blocker(
                "FELIX",
                f"{_by(found)} sets {key} to {value}: Calico's chains are moved behind Cilium's, which let through what"
                " comes from migrated pods, also what policies forbid on Canal",
                f"set {key} to Insert, Calico's default, during the migration",
                _where(found),
            )
        elif found:
            yield warning(
                "FELIX", f"{_by(found)} sets {key}: {why}", "check whether anything relies on it", _where(found)
            )


def _by(found: list[_Setting]) -> str:
    return " and ".join(dict.fromkeys(one.by for one in found))


def _where(found: list[_Setting]) -> list[str]:
    return [one.where for one in found]


@check
def calico_ipam(facts: Facts) -> Iterator[Finding]:
    """Pods have their addresses from the nodes' podCIDRs, not from Calico's own pools."""
    pools = [f"IPPool {pool}" for pool in facts.ip_pools]
    if facts.found.ipam == "calico-ipam":
        yield blocker(
            "CALICO_IPAM",
            "Canal's CNI file takes addresses from Calico's IPPools (calico-ipam), not from the nodes' podCIDRs: which"
            " pods are Canal's cannot be told",
            "this migrates Canal with host-local addresses; a Calico with its own pools is not Canal",
            pools,
        )
    elif pools:
        yield info(
            "CALICO_IPAM", f"{many(len(pools), 'IPPool')} that nothing takes addresses from", "nothing to do", pools
        )


BEHIND_OTHERS: Final = (3, 28)
"""From this Calico on felix keeps its masquerading behind everybody's; before, above (felix/dataplane/linux,
int_dataplane.go: the jump of nat POSTROUTING)."""


@check
def calico_masquerades(facts: Facts) -> Iterator[Finding]:
    """Calico does not hide which pod of Canal's calls one of Cilium's, before the rule that keeps callers known."""
    canal, cilium = facts.config.canal.pod_cidr, facts.config.cilium.pod_cidr
    if not facts.found.calico or any(within(cilium, network) for network in facts.pool_networks.values()):
        return
    hiding = [name for name in facts.masquerading if overlap(facts.pool_networks[name], canal)]
    version = _version(facts)
    if hiding and (version is None or version < BEHIND_OTHERS):
        shown = "of a version that its image does not tell" if version is None else "{}.{}".format(*version)
        yield blocker(
            "CALICO_NAT",
            f"Calico {shown} masquerades what pods of Canal's send to Cilium's (natOutgoing); before 3.28 it does so"
            " above all other rules: policies would block callers that are allowed",
            f"kubectl patch ippools.crd.projectcalico.org {' '.join(hiding)} --type merge -p"
            """ '{"spec":{"natOutgoing":false}}'; flannel masquerades by itself what leaves the cluster""",
            [f"IPPool {name} {facts.pool_networks[name]}" for name in hiding],
        )


def _version(facts: Facts) -> tuple[int, int] | None:
    """The oldest Calico that Canal's images tell of; None where none does."""
    images = [
        image
        for name in facts.found.daemonsets
        if (one := facts.seen.daemonsets.get(name)) is not None
        for image in one.images
        if "calico" in image
    ]
    tags = [re.search(r":v?(3)\.(\d+)(?:\.|$)", image) for image in images]
    return min(((int(tag[1]), int(tag[2])) for tag in tags if tag is not None), default=None)
