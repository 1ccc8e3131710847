"""`migrate manifests`: what a migration applies, as YAML."""

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cni_migrate.cli.options import Common, OnStrategy, examples, with_common

if TYPE_CHECKING:
    from cni_migrate.configfile import Loaded
    from cni_migrate.core.render.manifests import Manifests

EXAMPLES = examples(
    "migrate manifests rbac | kubectl apply -f -",
    "migrate manifests job --image REGISTRY/cni-migrate:0.1.0 | kubectl apply -f -",
    "migrate manifests --strategy overlay",
    "migrate manifests --diff",
    "migrate manifests cilium-values > cilium-values.yaml",
)


class Part(StrEnum):
    """What to print the manifests of."""

    ALL = "all"
    CILIUM = "cilium"
    CILIUM_FINAL = "cilium-final"
    CILIUM_VALUES = "cilium-values"
    CILIUM_VALUES_FINAL = "cilium-values-final"
    MULTUS = "multus"
    KNET = "knet"
    RBAC = "rbac"
    JOB = "job"


@with_common
def command(
    common: Common,
    part: Annotated[Part, typer.Argument(help="Which of them.")] = Part.ALL,
    strategy: OnStrategy = None,
    image: Annotated[
        str, typer.Option(help="The image of the Job, with `migrate` in it.", show_default="from the configuration")
    ] = "",
    diff: Annotated[
        bool, typer.Option("--diff", help="Show how Cilium differs, while Canal is there, too, from what stays.")
    ] = False,
) -> None:
    """Print what a migration applies, as YAML. Needs no cluster.

    `cilium` is Cilium as it runs beside Canal, `cilium-final` as it stays; `cilium-values` and `cilium-values-final`
    are the Helm values of the two, for a Cilium that you install yourself. To run `migrate` in the cluster: `rbac`, its
    account with the least rights, and `job`.
    """
    from cni_migrate.cli.session import configured
    from cni_migrate.cli.ui import output
    from cni_migrate.cli.ui.differences import differences
    from cni_migrate.core.render.coexistence import values
    from cni_migrate.wiring import manifests_for

    loaded = configured(common, {"strategy": strategy.value if strategy else None, "job.image": image or None})
    if part in (Part.CILIUM_VALUES, Part.CILIUM_VALUES_FINAL):
        sys.stdout.write(output.yaml_text(values(loaded.config, "transit" if part is Part.CILIUM_VALUES else "final")))
        return
    made = manifests_for(loaded.config, None)
    if diff:
        sys.stdout.writelines(f"{line}\n" for line in differences(made))
        return
    seen: set[str] = set()
    for manifest in _part(loaded, made, part.value):
        text = output.yaml_text(manifest)
        if text not in seen:
            seen.add(text)
            sys.stdout.write(f"---\n{text}")


def _part(loaded: "Loaded", made: "Manifests", part: str) -> list[dict[str, Any]]:
    """The objects of one part.

    Raises:
        UsageError: there is no such part with this configuration.
    """
    from cni_migrate import cilium_versions
    from cni_migrate.cli.ui import output
    from cni_migrate.errors import UsageError
    from cni_migrate.strategies import with_trait

    config = loaded.config
    if part == Part.MULTUS and not config.traits.multus:
        raise UsageError(
            f"strategy {config.strategy} has no Multus",
            next=f"migrate manifests multus --strategy {with_trait('multus')}",
        )
    if part == "job" and not config.job.image:
        raise UsageError(
            "the Job needs an image with `migrate` in it (key `job.image`): none is published, the project's"
            " Dockerfile makes one",
            next="migrate manifests job --image REGISTRY/cni-migrate:VERSION",
        )
    served = [f"{cilium_versions.node_config(made.cilium_version)}/ciliumnodeconfigs"]
    cilium = made.cilium()
    if config.traits.node_config and cilium_versions.served_node_config(served):
        cilium += made.node_config(served)
    multus = made.multus() if config.traits.multus else []
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
            return made.job(output.yaml_text(_chosen(loaded)))
        case _:
            return [*made.namespaces(), *made.knet(), *cilium, *multus]


def _chosen(loaded: "Loaded") -> dict[str, Any]:
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
