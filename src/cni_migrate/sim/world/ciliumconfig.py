"""The configuration a Cilium agent ends up with, and what it means for the node. Pure functions."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta

HOST_FOLDER = "/host/etc/cni/net.d/"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PORTS = {"vxlan": 8472, "geneve": 6081}


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What of an agent's configuration shows on its node."""

    file: str = ""
    exclusive: bool = False
    uninstall: bool = False
    protocol: str = "vxlan"
    port: int = 8472
    enforcing: bool = True
    prepend: bool = True
    masquerade: bool = True
    native: str = ""
    stale_cleanup: bool = True

    @property
    def tunnel_link(self) -> str:
        """The name of the tunnel device."""
        return f"cilium_{self.protocol}"


def effective(
    config_map: Object | None, node_configs: Iterable[Object], node: Object, args: Iterable[str]
) -> dict[str, str]:
    """`cilium-config`, overridden by the CiliumNodeConfigs that select the node, overridden by the arguments.

    What runs before the agent (`build-config`) reads all this once, when the agent starts.
    """
    values: dict[str, str] = dict((config_map or {}).get("data") or {})
    for config in sorted(node_configs, key=meta.name):
        spec = config.get("spec") or {}
        if meta.matches(spec.get("nodeSelector"), meta.labels(node)):
            values.update({key: str(value) for key, value in (spec.get("defaults") or {}).items()})
    for argument in args:
        if argument.startswith("--"):
            name, _, value = argument[2:].partition("=")
            values[name] = value or "true"
    return values


def agent_config(values: Mapping[str, str]) -> AgentConfig:
    """What the values mean; defaults as in Cilium 1.15 (`pkg/defaults`, `pkg/option`).

    `custom-cni-conf` means nothing to an agent (1.15 and 1.20 do not read it): its chart leaves away the file to write.
    """
    target = values.get("write-cni-conf-when-ready", "")
    protocol = values.get("tunnel-protocol") or values.get("tunnel") or "vxlan"
    if protocol not in _PORTS:
        protocol = "vxlan"
    port = int(values.get("tunnel-port") or 0)
    return AgentConfig(
        file=target.removeprefix(HOST_FOLDER).rpartition("/")[2],
        exclusive=_true(values.get("cni-exclusive", "true")),
        uninstall=_true(values.get("cni-uninstall", "false")),
        protocol=protocol,
        port=port or _PORTS[protocol],
        enforcing=values.get("enable-policy", "default") != "never",
        prepend=_true(values.get("prepend-iptables-chains", "true")),
        masquerade=_true(values.get("enable-ipv4-masquerade", "true")),
        native=values.get("ipv4-native-routing-cidr", ""),
        stale_cleanup=_true(values.get("enable-stale-cilium-endpoint-cleanup", "true")),
    )


def _true(text: str) -> bool:
    return text.lower() in ("true", "1", "yes")


def go_duration(text: str) -> float:
    """A duration as Go writes it, such as `5m0s`, in seconds; a plain number is seconds, anything else is nothing."""
    parts = re.findall(r"([0-9.]+)(ms|h|m|s)", text)
    if parts:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    return float(text) if text.replace(".", "", 1).isdigit() else 0.0


def pool(values: Mapping[str, str]) -> tuple[list[str], int]:
    """The operator's cluster pool: its CIDRs and the size of a node's share."""
    cidrs = values.get("cluster-pool-ipv4-cidr", "10.0.0.0/8").replace(",", " ").split()
    return cidrs, int(values.get("cluster-pool-ipv4-mask-size", "24"))


def cni_file() -> str:
    """The CNI file an agent writes."""
    return (
        '{\n  "cniVersion": "0.3.1",\n  "name": "cilium",\n  "plugins": [\n'
        '    {"type": "cilium-cni", "enable-debug": false, "log-file": "/var/run/cilium/cilium-cni.log"}\n  ]\n}\n'
    )
