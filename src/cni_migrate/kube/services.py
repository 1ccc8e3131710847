"""The cluster's Services and the API server's addresses, as far as preflight asks about them."""

from dataclasses import dataclass

from cni_migrate.kube import paths
from cni_migrate.kube.listing import listed
from cni_migrate.kube.request import Client


@dataclass(frozen=True, slots=True)
class ServiceAddresses:
    """A Service's addresses in the cluster, none of a headless one; whether it has a port of SCTP."""

    name: str
    addresses: tuple[str, ...]
    ipv6: bool
    sctp: bool


async def services(client: Client) -> list[ServiceAddresses]:
    """All of them.

    Raises:
        ClusterError: they may not be listed, or the API server does not answer.
    """
    found = []
    async for raw in listed(client, paths.path("v1", "services")):
        meta, spec = raw["metadata"], raw.get("spec") or {}
        every = [str(ip) for ip in spec.get("clusterIPs") or (spec.get("clusterIP") or "",)]
        addresses = tuple(ip for ip in every if ip and ip != "None")
        ipv6 = "IPv6" in (spec.get("ipFamilies") or ()) or any(":" in ip for ip in addresses)
        sctp = any(port.get("protocol") == "SCTP" for port in spec.get("ports") or ())
        found.append(ServiceAddresses(f"{meta['namespace']}/{meta['name']}", addresses, ipv6, sctp))
    return found


async def service_networks(client: Client) -> list[str]:
    """The networks that Services get their addresses from, where the API tells (ServiceCIDR, Kubernetes 1.33 on)."""
    answer = await client.request("GET", paths.path("networking.k8s.io/v1", "servicecidrs"))
    items = (answer.object.get("items") or ()) if answer.ok else ()
    return [str(cidr) for one in items for cidr in (one.get("spec") or {}).get("cidrs") or ()]


async def api_servers(client: Client) -> list[str]:
    """The addresses behind the Service `kubernetes`; none where they may not be read."""
    path = paths.path("discovery.k8s.io/v1", "endpointslices", namespace="default")
    answer = await client.request("GET", path, params={"labelSelector": "kubernetes.io/service-name=kubernetes"})
    items = (answer.object.get("items") or ()) if answer.ok else ()
    return [str(ip) for one in items for end in one.get("endpoints") or () for ip in end.get("addresses") or ()]
