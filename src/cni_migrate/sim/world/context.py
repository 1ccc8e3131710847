"""What all parts of the world share, without knowing each other."""

import asyncio
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cni_migrate.sim.clock import SimClock
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.cache import Cluster
from cni_migrate.sim.world.history import Changes
from cni_migrate.sim.world.host import Host
from cni_migrate.sim.world.timings import Timings
from cni_migrate.sim.world.work import Work

if TYPE_CHECKING:
    from cni_migrate.sim.world.faultstate import FaultState
    from cni_migrate.sim.world.sandbox import Sandbox

HostHook = Callable[[Host], None]


@dataclass(slots=True)
class Registry:
    """Every sandbox there is or was, by pod and by address, with the instants of cluster-wide changes.

    Node names are looked up in `hosts`; a host stays here when its node leaves the cluster, powered off.
    """

    hosts: dict[str, Host] = field(default_factory=dict)
    by_uid: dict[str, "Sandbox"] = field(default_factory=dict)
    by_ip: dict[str, list["Sandbox"]] = field(default_factory=dict)
    everywhere: Changes = field(default_factory=Changes)
    _hooks: list[HostHook] = field(default_factory=list)

    def on_host(self, hook: HostHook) -> None:
        """Call `hook` for every host there is and will be."""
        self._hooks.append(hook)
        for host in self.hosts.values():
            hook(host)

    def add_host(self, host: Host) -> None:
        """A machine appears."""
        self.hosts[host.name] = host
        for hook in self._hooks:
            hook(host)

    def add(self, sandbox: "Sandbox") -> None:
        """A sandbox was made."""
        self.by_uid[sandbox.uid] = sandbox
        for address in (sandbox.ip, sandbox.extra):
            if address and sandbox.primary != "host":
                self.by_ip.setdefault(address, []).append(sandbox)

    def end(self, sandbox: "Sandbox", when: float) -> None:
        """A sandbox is gone."""
        sandbox.until = min(sandbox.until, when)
        if self.by_uid.get(sandbox.uid) is sandbox:
            del self.by_uid[sandbox.uid]

    def owner(self, address: str, when: float) -> "Sandbox | None":
        """Who has an address at an instant: of two that got the same one, the later."""
        for sandbox in reversed(self.by_ip.get(address, ())):
            if sandbox.since <= when < sandbox.until:
                return sandbox
        return None


@dataclass(slots=True)
class Context:
    """The world's common ground: API, clock, work queue, hosts, sandboxes, timings and faults."""

    cluster: Cluster
    clock: SimClock
    work: Work
    timings: Timings
    seed: int
    faults: "FaultState"
    net: Registry = field(default_factory=Registry)
    pod_network: str = "10.244.0.0/16"

    def now(self) -> float:
        """Seconds of the event loop: the time axis of all histories."""
        return asyncio.get_running_loop().time()

    def stamp(self) -> str:
        """The present instant as Kubernetes writes it."""
        return meta.stamp(self.clock.now())

    def chance(self, *what: object) -> float:
        """A number in [0, 1) that depends on the seed and on `what` alone."""
        return zlib.crc32(repr((self.seed, *what)).encode()) / 2**32

    def about(self, seconds: float, *what: object) -> float:
        """A delay of `seconds`, up to a fifth shorter or longer, the same for the same `what`."""
        return round(seconds * (0.8 + 0.4 * self.chance(*what)), 3)

    def host(self, node: str) -> Host | None:
        """The machine of a node."""
        return self.net.hosts.get(node)


def number_of(text: object, default: int) -> int:
    """A configuration value that should be a number."""
    try:
        return int(str(text))
    except ValueError:
        return default
