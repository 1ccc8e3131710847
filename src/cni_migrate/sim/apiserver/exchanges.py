"""An exchange and what its request says: the body, and the options in body and query."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cni_migrate.sim.apiserver import deletion, protobuf, status
from cni_migrate.sim.apiserver.hooks import Fault
from cni_migrate.sim.apiserver.options import Query, Write
from cni_migrate.sim.apiserver.requests import Request
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.wire import JSON, Wire
from cni_migrate.sim.client import ApiError, Object

_OPTIONS = {"PUT": "UpdateOptions", "PATCH": "PatchOptions", "DELETE": "DeleteOptions"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request with its wire and the faults that are to hit its watch."""

    wire: Wire
    request: Request
    query: dict[str, str]
    body: bytes
    faults: list[Fault]

    @property
    def accept(self) -> str:
        """The Accept header."""
        accept: str = self.wire.headers.get("accept", "")
        return accept

    @property
    def content_type(self) -> str:
        """The media type of the body; JSON when none is told."""
        return self.wire.headers.get("content-type", JSON).partition(";")[0].strip() or JSON


def decoded(body: bytes, context: str = "couldn't get version/kind; json parse error: ") -> Any:
    """A JSON body; 400 when it is none."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise status.bad_request(f"{context}{error}") from None


def decoded_body(exchange: Exchange) -> Any:
    """The body in whatever media type it has; 415 for an unknown one."""
    match exchange.content_type:
        case "application/json":
            return decoded(exchange.body)
        case protobuf.MEDIA_TYPE:
            return protobuf.decoded(exchange.body)
        case "application/yaml":
            raise status.not_emulated("YAML bodies")
        case _:
            raise status.unsupported_media_type([JSON, "application/yaml", protobuf.MEDIA_TYPE])


def object_of(resource: Resource, exchange: Exchange) -> Object:
    """The object in the body, of the kind and version the path names."""
    body = decoded_body(exchange)
    if not isinstance(body, dict):
        raise status.bad_request("couldn't get version/kind; json parse error: cannot unmarshal into Go value")
    kind = resource.kind
    api_version, named = body.get("apiVersion") or kind.api_version, body.get("kind") or kind.kind
    if api_version != kind.api_version:
        message = (
            f"the API version in the data ({api_version}) does not match the expected API version ({kind.api_version})"
        )
        raise status.bad_request(message)
    if resource.custom and not body.get("kind"):
        raise status.bad_request(
            f"the object provided is unrecognized (must be of type {kind.kind}): Object 'Kind' is missing"
        )
    if named != kind.kind:
        message = f'{named} in version "{kind.version}" cannot be handled as a {kind.kind}: unknown conversion'
        raise status.bad_request(message)
    return body


def dry_run(query: Mapping[str, str], options: str = "CreateOptions") -> bool:
    """The `dryRun` parameter; 422 for anything but All."""
    value = query.get("dryRun")
    if value not in (None, "All"):
        wrong = status.FieldError("NotSupported", "dryRun", [value], 'supported values: "All"')
        cause = {"reason": "FieldValueNotSupported", "message": wrong.message, "field": wrong.field}
        message = f'{options}.meta.k8s.io "" is invalid: {wrong.field}: {wrong.message}'
        details = {"group": "meta.k8s.io", "kind": options, "causes": [cause]}
        raise ApiError(422, "Invalid", message, details)
    return value is not None


def write_options(exchange: Exchange) -> Write:
    """Field manager and dry run."""
    agent = exchange.wire.headers.get("user-agent", "unknown")
    manager = exchange.query.get("fieldManager") or agent.partition("/")[0]
    if exchange.request.method == "DELETE" and exchange.body.strip():
        return Write(manager)  # a body's options replace the query's, dryRun included
    options = _OPTIONS.get(exchange.request.method, "CreateOptions")
    return Write(manager, dry_run(exchange.query, options))


def list_query(query: Mapping[str, str]) -> Query:
    """The parameters of a list."""
    limit = query.get("limit") or "0"
    if not limit.removeprefix("-").isdecimal():
        raise status.bad_request(f'strconv.ParseInt: parsing "{limit}": invalid syntax')
    return Query(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        limit=max(0, int(limit)),
        token=query.get("continue", ""),
        version=query.get("resourceVersion", ""),
        match=query.get("resourceVersionMatch", ""),
    )


def delete_options(exchange: Exchange) -> deletion.Options:
    """From the body, or from the query when there is none."""
    if exchange.body.strip():
        return deletion.options_of(decoded_body(exchange))
    query, found = exchange.query, dict[str, Any]()
    if text := query.get("gracePeriodSeconds"):
        found["gracePeriodSeconds"] = int(text)
    if text := query.get("propagationPolicy"):
        found["propagationPolicy"] = text
    return deletion.options_of(found)
