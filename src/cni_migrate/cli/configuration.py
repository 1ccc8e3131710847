"""`config init|show|schema`, `manifests`, `images`: the configuration, and what follows from it without a cluster."""

import difflib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from pydantic import BaseModel
from rich.text import Text

from cni_migrate.cli.options import Common
from cni_migrate.cli.session import configured, run_async, session
from cni_migrate.cli.settling import look_for_canal
from cni_migrate.cli.ui import output
from cni_migrate.config import PROFILES, Config, ProfileName
from cni_migrate.configfile import Loaded, section_of, variable
from cni_migrate.core.model.canal import configuration_of, with_values
from cni_migrate.core.render.coexistence import Stage, values
from cni_migrate.core.render.manifests import Manifests, node_config_version
from cni_migrate.errors import PreflightFailed, UsageError
from cni_migrate.wiring import manifests_for

HEAD = """\
# Configuration of `migrate`. Every key is here with its meaning and its default, switched off by the `#` right before
# it: take that away from the keys that you change. Flags outrank environment variables (MIGRATE_CILIUM_POD_CIDR is
# cilium.pod_cidr), these outrank this file, and this file outranks the profile.
"""


def init(common: Common, file: Path | None, profile: str, *, from_cluster: bool) -> None:
    """Write a configuration with every key, its meaning and its default; and what a cluster tells of its Canal.

    Raises:
        PreflightFailed: the cluster has no Canal.
        MigrateError: the cluster does not answer, or the file cannot be written.
    """
    found = run_async(_found(common, profile)) if from_cluster else {}
    text = commented(cast("ProfileName", profile), found)
    if file is None:
        sys.stdout.write(text)
        return
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise UsageError(f"{file} exists already: it is left as it is", next="choose another --output") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}", next="choose another --output") from None
    sys.stderr.write(f"written: {file}\nnext: migrate preflight --config {file}\n")


async def _found(common: Common, profile: str) -> dict[str, Any]:
    """Dotted key to value, of what the cluster tells."""
    config = configured(common, {"profile": profile}).config
    async with session(common, config) as here, here.cluster() as cluster:
        canal = await look_for_canal(here, cluster)
    if not canal.daemonsets:
        raise PreflightFailed(
            "no DaemonSet of this cluster runs flannel: there is no Canal to write about",
            next="migrate preflight  (what else is seen)",
        )
    return configuration_of(canal)


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
        yield f"{indent}{'' if path + name in found else '#'}{name}: {_value(value)}"


def _value(value: Any) -> str:
    import json

    plain = isinstance(value, str) and value and value[0].isalnum() and not {":", "#"} & set(value.replace(":v", ""))
    return str(value) if plain and not _ambiguous(value) else json.dumps(value)


def _ambiguous(text: str) -> bool:
    """Whether YAML would take the text for something else."""
    try:
        float(text)
    except ValueError:
        return text.lower() in ("true", "false", "null", "yes", "no", "on", "off")
    return True


def show(common: Common, form: str) -> None:
    """Show the effective configuration and where each value came from."""
    loaded = configured(common, {})
    data = loaded.config.model_dump(mode="json")
    if form == "json":
        output.as_json({"config": data, "origin": dict(loaded.origin)})
        return
    if form == "yaml":
        output.as_yaml(data)
        return
    made = output.table("KEY", "VALUE", "FROM", "VARIABLE")
    for key, source in loaded.origin.items():
        value: Any = data
        for part in key.split("."):
            value = value[part]
        style = "" if source == "default" else "bold"
        made.add_row(Text(key, style=style), Text(_value(value), style=style), source, variable(tuple(key.split("."))))
    output.show_table(output.out(), made)


def schema() -> None:
    """Print the JSON Schema of the configuration."""
    output.as_json(Config.model_json_schema())


VALUES: Final[Mapping[str, Stage]] = {"cilium-values": "transit", "cilium-values-final": "final"}
"""The parts that are helm values."""


