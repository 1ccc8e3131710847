"""What is said before a driving command begins, on stderr: what is resumed, what the checks found, what will happen."""

import sys
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from cni_migrate.cli import checks
from cni_migrate.cli.goals import Rollback, RollbackNode, Run, Typed, resumed, who
from cni_migrate.cli.session import Session
from cni_migrate.cli.ui import colours, output, plan_table
from cni_migrate.cli.version import version
from cni_migrate.config import Config
from cni_migrate.core.decision.begin import begin
from cni_migrate.core.model.canal import FoundCanal
from cni_migrate.core.model.goal import Goal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.record import Record
from cni_migrate.core.preflight.catalogue import ABOUT
from cni_migrate.core.preflight.findings import Severity
from cni_migrate.core.preflight.waiving import told
from cni_migrate.core.reports.plan import plan_view
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.wiring import plan_for


async def announce(
    here: Session,
    config: Config,
    cluster: KubeCluster,
    record: Record | None,
    typed: Typed,
    goal: Goal,
    canal: FoundCanal,
) -> tuple[str, Goal]:
    """Say what is about to happen; answer what to ask, and the goal with what was waived.

    At the very beginning the cluster is checked first.

    Raises:
        PreflightFailed: a check failed that a migration cannot do without.
        MigrateError: the record or the goal does not fit.
    """
    to = output.console(sys.stderr)
    if waivers := tuple(config.preflight.waive):
        goal = replace(goal, waivers=waivers, by=who())
    if isinstance(typed, RollbackNode | Rollback):
        assert record is not None
        seen = cluster.snapshot()
        begin(plan_for(config, seen), goal, record, seen.nodes, here.clock.now())
        what = "the whole cluster goes back to Canal, in reverse order"
        if isinstance(typed, RollbackNode):
            what = f"node {typed.node} goes back to {typed.to}"
        output.say(to, Text(what))
        _say_accepted(to, typed.accept)
        return f"Continue on {here.where}: {what}?", goal
    if record is None or record.cluster.phase is Phase.PREFLIGHT:
        found = await checks.checked(here, config, cluster, canal)
        serious = [finding for finding in found if finding.severity is not Severity.INFO]
        checks.show(to, serious, config.preflight.waive)
        again = typed.waivers if isinstance(typed, Run) else ""
        checks.refuse(found, next=f"fix what is named above, then `migrate run{again}` again")
        later = tuple(f"{waiver}: not tried yet" for waiver in waivers if ABOUT[waiver.partition(":")[0]].later)
        goal = replace(goal, waived=told(found) + later)
    else:
        output.say(to, Text(f"resuming: {resumed(record)}"))
    seen = cluster.snapshot()
    view = plan_view(plan_for(config, seen), goal, record, seen, here.clock.now(), f"migrate/{version()}")
    output.say(to, Text(plan_table.headline(view)))
    _say_accepted(to, typed.accept if isinstance(typed, Run) else ())
    if record is None or record.cluster.phase is Phase.PREFLIGHT:
        output.show_table(to, plan_table.node_table(view))
    return f"Continue on {here.where}: {plan_table.amounts(view)}?", goal


def _say_accepted(to: Console, names: tuple[str, ...]) -> None:
    """Say whose failing gates stop nobody: it is the only check of connectivity that there is."""
    if names:
        to.print(
            Text(f"a failing gate is accepted, and recorded, of: {output.listed(sorted(names))}", style=colours.BAD)
        )
