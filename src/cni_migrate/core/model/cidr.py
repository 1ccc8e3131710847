"""Networks and addresses, of either family, as texts: what lies in what. A text that is none lies nowhere."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=1024)
def parsed(text: str) -> Network | None:
    """A network, or None where the text is none. An address in it stands for the whole."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def meet(one: Network, other: Network) -> bool:
    """Whether two networks have addresses in common."""
    return one.version == other.version and one.overlaps(other)


def holds(whole: Network, part: Network) -> bool:
    """Whether one network holds all of another."""
    return meet(whole, part) and whole.prefixlen <= part.prefixlen


def common(networks: Sequence[Network]) -> Network:
    """The smallest network that holds all of these, which are of one family."""
    found = networks[0]
    while not all(holds(found, one) for one in networks):
        found = found.supernet()
    return found


def within(part: str, whole: str) -> bool:
    """Whether one network lies in another."""
    one, other = parsed(part), parsed(whole)
    return one is not None and other is not None and holds(other, one)


def overlap(one: str, other: str) -> bool:
    """Whether two networks have addresses in common."""
    first, second = parsed(one), parsed(other)
    return first is not None and second is not None and meet(first, second)


def same(one: str, other: str) -> bool:
    """Whether two texts mean the same network."""
    return parsed(one) == parsed(other) if parsed(one) is not None else one == other


@lru_cache(maxsize=100_000)
def inside(address: str, network: str) -> bool:
    """Whether an address lies in a network; it is asked of every pod at every look."""
    whole = parsed(network)
    try:
        return whole is not None and ipaddress.ip_address(address) in whole
    except ValueError:
        return False
