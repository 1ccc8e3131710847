"""The text of a configuration file in which every key is explained, as `migrate config init` writes it."""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from cni_migrate.config import PROFILES, Config, ProfileName
from cni_migrate.configfile import section_of
from cni_migrate.core.model.canal import with_values

HEAD = """\
# Configuration of `migrate`. Every key is here with its meaning and its default, switched off by the `#` right before
# it: take that away from the keys that you change. Flags outrank environment variables (MIGRATE_CILIUM_POD_CIDR is
# cilium.pod_cidr), these outrank this file, and this file outranks the profile.
"""


def commented(profile: ProfileName, found: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The text of a configuration file of comments, but for the profile, the sections' names and what was found."""
    config = with_values(Config.model_validate({"profile": profile, **PROFILES[profile]}), found)
    lines = [HEAD, *_lines(config, 0, "", found)]
    return "\n".join(lines).replace("#profile: ", "profile: ", 1) + "\n"


def _lines(model: BaseModel, depth: int, path: str, found: Mapping[str, Any]) -> Iterator[str]:
    indent = "  " * depth
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if section := section_of(field):
            yield ""
            about = field.description or (section.__doc__ or "").splitlines()[0]
            yield f"{indent}# {about}"
            yield f"{indent}{name}:"
            yield from _lines(value, depth + 1, f"{path}{name}.", found)
            continue
        if field.description:
            yield f"{indent}# {field.description}"
        yield f"{indent}{'' if path + name in found else '#'}{name}: {value_text(value)}"


def value_text(value: Any) -> str:
    """A value as it stands in the file."""
    plain = isinstance(value, str) and value and value[0].isalnum() and not {":", "#"} & set(value.replace(":v", ""))
    return str(value) if plain and not _ambiguous(value) else json.dumps(value)


def _ambiguous(text: str) -> bool:
    """Whether YAML would take the text for something else."""
    try:
        float(text)
    except ValueError:
        return text.lower() in ("true", "false", "null", "yes", "no", "on", "off")
    return True
