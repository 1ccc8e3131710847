"""Protobuf bodies, as far as `kubectl` sends them: its typed clients write nothing else.

The wire format is `k8s.io/apimachinery/pkg/runtime/serializer/protobuf`: four bytes of magic, then a message with the
type and the raw object. Only the messages listed here are understood; any other kind is answered with 415, as a server
answers what it cannot read. Answers are always JSON, which those clients accept too.
"""

import base64
from collections.abc import Iterator
from typing import Any, Literal

from cni_migrate.sim.apiserver import status
from cni_migrate.sim.client import Object

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"

Shape = Literal["string", "int", "bool", "strings", "labels", "blobs", "int or string"]
Field = tuple[str, Shape | dict[int, Any] | list[dict[int, Any]]]
"""A name, and a shape: a message is a dict of its fields by number, a repeated one a list of that dict."""

Message = dict[int, Field]

_METADATA: Message = {
    1: ("name", "string"),
    2: ("generateName", "string"),
    3: ("namespace", "string"),
    5: ("uid", "string"),
    6: ("resourceVersion", "string"),
    11: ("labels", "labels"),
    12: ("annotations", "labels"),
    14: ("finalizers", "strings"),
}
_DELETE_OPTIONS: Message = {
    1: ("gracePeriodSeconds", "int"),
    2: ("preconditions", {1: ("uid", "string"), 2: ("resourceVersion", "string")}),
    3: ("orphanDependents", "bool"),
    4: ("propagationPolicy", "string"),
    5: ("dryRun", "strings"),
}
_RESOURCE: Message = {
    number: (name, "string")
    for number, name in enumerate(("namespace", "verb", "group", "version", "resource", "subresource", "name"), 1)
}
_REVIEW: Message = {
    1: ("resourceAttributes", _RESOURCE),
    2: ("nonResourceAttributes", {1: ("path", "string"), 2: ("verb", "string")}),
}
_SELECTOR: Message = {
    1: ("matchLabels", "labels"),
    2: ("matchExpressions", [{1: ("key", "string"), 2: ("operator", "string"), 3: ("values", "strings")}]),
}
_CONTAINER: Message = {
    1: ("name", "string"),
    2: ("image", "string"),
    3: ("command", "strings"),
    4: ("args", "strings"),
    6: ("ports", [{1: ("name", "string"), 3: ("containerPort", "int"), 4: ("protocol", "string")}]),
}
_POD: Message = {2: ("containers", [_CONTAINER]), 3: ("restartPolicy", "string"), 8: ("serviceAccountName", "string")}
_TEMPLATE: Message = {1: ("metadata", _METADATA), 2: ("spec", _POD)}
_PORT: Message = {
    1: ("name", "string"),
    2: ("protocol", "string"),
    3: ("port", "int"),
    4: ("targetPort", "int or string"),
}
_RULES: Message = {
    number: (name, "strings")
    for number, name in enumerate(("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"), 1)
}
_SUBJECT: Message = {
    number: (name, "string") for number, name in enumerate(("kind", "apiGroup", "name", "namespace"), 1)
}
_ROLE_REF: Message = {1: ("apiGroup", "string"), 2: ("kind", "string"), 3: ("name", "string")}
_ROLE: Message = {1: ("metadata", _METADATA), 2: ("rules", [_RULES])}
_BINDING: Message = {1: ("metadata", _METADATA), 2: ("subjects", [_SUBJECT]), 3: ("roleRef", _ROLE_REF)}


def _of(spec: Message) -> Message:
    return {1: ("metadata", _METADATA), 2: ("spec", spec)}


