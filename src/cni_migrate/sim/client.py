"""What the simulated world needs of an API server: list, watch, get and writes, nothing more.

The world is written against this protocol alone. In process it is served by the simulated API server's store; the
conformance tests serve it from a real kube-apiserver over HTTPS.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON. What a client returns is shared: copy it before you change it."""

Objects = list[Object]
"""Several of them; a name of its own, because `Client.list` hides the built-in inside the class."""

PatchType = Literal["merge", "strategic", "json"]
EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource type: where it is served and whether it lives in a namespace."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`v1` or `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version


class ApiError(Exception):
    """An answer of the API server that is not a success, with its `Status`.

    `code` is the HTTP status, `reason` the machine-readable reason of the Status object (`NotFound`, `Conflict`, ...).
    """

    def __init__(self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details or {})


class Client(Protocol):
    """The API server as the simulated world sees it. Every method raises `ApiError` when the server refuses."""

    async def list(
        self, kind: Kind, *, namespace: str | None = None, label_selector: str = "", field_selector: str = ""
    ) -> tuple[list[Object], str]:
        """All matching objects and the list's resourceVersion."""
        ...

    def watch(
        self, kind: Kind, *, resource_version: str, namespace: str | None = None
    ) -> AsyncIterator[tuple[EventType, Object]]:
        """Changes after `resource_version`; ends when the server ends it, raises `ApiError(410)` when too old."""
        ...

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """One object."""
        ...

    async def create(self, kind: Kind, body: Object, namespace: str | None = None) -> Object:
        """Create, answer what was stored."""
        ...

    async def update(self, kind: Kind, body: Object, namespace: str | None = None, *, subresource: str = "") -> Object:
        """Replace (PUT); a stale `metadata.resourceVersion` in the body is `ApiError(409)`."""
        ...

    async def patch(
        self,
        kind: Kind,
        name: str,
        body: Object | Objects,
        namespace: str | None = None,
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
    ) -> Object:
        """Patch the object or one of its subresources (`status`)."""
        ...

    async def delete(
        self, kind: Kind, name: str, namespace: str | None = None, *, grace: int | None = None, uid: str = ""
    ) -> None:
        """Delete, with a grace period in seconds and a uid precondition when given."""
        ...
