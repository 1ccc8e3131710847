"""One node as a machine: what its disk and its kernel hold, now and at any earlier instant.

Nothing here knows Kubernetes. Programs (flannel, Cilium, Multus, host tasks) change a host through `Host.change`, and
everything that follows from its state — which CNI a kubelet uses, who reaches whom — is read from it.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cni_migrate.sim.world.history import Changes, History
from cni_migrate.sim.world.masquerade import Rule

FLANNEL_LINK = "flannel.1"
FLANNEL_PORT = 8472
BRIDGE = "cni0"
CILIUM_LINKS = ("cilium_host", "cilium_net")
FLANNEL_CHAINS = ("FLANNEL-FWD", "FLANNEL-POSTRTG")
CILIUM_CHAINS = ("CILIUM_FORWARD", "CILIUM_INPUT", "CILIUM_OUTPUT", "CILIUM_POST_nat", "CILIUM_PRE_mangle")

FLANNEL_BINARY = "/opt/cni/bin/flannel"
CALICO_BINARIES = ("/opt/cni/bin/calico", "/opt/cni/bin/calico-ipam")
CILIUM_BINARY = "/opt/cni/bin/cilium-cni"
MULTUS_BINARY = "/opt/cni/bin/multus"
USUAL_NETWORK = "k8s-pod-network"
"""The name of the network in Canal's own CNI file; others give theirs another one."""

_LEASES = "/var/lib/cni/networks/"
_RESULTS = "/var/lib/cni/results/"
LEASE_FOLDER = _LEASES + USUAL_NETWORK
FLANNEL_FOLDER = "/var/lib/cni/flannel"
PASSTHRU_BINARY = "/opt/cni/bin/passthru"
MULTUS_FOLDER = "/var/lib/cni/multus"
CILIUM_STATE = "/run/cilium/state"
MULTUS_RESULTS = f"{_RESULTS}multus-cni-network-*"

CALICO_KUBECONFIG = "calico-kubeconfig"
"""In /etc/cni/net.d, with the plugin's credentials; no runtime reads it."""
CALICO_NODENAME = "/var/lib/calico/nodename"
CALICO_FOLDERS = ("/run/calico", "/var/lib/calico", "/var/log/calico")
CALICO_CHAINS = (
    "cali-FORWARD",
    "cali-INPUT",
    "cali-OUTPUT",
    "cali-POSTROUTING",
    "cali-PREROUTING",
    "cali-from-hep-forward",
    "cali-from-wl-dispatch",
    "cali-nat-outgoing",
    "cali-pri-kns.default",
    "cali-to-hep-forward",
    "cali-to-wl-dispatch",
    "cali-wl-to-host",
)
"""Some of the chains that felix lays in filter, nat, mangle and raw; on a real node there were 79."""
CALICO_TABLE = "arp calico-arp"
"""Calico 3.32 lays it with `nft` in every mode, as was seen on real nodes."""
CALICO_SETS = (
    "cali40all-hosts-net",
    "cali40all-vxlan-net",
    "cali40masq-ipam-pools",
    "cali40this-host",
)

NEVER = -math.inf
ALWAYS = math.inf


@dataclass(frozen=True, slots=True)
class Plane:
    """A node's state at one instant; frozen, so that past states can be kept and compared.

    `flannel_seen`, `calico_seen` and `cilium_seen` are the time up to which the node's routes (of flannel), chains (of
    Calico) or maps (of Cilium) know of what is elsewhere: for ever while the daemon runs, the time it ended
    afterwards, never when a reboot has cleared them.

    `flannel_run` says that flannel's /run/flannel is the host's own, so that its subnet file is seen there. `vtep` and
    `vtep_port` are flannel's link and its UDP port; without a link it routes plainly. `network` is the name of Canal's
    network, after which host-local and the runtime name what they keep of its pods.

    `postrouting` are the rules that change sources, first to last; `native` is Cilium's `ipv4-native-routing-cidr`.
    `cilium_forwards` says that Cilium's chain stands above Calico's in FORWARD and accepts what comes by its links.
    """

    powered: bool = True
    kubelet: bool = True
    boot: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    links: frozenset[str] = frozenset()
    chains: frozenset[str] = frozenset()
    ipsets: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    subnet: str = ""
    flannel_run: bool = True
    vtep: str = FLANNEL_LINK
    vtep_port: int = FLANNEL_PORT
    network: str = USUAL_NETWORK
    lost_routes: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()
    flannel_seen: float = NEVER
    calico_seen: float = NEVER
    cilium_seen: float = NEVER
    cidr: str = ""
    enforcing: bool = False
    native: str = ""
    postrouting: tuple[Rule, ...] = ()
    cilium_forwards: bool = False

    @property
    def flanneld(self) -> bool:
        """Whether flanneld runs."""
        return self.flannel_seen == ALWAYS

    @property
    def felix(self) -> bool:
        """Whether Calico's felix runs."""
        return self.calico_seen == ALWAYS

    @property
    def subnet_file(self) -> bool:
        """Whether flannel's subnet file is seen on the host."""
        return bool(self.subnet) and self.flannel_run

    @property
    def agent(self) -> bool:
        """Whether a Cilium agent runs."""
        return self.cilium_seen == ALWAYS

    @property
    def datapath(self) -> bool:
        """Whether Cilium's datapath is in place, with or without an agent."""
        return "cilium_host" in self.links and self.cilium_seen > NEVER


