"""Pod sandboxes and the CNI calls that make and remove them, as pure bookkeeping on a host."""

import math
from dataclasses import dataclass, field

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import addresses, meta
from cni_migrate.sim.world.cniconf import Network, in_force
from cni_migrate.sim.world.host import (
    BRIDGE,
    CALICO_BINARIES,
    CALICO_KUBECONFIG,
    CALICO_NODENAME,
    CILIUM_BINARY,
    FLANNEL_BINARY,
    FLANNEL_FOLDER,
    MULTUS_BINARY,
    MULTUS_FOLDER,
    MULTUS_RESULTS,
    Host,
    kept_of,
)


class CniError(Exception):
    """A CNI call failed; the kubelet tries again."""


@dataclass(slots=True, eq=False)
class Sandbox:
    """A pod's network, from its creation to its end. A restarted node gives the same pod a new sandbox.

    `primary` is the network of eth0 (and of the pod's IP), `extra` the Cilium address of a pod with both networks;
    `via_extra` says that its default route leaves through the Cilium interface, and `routes` what leaves by eth0 then.
    """

    uid: str
    namespace: str
    name: str
    node: str
    labels: dict[str, str]
    primary: str
    ip: str
    since: float
    extra: str = ""
    via_extra: bool = False
    maker: str = ""
    bridged: bool = False
    routes: tuple[str, ...] = ()
    until: float = field(default=math.inf)

    @property
    def cilium(self) -> str:
        """The address Cilium knows the pod by, empty when it does not."""
        return self.ip if self.primary == "cilium" else self.extra


def host_sandbox(pod: Object, host: Host, now: float) -> Sandbox:
    """The sandbox of a hostNetwork pod: the node's own network."""
    return _sandbox(pod, host, now, "host", host.address, maker="host")


def adopted(pod: Object, host: Host, address: str) -> Sandbox:
    """The sandbox of a pod that ran before the world began; its lease or endpoint is entered on the host."""
    if meta.host_network(pod):
        return _sandbox(pod, host, -math.inf, "host", host.address, maker="host")
    current = in_force(host.plane.files).network
    in_cilium = addresses.contains(host.plane.cidr, address)
    made = _sandbox(pod, host, -math.inf, "cilium" if in_cilium else "canal", address, maker="canal")
    book = host.endpoints if in_cilium else host.leases
    book[address] = made.uid
    share = host.plane.cidr if in_cilium else host.plane.subnet
    number = addresses.place(share, address) if addresses.contains(share, address) else 0
    if in_cilium:
        made.maker, host.last_endpoint = "cilium", max(host.last_endpoint, number)
    else:
        made.bridged = current.bridged if current is not None else False
        host.last_lease = max(host.last_lease, number)
    return made


def _sandbox(pod: Object, host: Host, now: float, primary: str, ip: str, *, maker: str) -> Sandbox:
    namespace, name = meta.key(pod)
    return Sandbox(
        uid=meta.uid(pod),
        namespace=namespace,
        name=name,
        node=host.name,
        labels=dict(meta.labels(pod)),
        primary=primary,
        ip=ip,
        since=now,
        maker=maker,
    )


def add(pod: Object, host: Host, now: float, share: str = "") -> Sandbox:
    """CNI ADD with the configuration of this moment; raises `CniError` with the plugin's words.

    `share` is the node's pod CIDR as the API has it, which Calico's plugin asks for.
    """
    current = in_force(host.plane.files)
    if current.network is None:
        raise CniError(f"network is not ready: {current.problem}")
    network = current.network
    if network.provider == "canal":
        return _add_canal(pod, host, now, network, share, maker="canal")
    if network.provider == "cilium":
        return _add_cilium(pod, host, now)
    if MULTUS_BINARY not in host.plane.left:
        raise CniError(f"failed to find plugin multus in path [{MULTUS_BINARY.rpartition('/')[0]}]")
    return _add_multus(pod, host, now, network, share)


def _add_multus(pod: Object, host: Host, now: float, network: Network, share: str) -> Sandbox:
    """The delegates in order: the first gives the pod its address, Cilium behind Canal an extra interface.

    Multus takes the default route of all but the first network away; Cilium's survives where the first set none.
    """
    first = network.delegates[0]
    if first.provider == "cilium":
        made = _add_cilium(pod, host, now)
    else:
        made = _add_canal(pod, host, now, first, share, maker="")
    for delegate in network.delegates[1:]:
        if delegate.provider == "cilium" and not made.cilium:
            try:
                made.extra = _endpoint(pod, host)
            except CniError:
                remove(made, host)
                raise
    made.via_extra = bool(made.extra) and not first.default_route
    made.maker = "multus"
    host.change(left=host.plane.left | {MULTUS_FOLDER, MULTUS_RESULTS})
    return made


