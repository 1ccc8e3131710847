"""`migrate knet status`: each agent's last round, and whether connectivity is proven."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cni_migrate.cli.options import Common, Form, Ignore, Output, examples, with_common

if TYPE_CHECKING:
    from cni_migrate.cli.mesh import Seen

EXAMPLES = examples(
    "migrate knet status",
    "migrate knet status --ignore policy_deny",
    "migrate knet status -o json | jq '.agents[] | select(.lost > 0)'",
)

SCHEMA = 1
"""The version of the machine-readable forms: fields are added, never renamed or removed."""


@with_common
def command(common: Common, ignore: Ignore = "", output: Output = Form.TABLE) -> None:
    """Show each agent's last round and whether connectivity is proven.

    Exit code 6 when it is not. During a migration, the nodes that it is working on are left out.
    """
    from cni_migrate.cli.mesh import kinds
    from cni_migrate.cli.session import run_async

    run_async(_status(common, kinds(ignore), output))


async def _status(common: Common, ignore: frozenset[str], form: Form) -> None:
    from cni_migrate.cli.mesh import settled
    from cni_migrate.cli.session import configured, session
    from cni_migrate.cli.ui import mesh_table, output
    from cni_migrate.core.connectivity.gate import Failing, Pending
    from cni_migrate.errors import GateFailed

    config = configured(common, {}).config
    async with session(common, config) as here, here.cluster() as cluster:
        seen = await settled(here, cluster, ignore, (Pending, Failing))
    if form is Form.TABLE:
        mesh_table.show_agents(output.out(), seen)
    else:
        (output.as_json if form is Form.JSON else output.as_yaml)(_data(seen))
    sys.stdout.flush()
    if not seen.proven:
        raise GateFailed(seen.said, next="migrate knet matrix  (who reaches whom)")


def _data(seen: "Seen") -> dict[str, Any]:
    from cni_migrate.cli.mesh import verdict_data
    from cni_migrate.core.connectivity import mesh

    every = [asdict(agent) for agent in mesh.agents(seen.asked, seen.read, seen.verdict)]
    for one in every:
        one["age"] = None if one["age"] is None else round(one["age"], 3)
    return {"schema": SCHEMA, **verdict_data(seen), "agents": every}
