"""Which CNI a container runtime uses: the first usable file of /etc/cni/net.d, read as it stands.

containerd (go-cni) takes the first file by name that ends in .conf, .conflist or .json; a list of plugins under
another ending than .conflist is no valid configuration.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

Provider = Literal["canal", "cilium", "multus"]

_PROVIDERS: dict[str, Provider] = {
    "flannel": "canal",
    "calico": "canal",
    "cilium-cni": "cilium",
    "multus": "multus",
    "multus-shim": "multus",
}


@dataclass(frozen=True, slots=True)
class Network:
    """What a CNI file asks for.

    `name` is what host-local and the runtime call the network. `delegates` are the networks of a Multus file, the first
    being the pod's own. `default_route` says whether the plugin gives the pod a default route; Cilium's takes effect
    only where none was set before. `routes` are the others that its IPAM section asks for.
    """

    provider: Provider
    name: str = ""
    bridged: bool = False
    default_route: bool = True
    routes: tuple[str, ...] = ()
    delegates: tuple["Network", ...] = ()


@dataclass(frozen=True, slots=True)
class InForce:
    """The file a runtime uses, or why it has none."""

    file: str = ""
    network: Network | None = None
    problem: str = "cni plugin not initialized"


def in_force(files: Mapping[str, str]) -> InForce:
    """What a runtime makes of these files at this moment."""
    names = sorted(name for name in files if name.endswith((".conf", ".conflist", ".json")))
    if not names:
        return InForce()
    first = names[0]
    network = parse(files[first], listed=first.endswith(".conflist"))
    if network is None:
        return InForce(first, None, f"invalid CNI configuration in {first}")
    return InForce(first, network, "")


@lru_cache(maxsize=512)
def parse(text: str, *, listed: bool = True) -> Network | None:
    """Read a CNI configuration; None when a runtime would not."""
    try:
        content = json.loads(text)
    except ValueError:
        return None
    if not isinstance(content, dict) or listed != ("plugins" in content):
        return None
    return _network(content)


def _network(content: Mapping[str, Any]) -> Network | None:
    plugins = content.get("plugins") or [content]
    plugin = plugins[0]
    provider, name = _PROVIDERS.get(str(plugin.get("type"))), str(content.get("name", ""))
    if provider is None:
        return None
    if provider == "multus":
        delegates = [_network(delegate) for delegate in plugin.get("delegates") or ()]
        if not delegates or any(delegate is None for delegate in delegates):
            return None
        return Network("multus", name, delegates=tuple(d for d in delegates if d is not None))
    return Network(
        provider,
        name,
        bridged=plugin.get("type") == "flannel",
        default_route=_sets_default_route(provider, plugin),
        routes=tuple(str(route.get("dst", "")) for route in (plugin.get("ipam") or {}).get("routes") or ()),
    )


def _sets_default_route(provider: Provider, plugin: Mapping[str, Any]) -> bool:
    """Whether the plugin gives the pod a default route.

    flannel passes `isDefaultGateway` on to the bridge plugin (its own default is true when nothing is said); calico
    adds a default route only when its IPAM section names no routes.
    """
    if provider == "cilium":
        return True
    if plugin.get("type") == "calico":
        return not (plugin.get("ipam") or {}).get("routes")
    delegate = plugin.get("delegate") or {}
    return bool(delegate.get("isDefaultGateway", not delegate.get("isGateway", False)))