def _add_canal(pod: Object, host: Host, now: float, network: Network, share: str, *, maker: str) -> Sandbox:
    plane = host.plane
    plugin = FLANNEL_BINARY if network.bridged else CALICO_BINARIES[0]
    if plugin not in plane.left:
        raise CniError(f"failed to find plugin {plugin.rpartition('/')[2]} in path [/opt/cni/bin]")
    if network.bridged or plane.flannel_run:
        share = plane.subnet
        if not share:
            raise CniError("loadFlannelSubnetEnv failed: open /run/flannel/subnet.env: no such file or directory")
    else:
        _ask_calico(host, share)
    address, number = _free(share, host.leases, host.last_lease)
    host.leases[address] = meta.uid(pod)
    host.last_lease = number
    host.change(
        left=plane.left | kept_of(network.name) | ({FLANNEL_FOLDER} if network.bridged else set()),
        links=plane.links | {BRIDGE} if network.bridged else plane.links,
        network=network.name,
    )
    made = _sandbox(pod, host, now, "canal", address, maker=maker)
    made.bridged, made.routes = network.bridged, network.routes
    return made


def _ask_calico(host: Host, share: str) -> None:
    """What Calico's plugin needs (`usePodCidr`): calico-node's file, its credentials, and the node's pod CIDR."""
    if CALICO_NODENAME not in host.plane.left:
        raise CniError(
            f"stat {CALICO_NODENAME}: no such file or directory: check that the calico/node container is running and "
            "has mounted /var/lib/calico/"
        )
    if CALICO_KUBECONFIG not in host.plane.files:
        raise CniError(f"error loading config file /etc/cni/net.d/{CALICO_KUBECONFIG}: no such file or directory")
    if not share:
        raise CniError(f"failed to allocate: node {host.name} has no podCIDR")


def _add_cilium(pod: Object, host: Host, now: float) -> Sandbox:
    return _sandbox(pod, host, now, "cilium", _endpoint(pod, host), maker="cilium")


def _endpoint(pod: Object, host: Host) -> str:
    """An address and an endpoint from the Cilium agent of the node."""
    plane = host.plane
    if CILIUM_BINARY not in plane.left:
        raise CniError("failed to find plugin cilium-cni in path [/opt/cni/bin]")
    if not plane.agent or not plane.cidr:
        raise CniError("unable to connect to Cilium agent: dial unix /var/run/cilium/cilium.sock: no such file")
    address, number = _free(plane.cidr, host.endpoints, host.last_endpoint)
    host.endpoints[address] = meta.uid(pod)
    host.last_endpoint = number
    return address


def _free(cidr: str, taken: dict[str, str], last: int) -> tuple[str, int]:
    """The next free address after the last one given out, as host-local does: .0, .1 and the last one are not used."""
    base, size = addresses.span(cidr)
    for step in range(1, size):
        number = (last + step) % size
        if 2 <= number < size - 1:
            text = addresses.dotted(base + number)
            if text not in taken:
                return text, number
    raise CniError(f"failed to allocate for range 0: no IP addresses available in range set: {cidr}")


def remove(sandbox: Sandbox, host: Host) -> None:
    """CNI DEL with the configuration of this moment, not with the one that made the sandbox.

    Measured: what the configuration in force does not know stays behind. A Canal pod leaves its lease when it goes
    under Cilium, a Cilium pod its endpoint when it goes under Canal, and Multus removes nothing of pods it did not
    make. Raises `CniError` while there is no configuration at all.
    """
    if sandbox.primary == "host":
        return
    current = in_force(host.plane.files)
    if current.network is None:
        raise CniError(f"network is not ready: {current.problem}")
    provider = current.network.provider
    if provider == "canal" or (provider == "multus" and sandbox.maker == "multus"):
        _drop_lease(sandbox, host)
    if provider == "cilium" or (provider == "multus" and sandbox.maker == "multus"):
        _drop_endpoint(sandbox, host)


def _drop_lease(sandbox: Sandbox, host: Host) -> None:
    if sandbox.primary == "canal" and host.leases.get(sandbox.ip) == sandbox.uid:
        del host.leases[sandbox.ip]


def _drop_endpoint(sandbox: Sandbox, host: Host) -> None:
    """Release the endpoint; without an agent the plugin queues that for its next start."""
    address = sandbox.cilium
    if not address or host.endpoints.get(address) != sandbox.uid:
        return
    if host.plane.agent:
        del host.endpoints[address]
    else:
        host.released.add(address)
