"""Where the configuration comes from: flags outrank the environment, which outranks the file, then the profile.

What is wrong is told by where it was written: the file with its line, the environment variable, or the flag.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Final, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from cni_migrate import yamlfile
from cni_migrate.config import IMAGES, PROFILES, Config, ProfileName
from cni_migrate.errors import ConfigError

PREFIX: Final = "MIGRATE_"

NOT_KEYS: Final = frozenset(
    {"MIGRATE_CONFIG", "MIGRATE_DEBUG", "MIGRATE_LOG_FORMAT", "MIGRATE_LOG_FILE", "MIGRATE_PROGRESS"}
)
"""Variables of the command line that are no keys of the configuration."""

_FLAGS: Final = {"deadlines.drain": "--timeout"}
"""Flags that are not called as the key that they set."""

_SERVICE_LINKS: Final = ("MIGRATE_SERVICE_", "MIGRATE_PORT")
"""What Kubernetes sets in pods beside a Service named `migrate` (kubernetes.io: "Discovering services")."""

FOUND: Final = {
    "canal": (
        "namespace", "daemonset", "more_daemonsets", "cni_file", "network_name", "pod_cidr", "network", "tunnel_port",
        "vni",
    ),
    "host_task": ("cni_folder", "bin_folder"),
    "drain": ("taint_effect",),
}  # fmt: skip
"""Keys that are found in the cluster when nobody sets them: the model's defaults are guesses for want of a cluster."""

Path_ = tuple[str, ...]


@dataclass(frozen=True)
class Loaded:
    """The effective configuration and, for each leaf's dotted key, where its value came from."""

    config: Config
    origin: Mapping[str, str]

    @property
    def said(self) -> frozenset[str]:
        """The keys that somebody has set, in the file, the environment or by a flag."""
        return frozenset(key for key, source in self.origin.items() if not source.startswith(("default", "profile ")))


def leaves(model: type[BaseModel] = Config, path: Path_ = ()) -> Iterator[tuple[Path_, FieldInfo]]:
    """Every key that holds a value, in the order of the model."""
    for name, field in model.model_fields.items():
        if section := section_of(field):
            yield from leaves(section, (*path, name))
        else:
            yield (*path, name), field


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a section of its own."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def variable(path: Path_) -> str:
    """The environment variable of a key: `cilium.pod_cidr` is `MIGRATE_CILIUM_POD_CIDR`."""
    return PREFIX + "_".join(path).upper()


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Loaded:
    """The configuration from all its sources.

    Args:
        file: the file, if one was named.
        environ: the environment.
        flags: dotted key to value, of the flags that were given.

    Raises:
        ConfigError: a source is wrong; the message says which, where, what was expected and the nearest known key.
    """
    written = _Written.read(file) if file is not None else _Written("", {}, yamlfile.Written({}, {}))
    variables = _variables(environ)
    chosen = flags.get("profile") or variables.get(("profile",)) or written.tree.get("profile") or "modern"
    if not isinstance(chosen, str) or chosen not in PROFILES:
        chosen = "modern"  # refused below, by the model
    profile = PROFILES[cast("ProfileName", chosen)]
    origin = {".".join(path): f"profile {chosen}" for path, _ in _flat(profile)}
    # All defaults are written out, so that half a section (a label's key without its value) keeps the other half.
    base = Config.model_validate(profile).model_dump()
    for section, key in IMAGES:  # but those of images: they follow from the version and the registry
        del base[section][key]
    if "strategy" not in origin:  # and the strategy, which may follow from where Cilium comes from
        del base["strategy"]
    for section, keys in FOUND.items():  # and what a cluster tells: only what somebody said is set
        for key in keys:
            if f"{section}.{key}" not in origin:
                del base[section][key]
    written.check(base)
    merged = _merged(base, written.tree)
    origin |= {".".join(path): f"{written.name}, line {written.line(path)}" for path, _ in _flat(written.tree)}
    for path, value in variables.items():
        _put(merged, path, value)
        origin[".".join(path)] = variable(path)
    for key, value in flags.items():
        path = tuple(key.split("."))
        _put(merged, path, value)
        origin[key] = _FLAGS.get(key) or f"--{path[-1].replace('_', '-')}"
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        raise _refused(error, origin, written) from None
    return Loaded(config, {".".join(path): origin.get(".".join(path), "default") for path, _ in leaves()})


