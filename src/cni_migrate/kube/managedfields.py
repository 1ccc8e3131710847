"""Who wrote which fields of an object, as the API server keeps it in `metadata.managedFields`."""

import sys
from collections.abc import Mapping
from typing import Any, Final

from cni_migrate.core.model.objects import Writer

Json = Mapping[str, Any]

_FIELDS: Final = {
    "nodeSelector": ("f:spec", "f:template", "f:spec", "f:nodeSelector"),
    "updateStrategy": ("f:spec", "f:updateStrategy"),
}
"""Where managed fields tell who wrote what (kubernetes.io: "Server-Side Apply", `fieldsV1`)."""


def writers(meta: Json) -> tuple[Writer, ...]:
    """Who wrote the spec; who only writes the status is left out."""
    return tuple(
        Writer(
            sys.intern(str(one.get("manager", ""))),
            str(one.get("time", "")),
            frozenset(name for name, path in _FIELDS.items() if _has(one.get("fieldsV1") or {}, path)),
        )
        for one in meta.get("managedFields") or ()
        if not one.get("subresource")
    )


def _has(tree: Json, path: tuple[str, ...]) -> bool:
    for part in path:
        if part not in tree:
            return False
        tree = tree[part]
    return True
