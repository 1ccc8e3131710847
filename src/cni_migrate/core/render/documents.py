"""Rendered YAML read as data, quickly: by libyaml where it is there.

ruamel.yaml in pure Python took a quarter of what `preflight` takes altogether. libyaml reads the same text in a tenth
of the time, but PyYAML understands plain words as YAML 1.1 does (`no` is false); here they are those of YAML 1.2's core
schema (yaml.org/spec/1.2.2, 10.3.2), but for floats, dates and merge keys, which no template has.
"""

import re
from typing import Any, Final

import yaml

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BOOL: Final = "tag:yaml.org,2002:bool"
_INT: Final = "tag:yaml.org,2002:int"
_NULL: Final = "tag:yaml.org,2002:null"


class _Loader(_Base):  # type: ignore[misc]  # which class it is depends on how PyYAML was built
    """A safe loader with YAML 1.2's plain words."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way; add_implicit_resolver fills it


_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_INT, re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789"))


def _integer(loader: Any, node: Any) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


_Loader.add_constructor(_INT, _integer)


def documents(text: str) -> list[Any]:
    """The documents of a text, without the empty ones.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    return [found for found in yaml.load_all(text, Loader=_Loader) if found]
