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
    """Leave a node out: the others go on without it, and clean-up, or the end of a rollback, waits for it."""
    from cni_migrate.cli import requests
    from cni_migrate.core.model.lifecycle import NodeState
    from cni_migrate.core.model.record import Record

    cost: list[str] = []
    waiting = ["clean-up waits until it is migrated or gone"]

    def look(record: Record) -> None:
        if record.cluster.direction == "back":
            waiting[:] = ["the others go back, and the rollback ends when this one has gone back, too, or is gone"]
        elif record.nodes[node].state is NodeState.CANAL:
            cost.append("without Cilium there, its pods and those of migrated nodes lose each other")

    def change(data: dict[str, str], now: str) -> str:
        if undo:
            return f"node {node} takes part again" if data.pop(f"skip.{node}", None) else f"node {node} was not skipped"
        data.setdefault(f"skip.{node}", now)
        return "; ".join([f"node {node} is skipped", *cost, *waiting])

    requests.request(common, change, node=node, check=look)
