"""What tests may do to the server: watch every request, kill a client around a write, and inject faults.

Only requests over ASGI are observed, counted and hurt; the simulated world's `LocalClient` is not.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cni_migrate.sim.apiserver import jsonvalue


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it arrived.

    `number` counts all requests from 1. `write` counts those that change something (POST, PUT, PATCH, DELETE, but no
    dry run and no review) and were not answered by a fault; it is None for others.
    """

    number: int
    write: int | None
    method: str
    path: str
    query: str
    content_type: str
    user_agent: str
    body: bytes

    def numbered(self, write: int) -> "Call":
        """The same call as write number `write`."""
        return replace(self, write=write)


@dataclass(frozen=True, slots=True)
class Answer:
    """What went back: the code, 0 for a cut connection, and how many bytes of body (of a watch: in all)."""

    code: int
    size: int


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong, for requests whose method and `path?query` match the regular expressions.

    It spares the first `skip` matches, then strikes at every `every`-th, `times` times in all (None: for ever). What
    happens, in this order: `delay` seconds of loop time; `cut="before"` loses the connection before the request is
    carried out, `cut="after"` loses the answer; `code` answers with it, with `body` (a Status is made when there is
    none) and `headers`. Of a watch, `watch` says how it ends after `events` events or `seconds` seconds: its connection
    is cut, or it is closed in order, or an in-stream 410 arrives. A watch refused with 410 before it starts is
    `Fault(path="watch=", code=410)`; overload as flow control tells it is a 429 with a plain text body and Retry-After.
    """

    method: str = ".*"
    path: str = ".*"
    times: int | None = 1
    every: int = 1
    skip: int = 0
    delay: float = 0.0
    cut: Literal["", "before", "after"] = ""
    code: int = 0
    body: bytes | str | Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    watch: Literal["", "cut", "close", "expire"] = ""
    events: int | None = None
    seconds: float | None = None
    seen: int = 0
    struck: int = 0

    def strikes(self, call: Call) -> bool:
        """Whether this request is hit; counts it."""
        target = f"{call.path}?{call.query}" if call.query else call.path
        if not re.fullmatch(self.method, call.method) or not re.search(self.path, target):
            return False
        if self.watch and "watch=" not in call.query:
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.seen - self.skip) % self.every:
            return False
        if self.times is not None and self.struck >= self.times:
            return False
        self.struck += 1
        return True

    def payload(self) -> tuple[bytes, str]:
        """The body of the answer and its content type."""
        if isinstance(self.body, bytes):
            return self.body, "text/plain"
        if isinstance(self.body, str):
            return self.body.encode(), "text/plain; charset=utf-8"
        if self.body is not None:
            return jsonvalue.encoded(dict(self.body)), "application/json"
        return jsonvalue.encoded(_status_for(self.code, self.headers)), "application/json"


_REASONS = {
    401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired", 422: "Invalid",
    429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip


def _status_for(code: int, headers: Mapping[str, str]) -> dict[str, Any]:
    reason = _REASONS.get(code, "")
    answer: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    answer |= {"message": f"injected: {reason or code}", "reason": reason}
    if after := headers.get("Retry-After"):
        answer["details"] = {"retryAfterSeconds": int(after)}
    return answer | {"code": code}


@dataclass(slots=True)
class Count:
    """Requests of one (method, resource) and their bytes."""

    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


Observer = Callable[[Call, Answer | None], None]


@dataclass(slots=True)
class Hooks:
    """The handles for tests.

    `observers` are called when a request arrives, with None, and again with its answer. `before_write(k)` runs just
    before write k is carried out, `after_write(k)` just after it, before the client learns of it; what they raise,
    usually a BaseException of the test's own, comes out of the in-process client's call as if the program died there.
    """

    observers: list[Observer] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    before_write: Callable[[int], None] | None = None
    after_write: Callable[[int], None] | None = None
    counts: dict[tuple[str, str], Count] = field(default_factory=dict)
    requests: int = 0
    writes: int = 0

    def count(self, method: str, resource: str, bytes_in: int, bytes_out: int) -> None:
        """Add a finished request."""
        entry = self.counts.setdefault((method, resource), Count())
        entry.requests += 1
        entry.bytes_in += bytes_in
        entry.bytes_out += bytes_out

    def snapshot(self) -> dict[tuple[str, str], Count]:
        """The counts now, as a copy."""
        return {key: Count(entry.requests, entry.bytes_in, entry.bytes_out) for key, entry in self.counts.items()}
