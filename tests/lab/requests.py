"""Reads the API server's audit log: who asked for what, how often, and what was refused."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from tests.lab.settings import Lab


@dataclass(frozen=True)
class Request:
    """One request that the API server answered."""

    at: float
    agent: str
    user: str
    verb: str
    group: str
    resource: str
    """With its subresource: `pods/eviction`."""
    namespace: str
    name: str
    path: str
    code: int

    @property
    def kind(self) -> tuple[str, str, str]:
        """What RBAC is asked about: verb, API group, resource."""
        return self.verb, self.group, self.resource


def position(lab: Lab) -> int:
    """Where the log ends now; to be given to `since`."""
    path = lab.logs / "audit.log"
    return path.stat().st_size if path.exists() else 0


def since(lab: Lab, start: int = 0) -> Iterator[Request]:
    """All requests from a position on, long-running ones once."""
    with (lab.logs / "audit.log").open("rb") as log:
        log.seek(start)
        for line in log:
            try:
                told = json.loads(line)
            except ValueError:  # it is being written
                continue
            if told["stage"] == "ResponseStarted":  # a watch; it is told of again when it ends
                continue
            ref = told.get("objectRef", {})
            yield Request(
                at=datetime.fromisoformat(told["requestReceivedTimestamp"]).timestamp(),
                agent=told.get("userAgent", ""),
                user=told["user"]["username"],
                verb=told["verb"],
                group=ref.get("apiGroup", ""),
                resource="/".join(filter(None, (ref.get("resource"), ref.get("subresource")))),
                namespace=ref.get("namespace", ""),
                name=ref.get("name", ""),
                path=told["requestURI"],
                code=told.get("responseStatus", {}).get("code", 0),
            )


def of_tool(lab: Lab, start: int = 0) -> list[Request]:
    """The tool's own."""
    return [request for request in since(lab, start) if request.agent.startswith("migrate/")]


def table(requests: list[Request]) -> str:
    """The most frequent ones, a line each."""
    counted = Counter(f"{one.verb} {one.resource} {one.code}" for one in requests)
    return "\n".join(f"{number:5} {what}" for what, number in counted.most_common(25))
