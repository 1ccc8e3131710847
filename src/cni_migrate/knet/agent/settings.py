"""What an agent is told: its environment, its configuration file, and its own addresses."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import os
import socket
import struct
from collections.abc import Iterable
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
        self.seed, self.cilium_cidr = str(config.get("seed", "")), str(config.get("cilium_cidr", ""))

    @property
    def name(self) -> str:
        """This agent as its peers know it."""
        return f"{self.node}/{self.mesh}"

    def of_cilium(self, addresses: Iterable[str]) -> str:
        """The address among these that is Cilium's, or ''."""
        network = ipaddress.ip_network(self.cilium_cidr) if self.cilium_cidr else None
        found = (a for a in addresses if network is not None and a and ipaddress.ip_address(a) in network)
        return next(found, "")


def own_addresses(settings: Settings) -> list[str]:
    """The addresses of this pod: the one the API knows first, then those of further interfaces (IPv4)."""
    if settings.fixed:
        return [settings.listen]
    found = [settings.address]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an address
                reply = fcntl.ioctl(sock.fileno(), 0x8915, struct.pack("256s", name.encode()[:15]))  # SIOCGIFADDR
                found.append(socket.inet_ntoa(reply[20:24]))
    return [address for address in dict.fromkeys(found) if not address.startswith("127.")]
