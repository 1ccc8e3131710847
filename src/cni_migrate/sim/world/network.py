"""Who reaches whom, and how: a pure function of the nodes' files, links, routes, rules and daemons at an instant.

Rules, each measured on real programs or taken from their sources:

- Canal to Canal on another node: flannel's link on both ends, and a route on each for the other's subnet, which is
  there when flanneld has run on the one since the other's subnet was announced.
- To a Cilium address: a Cilium datapath on both ends, and each end's agent must have run since the other's pod CIDR
  was announced. A Canal pod gets there by its node's cilium_host route, seen from the other side as the node itself
  unless a rule keeps its address; the answer to its address goes like a request to it.
- From Cilium to a Canal address: in Cilium's own tunnel, where the node's agent knows an endpoint with that address
  (`ipcache`), else over the node's flannel route (legacy host routing); without flannel's link there it is lost. On
  flannel's route the caller is masqueraded (`masquerade`).
- A pod with both networks reaches Canal addresses from eth0; all else leaves by its default route, and so does what
  it sends to a Service, wherever that leads.
- Every request needs its answer to come back, so both directions are looked at.
"""

from dataclasses import dataclass

from cni_migrate.sim.world import addresses
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.host import BRIDGE, NEVER, Host, Plane
from cni_migrate.sim.world.ipcache import IpCache
from cni_migrate.sim.world.masquerade import Shares, masqueraded
from cni_migrate.sim.world.policy import Caller, Policies
from cni_migrate.sim.world.sandbox import Sandbox

TIMEOUT = "timeout"
REFUSED = "connection refused"


@dataclass(frozen=True, slots=True)
class Path:
    """How a request travels. `problem` is empty when it arrives and its answer comes back.

    `segment` is the network between two nodes, empty on one node; `source` the address the receiver sees, and
    `by_cilium` whether it comes to the receiving node by Cilium's links.
    """

    problem: str
    sender: str = ""
    receiver: str = ""
    segment: str = ""
    source: str = ""
    target: Sandbox | None = None
    by_cilium: bool = False


def has_flannel_route(here: Plane, there: Host) -> bool:
    """Whether a node has flannel's route to another's subnet."""
    return (
        (not here.vtep or here.vtep in here.links)
        and here.flannel_seen > NEVER
        and there.flannel_since <= here.flannel_seen
        and there.name not in here.lost_routes
    )


def knows_cilium(here: Plane, there: Host) -> bool:
    """Whether a node's Cilium maps hold another's pod CIDR."""
    return here.datapath and there.cilium_since <= here.cilium_seen


def _uplink_problem(sandbox: Sandbox, network: str, plane: Plane) -> str:
    """Whether a pod's interface of this network still leads anywhere on its own node."""
    if network == "canal" and sandbox.bridged and BRIDGE not in plane.links:
        return TIMEOUT
    if network == "cilium" and not plane.datapath:
        return TIMEOUT
    return ""


def answers_its_kubelet(sandbox: Sandbox, host: Host) -> bool:
    """Whether a pod's answer to its node's kubelet leaves by the interface that was asked.

    On a bridge the kubelet asks from the bridge's address, which is in the pod network. A routed pod is asked from the
    node's address; with its default route at Cilium's interface it answers there with the other's address, and Cilium
    drops that (`Invalid source ip`).
    """
    if not sandbox.via_extra or sandbox.bridged or host.plane.flannel_run:
        return True
    return any(addresses.contains(route, host.address) for route in sandbox.routes)


