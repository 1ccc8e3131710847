"""IPv4 arithmetic on texts, with the parsing of networks remembered: the world does a lot of it."""

from functools import lru_cache
from ipaddress import IPv4Network


@lru_cache(maxsize=16384)
def span(cidr: str) -> tuple[int, int]:
    """The first address of a network as a number, and how many addresses it has."""
    network = IPv4Network(cidr)
    return int(network.network_address), network.num_addresses


def number(address: str) -> int:
    """An address as a number."""
    a, b, c, d = address.split(".")
    return int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)


def dotted(value: int) -> str:
    """A number as an address."""
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"


def contains(cidr: str, address: str) -> bool:
    """Whether an address is in a network; no address is in an empty text."""
    if not cidr:
        return False
    first, size = span(cidr)
    return first <= number(address) < first + size


def nth(cidr: str, place: int) -> str:
    """The address at a place in a network."""
    return dotted(span(cidr)[0] + place)


def place(cidr: str, address: str) -> int:
    """Where in a network an address is."""
    return number(address) - span(cidr)[0]