Watcher = Callable[["Host", Plane, Plane], None]


class Host:
    """A node's machine: its plane with history, the addresses in use, and since when its peers can know its subnets."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.planes: History[Plane] = History(Plane(powered=False))
        self.changes = Changes()
        """When something changed that other nodes' connectivity may depend on."""
        self.leases: dict[str, str] = {}
        """Files of host-local on the disk: address and pod uid."""
        self.last_lease = 0
        self.endpoints: dict[str, str] = {}
        """Addresses the Cilium agent holds: address and pod uid."""
        self.last_endpoint = 0
        self.released: set[str] = set()
        """Endpoints whose pods were deleted while no agent ran: freed at its next start."""
        self.udp: dict[int, str] = {}
        """UDP ports that programs listen on, and who does: a pod's uid, or a name."""
        self.flannel_since = ALWAYS
        """Since when the node's flannel subnet is announced in the API."""
        self.cilium_since = ALWAYS
        """Since when the node's Cilium pod CIDR is announced in the API."""
        self._watchers: list[Watcher] = []

    @property
    def plane(self) -> Plane:
        """The present state."""
        return self.planes.now

    def on_change(self, watcher: Watcher) -> None:
        """Call `watcher(host, before, after)` after every change."""
        self._watchers.append(watcher)

    def change(self, **values: Any) -> bool:
        """Change the plane; False when all was so already."""
        before = self.planes.now
        after = replace(before, **values)
        if after == before:
            return False
        now = asyncio.get_running_loop().time()
        self.planes.put(now, after)
        self.changes.note(now)
        for watcher in self._watchers:
            watcher(self, before, after)
        return True

    def seed(self, plane: Plane) -> None:
        """The state the simulation starts with: nobody is told, it holds since ever."""
        self.planes.put(NEVER, plane)

    def write_file(self, name: str, text: str) -> bool:
        """Write a file in /etc/cni/net.d."""
        return self.change(files={**self.plane.files, name: text})

    def remove_files(self, *names: str) -> bool:
        """Remove files from /etc/cni/net.d; missing ones are fine."""
        return self.change(files={name: text for name, text in self.plane.files.items() if name not in names})

    def rename_files(self, renames: Mapping[str, str]) -> bool:
        """Rename files in /etc/cni/net.d, replacing what has the new name."""
        files = {name: text for name, text in self.plane.files.items() if name not in renames}
        files.update({new: self.plane.files[old] for old, new in renames.items() if old in self.plane.files})
        return self.change(files=files)

    def add_links(self, *links: str) -> bool:
        """Create links."""
        return self.change(links=self.plane.links | set(links))

    def power_off(self) -> None:
        """The machine stops: nothing runs, nothing answers; the disk stays as it is."""
        self.udp.clear()
        self.change(powered=False, kubelet=False)

    def boot(self) -> None:
        """The machine starts: what lived in memory is gone (links, routes, chains, /run), the disk is as it was.

        Measured on real nodes: CNI files, leases and binaries stay; flannel's subnet file lives under /run, and
        Calico's plugin does not work until calico-node has written its nodename again.
        """
        self.endpoints.clear()
        self.released.clear()
        self.change(
            powered=True,
            kubelet=True,
            boot=self.plane.boot + 1,
            links=frozenset(),
            chains=frozenset(),
            ipsets=frozenset(),
            tables=frozenset(),
            left=self.plane.left - {CALICO_NODENAME, "/run/calico"},
            subnet="",
            lost_routes=frozenset(),
            flannel_seen=NEVER,
            calico_seen=NEVER,
            cilium_seen=NEVER,
            enforcing=False,
            postrouting=(),
            cilium_forwards=False,
        )


def kept_of(network: str) -> frozenset[str]:
    """What host-local and the runtime keep of a network's pods, by the network's name."""
    return frozenset((_LEASES + network, f"{_RESULTS}{network}-*"))


def lease_list(host: Host) -> list[str]:
    """The leased addresses in numeric order."""
    return sorted(host.leases, key=lambda ip: tuple(map(int, ip.split("."))))
