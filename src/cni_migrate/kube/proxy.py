"""Which proxy leads to the API server, by client-go's rules.

A kubeconfig's `proxy-url` is always used. Otherwise the environment decides as in Go (golang.org/x/net/http/httpproxy,
and client-go's `NewProxierWithNoProxyCIDR`): HTTPS_PROXY or HTTP_PROXY by the server's scheme, ALL_PROXY as curl has
it, never for this very machine, and not for what NO_PROXY lists: `*`, names with the names below them, addresses,
networks.
httpx would read the same variables, but it knows no networks in NO_PROXY (encode/httpx, `get_environment_proxies`).
"""

import ipaddress
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from cni_migrate.errors import ConfigError

SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_PORTS: Final = {"http": 80, "https": 443}


class Proxy(NamedTuple):
    """A proxy, and where it was named."""

    url: str
    origin: str

    def __str__(self) -> str:
        """The URL without the password, and where it was named."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]} ({self.origin})"


def proxy_for(server: str, named: str, origin: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy on the way to a server, or None.

    Args:
        server: the API server's URL.
        named: the kubeconfig's `proxy-url`, or ''.
        origin: the kubeconfig's name, for messages.
        environ: the environment.

    Raises:
        ConfigError: it is no URL of a proxy.
    """
    if named:
        return _checked(Proxy(named, f"proxy-url of {origin}"))
    target = urlsplit(server)
    host = (target.hostname or "").rstrip(".")
    if not host or _local(host) or _excluded(host, target.port or _PORTS.get(target.scheme, 443), environ):
        return None
    for name in (f"{target.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if url := environ.get(variable, "").strip():
                return _checked(Proxy(url if "://" in url else f"http://{url}", variable))
    return None


def _checked(proxy: Proxy) -> Proxy:
    try:
        parts = urlsplit(proxy.url)
        good = parts.scheme in SCHEMES and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise ConfigError(
            f"{proxy.origin} is no URL of a proxy: expected SCHEME://HOST:PORT with one of {', '.join(SCHEMES)}",
            next="correct it, or take it away",
        )
    return proxy


def _local(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" or (address is not None and address.is_loopback)


def _excluded(host: str, port: int, environ: Mapping[str, str]) -> bool:
    listed = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return any(_matches(entry.strip().lower(), host.lower(), port) for entry in listed.split(",") if entry.strip())


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            network = ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
        return address is not None and address.version == network.version and address in network
    name, wanted = _split(entry)
    if wanted is not None and wanted != port:
        return False
    if (listed := _address(name)) is not None:
        return address == listed
    if name.startswith("*."):
        name = name[1:]
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split(entry: str) -> tuple[str, int | None]:
    """The name or address of an entry, and its port when it has one."""
    if entry.startswith("["):
        name, _, port = entry[1:].partition("]")
        port = port.removeprefix(":")
    elif entry.count(":") == 1:
        name, _, port = entry.partition(":")
    else:
        name, port = entry, ""
    return name, int(port) if port.isdecimal() else None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
