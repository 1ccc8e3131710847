"""What is particular about each strategy, as `states/strategies/NAME.yaml` declares it under `traits`.

Whoever treats strategies differently asks for a trait, never for a name: another strategy is another file.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cni_migrate import resources

NAMES: Final = tuple(name.removesuffix(".yaml") for name in resources.names("states/strategies"))
"""The strategies that there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """One strategy's declaration, but for its steps."""

    multus: bool
    """Multus gives every pod both networks while nodes are in between."""
    two_daemonsets: bool
    """Cilium has two DaemonSets on the way, each on the nodes with its label; a newcomer needs such a label."""
    node_config: bool
    """A node is switched by a CiliumNodeConfig: until then its agent writes no CNI file."""
    seconds_per_node: int
    """What a node took on the lab, drained and proven (docs/explanation/real-clusters.md); pods that shut down slowly,
    and budgets, come on top."""


@functools.cache
def declared(name: str) -> Mapping[str, Any]:
    """The whole declaration of a strategy."""
    text = resources.read("states", f"strategies/{name}.yaml")
    (found,) = resources.documents(text)
    return dict(found)


@functools.cache
def traits(name: str) -> Traits:
    """What is particular about a strategy.

    Raises:
        TypeError: its file declares other traits than there are.
    """
    return Traits(**declared(name)["traits"])


def with_trait(trait: str) -> str:
    """The name of the first strategy that has a trait.

    Raises:
        LookupError: none has.
    """
    for name in NAMES:
        if getattr(traits(name), trait):
            return name
    raise LookupError(f"no strategy has {trait}")
