"""Commands that change the cluster: run, cleanup, rollback-node, rollback."""

from enum import StrEnum
from typing import Annotated

import typer

from cni_migrate.cli.options import Common, Yes, examples, with_common

PANEL = "Migrate"


class StrategyName(StrEnum):
    """How a node gets both networks."""

    MULTUS = "multus"
    OVERLAY = "overlay"


class Until(StrEnum):
    """After which phase a run may stop."""

    PREPARING = "preparing"
    ATTACHING = "attaching"
    MIGRATING = "migrating"


class BackTo(StrEnum):
    """Where a rolled back node ends."""

    DUAL = "dual"
    CANAL = "canal"


Takeover = Annotated[bool, typer.Option("--takeover", help="Take the lock although its holder may be alive.")]
AutoRollback = Annotated[
    bool | None, typer.Option("--auto-rollback/--no-auto-rollback", help="Roll a node back by itself when it is held.",
                              show_default=False)
]  # fmt: skip

AcceptGate = Annotated[
    list[str] | None,
    typer.Option("--accept-failing-gate", metavar="NODE", show_default=False,
                 help="Go on although connectivity of this node is not proven; may be given again for another node. "
                      "Who said so and what was failing is recorded."),
]  # fmt: skip

Waive = Annotated[
    list[str] | None,
    typer.Option("--waive", metavar="ID[:OBJECT]", show_default=False,
                 help="Go on although preflight finds this, for all or for one object; may be given again. "
                      "Who said so and when is recorded."),
]  # fmt: skip

MetricsPort = Annotated[
    int,
    typer.Option(help="Serve Prometheus metrics on this port while it works.", min=0, max=65535, show_default="none"),
]

DRAIN = "Drain, as kubectl's"
EmptyDir = Annotated[
    bool | None,
    typer.Option("--delete-emptydir-data", help="Evict pods although they lose their emptyDir data.",
                 rich_help_panel=DRAIN, show_default=False),
]  # fmt: skip
Force = Annotated[
    bool | None,
    typer.Option("--force", help="Evict pods that nothing will recreate.", rich_help_panel=DRAIN, show_default=False),
]
NoEviction = Annotated[
    bool | None,
    typer.Option("--disable-eviction", help="Delete instead of evicting: bypasses disruption budgets.",
                 rich_help_panel=DRAIN, show_default=False),
]  # fmt: skip


def drain_flags(
    delete_emptydir_data: bool | None, force: bool | None, disable_eviction: bool | None
) -> dict[str, object]:
    """The keys of the configuration that the drain's flags set."""
    return {
        "drain.delete_emptydir_data": delete_emptydir_data,
        "drain.force": force,
        "drain.disable_eviction": disable_eviction,
    }


OnStrategy = Annotated[
    StrategyName | None, typer.Option(help="How a node gets both networks.", show_default="from the configuration")
]
OnNodes = Annotated[str, typer.Option(help="Migrate only these nodes, comma separated.", show_default=False)]
OnSelector = Annotated[
    str,
    typer.Option(
        "--selector", "-l", help="Migrate only nodes with these labels: k=v,k2,!k3,k in (a,b).", show_default=False
    ),
]
UpTo = Annotated[Until | None, typer.Option(help="Stop when this phase is complete.", show_default=False)]
AtOnce = Annotated[
    str,
    typer.Option(help="How many nodes may be out of service at once: a number or a percentage.", show_default="1"),
]