# --- the file ----------------------------------------------------------------------------------------------------


class _Written:
    """A file as it was read: a tree of sections, and the line of each key."""

    def __init__(self, name: str, tree: dict[str, Any], written: yamlfile.Written) -> None:
        self.name = name
        self.tree = tree
        self.line = written.line

    @classmethod
    def read(cls, file: Path) -> "_Written":
        try:
            text = yamlfile.text_of(file)
        except yamlfile.BadFile as error:
            raise ConfigError(
                f"{file}: the configuration cannot be read: {error.why}",
                next="migrate config init --output FILE  (for a new one)",
            ) from None
        try:
            written = yamlfile.parse(text)
        except yamlfile.BadFile as error:
            where = f"{file}:{error.line}" if error.line is not None else str(file)
            raise ConfigError(f"{where}: {error.why}", next=f"fix {file}") from None
        found = {} if written.content is None else written.content
        if not isinstance(found, dict):
            raise ConfigError(f"{file}:1: expected keys with values, found {_shown(found)}", next="migrate config init")
        return cls(str(file), _sections(found), written)

    def check(self, base: Mapping[str, Any]) -> None:
        """Refuse wrong keys and types in the file itself, strictly: what is quoted is text and nothing else."""
        try:
            Config.model_validate(_merged(base, self.tree), strict=True)
        except ValidationError as error:
            own = [one for one in error.errors() if one["loc"]]
            if own:
                raise _refused(error, {}, self) from None


def _sections(tree: Mapping[str, Any], path: Path_ = ()) -> dict[str, Any]:
    """The tree with sections without content as empty ones, and a number of nodes as the text that it may be."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        here = (*path, key)
        content = {} if value is None and _is_section(here) else value
        found[key] = _sections(content, here) if isinstance(content, Mapping) and _is_section(here) else content
    if path == () and type(found.get("max_unavailable")) is int:
        found["max_unavailable"] = str(found["max_unavailable"])
    return found


def _is_section(path: Path_) -> bool:
    model: type[BaseModel] | None = Config
    for name in path:
        field = model.model_fields.get(name) if model is not None else None
        model = section_of(field) if field is not None else None
    return model is not None


# --- the environment ---------------------------------------------------------------------------------------------


def _variables(environ: Mapping[str, str]) -> dict[Path_, Any]:
    """The keys that the environment sets. Lists and maps are written as JSON."""
    known = {variable(path): (path, field) for path, field in leaves()}
    found: dict[Path_, Any] = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or name in NOT_KEYS or name.startswith(_SERVICE_LINKS):
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"the environment variable {name} names no key of the configuration{hint}", next="migrate config show"
            )
        path, field = known[name]
        value: Any = text
        if _structured(field.annotation):
            try:
                value = json.loads(text, object_pairs_hook=_once)
            except (ValueError, RecursionError) as error:
                why = f" ({error})" if isinstance(error, _Twice) else ""
                raise ConfigError(
                    f"the environment variable {name}: JSON is expected, found {text!r}{why}", next=f"correct {name}"
                ) from None
        found[path] = value
    return found


class _Twice(ValueError):
    """A key that is there twice."""


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(f"the key {key} is there twice")
        found[key] = value
    return found


def _structured(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return any(_structured(one) for one in get_args(annotation))
    return origin in (list, dict)


# --- what is wrong, in words ---------------------------------------------------------------------------------------


def _refused(error: ValidationError, origin: Mapping[str, str], written: _Written) -> ConfigError:
    """The first error, told by where it was written; the number of the others."""
    found = error.errors(include_url=False)
    first = found[0]
    path = tuple(str(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "contradiction":
        path = _culprit(first["ctx"]["keys"], origin, written)
    key = ".".join(path)
    source = next((origin[k] for k in _outwards(path) if k in origin), "")
    in_file = written.name and (not source or source.startswith(f"{written.name}, ")) and _has(written.tree, path)
    where = f"{written.name}:{written.line(path)}: " if in_file else f"{source}: " if source else ""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    if first["type"] == "extra_forbidden":
        return ConfigError(f"{where}unknown key `{key}`{_nearest(path)}{more}", next=_EVERY_KEY)
    if first["type"] in ("value_error", "contradiction"):
        what = str(first["msg"]).removeprefix("Value error, ")
    else:
        expected = _FORMS.get(key) if first["type"] == "string_pattern_mismatch" else _EXPECTED.get(first["type"])
        expected = expected or str(first["msg"]).removeprefix("Input should be ")
        what = f"expected {expected}, found {_shown(first['input'])}"
    return ConfigError(f"{where}key `{key}`: {what}{more}", next=_EVERY_KEY)


def _culprit(keys: Iterable[str], origin: Mapping[str, str], written: _Written) -> Path_:
    """Of the keys that contradict each other, the first that somebody wrote."""
    paths = [tuple(key.split(".")) for key in keys]
    for path in paths:
        if any(_outward in origin for _outward in _outwards(path)) or (path and _has(written.tree, path)):
            return path
    return paths[0]


def _outwards(path: Path_) -> Iterator[str]:
    """A key, and the keys around it, from the inside."""
    while path:
        yield ".".join(path)
        path = path[:-1]


_EVERY_KEY: Final = "migrate config init  (shows every key with its default)"

_EXPECTED: Final = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text (put it in quotes)",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "list_type": "a list",
    "dict_type": "keys with values",
    "model_type": "a section with keys of its own",
    "model_attributes_type": "a section with keys of its own",
    "finite_number": "a number that is finite",
}
"""pydantic's kinds of errors in words for operators."""