class Network:
    """Reachability at any instant, now or past."""

    def __init__(self, ctx: Context, policies: Policies, ipcache: IpCache) -> None:
        self._ctx = ctx
        self._policies = policies
        self._ipcache = ipcache

    def path(self, source: Sandbox, address: str, when: float, *, service: bool = False) -> Path:
        """The way from a pod to an address and back; with `service` it asks for a Service that leads there."""
        hosts = self._ctx.net.hosts
        here = hosts[source.node]
        plane = here.planes.at(when)
        if not plane.powered or not source.since <= when < source.until:
            return Path("source is gone")
        target = self._ctx.net.owner(address, when)
        if target is None:
            return self._to_node(source, here, plane, address, when)
        there = hosts[target.node]
        network = "cilium" if address == target.cilium else target.primary
        leaves = _leaving_network(source, network, address, service=service)
        problem = _uplink_problem(source, leaves, plane)
        other = there.planes.at(when)
        problem = problem or ("" if other.powered else TIMEOUT) or _uplink_problem(target, network, other)
        own = source.cilium if leaves == "cilium" else source.ip
        ways = _Ways(here, plane, there, other)
        if network == "cilium":
            seen, linked = self._to_cilium(ways, own, address, when) if leaves == "canal" else (own, ways.cilium())
            tunnel = "cilium"
        elif leaves == "cilium" and here is not there:
            seen, linked, tunnel = self._to_canal(ways, own, address, when)
        else:
            seen, linked, tunnel = own, ways.flannel(), "canal"
        by_cilium = leaves == "cilium" and (here is there or tunnel == "cilium")
        if here is there:
            return Path(problem, here.name, there.name, "", seen, target, by_cilium)
        return Path(problem or ("" if linked else TIMEOUT), here.name, there.name, tunnel, seen, target, by_cilium)

    def _to_cilium(self, ways: "_Ways", own: str, address: str, when: float) -> tuple[str, bool]:
        """From a Canal address to one of Cilium's: as whom, and whether the answer comes back."""
        if masqueraded(ways.plane.postrouting, self._shares(ways.plane), own, address, by_cilium=True):
            return ways.here.address, ways.cilium()
        entry = self._ipcache.entry(own, min(when, ways.other.cilium_seen))
        back = ways.plane.datapath if entry is not None else has_flannel_route(ways.other, ways.here)
        return own, knows_cilium(ways.plane, ways.there) and ways.other.datapath and back

    def _to_canal(self, ways: "_Ways", own: str, address: str, when: float) -> tuple[str, bool, str]:
        """From Cilium to a Canal address on another node: as whom, whether it arrives, and in whose tunnel."""
        entry = self._ipcache.entry(address, min(when, ways.plane.cilium_seen))
        if entry is not None and entry.node:
            there = entry.node == ways.there.address
            return own, there and ways.other.datapath and knows_cilium(ways.other, ways.here), "cilium"
        changed = masqueraded(ways.plane.postrouting, self._shares(ways.plane), own, address, by_cilium=False)
        # Where Canal has the shape of this simulator's default, its policies know callers on Cilium all the same.
        if changed and not ways.plane.flannel_run:
            own = addresses.nth(ways.plane.subnet, 0) if ways.plane.vtep else ways.here.address
        return own, ways.flannel(), "canal"

    def _shares(self, plane: Plane) -> Shares:
        return Shares(self._ctx.pod_network, plane.subnet, plane.cidr, plane.native)

    def _to_node(self, source: Sandbox, here: Host, plane: Plane, address: str, when: float) -> Path:
        """To a node's own address or out of the cluster: masqueraded, plain."""
        problem = _uplink_problem(source, _leaving_network(source, "host", address), plane)
        for host in self._ctx.net.hosts.values() if not problem else ():
            if host.address == address:
                up = host.planes.at(when).powered
                return Path("" if up else TIMEOUT, here.name, host.name, "host", here.address)
        inside = any(_inside(address, host, when) for host in self._ctx.net.hosts.values())
        return Path(problem or (TIMEOUT if inside else ""), here.name, "", "host", here.address)

    def to_host(self, source: Sandbox, host: Host, when: float) -> str:
        """Whether a pod reaches a node's own address; the error, empty when it does."""
        here = self._ctx.net.hosts[source.node]
        plane = here.planes.at(when)
        if not plane.powered or not source.since <= when < source.until:
            return "source is gone"
        problem = _uplink_problem(source, _leaving_network(source, "host", host.address), plane)
        return problem or ("" if host.planes.at(when).powered else TIMEOUT)

    def outcome(self, path: Path, kind: str, when: float) -> str:
        """What a probe of this kind meets on the path, policies aside; empty when it succeeds."""
        if path.problem:
            return path.problem
        faults = self._ctx.faults
        if not faults.losses or not path.segment:
            return ""
        there = faults.lost(path.sender, path.receiver, path.segment, kind, when)
        back = faults.lost(path.receiver, path.sender, path.segment, kind, when)
        return TIMEOUT if there or back else ""

    def blocked(self, path: Path, address: str, port: int, when: float) -> bool:
        """Whether a NetworkPolicy drops the request at its target, and somebody there enforces it.

        Calico enforces for Canal addresses with what it knows: all pods by their pod IP, up to when it last ran on the
        node. Where Cilium's chain stands above its own, what comes by Cilium's links is accepted unseen. Cilium
        enforces for its own addresses with the policies its agent has seen; it knows pods by their Cilium address, if
        their endpoint appeared while it ran, and every address that has an endpoint with an identity in the API, as
        the sending node's agent has seen it. Any other source is no pod.
        """
        target = path.target
        if target is None:
            return False
        plane = self._ctx.net.hosts[target.node].planes.at(when)
        if path.source == self._ctx.net.hosts[target.node].address and path.sender == target.node:
            return False
        if address == target.cilium:
            if not plane.enforcing:
                return False
            seen = min(when, plane.cilium_seen)
            caller = self._known_to_cilium(path, plane, when)
        else:
            if plane.calico_seen == NEVER or (path.by_cilium and plane.cilium_forwards):
                return False
            seen = min(when, plane.calico_seen)
            caller = self._known_to_calico(path, plane, when, seen)
        return not self._policies.allow(target, caller, path.source, port, seen)

    def _known_to_cilium(self, path: Path, plane: Plane, when: float) -> Caller | None:
        source = self._ctx.net.owner(path.source, when)
        if source is not None and source.cilium == path.source and source.since <= plane.cilium_seen:
            return source
        sender = self._ctx.net.hosts[path.sender].planes.at(when)
        return self._ipcache.identity(path.source, min(when, sender.cilium_seen))

    def _known_to_calico(self, path: Path, plane: Plane, when: float, seen: float) -> Caller | None:
        """By its pod IP; in the shape of this simulator's default Canal a pod with both networks by either address."""
        source = self._ctx.net.owner(path.source, when)
        known = source is not None and (source.ip == path.source or plane.flannel_run) and source.since <= seen
        return source if known else None

    def reach(
        self, source: Sandbox, address: str, kind: str, when: float, port: int = 8080, *, service: bool = False
    ) -> str:
        """The error a probe ends with, empty when it succeeds."""
        path = self.path(source, address, when, service=service)
        error = self.outcome(path, kind, when)
        if not error and self.blocked(path, address, port, when):
            return TIMEOUT
        return error


@dataclass(frozen=True, slots=True)
class _Ways:
    """Two nodes, the sending one first, with their states at one instant."""

    here: Host
    plane: Plane
    there: Host
    other: Plane

    def flannel(self) -> bool:
        """Whether flannel leads there and back."""
        return has_flannel_route(self.plane, self.there) and has_flannel_route(self.other, self.here)

    def cilium(self) -> bool:
        """Whether Cilium leads there and back."""
        return knows_cilium(self.plane, self.there) and knows_cilium(self.other, self.here)


def _leaving_network(source: Sandbox, towards: str, address: str, *, service: bool = False) -> str:
    """The interface a packet leaves a pod by; a Service's own address is in none of the pod's routes."""
    if not (source.extra and source.via_extra):
        return source.primary
    if service:
        return "cilium"
    if source.routes:
        return "canal" if any(addresses.contains(route, address) for route in source.routes) else "cilium"
    return source.primary if towards == "canal" else "cilium"


def _inside(address: str, host: Host, when: float) -> bool:
    """Whether an address without an owner is one of the cluster's pod addresses."""
    plane = host.planes.at(when)
    return any(addresses.contains(share, address) for share in (plane.subnet, plane.cidr))
