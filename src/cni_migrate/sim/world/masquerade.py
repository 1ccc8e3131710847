"""Who changes a packet's source where it leaves a node: iptables' nat POSTROUTING, in the order of its rules.

Measured on a real Canal beside Cilium. Flannel leaves alone what goes from its network to its network, masquerades all
else that comes from there, and what comes from elsewhere unless it is for the node's own pods. Cilium masquerades what
its own pods send out by other links than its own, and what others send out by its link. Each of Cilium's agents puts
its chain on top when it starts, unless `prepend-iptables-chains` is false: then at the end. A rule that accepts keeps
the source, if it stands before the one that would change it.
"""

from dataclasses import dataclass
from typing import Final, Literal

from cni_migrate.sim.world import addresses

CILIUM: Final = "cilium"
FLANNEL: Final = "flannel"


@dataclass(frozen=True, slots=True)
class Keep:
    """A rule that accepts what goes from one network to another as it is."""

    source: str
    target: str


Rule = Keep | Literal["cilium", "flannel"]


@dataclass(frozen=True, slots=True)
class Shares:
    """The networks that the rules of one node speak of; an empty text is none.

    `canal` is flannel's whole network and `subnet` the node's part of it, `cilium` the node's part of Cilium's network,
    and `native` what Cilium sends to without masquerading (`ipv4-native-routing-cidr`).
    """

    canal: str
    subnet: str
    cilium: str
    native: str = ""


def on_top(rules: tuple[Rule, ...], rule: Rule) -> tuple[Rule, ...]:
    """The rules with this one first."""
    return (rule, *(one for one in rules if one != rule))


def there(rules: tuple[Rule, ...], rule: Rule) -> tuple[Rule, ...]:
    """The rules with this one where it is, or last."""
    return rules if rule in rules else (*rules, rule)


def at_the_end(rules: tuple[Rule, ...], rule: Rule) -> tuple[Rule, ...]:
    """The rules with this one last."""
    return (*(one for one in rules if one != rule), rule)


def masqueraded(rules: tuple[Rule, ...], shares: Shares, source: str, target: str, *, by_cilium: bool) -> bool:
    """Whether a packet leaves as the node's own; `by_cilium` says that it leaves by Cilium's link."""
    for rule in rules:
        if isinstance(rule, Keep):
            if addresses.contains(rule.source, source) and addresses.contains(rule.target, target):
                return False
        elif rule == FLANNEL:
            if _flannel(shares, source, target):
                return True
        elif _cilium(shares, source, target, by_cilium=by_cilium):
            return True
    return False


def _flannel(shares: Shares, source: str, target: str) -> bool:
    if addresses.contains(shares.canal, source):
        return not addresses.contains(shares.canal, target)
    return addresses.contains(shares.canal, target) and not addresses.contains(shares.subnet, target)


def _cilium(shares: Shares, source: str, target: str, *, by_cilium: bool) -> bool:
    own = addresses.contains(shares.cilium, source)
    if by_cilium:
        return not own
    return own and not addresses.contains(shares.native or shares.cilium, target)
