"""The other agents, and which of them to probe."""

from __future__ import annotations

import hashlib
from typing import Any

from .settings import Settings


class Peer:
    """Another agent.

    `far`: it is probed for its node is in transit, now and then, and it is no neighbour's.
    """

    def __init__(self, name: str, address: str, uid: str) -> None:
        self.name, self.address, self.uid, self.far = name, address, uid, False
        self.node, _, self.mesh = name.rpartition("/")
        self.sign = f"\r\nX-Knet-Agent: {name}\r\n".encode()


def neighbours(node: str, nodes: set[str], settings: Settings) -> set[str]:
    """The other nodes whose agents to probe: all, or the nearest ones in the ring that a hash orders."""
    if len(nodes) <= settings.full_mesh_max:
        return nodes - {node}
    ring = sorted(nodes, key=lambda n: (hashlib.sha256(f"{settings.seed}/{n}".encode()).hexdigest(), n))
    at, half = ring.index(node), settings.degree // 2
    return {ring[(at + step) % len(ring)] for step in range(-half, half + 1)} - {node}


def close(peers: dict[str, Peer]) -> dict[str, Peer]:
    """Those that are probed in every round."""
    return {name: peer for name, peer in peers.items() if not peer.far}


def entry(pod: dict[str, Any]) -> dict[str, str]:
    """What counts of a pod; one that has ended is on no node."""
    meta, status = pod["metadata"], pod.get("status", {})
    ended = status.get("phase") in ("Succeeded", "Failed")
    return {
        "node": "" if ended else pod["spec"].get("nodeName", ""),
        "mesh": meta.get("labels", {}).get("cni-migrate.io/mesh", ""),
        "address": status.get("podIP", ""),
        "host": status.get("hostIP", ""),
        "uid": meta["uid"],
        "leaving": "yes" if "deletionTimestamp" in meta else "",
    }
