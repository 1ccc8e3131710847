"""What a request asks for: path and method taken apart as `k8s.io/apiserver/pkg/endpoints/request` does."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_TRUE = ("true", "1")


@dataclass(frozen=True, slots=True)
class Request:
    """One request for a resource, or for another path when `resource` is empty."""

    method: str
    path: str
    verb: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    trail: str = ""
    """What follows the subresource: the path of the page that a proxy is asked for."""

    @property
    def counted_as(self) -> str:
        """`pods`, `pods/eviction`, or the path of what is no resource."""
        return "/".join(filter(None, (self.resource, self.subresource))) or self.path


def query_of(query_string: bytes) -> dict[str, str]:
    """The query's parameters, the first of each name."""
    found: dict[str, str] = {}
    for key, value in parse_qsl(query_string.decode(), keep_blank_values=True):
        found.setdefault(key, value)
    return found


def is_true(query: Mapping[str, str], name: str) -> bool:
    """Whether a boolean parameter is set."""
    return query.get(name, "") in _TRUE


def parse(method: str, path: str, query: Mapping[str, str]) -> Request:
    """Take a request apart. Trailing slashes do not matter."""
    parts = [part for part in path.split("/") if part]
    head = 2 if parts[:1] == ["api"] else 3 if parts[:1] == ["apis"] else 0
    if not head or len(parts) <= head:
        return Request(method, "/" + "/".join(parts), method.lower())
    group, version = ("", parts[1]) if head == 2 else (parts[1], parts[2])
    rest = parts[head:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in ("status", "finalize"):
            rest = rest[2:]
    resource, name, subresource = (*rest, "", "", "")[:3]
    trail = "/".join(rest[3:])
    if trail and subresource != "proxy":
        subresource, trail = f"{subresource}/{trail}", ""
    verb = _VERBS.get(method) or ("get" if name else "list")
    if verb == "list" and is_true(query, "watch"):
        verb = "watch"
    if verb == "delete" and not name:
        verb = "deletecollection"
    return Request(method, path, verb, group, version, namespace, resource, name, subresource, trail)
