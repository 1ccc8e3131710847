"""What an agent is told: its environment and its configuration file."""

from __future__ import annotations

import json
import os
from typing import Any

from .wording import text_of

HTTP_PORT, UDP_PORT, TCP_PORT, GUARD_PORT = 8080, 8081, 8082, 8089


class Settings:
    """What the agent is told by its environment and its configuration file."""

    def __init__(self, env: dict[str, str]) -> None:
        self.node, self.mesh = env.get("NODE_NAME", "local"), env.get("KNET_MESH", "a")
        self.pod, self.uid = env.get("POD_NAME", f"local-{self.mesh}"), env.get("POD_UID", str(os.getpid()))
        self.namespace, self.address = env.get("POD_NAMESPACE", "knet-stress"), env.get("POD_IP", "127.0.0.1")
        self.fixed = "KNET_LISTEN" in env
        self.listen = env.get("KNET_LISTEN") or ("::" if ":" in self.address else "0.0.0.0")  # noqa: S104 - a pod
        self.node_address = env.get("NODE_IP", "")
        self.peers_file = env.get("KNET_PEERS_FILE", "")
        self.skip = frozenset(env.get("KNET_SKIP", "").split(","))
        self.api = (env.get("KUBERNETES_SERVICE_HOST", ""), int(env.get("KUBERNETES_SERVICE_PORT", "443")))
        self.service = (env.get("KNET_STRESS_SERVICE_HOST", ""), int(env.get("KNET_STRESS_SERVICE_PORT", "80")))
        guard = env.get("KNET_STRESS_GUARD_SERVICE_HOST", ""), int(env.get("KNET_STRESS_GUARD_SERVICE_PORT", "80"))
        self.guard = guard
        path = env.get("KNET_CONFIG", "")
        config: dict[str, Any] = json.loads(text_of(path)) if path else {}
        self.interval, self.timeout = float(config.get("interval_s", 0.5)), float(config.get("timeout_s", 1.0))
        self.idle_interval = max(self.interval, float(config.get("idle_interval_s", self.interval)))
        self.full_mesh_max, self.degree = int(config.get("full_mesh_max", 12)), int(config.get("degree", 4))
        self.seed = str(config.get("seed", ""))

    @property
    def name(self) -> str:
        """This agent as its peers know it."""
        return f"{self.node}/{self.mesh}"
