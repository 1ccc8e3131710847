"""`migrate knet remove`: the agents go, where no migration needs them."""

import sys
from typing import TYPE_CHECKING

from cni_migrate.cli.options import Common, Yes, examples, with_common

if TYPE_CHECKING:
    from cni_migrate.cli.session import Session
    from cni_migrate.core.model.objects import Snapshot

EXAMPLES = examples("migrate knet remove --yes")


@with_common
def command(common: Common, yes: Yes = False) -> None:
    """Delete the agents and all that was deployed with them.

    Only what carries the label of this program is deleted. Refuses while a migration is under way.
    """
    from cni_migrate.cli.session import run_async

    run_async(_remove(common, yes=yes))


async def _remove(common: Common, *, yes: bool) -> None:
    from cni_migrate.cli.mesh_objects import await_gone, delete, ours
    from cni_migrate.cli.session import configured, session
    from cni_migrate.cli.ui import output
    from cni_migrate.cli.ui.confirmation import confirm
    from cni_migrate.core.model.objects import ObjectRef
    from cni_migrate.core.model.words import many
    from cni_migrate.kube.existing import existing
    from cni_migrate.wiring import manifests_for

    config = configured(common, {}).config
    async with session(common, config) as here, here.cluster() as cluster:
        await _refuse_under_way(here)
        seen = cluster.snapshot()
        refs = [ObjectRef.of(manifest) for manifest in reversed(manifests_for(config, seen).knet())]
        there = await existing(here.client, refs)
        made = {ref: found for ref, found in there.items() if ours(found)}
        for ref in there.keys() - made.keys():
            sys.stderr.write(f"{ref} was not made by migrate: it stays\n")
        guests = _guests(seen, config.knet.namespace)
        for ref in [ref for ref in made if ref.kind == "Namespace" and guests]:
            sys.stderr.write(f"{ref} stays: there are pods of others in it: {output.listed(guests)}\n")
            del made[ref]
        if not made:
            sys.stdout.write("nothing of the mesh is there: nothing was changed\n")
            return
        sys.stderr.write(f"to be deleted: {output.listed(map(str, made), 12)}\n")
        await confirm(f"Delete them on {here.where}?", yes=yes)
        await delete(cluster, made)
        await await_gone(here, cluster)
    sys.stdout.write(f"{many(len(made), 'object')} deleted, no agent is left\n")


async def _refuse_under_way(here: "Session") -> None:
    from cni_migrate.core.connectivity import mesh
    from cni_migrate.errors import UsageError

    record, lease = await here.record(), await here.lease()
    alive = lease is not None and lease.driver(here.clock.now()).alive
    if mesh.under_way(record) or alive:
        phase = f", in phase {record.cluster.phase}" if record is not None else ""
        back = record is not None and record.cluster.direction == "back"
        forward = "" if back else "migrate run  (removes them at its end), or "
        raise UsageError(
            f"a migration is under way{phase}, and its gates need the agents: nothing was changed",
            next=f"{forward}migrate rollback  (removes them, too)",
        )


def _guests(seen: "Snapshot", namespace: str) -> list[str]:
    """The pods in the agents' namespace that this program did not make."""
    from cni_migrate.core.model import names

    every = [*seen.pending, *(pod for node in seen.nodes for pod in seen.pods_on(node))]
    return sorted(
        pod.name for pod in every if pod.namespace == namespace and pod.labels.get(names.MANAGED_BY) != names.TOOL
    )
