"""Manifests from a file, or from all YAML and JSON files of a folder, in the order of their names."""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.resolver import VersionedResolver

from cni_migrate.errors import ConfigError

SUFFIXES = (".yaml", ".yml", ".json")


class _AsKubectl(SafeConstructor):
    """Scalars as kubectl and helm read them, which is YAML 1.1 (sigs.k8s.io/yaml): `0400` is octal, `yes` is true.

    Without its numbers to the base of 60 and its dates, which they leave as text.
    """

    def construct_number(self, node: ScalarNode) -> Any:
        """A number, unless it has colons."""
        if ":" in node.value:
            return self.construct_scalar(node)
        real = node.tag == "tag:yaml.org,2002:float"
        return self.construct_yaml_float(node) if real else self.construct_yaml_int(node)


for _kind in ("int", "float"):
    _AsKubectl.add_constructor(f"tag:yaml.org,2002:{_kind}", _AsKubectl.construct_number)
_AsKubectl.add_constructor("tag:yaml.org,2002:timestamp", _AsKubectl.construct_scalar)


class _Always11(VersionedResolver):
    """YAML 1.1 for every document: what is set on a reader holds for the first one only."""

    @property
    def processing_version(self) -> tuple[int, int]:
        """Which YAML this is."""
        return (1, 1)


def read_documents(path: Path, key: str) -> list[Any]:
    """Every document of a file or folder. `key` is the configuration's key that named it.

    Raises:
        ConfigError: it cannot be read, or is not YAML.
    """
    files = sorted(one for one in path.rglob("*") if one.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise ConfigError(f"key `{key}`: {path} has no file that ends in {', '.join(SUFFIXES)}")
    found: list[Any] = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(f"key `{key}`: {file} cannot be read: {why}", next=f"correct {key}") from None
        found += parsed(text, str(file))
    return found


def parsed(text: str, name: str) -> list[Any]:
    """The documents of a YAML text, read as kubectl does; `name` is where it comes from.

    Raises:
        ConfigError: it is not YAML.
    """
    try:
        reader = YAML(typ="safe", pure=True)
        reader.Resolver = _Always11
        reader.Constructor = _AsKubectl
        return list(reader.load_all(io.StringIO(text)))
    except YAMLError as error:
        words = " ".join(str(error).split())[:300]
        raise ConfigError(f"{name}: not valid YAML: {words}", next="correct it") from None
