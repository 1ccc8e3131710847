"""`migrate retry-node`: a held node is tried again."""

from typing import TYPE_CHECKING

from cni_migrate.cli.options import Common, NodeArgument, examples, with_common
from cni_migrate.errors import UsageError

if TYPE_CHECKING:
    from cni_migrate.core.model.record import Record

EXAMPLES = examples("migrate retry-node worker-1")


@with_common
def command(common: Common, node: NodeArgument) -> None:
    """Have the run that is under way try a held node again."""
    from cni_migrate.cli import requests

    def change(data: dict[str, str], now: str, record: "Record") -> str:
        held = record.nodes[node].held
        data[f"retry.{node}"] = requests.later(now, held.since if held is not None else None)
        return f"node {node} will be tried again"

    def check(record: "Record") -> None:
        entry = record.nodes[node]
        if entry.held is None:
            why = "it was rolled back by itself" if entry.failure is not None else "there is nothing to try again"
            order = "migrate run  (takes it up again)" if entry.failure is not None else "migrate status"
            raise UsageError(f"node {node} is not held: {why}", next=order)

    requests.request(common, change, node=node, check=check)
