"""Reads manifests that somebody else has published, for a scenario whose Canal is to be one of them."""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cni_migrate import yamlfile

MOST: Final = 8 << 20
"""Bytes of a file: the definitions of Calico's resources make its manifests large."""

_FIRST: Final = ("Namespace", "CustomResourceDefinition", "ServiceAccount", "ConfigMap")
"""Kinds that others need."""


def read(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The objects in these files. Lists are taken apart, empty documents left out.

    Raises:
        yamlfile.BadFile: a file cannot be read, or holds something else than manifests.
    """
    return [manifest for file in files for manifest in _manifests(file)]


def ordered(manifests: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What others need first, in the order in which a cluster would have to get it."""
    return sorted(manifests, key=lambda one: _FIRST.index(one["kind"]) if one["kind"] in _FIRST else len(_FIRST))


def _manifests(file: Path) -> Iterator[dict[str, Any]]:
    try:
        text = yamlfile.text_of(file, most=MOST)
        documents = list(YAML(typ="safe", pure=True).load_all(io.StringIO(text)))
    except yamlfile.BadFile as error:
        raise yamlfile.BadFile(f"{file}: {error.why}") from None
    except (YAMLError, *yamlfile.CRASHES) as error:
        raise yamlfile.BadFile(f"{file}: not valid YAML: {' '.join(str(error).split())[:200]}") from None
    for number, document in enumerate(documents, 1):
        if document is None:
            continue
        several = isinstance(document, dict) and document.get("kind") == "List"
        for one in (document.get("items") or ()) if several else (document,):
            if not isinstance(one, dict) or not isinstance(one.get("kind"), str) or not _name(one):
                raise yamlfile.BadFile(f"{file}: document {number} is no manifest: it has no kind, or no metadata.name")
            yield one


def _name(manifest: dict[str, Any]) -> object:
    metadata = manifest.get("metadata")
    return metadata.get("name") if isinstance(metadata, dict) else None