@with_common
def run(
    common: Common,
    strategy: OnStrategy = None,
    nodes: OnNodes = "",
    selector: OnSelector = "",
    until: UpTo = None,
    max_unavailable: AtOnce = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done and write nothing.")] = False,
    yes: Yes = False,
    auto_rollback: AutoRollback = None,
    takeover: Takeover = False,
    accept_failing_gate: AcceptGate = None,
    waive: Waive = None,
    metrics_port: MetricsPort = 0,
    own_node: Annotated[
        str, typer.Option(help="The node this program runs on: it goes last.", show_default=False)
    ] = "",
    delete_emptydir_data: EmptyDir = None,
    force: Force = None,
    disable_eviction: NoEviction = None,
) -> None:  # fmt: skip
    """Migrate the cluster, or go on with it.

    Safe to stop and to kill at any moment: the same command goes on from where it stood. The first Ctrl-C finishes the
    current step, the second stops at once.
    """
    from cni_migrate.cli import running, wishes

    flags = {
        "strategy": strategy.value if strategy else None,
        "max_unavailable": max_unavailable or None,
        "auto_rollback": auto_rollback,
        "own_node": own_node or None,
        "preflight.waive": waive or None,
        **drain_flags(delete_emptydir_data, force, disable_eviction),
    }
    wish = wishes.Forward(nodes=nodes, selector=selector, until=until.value if until else "", dry_run=dry_run,
                          accept=tuple(accept_failing_gate or ()))  # fmt: skip
    running.run(common, flags, wish, yes=yes, takeover=takeover, metrics_port=metrics_port)


@with_common
def cleanup(common: Common, yes: Yes = False, takeover: Takeover = False) -> None:
    """Remove what is no longer used, once every node is migrated.

    `migrate run` does the same at its end; this is the explicit form. It refuses while a node is not migrated. It has
    the point of no return: when Canal is deleted there is no way back.
    """
    from cni_migrate.cli import running, wishes

    running.run(common, {}, wishes.Cleanup(), yes=yes, takeover=takeover)


@with_common
def rollback_node(
    common: Common,
    node: Annotated[str, typer.Argument(help="The node.", show_default=False)],
    to: Annotated[BackTo, typer.Option(help="How far back.")] = BackTo.DUAL,
    yes: Yes = False,
    takeover: Takeover = False,
    accept_failing_gate: AcceptGate = None,
    delete_emptydir_data: EmptyDir = None,
    force: Force = None,
    disable_eviction: NoEviction = None,
) -> None:
    """Take one node back: to both networks (dual), or to Canal alone.

    Works from every state and every held step. Back to canal only while no other node is beyond dual.
    """
    from cni_migrate.cli import running, wishes

    flags = drain_flags(delete_emptydir_data, force, disable_eviction)
    running.run(
        common, flags, wishes.NodeBack(node, to.value, tuple(accept_failing_gate or ())), yes=yes, takeover=takeover
    )


@with_common
def rollback(
    common: Common,
    yes: Yes = False,
    takeover: Takeover = False,
    accept_failing_gate: AcceptGate = None,
    delete_emptydir_data: EmptyDir = None,
    force: Force = None,
    disable_eviction: NoEviction = None,
) -> None:
    """Take the whole cluster back to Canal, in reverse order, as it was found.

    Possible until clean-up deletes Canal, the point of no return: `plan` and `status` name it.
    """
    from cni_migrate.cli import running, wishes

    flags = drain_flags(delete_emptydir_data, force, disable_eviction)
    running.run(common, flags, wishes.Back(tuple(accept_failing_gate or ())), yes=yes, takeover=takeover)


def register(app: typer.Typer) -> None:
    """Put the commands into the tree."""
    app.command(
        "run",
        rich_help_panel=PANEL,
        epilog=examples(
            "migrate run --strategy overlay --dry-run",
            "migrate run --yes --max-unavailable 2",
            "migrate run --nodes worker-1,worker-2",
            "migrate run --waive BUDGET_CLOSED:shop/db --waive DUAL_STACK",
            "migrate run --selector 'topology.kubernetes.io/zone in (a,b)' --until migrating",
        ),
    )(run)
    app.command("cleanup", rich_help_panel=PANEL, epilog=examples("migrate run --until migrating && migrate cleanup"))(
        cleanup
    )
    app.command(
        "rollback-node",
        rich_help_panel=PANEL,
        epilog=examples("migrate rollback-node worker-1", "migrate rollback-node worker-1 --to canal --yes"),
    )(rollback_node)
    app.command("rollback", rich_help_panel=PANEL, epilog=examples("migrate rollback --yes"))(rollback)
