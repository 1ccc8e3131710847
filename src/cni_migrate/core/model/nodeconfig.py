"""A CiliumNodeConfig, as far as it matters beside a Cilium that is there already."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cni_migrate.configsections import Label
from cni_migrate.core.model.selector import matches


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """A CiliumNodeConfig: keys of `cilium-config` for the agents on nodes that it selects.

    The agents of its own namespace read it when they start; where two set a key, the later name holds (cilium,
    `pkg/option/resolver`). `ours` tells those that the migration has put.
    """

    namespace: str
    name: str
    selector: Mapping[str, Any] | None
    defaults: Mapping[str, str]
    ours: bool = False

    def takes(self, labels: Mapping[str, str]) -> bool:
        """Whether it selects a node with these labels; without a selector it selects none."""
        return matches(self.selector, labels)

    def only_with(self, label: Label) -> bool:
        """Whether it selects no node without this label."""
        return ((self.selector or {}).get("matchLabels") or {}).get(label.key) == label.value
