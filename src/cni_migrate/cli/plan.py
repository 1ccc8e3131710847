"""`migrate plan`, and `migrate run --dry-run`: what a run would do."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cni_migrate.cli.drain_options import NO_DRAIN_OPTIONS, DrainOptions
from cni_migrate.cli.options import (
    AtOnce,
    Common,
    Form,
    OnNodes,
    OnSelector,
    OnStrategy,
    Output,
    UpTo,
    examples,
    with_common,
)

if TYPE_CHECKING:
    from cni_migrate.cli.goals import Run
    from cni_migrate.configfile import Loaded

EXAMPLES = examples("migrate plan --nodes w1,w2", "migrate plan --steps")


@with_common
def command(
    common: Common,
    strategy: OnStrategy = None,
    nodes: OnNodes = None,
    selector: OnSelector = None,
    until: UpTo = None,
    max_unavailable: AtOnce = "",
    steps: Annotated[bool, typer.Option("--steps", help="List the steps of each event, too.")] = False,
    drain: DrainOptions = NO_DRAIN_OPTIONS,
    output: Output = Form.TABLE,
) -> None:
    """Show the order of nodes, which pods move, and what is in the way. Takes the options of `run`; writes nothing."""
    from cni_migrate.cli import goals, session

    flags = {
        "strategy": strategy.value if strategy else None,
        "max_unavailable": max_unavailable or None,
        **drain.keys(),
    }
    typed = goals.Run(
        nodes=nodes,
        selector=selector,
        until=until.value if until else "",
        at_once=max_unavailable,
        drain=drain.words,
    )
    typed.check()
    loaded = session.configured(common, flags)
    session.run_async(_plan(common, loaded, typed, form=output.value, dry_run=False, steps=steps))


def dry_run(common: Common, loaded: "Loaded", typed: "Run") -> None:
    """Show what this very run would do, and next."""
    from cni_migrate.cli.session import run_async

    run_async(_plan(common, loaded, typed, form="table", dry_run=True, steps=True))


async def _plan(common: Common, loaded: "Loaded", typed: "Run", *, form: str, dry_run: bool, steps: bool) -> None:
    from rich.text import Text

    from cni_migrate.cli import checks
    from cni_migrate.cli.effective_config import settle
    from cni_migrate.cli.goals import goal_of
    from cni_migrate.cli.session import session
    from cni_migrate.cli.ui import colours, output, plan_table
    from cni_migrate.cli.ui.differences import differences
    from cni_migrate.cli.version import version
    from cni_migrate.core.decision.begin import check_identity
    from cni_migrate.core.model.lifecycle import Phase
    from cni_migrate.core.preflight.findings import Severity, blockers
    from cni_migrate.core.reports.plan import plan_view
    from cni_migrate.wiring import plan_for

    async with session(common, loaded.config) as here:
        record = await here.record()
        async with here.cluster(watching=False) as cluster:
            config, canal = await settle(here, loaded, record, cluster)
            if record is not None:
                check_identity(config, record, str(common.config or ""))
            seen = cluster.snapshot()
            goal = goal_of(typed, record, seen)
            made = plan_for(config, seen)
            view = plan_view(made, goal, record, seen, here.clock.now(), f"migrate/{version()}")
            fresh = record is None or record.cluster.phase is Phase.PREFLIGHT
            found = await checks.checked(here, config, cluster, canal) if dry_run and fresh else []
        where = here.where
    if form == "json":
        # Not by way of a tree of dictionaries, which for thousands of nodes takes more memory than all that is planned.
        sys.stdout.write(view.model_dump_json(by_alias=True, indent=2) + "\n")
    elif form == "yaml":
        output.as_yaml(view.model_dump(mode="json", by_alias=True))
    else:
        to = output.out()
        if found:
            serious = [finding for finding in found if finding.severity is not Severity.INFO]
            checks.show(to, serious, loaded.config.preflight.waive)
            to.print()
        output.say(to, Text(where, style=colours.HEAD))
        plan_table.show(to, view, steps=steps)
        if dry_run:
            plan_table.show_first_turn(to, view)
        if fresh and made.manifests.agents() is not None:
            output.say(
                to,
                Text("\nYour Cilium while Canal is there, too; in the end it is as you wrote it", style=colours.HEAD),
            )
            sys.stdout.writelines(f"{line}\n" for line in differences(made.manifests))
        to.print("\nNothing was written.")
        output.show_next(plan_table.following(view, f"{typed.scope}{typed.waivers}", refused=bool(blockers(found))))