_FORMS: Final = {
    "max_unavailable": "a number or a percentage, for example 2 or 10%",
    "cilium.kubernetes": "a version of Kubernetes, for example 1.34",
}
"""Texts that have to have a form, in words."""


def _nearest(path: Path_) -> str:
    """The known key that is nearest to an unknown one: in its own section first, else anywhere by its last part."""
    every = [".".join(known) for known, _ in leaves()]
    sections = {".".join(known[:depth]) for known, _ in leaves() for depth in range(1, len(known))}
    parent = ".".join(path[:-1])
    siblings = [key for key in (*every, *sections) if key.rpartition(".")[0] == parent]
    near = difflib.get_close_matches(path[-1], [key.rpartition(".")[2] for key in siblings], n=1)
    if near:
        return f"; did you mean `{'.'.join((*path[:-1], near[0]))}`?"
    elsewhere = [key for key in every if key.rpartition(".")[2] == path[-1]]
    elsewhere = elsewhere or difflib.get_close_matches(".".join(path), every, n=1)
    return f"; did you mean `{elsewhere[0]}`?" if elsewhere else ""


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- trees -------------------------------------------------------------------------------------------------------


def _flat(tree: Mapping[str, Any], path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and _is_section((*path, key)):
            yield from _flat(value, (*path, key))
        else:
            yield (*path, key), value


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, section by section."""
    merged = {key: _merged(value, {}) if isinstance(value, Mapping) else value for key, value in base.items()}
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def _put(tree: dict[str, Any], path: Path_, value: Any) -> None:
    for part in path[:-1]:
        inner = tree.get(part)
        if not isinstance(inner, dict):
            inner = tree[part] = {}
        tree = inner
    tree[path[-1]] = value


def _has(tree: Mapping[str, Any], path: Path_) -> bool:
    """Whether a file's tree holds the key, or a section around it that is not one."""
    here: Any = tree
    for part in path:
        if not isinstance(here, Mapping):
            return True
        if part not in here:
            return False
        here = here[part]
    return True