_KINDS: dict[str, Message] = {
    "ClusterRole": _ROLE,
    "ClusterRoleBinding": _BINDING,
    "ConfigMap": {1: ("metadata", _METADATA), 2: ("data", "labels"), 3: ("binaryData", "blobs")},
    "DeleteOptions": _DELETE_OPTIONS,
    "Deployment": _of({1: ("replicas", "int"), 2: ("selector", _SELECTOR), 3: ("template", _TEMPLATE)}),
    "Eviction": {1: ("metadata", _METADATA), 2: ("deleteOptions", _DELETE_OPTIONS)},
    "Job": _of(
        {1: ("parallelism", "int"), 2: ("completions", "int"), 6: ("template", _TEMPLATE), 7: ("backoffLimit", "int")}
    ),
    "Namespace": {1: ("metadata", _METADATA)},
    "PodDisruptionBudget": _of(
        {1: ("minAvailable", "int or string"), 2: ("selector", _SELECTOR), 3: ("maxUnavailable", "int or string")}
    ),
    "Role": _ROLE,
    "RoleBinding": _BINDING,
    "Secret": {1: ("metadata", _METADATA), 2: ("data", "blobs"), 3: ("type", "string"), 4: ("stringData", "labels")},
    "SelfSubjectAccessReview": {2: ("spec", _REVIEW)},
    "SelfSubjectReview": {},
    "SelfSubjectRulesReview": {2: ("spec", {1: ("namespace", "string")})},
    "Service": _of(
        {1: ("ports", [_PORT]), 2: ("selector", "labels"), 3: ("clusterIP", "string"), 4: ("type", "string")}
    ),
    "ServiceAccount": {1: ("metadata", _METADATA)},
}  # fmt: skip


def decoded(body: bytes) -> Object:
    """The object in a body, as its JSON would be; 415 for a kind that is not listed."""
    if not body.startswith(_MAGIC):
        raise status.bad_request("provided data does not appear to be a protobuf message")
    envelope = dict(_fields(body[len(_MAGIC) :]))
    kind_fields = dict(_fields(envelope.get(1, b"")))
    api_version, kind = (bytes(kind_fields.get(number, b"")).decode() for number in (1, 2))
    if kind not in _KINDS:
        raise status.unsupported_media_type(["application/json"])
    return {"kind": kind, "apiVersion": api_version, **_message(envelope.get(2, b""), _KINDS[kind])}


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return value, position


def _fields(data: Any) -> Iterator[tuple[int, Any]]:
    """The numbered fields of a message: integers, or bytes for all that has a length."""
    position = 0
    try:
        while position < len(data):
            tag, position = _varint(data, position)
            number, wire = tag >> 3, tag & 7
            if wire == 0:
                value, position = _varint(data, position)
                yield number, value
                continue
            if wire != 2:
                raise status.bad_request(f"proto: wire type {wire} is not expected")
            length, position = _varint(data, position)
            yield number, data[position : position + length]
            position += length
    except IndexError:
        raise status.bad_request("unexpected EOF") from None


def _message(data: bytes, message: Message) -> Object:
    result: Object = {}
    for number, raw in _fields(data):
        if number not in message:
            continue
        name, shape = message[number]
        if isinstance(shape, dict):
            result[name] = _message(raw, shape)
        elif isinstance(shape, list):
            result.setdefault(name, []).append(_message(raw, shape[0]))
        elif shape == "int or string":
            result[name] = _int_or_string(raw)
        elif shape == "strings":
            result.setdefault(name, []).append(raw.decode())
        elif shape in ("labels", "blobs"):
            pair = dict(_fields(raw))
            value = pair.get(2, b"")
            text = base64.b64encode(value) if shape == "blobs" else value
            result.setdefault(name, {})[pair.get(1, b"").decode()] = text.decode()
        else:
            value = _scalar(raw, shape)
            if value != "":
                result[name] = value
    return result


def _int_or_string(raw: bytes) -> int | str:
    """An `intstr.IntOrString`: whether it is text, the number, the text."""
    found = dict(_fields(raw))
    return bytes(found.get(3, b"")).decode() if found.get(1) else _signed(found.get(2, 0))


def _signed(raw: int) -> int:
    return raw - (1 << 64) if raw >= 1 << 63 else raw


def _scalar(raw: Any, shape: Shape) -> Any:
    if shape == "string":
        return raw.decode()
    if shape == "bool":
        return bool(raw)
    return _signed(raw)
