"""Flannel's settings, `net-conf.json`, read as flanneld reads them.

Flanneld decodes them with Go's encoding/json (github.com/flannel-io/flannel, pkg/subnet/config.go): keys count in any
case, a value of another type stops it. Backends are looked up in lower case (pkg/backend/manager.go). Where it would
not start there is nothing to go by: the next restart of Canal's pod would fail.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cni_migrate.core.model.cidr import parsed

VXLAN: Final = "vxlan"


@dataclass(frozen=True, slots=True)
class NetConf:
    """What flanneld takes from its settings; '' and 0 for what it does not need with this backend."""

    network: str = ""
    network6: str = ""
    ipv4: bool = True
    backend: str = ""
    vni: int = 0
    port: int = 0
    mtu: int = 0
    nftables: bool = False

    def __str__(self) -> str:
        """In words, what differs between two."""
        parts = [f"{'' if self.ipv4 else 'no IPv4, '}Network {self.network or 'none'}", self.network6, self.backend]
        parts += [f"VNI {self.vni}, port {self.port}"] if self.backend == VXLAN else []
        parts += [f"MTU {self.mtu}"] if self.mtu else []
        return ", ".join(part for part in [*parts, "nftables" if self.nftables else ""] if part)


class BadNetConf(ValueError):
    """Flanneld would not start with these settings; the text says why."""


def net_conf(text: str) -> NetConf:
    """Read `net-conf.json`.

    Raises:
        BadNetConf: flanneld would not start with it.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise BadNetConf(f"it is not JSON: {error}") from None
    top = _Section(content, "it")
    backend = _Section(top.get("Backend", dict, {}), "Backend")
    kind = str(backend.get("Type", str, "udp")).lower()
    vxlan = kind == VXLAN
    network, network6 = (_network(key, str(top.get(key, str, ""))) for key in ("Network", "IPv6Network"))
    ipv6 = bool(top.get("EnableIPv6", bool, False))
    return NetConf(
        network=network,
        network6=network6 if ipv6 else "",
        ipv4=bool(top.get("EnableIPv4", bool, True)),
        backend=kind,
        vni=int(backend.get("VNI", int, 0) or 1) if vxlan else 0,
        port=int(backend.get("Port", int, 0) or 8472) if vxlan else 0,
        mtu=int(backend.get("MTU", int, 0)),
        nftables=bool(top.get("EnableNFTables", bool, False)),
    )


def _network(key: str, text: str) -> str:
    """A network as flanneld keeps it: an address in it stands for the whole."""
    if not text:
        return ""
    network = parsed(text) if "/" in text else None
    if network is None:
        raise BadNetConf(f"{key} is no network: {text}")
    return str(network)


class _Section:
    """An object of the settings whose keys count in any case."""

    def __init__(self, content: object, name: str) -> None:
        if not isinstance(content, Mapping):
            raise BadNetConf(f"{name} is no object")
        self._content = {str(key).lower(): (str(key), value) for key, value in content.items()}

    def get(self, key: str, kind: type, default: Any) -> Any:
        name, value = self._content.get(key.lower(), (key, None))
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise BadNetConf(f"{name} is {json.dumps(value)[:60]}")
        return value
