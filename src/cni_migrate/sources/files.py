"""Manifests from a file, or from all YAML and JSON files of a folder, in the order of their names."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import Node, ScalarNode
from ruamel.yaml.resolver import VersionedResolver

from cni_migrate.errors import ConfigError

SUFFIXES = (".yaml", ".yml", ".json")


class _AsKubectl(SafeConstructor):
    """Scalars as kubectl and helm read them, which is YAML 1.1 (sigs.k8s.io/yaml): `0400` is octal, `yes` is true.

    Without its numbers to the base of 60 and its dates, which they leave as text.
    """

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """A value; one that is none of the kind it is tagged as (`!!int x`) is named with its line."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, OverflowError, TypeError):
            raise ConstructorError(None, None, f"{str(node.value)[:60]} is no {node.tag}", node.start_mark) from None

    def construct_document(self, node: Node) -> Any:
        """A whole document, with the line that it begins in."""
        return node.start_mark.line + 1, super().construct_document(node)

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


@dataclass(frozen=True, slots=True)
class Document:
    """One document, and where it stands in what was named: `line 12`, or `own.yaml, line 12` in a folder."""

    where: str
    value: Any


def read_documents(path: Path, key: str) -> list[Document]:
    """Every document of a file or folder. `key` is the configuration's key that named it.

    Raises:
        ConfigError: it cannot be read, or is not YAML.
    """
    files = sorted(one for one in path.rglob("*") if one.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise ConfigError(f"key `{key}`: {path} has no file that ends in {', '.join(SUFFIXES)}", next=f"correct {key}")
    found: list[Document] = []
    for file in files:
        within = f"{file.relative_to(path)}, " if file != path else ""
        found += parsed(read_text(file, key), str(file), within)
    return found


def read_text(file: Path, key: str) -> str:
    """The text of a file that the configuration's key `key` names.

    Raises:
        ConfigError: there is none, it is no text, or it is something else than a file: reading that might never end.
    """
    try:
        if file.exists() and not file.is_file():
            raise ConfigError(f"key `{key}`: {file} is no file", next=f"correct {key}")
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"key `{key}`: {file} cannot be read: {why}", next=f"correct {key}") from None


def check_values(file: Path, key: str) -> None:
    """See that a file of values is one, and says one thing: of two documents or equal keys helm takes one.

    Raises:
        ConfigError: it is no file, or has what helm would leave out without a word. All else is helm's to judge.
    """
    if not file.is_file():
        raise ConfigError(f"key `{key}`: there is no file {file}", next=f"correct {key}")
    try:
        documents = [one for one in parsed(read_text(file, key), str(file)) if one.value is not None]
    except ConfigError as error:
        if "duplicate key" in error.message:
            raise
        return
    if len(documents) > 1:
        second = documents[1].where
        raise ConfigError(
            f"key `{key}`: {file} has {len(documents)} documents, and helm reads one: another begins in {second}",
            next="make two files of it, or one document",
        )


def parsed(text: str, name: str, within: str = "") -> list[Document]:
    """The documents of a YAML text, read as kubectl does; `name` is where it comes from, `within` which part of that.

    Raises:
        ConfigError: it is not YAML.
    """
    try:
        reader = YAML(typ="safe", pure=True)
        reader.Resolver = _Always11
        reader.Constructor = _AsKubectl
        found = list(reader.load_all(io.StringIO(text)))
    except RecursionError:
        raise ConfigError(f"{name}: not valid YAML: it is nested too deeply", next="correct it") from None
    except YAMLError as error:
        words = " ".join(str(error).split()).replace('in "<file>",', "in").partition(" To suppress this")[0]
        unrendered = "{{" in text
        raise ConfigError(
            f"{name}: not valid YAML: {words[:300]}",
            next="name what a template has been rendered to, without {{ }}" if unrendered else "correct it",
        ) from None
    return [Document(f"{within}line {line}", value) for line, value in found]
