"""`migrate run`: the whole migration, or what is left of it."""

from typing import Annotated

import typer

from cni_migrate.cli.drain_options import NO_DRAIN_OPTIONS, DrainOptions
from cni_migrate.cli.options import (
    AcceptGate,
    AtOnce,
    Common,
    OnNodes,
    OnSelector,
    OnStrategy,
    ProgressForm,
    RemoveLeftovers,
    ShowProgress,
    Takeover,
    UpTo,
    Waive,
    Yes,
    examples,
    with_common,
)

EXAMPLES = examples(
    "migrate run --dry-run",
    "migrate run --yes --max-unavailable 2",
    "migrate run --nodes worker-1,worker-2",
    "migrate run --waive BUDGET_CLOSED:shop/db --waive DUAL_STACK",
    "migrate run --selector 'topology.kubernetes.io/zone in (a,b)' --until migrating",
)

AutoRollback = Annotated[
    bool | None,
    typer.Option(
        "--auto-rollback/--no-auto-rollback", help="Roll a node back automatically when it is held.", show_default=False
    ),
]

MetricsPort = Annotated[
    int,
    typer.Option(help="Serve Prometheus metrics on this port while it works.", min=0, max=65535, show_default="none"),
]


@with_common
def command(
    common: Common,
    strategy: OnStrategy = None,
    nodes: OnNodes = None,
    selector: OnSelector = None,
    until: UpTo = None,
    max_unavailable: AtOnce = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done and write nothing.")] = False,
    yes: Yes = False,
    auto_rollback: AutoRollback = None,
    takeover: Takeover = False,
    progress: ShowProgress = ProgressForm.AUTO,
    accept_failing_gate: AcceptGate = None,
    waive: Waive = None,
    remove_leftovers: RemoveLeftovers = None,
    metrics_port: MetricsPort = 0,
    own_node: Annotated[
        str, typer.Option(help="The node this program runs on: it goes last.", show_default=False)
    ] = "",
    drain: DrainOptions = NO_DRAIN_OPTIONS,
) -> None:  # fmt: skip
    """Migrate the cluster, or continue where an earlier run stopped.

    Safe to stop or kill at any moment: the same command continues. The first Ctrl-C finishes the current step, the
    second stops at once.
    """
    from cni_migrate.cli import drive, goals, plan, session

    flags = {
        "strategy": strategy.value if strategy else None,
        "max_unavailable": max_unavailable or None,
        "auto_rollback": auto_rollback,
        "own_node": own_node or None,
        "preflight.waive": waive or None,
        "canal.remove_leftovers": remove_leftovers or None,
        **drain.keys(),
    }
    wanted = goals.Run(nodes=nodes, selector=selector, until=until.value if until else "",
                       accept=tuple(accept_failing_gate or ()), at_once=max_unavailable, drain=drain.words,
                       waive=tuple(waive or ()), own_node=own_node, auto_rollback=auto_rollback,
                       remove_leftovers=bool(remove_leftovers))  # fmt: skip
    loaded = session.configured(common, flags)
    wanted.check()
    if dry_run:
        plan.dry_run(common, loaded, wanted)
    else:
        drive.drive(common, loaded, wanted, yes=yes, takeover=takeover, progress=progress, metrics_port=metrics_port)
