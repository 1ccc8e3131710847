"""What is said before a driving command begins, on stderr: what is resumed, what the checks found, what will happen."""

import sys

from rich.text import Text

from cni_migrate.cli import output
from cni_migrate.cli.session import Session
from cni_migrate.cli.wishes import Back, NodeBack, Wish, resumed
from cni_migrate.config import Config
from cni_migrate.core.lifecycle import Phase
from cni_migrate.core.order import in_order
from cni_migrate.core.record import Record
from cni_migrate.kube.cluster import KubeCluster


async def brief(here: Session, config: Config, cluster: KubeCluster, record: Record | None, wish: Wish) -> None:
    """Say what is about to happen.

    Raises:
        PreflightFailed: a check failed that a migration cannot do without.
    """
    to = output.console(sys.stderr)
    if record is not None and record.cluster.phase is not Phase.PREFLIGHT:
        to.print(Text(f"resuming: {resumed(record)}"), soft_wrap=True)
    match wish:
        case NodeBack(node, target):
            to.print(Text(f"node {node} goes back to {target}"), soft_wrap=True)
            return
        case Back():
            to.print(Text("the whole cluster goes back to Canal, in reverse order"), soft_wrap=True)
            return
        case _:
            pass
    nodes = [node.name for node in in_order(config, cluster.snapshot().nodes.values())]
    head = f"strategy {config.strategy}, {output.plural(len(nodes), 'node')}, in this order: "
    to.print(Text(head + output.listed(nodes, 12)), soft_wrap=True)
