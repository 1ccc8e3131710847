"""How Cilium differs, while Canal is there, too, from what stays."""

import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cni_migrate.cli.ui import output

if TYPE_CHECKING:
    from cni_migrate.core.render.manifests import Manifests


def differences(made: "Manifests") -> Iterator[str]:
    """The lines of a unified diff for each object that is not the same, or not there, on the way."""
    final = {_name_of(one): output.yaml_text(one).splitlines() for one in made.cilium_final()}
    transit = {_name_of(one): output.yaml_text(one).splitlines() for one in made.cilium()}
    for name in dict.fromkeys([*final, *transit]):
        yield from difflib.unified_diff(
            final.get(name, []), transit.get(name, []), f"{name}  (what stays)", f"{name}  (beside Canal)", lineterm=""
        )


def _name_of(manifest: Mapping[str, Any]) -> str:
    meta = manifest["metadata"]
    return "/".join(part for part in (str(manifest["kind"]), meta.get("namespace", ""), meta["name"]) if part)
