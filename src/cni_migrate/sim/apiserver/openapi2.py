"""`/openapi/v2` in protobuf, which is all that kubectl asks for: it wants it for files of kind List, and for old flags.

The document names each kind that is served and says nothing of its fields, so a client lets them pass and the server is
who judges them. The numbers of the fields are those of gnostic's `openapiv2/OpenAPIv2.proto`.
"""

from typing import Final

from cni_migrate.sim.apiserver.kubernetes import Kubernetes
from cni_migrate.sim.apiserver.resources import Catalog

ASKED: Final = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
ANSWERED: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""An `@` is not allowed in an answer's media type; kube-openapi's handler puts a dot there."""

_DOCUMENT_SWAGGER, _DOCUMENT_INFO, _DOCUMENT_PATHS, _DOCUMENT_DEFINITIONS = 1, 2, 8, 9
_INFO_TITLE, _INFO_VERSION = 1, 2
_DEFINITIONS_SCHEMA = 1
_NAME, _VALUE = 1, 2
_SCHEMA_EXTENSION = 31
_ANY_YAML = 2


def document(catalog: Catalog, kubernetes: Kubernetes) -> bytes:
    """The document of all kinds that are served now."""
    info = _field(_INFO_TITLE, "Kubernetes") + _field(_INFO_VERSION, f"v{kubernetes.version}")
    kinds = sorted({(item.kind.group, item.kind.version, item.kind.kind) for item in catalog})
    definitions = b"".join(_field(_DEFINITIONS_SCHEMA, _definition(*kind)) for kind in kinds)
    return (
        _field(_DOCUMENT_SWAGGER, "2.0")
        + _field(_DOCUMENT_INFO, info)
        + _field(_DOCUMENT_PATHS, b"")
        + _field(_DOCUMENT_DEFINITIONS, definitions)
    )


def _definition(group: str, version: str, kind: str) -> bytes:
    served = f'- {{group: "{group}", version: {version}, kind: {kind}}}\n'
    extension = _field(_NAME, "x-kubernetes-group-version-kind") + _field(_VALUE, _field(_ANY_YAML, served))
    name = f"io.k8s.{group or 'core'}.{version}.{kind}"
    return _field(_NAME, name) + _field(_VALUE, _field(_SCHEMA_EXTENSION, extension))


def _field(number: int, value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
