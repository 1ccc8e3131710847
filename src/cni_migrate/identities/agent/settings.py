"""What the agent is told by its environment and its configuration file."""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Any

from .labelfilter import Filter

Json = dict[str, Any]


class Settings:
    """What the agent is told by its environment and its configuration file."""

    def __init__(self, env: dict[str, str], config: Json) -> None:
        self.node, self.address = env.get("NODE_NAME", ""), env.get("NODE_IP", "")
        self.host, self.port = env.get("KUBERNETES_SERVICE_HOST", ""), int(env.get("KUBERNETES_SERVICE_PORT", "443"))
        self.canal = ipaddress.ip_network(config["canal_cidr"])
        self.cilium = ipaddress.ip_network(config["cilium_cidr"])  # it may be a part of what flannel takes for its own
        self.cluster, self.cluster_id = str(config.get("cluster", "default")), int(config.get("cluster_id", 0))
        # pkg/identity/numericidentity.go: where clusters may be 511, each has half as many numbers
        self.bits = 15 if int(config.get("max_clusters", 255)) > 255 else 16
        major, minor = str(config["version"]).split(".")[:2]
        self.filter = Filter((int(major), int(minor)), str(config.get("labels", "")).split())

    @property
    def mark(self) -> str:
        """The label's value on what belongs to this node: its name may be longer than a label."""
        return hashlib.sha256(self.node.encode()).hexdigest()[:16]
