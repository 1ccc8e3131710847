"""Commands about the configuration and what follows from it: config, manifests, images."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cni_migrate.cli.commands.migrating import OnStrategy
from cni_migrate.cli.options import Common, Form, Output, examples, with_common

PANEL = "Configure"


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


class ProfileChoice(StrEnum):
    """Which defaults to start from."""

    MODERN = "modern"
    SEED = "seed"


config_app = typer.Typer(help="Write, show or describe the configuration.", no_args_is_help=True)


@with_common
def init(
    common: Common,
    output: Annotated[
        Path | None, typer.Option(help="The file to write; it must not exist.", show_default="stdout")
    ] = None,
    profile: Annotated[ProfileChoice, typer.Option(help="Which defaults to start from.")] = ProfileChoice.MODERN,
    from_cluster: Annotated[
        bool, typer.Option("--from-cluster", help="Write what is found of the cluster's Canal into it.")
    ] = False,
) -> None:
    """Write a configuration file with every key, its meaning and its default."""
    from cni_migrate.cli import configuration

    configuration.init(common, output, profile.value, from_cluster=from_cluster)


@with_common
def show(common: Common, output: Output = Form.TABLE) -> None:
    """Show the effective configuration and where each value came from."""
    from cni_migrate.cli import configuration

    configuration.show(common, output.value)


@config_app.command("schema", epilog=examples("migrate config schema > migrate.schema.json"))
def schema() -> None:
    """Print the JSON Schema of the configuration."""
    from cni_migrate.cli import configuration

    configuration.schema()


@with_common
def manifests(
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

    Part `cilium` is Cilium as it runs beside Canal, `cilium-final` as it stays; `cilium-values` and
    `cilium-values-final` are the helm values for these two, of a Cilium that you install yourself. Two parts are for
    running `migrate` in the cluster: `rbac`, its account and the least rights, and `job`.
    """
    from cni_migrate.cli import configuration

    flags = {"strategy": strategy.value if strategy else None, "job.image": image or None}
    if diff:
        configuration.differences(common, flags)
    else:
        configuration.manifests(common, flags, part.value)


@with_common
def images(common: Common, strategy: OnStrategy = None) -> None:
    """List every image that a migration needs, for mirrors and air-gapped clusters. Needs no cluster."""
    from cni_migrate.cli import configuration

    configuration.images(common, {"strategy": strategy.value if strategy else None})


def register(app: typer.Typer) -> None:
    """Put the commands into the tree."""
    config_app.command(
        "init",
        epilog=examples(
            "migrate config init --output migrate.yaml", "migrate config init --from-cluster --output migrate.yaml"
        ),
    )(init)
    config_app.command("show", epilog=examples("migrate config show -c migrate.yaml"))(show)
    app.add_typer(config_app, name="config", rich_help_panel=PANEL)
    app.command(
        "manifests",
        rich_help_panel=PANEL,
        epilog=examples(
            "migrate manifests rbac | kubectl apply -f -",
            "migrate manifests job --image REGISTRY/cni-migrate:0.1.0 | kubectl apply -f -",
            "migrate manifests --strategy overlay",
            "migrate manifests --diff",
            "migrate manifests cilium-values > cilium-values.yaml",
        ),
    )(manifests)
    app.command("images", rich_help_panel=PANEL, epilog=examples("migrate images --strategy multus"))(images)
