"""NetworkPolicies as Cilium reads them: what of their rules it takes for something else than Kubernetes does."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from cni_migrate.cilium_versions import Version
from cni_migrate.core.model.cidr import holds, meet, parsed
from cni_migrate.identities.agent.labelfilter import Filter
from cni_migrate.kube import paths
from cni_migrate.kube.listing import listed
from cni_migrate.kube.request import Client

Raw = Mapping[str, Any]


async def network_policies(client: Client) -> list[Raw]:
    """All of them.

    Raises:
        ClusterError: NetworkPolicies may not be listed, or the API server does not answer.
    """
    return [raw async for raw in listed(client, paths.path("networking.k8s.io/v1", "networkpolicies"))]


def _name(raw: Raw) -> str:
    return f"{raw['metadata'].get('namespace', '')}/{raw['metadata']['name']}"


def _rules(raw: Raw) -> list[Raw]:
    spec = raw.get("spec") or {}
    return [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]


def _peers(raw: Raw) -> Iterator[Raw]:
    for rule in _rules(raw):
        yield from (*(rule.get("from") or ()), *(rule.get("to") or ()))


# --- addresses -----------------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """One ipBlock: the policy's namespace and name, its network, and what is left out of it."""

    policy: str
    cidr: str
    without: tuple[str, ...]


def ip_blocks(policies: Iterable[Raw]) -> list[Block]:
    """The ipBlock rules."""
    return [
        Block(_name(raw), str(block["cidr"]), tuple(map(str, block.get("except") or ())))
        for raw in policies
        for peer in _peers(raw)
        if (block := peer.get("ipBlock"))
    ]


def about_the_cluster(blocks: Iterable[Block], networks: Iterable[str]) -> Iterator[str]:
    """The rules that hold any part of these networks, in words: policy and network."""
    inside = [one for one in (parsed(text) for text in networks) if one is not None]
    for block in blocks:
        cidr = parsed(block.cidr)
        if cidr is None:
            continue
        without = [one for one in (parsed(text) for text in block.without) if one is not None]
        if any(meet(cidr, one) and not any(holds(other, one) for other in without) for one in inside):
            shown = f" except {', '.join(block.without)}" if block.without else ""
            yield f"NetworkPolicy {block.policy}: {block.cidr}{shown}"


# --- labels --------------------------------------------------------------------------------------------------------


OF_NAMESPACES: Final = "io.cilium.k8s.namespace.labels."
"""Before the labels that a pod's identity has of its namespace: all, unless the option `labels` leaves some out."""


def by_unknown_labels(policies: Iterable[Raw], version: Version, more: str) -> Iterator[str]:
    """The policies that choose pods by labels which are no part of their identities in Cilium, in words.

    Args:
        policies: NetworkPolicies as the API has them.
        version: Cilium's, which decides what it leaves out by default.
        more: Cilium's option `labels`, patterns beside its defaults.
    """
    known = Filter(version, more.split())
    for raw in policies:
        peers = list(_peers(raw))
        for what, prefix, selectors in (
            ("podSelector", "", [(raw.get("spec") or {}).get("podSelector")]),
            ("a peer's podSelector", "", [peer.get("podSelector") for peer in peers]),
            ("a peer's namespaceSelector", OF_NAMESPACES, [peer.get("namespaceSelector") for peer in peers]),
        ):
            keys = {key for one in selectors for key in _keys(one or {}) if not known(f"{prefix}{key}")}
            if keys:
                yield f"NetworkPolicy {_name(raw)}: {what} by {', '.join(sorted(keys))}"


def _keys(selector: Raw) -> Iterator[str]:
    yield from selector.get("matchLabels") or ()
    yield from (str(one.get("key", "")) for one in selector.get("matchExpressions") or ())


# --- ports ---------------------------------------------------------------------------------------------------------


def _ports(raw: Raw) -> Iterator[Raw]:
    for rule in _rules(raw):
        yield from rule.get("ports") or ()


def port_ranges(policies: Iterable[Raw]) -> Iterator[str]:
    """The policies with ranges of ports (`endPort`), in words."""
    for raw in policies:
        if found := [f"{one.get('port')}-{one['endPort']}" for one in _ports(raw) if one.get("endPort")]:
            yield f"NetworkPolicy {_name(raw)}: ports {', '.join(found)}"


def about_sctp(policies: Iterable[Raw]) -> Iterator[str]:
    """The policies that name ports of SCTP, in words."""
    yield from (
        f"NetworkPolicy {_name(raw)}" for raw in policies if any(p.get("protocol") == "SCTP" for p in _ports(raw))
    )
