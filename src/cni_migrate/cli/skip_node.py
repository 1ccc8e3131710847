"""`migrate skip-node`: a node is left out, or takes part again."""

from typing import Annotated

import typer

from cni_migrate.cli.options import Common, NodeArgument, examples, with_common

EXAMPLES = examples("migrate skip-node worker-1", "migrate skip-node worker-1 --undo")


@with_common
def command(
    common: Common,
    node: NodeArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Let the node take part again.")] = False,
) -> None:
    """Leave a node out: the others go on without it; clean-up, or the end of a rollback, waits for it."""
    from cni_migrate.cli import requests
    from cni_migrate.core.model.lifecycle import NodeState, Phase
    from cni_migrate.core.model.record import Record
    from cni_migrate.errors import UsageError

    def check(record: Record) -> None:
        if record.cluster.phase is Phase.CLEANING and record.cluster.direction == "forward" and not undo:
            raise UsageError(
                "clean-up is under way, and takes every node along: nothing was changed", next="migrate run"
            )

    def change(data: dict[str, str], now: str, record: Record) -> str:
        if undo:
            was = data.pop(f"skip.{node}", None) is not None
            return f"node {node} takes part again" if was else f"node {node} was not skipped"
        # A request from before the cluster went back is not obeyed any more: typed again, it is a new one.
        entry, back = record.nodes[node], record.cluster.direction == "back"
        if not (entry.skipped and f"skip.{node}" in data):
            data[f"skip.{node}"] = requests.later(now, record.cluster.back_since if back else None)
        said = f"node {node} is skipped"
        if back:
            return f"{said}; the others go back, and the rollback ends when this one has gone back, too, or is gone"
        if entry.state is NodeState.MIGRATED:
            return f"{said}; it is migrated already; clean-up waits until it takes part again"
        if entry.state is NodeState.CANAL:
            said += "; without Cilium there, its pods and those of migrated nodes lose each other"
        return f"{said}; clean-up waits until it is migrated or gone"

    requests.request(common, change, node=node, check=check)