def manifests(common: Common, flags: Mapping[str, Any], part: str) -> None:
    """Print what is applied, as a stream of YAML documents."""
    loaded = configured(common, flags)
    if stage := VALUES.get(part):
        sys.stdout.write(output.yaml_text(values(loaded.config, stage)))
        return
    wanted = _part(loaded, manifests_for(loaded.config, None), part)
    seen: set[str] = set()
    for manifest in wanted:
        text = output.yaml_text(manifest)
        if text not in seen:
            seen.add(text)
            sys.stdout.write(f"---\n{text}")


def _part(loaded: Loaded, made: Manifests, part: str) -> list[dict[str, Any]]:
    """The objects of one part.

    Raises:
        UsageError: there is no such part with this configuration.
    """
    config = loaded.config
    if part == "multus" and config.strategy != "multus":
        raise UsageError("strategy overlay has no Multus", next="migrate manifests multus --strategy multus")
    if part == "job" and not config.job.image:
        raise UsageError(
            "the Job needs an image with `migrate` in it (key `job.image`): none is published, the project's"
            " Dockerfile makes one",
            next="migrate manifests job --image REGISTRY/cni-migrate:VERSION",
        )
    version = "v2" if made.cilium_version >= (1, 16) else "v2alpha1"
    served = [f"cilium.io/{version}/ciliumnodeconfigs"]
    cilium = made.cilium()
    if config.strategy == "overlay" and node_config_version(served):
        cilium += made.node_config(served)
    multus = made.multus() if config.strategy == "multus" else []
    match part:
        case "cilium":
            return cilium
        case "cilium-final":
            return made.cilium_final()
        case "knet":
            return made.knet()
        case "multus":
            return multus
        case "rbac":
            return [*made.namespaces(), *made.rbac()]
        case "job":
            return made.job(output.yaml_text(chosen(loaded)))
        case _:
            return [*made.namespaces(), *made.knet(), *cilium, *multus]


def differences(common: Common, flags: Mapping[str, Any]) -> None:
    """Print how Cilium's objects differ while Canal is there, too, from what stays, as a unified diff each."""
    made = manifests_for(configured(common, flags).config, None)
    final = {_name_of(one): output.yaml_text(one).splitlines() for one in made.cilium_final()}
    transit = {_name_of(one): output.yaml_text(one).splitlines() for one in made.cilium()}
    for name in dict.fromkeys([*final, *transit]):
        lines = difflib.unified_diff(
            final.get(name, []), transit.get(name, []), f"{name}  (what stays)", f"{name}  (beside Canal)", lineterm=""
        )
        for line in lines:
            sys.stdout.write(f"{line}\n")


def _name_of(manifest: Mapping[str, Any]) -> str:
    meta = manifest["metadata"]
    return "/".join(part for part in (str(manifest["kind"]), meta.get("namespace", ""), meta["name"]) if part)


def chosen(loaded: Loaded) -> dict[str, Any]:
    """What was chosen and is no default, wherever it was said, as a file for another `migrate`.

    Without what is about the Job itself: it names its own node by a flag.
    """
    data = loaded.config.model_dump(mode="json")
    tree: dict[str, Any] = {}
    for key, source in loaded.origin.items():
        path = key.split(".")
        if source == "default" or source.startswith("profile ") or path[0] in ("job", "own_node"):
            continue
        value, place = data, tree
        for part in path[:-1]:
            value, place = value[part], place.setdefault(part, {})
        place[path[-1]] = value[path[-1]]
    return tree


def images(common: Common, flags: Mapping[str, Any]) -> None:
    """List the images, one a line."""
    config = configured(common, flags).config
    made = output.table("FOR", "IMAGE")
    for purpose, image in manifests_for(config, None).images().items():
        if purpose == "host-task" and not config.host_task.image:
            made.add_row(purpose, "Canal's own image, which is on every node already")
        else:
            made.add_row(purpose, image)
    output.show_table(output.out(), made)
