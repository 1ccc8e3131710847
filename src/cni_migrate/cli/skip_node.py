"""`migrate skip-node`: a node is left out, or takes part again."""

from datetime import datetime
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

    cost: list[str] = []
    obeyed: list[bool] = []
    turned: list[datetime | None] = []
    waiting = ["clean-up waits until it is migrated or gone"]

    def look(record: Record) -> None:
        if record.cluster.phase is Phase.CLEANING and record.cluster.direction == "forward" and not undo:
            raise UsageError(
                "clean-up is under way, and takes every node along: nothing was changed", next="migrate run"
            )
        obeyed[:] = [record.nodes[node].skipped]
        turned[:] = [record.cluster.back_since if record.cluster.direction == "back" else None]
        if record.cluster.direction == "back":
            waiting[:] = ["the others go back, and the rollback ends when this one has gone back, too, or is gone"]
        elif record.nodes[node].state is NodeState.MIGRATED:
            waiting[:] = ["it is migrated already; clean-up waits until it takes part again"]
        elif record.nodes[node].state is NodeState.CANAL:
            cost.append("without Cilium there, its pods and those of migrated nodes lose each other")

    def change(data: dict[str, str], now: str) -> str:
        if undo:
            return f"node {node} takes part again" if data.pop(f"skip.{node}", None) else f"node {node} was not skipped"
        # A request from before the cluster went back is not obeyed any more: typed again, it is a new one.
        if not (obeyed[0] and f"skip.{node}" in data):
            data[f"skip.{node}"] = requests.later(now, turned[0])
        return "; ".join([f"node {node} is skipped", *cost, *waiting])

    requests.request(common, change, node=node, check=look)
