"""`pods/proxy`: pages of pods, from whoever plays the programs in them.

The world registers a `PageSource`. What is said about pods that cannot be asked is what a real API server says; a page
that no program of the world has is answered with 501, as guessing it would be faking.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Mapping

from cni_migrate.sim.apiserver import status
from cni_migrate.sim.client import ApiError, Object

PageSource = Callable[[Object, int, str, Mapping[str, str]], Awaitable[tuple[str, str] | None]]
"""Called with the pod, the port, the path and the query: the page and its content type, or None when nobody has it.

It raises `ApiError` (see `unreachable`) when the pod does not answer.
"""

_SCHEMES = ("", "http", "https")


def pod_and_port(text: str) -> tuple[str, str, str]:
    """Scheme, pod and port of `pod`, `pod:port` or `scheme:pod:port`; 400 for anything else."""
    parts = text.split(":")
    if len(parts) < 3:
        parts = ["", parts[0], parts[1] if len(parts) == 2 else ""]
    scheme, name, port, *rest = parts
    if rest or not name or scheme not in _SCHEMES:
        raise status.bad_request(f'invalid pod request "{text}"')
    return scheme, name, port


def first_port(pod: Object) -> str:
    """The port of a request that names none: the first that a container has."""
    ports = (port for container in pod["spec"]["containers"] for port in container.get("ports") or ())
    return next((str(port["containerPort"]) for port in ports), "")


def unreachable(pod: Object, port: int, why: str) -> ApiError:
    """What the API server says when a pod does not answer it."""
    address = pod.get("status", {}).get("podIP", "")
    return ApiError(503, "ServiceUnavailable", f"error trying to reach service: dial tcp {address}:{port}: {why}")


def _allowed(address: str) -> bool:
    """Whether the API server goes there at all: not to itself, and not beyond what is routed."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_link_local)


async def page(
    find: Callable[[str], Object], asked: str, path: str, query: Mapping[str, str], source: PageSource | None
) -> tuple[str, str]:
    """The page of a pod and its content type; `find` answers the pod or raises 404."""
    scheme, name, port = pod_and_port(asked)
    pod = find(name)
    port = port or first_port(pod)
    if not _allowed(pod.get("status", {}).get("podIP", "")):
        raise status.bad_request("address not allowed")
    found = None
    if source is not None and port.isdecimal() and scheme != "https":
        found = await source(pod, int(port), f"/{path}", query)
    if found is None:
        raise status.not_emulated(f"the page {path or '/'} of port {port or '(none)'} of pod {name}")
    return found
