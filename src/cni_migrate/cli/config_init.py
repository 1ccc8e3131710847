"""`migrate config init`: a configuration file with every key, its meaning and its default."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cni_migrate.cli.options import Common, examples, with_common

EXAMPLES = examples(
    "migrate config init --output migrate.yaml", "migrate config init --from-cluster --output migrate.yaml"
)


class ProfileChoice(StrEnum):
    """Which defaults to start from."""

    MODERN = "modern"
    SEED = "seed"


@with_common
def command(
    common: Common,
    output: Annotated[
        Path | None, typer.Option(help="The file to write; it must not exist.", show_default="stdout")
    ] = None,
    profile: Annotated[ProfileChoice, typer.Option(help="Which defaults to start from.")] = ProfileChoice.MODERN,
    from_cluster: Annotated[
        bool, typer.Option("--from-cluster", help="Fill in what is found of the cluster's Canal.")
    ] = False,
) -> None:
    """Write a configuration file with every key, its meaning and its default."""
    from cni_migrate.cli.session import run_async
    from cni_migrate.configtemplate import commented
    from cni_migrate.errors import UsageError

    found = run_async(_found(common, profile.value)) if from_cluster else {}
    text = commented(profile.value, found)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{output} exists already: it is left as it is", next="choose another --output") from None
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}", next="choose another --output") from None
    sys.stderr.write(f"written: {output}\nnext: migrate preflight --config {output}\n")


async def _found(common: Common, profile: str) -> dict[str, Any]:
    """Dotted key to value, of what the cluster tells.

    Raises:
        PreflightFailed: the cluster has no Canal.
    """
    from cni_migrate.cli.effective_config import look_for_canal
    from cni_migrate.cli.session import configured, session
    from cni_migrate.core.model.canal import configuration_of
    from cni_migrate.core.model.cidr import within
    from cni_migrate.errors import PreflightFailed

    config = configured(common, {"profile": profile}).config
    async with session(common, config) as here, here.cluster(watching=False) as cluster:
        canal = await look_for_canal(here, cluster, config)
        nodes = list(cluster.snapshot().nodes.values())
    if not canal.daemonsets:
        raise PreflightFailed(
            "no DaemonSet of this cluster runs flannel: there is no Canal to write about",
            next="migrate preflight  (what else is seen)",
        )
    elsewhere = [f"{one.name} {one.pod_cidr}" for one in nodes if one.pod_cidr and not within(one.pod_cidr, canal.pods)]
    if canal.pods and elsewhere:
        sys.stderr.write(
            f"warning: flannel's network is {canal.pods}, but nodes have their podCIDRs elsewhere:"
            f" {', '.join(elsewhere[:3])}{', …' if len(elsewhere) > 3 else ''}: `migrate preflight` says what to do\n"
        )
    return configuration_of(canal)
