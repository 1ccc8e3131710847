"""The ipBlock rules of NetworkPolicies, and which of them mean pods or nodes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from cni_migrate.core.model.canal import Network, parsed
from cni_migrate.kube import paths
from cni_migrate.kube.listing import listed
from cni_migrate.kube.request import Client


class Block(NamedTuple):
    """One ipBlock: the policy's namespace and name, its network, and what is left out of it."""

    policy: str
    cidr: str
    without: tuple[str, ...]


async def ip_blocks(client: Client) -> list[Block]:
    """All of them.

    Raises:
        ClusterError: NetworkPolicies may not be listed, or the API server does not answer.
    """
    found: list[Block] = []
    async for raw in listed(client, paths.path("networking.k8s.io/v1", "networkpolicies")):
        name = f"{raw['metadata'].get('namespace', '')}/{raw['metadata']['name']}"
        found += [Block(name, str(b["cidr"]), tuple(map(str, b.get("except") or ()))) for b in _blocks(raw)]
    return found


def _blocks(raw: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    spec = raw.get("spec") or {}
    rules = [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]
    for rule in rules:
        for peer in (*(rule.get("from") or ()), *(rule.get("to") or ())):
            if peer.get("ipBlock"):
                yield peer["ipBlock"]


def about_the_cluster(blocks: Iterable[Block], networks: Iterable[str]) -> Iterator[str]:
    """The rules that hold any part of these networks, in words: policy and network."""
    inside = [one for one in (parsed(text) for text in networks) if one is not None]
    for block in blocks:
        cidr = parsed(block.cidr)
        if cidr is None:
            continue
        without = [one for one in (parsed(text) for text in block.without) if one is not None]
        if any(_meet(cidr, one) and not any(_holds(other, one) for other in without) for one in inside):
            shown = f" except {', '.join(block.without)}" if block.without else ""
            yield f"NetworkPolicy {block.policy}: {block.cidr}{shown}"


def _meet(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _holds(whole: Network, part: Network) -> bool:
    return _meet(whole, part) and whole.prefixlen <= part.prefixlen
