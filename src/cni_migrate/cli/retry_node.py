"""`migrate retry-node`: a held node is tried again."""

from cni_migrate.cli.options import Common, NodeArgument, examples, with_common

EXAMPLES = examples("migrate retry-node worker-1")


@with_common
def command(common: Common, node: NodeArgument) -> None:
    """Try a held node again, in the run that is under way."""
    from cni_migrate.cli import requests

    def change(data: dict[str, str], now: str) -> str:
        data[f"retry.{node}"] = now
        return f"node {node} will be tried again"

    requests.request(common, change, node=node)
