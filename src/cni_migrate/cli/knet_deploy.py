"""`migrate knet deploy`: two agents on every node, without a migration."""

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cni_migrate.cli.options import Common, examples, with_common

if TYPE_CHECKING:
    from cni_migrate.core.model.objects import ObjectRef
    from cni_migrate.kube.existing import Found

EXAMPLES = examples("migrate knet deploy", "migrate knet deploy --dry-run")


@with_common
def command(
    common: Common,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be applied and write nothing.")] = False,
) -> None:
    """Put two agents on every node and wait until they are Ready.

    A migration uses the same agents. Can be repeated at any time.
    """
    from cni_migrate.cli.session import run_async

    run_async(_deploy(common, dry_run=dry_run))


async def _deploy(common: Common, *, dry_run: bool) -> None:
    from cni_migrate.cli.mesh_objects import apply, await_ready, ours
    from cni_migrate.cli.session import configured, session
    from cni_migrate.cli.ui import output
    from cni_migrate.cli.ui.failing import say_next
    from cni_migrate.core.connectivity import mesh
    from cni_migrate.core.model.objects import ObjectRef
    from cni_migrate.core.model.words import many
    from cni_migrate.errors import UsageError
    from cni_migrate.kube.existing import existing
    from cni_migrate.wiring import manifests_for

    config = configured(common, {}).config
    async with session(common, config) as here, here.cluster() as cluster:
        seen = cluster.snapshot()
        made = manifests_for(config, seen).knet()
        there = await existing(here.client, map(ObjectRef.of, made))
        if foreign := [ref for ref, found in there.items() if not ours(found)]:
            raise UsageError(
                f"{output.listed(map(str, foreign))} is there and was not made by migrate: nothing was changed",
                next="set knet.namespace in the configuration to a namespace of the agents' own",
            )
        if dry_run:
            _show(made, there)
            return
        if mesh.under_way(await here.record()) and mesh.deployed(seen, config):
            output.out().print("a migration is under way, and its agents are there already: nothing was changed")
            say_next("migrate knet status")
            return
        await apply(here, cluster, made)
        nodes = await await_ready(here, cluster, made)
    sys.stdout.write(f"{many(2 * nodes, 'agent')} Ready on {many(nodes, 'node')}\n")
    sys.stdout.flush()
    say_next("migrate knet status")


def _show(made: Iterable[Mapping[str, Any]], there: "Mapping[ObjectRef, Found]") -> None:
    """What would be applied."""
    from cni_migrate.cli.ui import output
    from cni_migrate.core.model.objects import ObjectRef

    table = output.table("OBJECT", "NOW")
    for manifest in made:
        ref = ObjectRef.of(manifest)
        table.add_row(str(ref), "is there" if ref in there else "missing")
    to = output.out()
    output.show_table(to, table)
    to.print("Nothing was written.")
    output.show_next("migrate manifests knet  (their content)")
