"""Who reaches whom, and how: a pure function of the nodes' files, links, routes and daemons at an instant.

Rules, each measured on real programs or taken from their sources:

- Canal to Canal on another node: flannel.1 on both ends, and a route on each for the other's subnet, which is there
  when flanneld has run on the one since the other's subnet was announced.
- To a Cilium address: a Cilium datapath on both ends, and each end's agent must have run since the other's pod CIDR
  was announced. A Canal pod gets there by its node's cilium_host route, seen from the other side as the node itself.
- From Cilium to a Canal address: over the node's own flannel route (legacy host routing); without flannel.1 there it
  is lost.
- A pod with both networks reaches Canal addresses from eth0; all else leaves by its default route.
- Every request needs its answer to come back, so both directions are looked at.
"""

from dataclasses import dataclass

from cni_migrate.sim.world import addresses
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.host import BRIDGE, NEVER, Host, Plane
from cni_migrate.sim.world.policy import Policies
from cni_migrate.sim.world.sandbox import Sandbox

TIMEOUT = "timeout"
REFUSED = "connection refused"


@dataclass(frozen=True, slots=True)
class Path:
    """How a request travels. `problem` is empty when it arrives and its answer comes back.

    `segment` is the network between two nodes, empty on one node; `source` the address the receiver sees, `interface`
    the network by which it left.
    """

    problem: str
    sender: str = ""
    receiver: str = ""
    segment: str = ""
    source: str = ""
    target: Sandbox | None = None


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


class Network:
    """Reachability at any instant, now or past."""

    def __init__(self, ctx: Context, policies: Policies) -> None:
        self._ctx = ctx
        self._policies = policies

    def path(self, source: Sandbox, address: str, when: float) -> Path:
        """The way from a pod to an address and back."""
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
        leaves = _leaving_network(source, network)
        problem = _uplink_problem(source, leaves, plane)
        other = there.planes.at(when)
        problem = problem or ("" if other.powered else TIMEOUT) or _uplink_problem(target, network, other)
        seen = source.cilium if leaves == "cilium" else source.ip
        if leaves == "canal" and network == "cilium":
            seen = here.address
        if here is there:
            return Path(problem, here.name, there.name, "", seen, target)
        problem = problem or self._between(here, plane, there, other, network)
        return Path(problem, here.name, there.name, network, seen, target)

    def _between(self, here: Host, plane: Plane, there: Host, other: Plane, network: str) -> str:
        """Whether two nodes have a tunnel of this network in both directions."""
        if network == "cilium":
            linked = knows_cilium(plane, there) and knows_cilium(other, here)
        else:
            linked = has_flannel_route(plane, there) and has_flannel_route(other, here)
        return "" if linked else TIMEOUT

    def _to_node(self, source: Sandbox, here: Host, plane: Plane, address: str, when: float) -> Path:
        """To a node's own address or out of the cluster: masqueraded, plain."""
        problem = _uplink_problem(source, _leaving_network(source, "host"), plane)
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
        problem = _uplink_problem(source, _leaving_network(source, "host"), plane)
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

        Calico enforces for Canal addresses while a Canal pod with Calico runs on the node; it knows pods by their pod
        IP. Cilium enforces for its own addresses with the policies its agent has seen; it knows pods by their Cilium
        address, if their endpoint appeared while it ran. Any other source is no pod.
        """
        target = path.target
        if target is None:
            return False
        plane = self._ctx.net.hosts[target.node].planes.at(when)
        source = self._ctx.net.owner(path.source, when)
        seen = when
        if address == target.cilium:
            if not plane.enforcing:
                return False
            seen = min(when, plane.cilium_seen)
            if source is not None and (source.cilium != path.source or source.since > plane.cilium_seen):
                source = None
        elif not plane.felix:
            return False
        elif source is not None and source.ip != path.source:
            source = None
        if path.source == self._ctx.net.hosts[target.node].address and path.sender == target.node:
            return False
        return not self._policies.allow(target, source, path.source, port, seen)

    def reach(self, source: Sandbox, address: str, kind: str, when: float, port: int = 8080) -> str:
        """The error a probe ends with, empty when it succeeds."""
        path = self.path(source, address, when)
        error = self.outcome(path, kind, when)
        if not error and self.blocked(path, address, port, when):
            return TIMEOUT
        return error


def _leaving_network(source: Sandbox, towards: str) -> str:
    """The interface a packet leaves a pod by."""
    if source.extra and source.via_extra and towards != "canal":
        return "cilium"
    return source.primary


def _inside(address: str, host: Host, when: float) -> bool:
    """Whether an address without an owner is one of the cluster's pod addresses."""
    plane = host.planes.at(when)
    return any(addresses.contains(share, address) for share in (plane.subnet, plane.cidr))
