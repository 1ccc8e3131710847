"""What `run`, `cleanup`, `rollback-node` and `rollback` share: announce, ask, drive, show how it ended."""

import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from cni_migrate.cli.announcement import announce
from cni_migrate.cli.driver_run import DriverRun
from cni_migrate.cli.effective_config import adopted, begun, settle
from cni_migrate.cli.goals import Cleanup, Rollback, RollbackNode, Typed, goal_of, who
from cni_migrate.cli.options import Common, LogFormat, ProgressForm
from cni_migrate.cli.session import Session, run_async, session
from cni_migrate.cli.ui import output, status_table
from cni_migrate.cli.ui.confirmation import asked, confirm
from cni_migrate.cli.ui.failing import say_next
from cni_migrate.configfile import Loaded
from cni_migrate.core.decision.begin import check_identity
from cni_migrate.core.decision.forward import complete_already
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.leftovers import Leftover
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.core.model.words import many
from cni_migrate.core.reports.status import StatusView
from cni_migrate.engine.closing import nothing_to_undo
from cni_migrate.errors import GateFailed, Halted, Interrupted, MigrateError
from cni_migrate.kube.cluster import KubeCluster

if TYPE_CHECKING:
    from cni_migrate.engine.metrics import Metrics


def drive(
    common: Common,
    loaded: Loaded,
    typed: Typed,
    *,
    yes: bool,
    takeover: bool,
    progress: ProgressForm = ProgressForm.AUTO,
    metrics_port: int = 0,
) -> None:
    """Do one driving command.

    Raises:
        MigrateError: it could not be done, or not to the end; nothing is lost.
    """
    metrics = _metrics(metrics_port)
    how = _How(takeover, metrics, progress)
    try:
        final = run_async(_run(_logging(common, progress), loaded, typed, yes=yes, how=how))
        _ended(replace(final, next=typed.onward(final.next)) if final.outcome == "done" else final)
    except KeyboardInterrupt:
        if how.driven:
            raise Interrupted("the record is safe", next="migrate status") from None
        raise Interrupted("nothing was changed") from None
    except MigrateError as error:
        error.next = typed.in_scope(error.next)
        raise


@dataclass
class _How:
    """What a driver is given beside its goal, and whether it has been let go."""

    takeover: bool
    metrics: "Metrics | None"
    progress: ProgressForm
    driven: bool = False


def _logging(common: Common, progress: ProgressForm) -> Common:
    """The log's lines in the form of the progress, where no other was asked for."""
    form = {ProgressForm.JSON: LogFormat.JSON, ProgressForm.PLAIN: LogFormat.CONSOLE}.get(progress)
    return replace(common, log_format=form) if form and common.log_format is LogFormat.AUTO else common


def _metrics(port: int) -> "Metrics | None":
    """Metrics on a port, if one was asked for."""
    if not port:
        return None
    from cni_migrate.engine.metrics import Metrics

    metrics = Metrics()
    metrics.serve(port)
    return metrics


async def _run(common: Common, loaded: Loaded, typed: Typed, *, yes: bool, how: _How) -> Final:
    """Say what is about to happen, ask, and drive: on one connection, with one look at the cluster that is kept."""
    counted = how.metrics.request if how.metrics is not None else None
    async with session(common, loaded.config, counted) as connected:
        record = await connected.record()
        if record is not None and begun(record):
            check_identity(adopted(loaded, record), record, str(common.config or ""))
        async with connected.cluster() as cluster:
            config, canal = await settle(connected, loaded, record, cluster)
            if record is not None:
                check_identity(config, record, str(common.config or ""))
            here = replace(connected, config=config)
            if record is None and isinstance(typed, Rollback | RollbackNode):
                node = typed.node if isinstance(typed, RollbackNode) else ""
                return nothing_to_undo(await here.store().last_closed(), node, cluster.snapshot().nodes.keys())
            goal = goal_of(typed, record, cluster.snapshot())
            if record is not None and (final := complete_already(goal, record)) is not None:
                await _show(here, cluster.snapshot())
                return final
            question, goal = await announce(here, config, cluster, record, typed, goal, canal)
            await confirm(question, yes=yes)
            driven = partial(_drive, here, cluster, how=how)
            final = await driven(goal if yes or isinstance(typed, Cleanup) else replace(goal, consented=False))
            if final.outcome == "consent":
                output.say(output.console(sys.stderr), f"{final.message}.")
                nodes = output.plural(len(cluster.snapshot().nodes), "node")
                removes = f"clean-up removes Canal from {nodes}, and there is no way back after that"
                if not await asked(f"Continue on {here.where}: {removes}?"):
                    return replace(final, outcome="done")
                final = await driven(goal)
            return final


async def _drive(here: Session, cluster: KubeCluster, goal: Goal, *, how: _How) -> Final:
    """Drive towards the goal and show how the cluster stands in the end."""
    how.driven = True
    one = DriverRun(
        here, cluster, goal, await here.record(), takeover=how.takeover, metrics=how.metrics, shown=how.progress
    )
    how.takeover = False  # what was typed is about the one who held the lock then; who takes it later is alive
    try:
        final = await one.run()
    except MigrateError as error:
        view = await _show(here, cluster.snapshot(), quietly=True) if one.began else None
        if isinstance(error, Interrupted) and view is not None:
            raise Interrupted(_with_those_out(error.message, view), next=error.next) from None
        raise
    if final.outcome == "done" and goal.kind == "forward" and here.config.canal.remove_leftovers:
        await _remove_leftovers(here, cluster, takeover=how.takeover)
    view = await _show(here, cluster.snapshot(), said=final.message)
    if final.outcome == "done" and view is not None and view.left:
        left = many(len(view.left), "object")
        return replace(final, message=f"the cluster runs on Cilium; hosts are clean, {left} of Canal left in the API")
    if final.outcome == "interrupted" and view is not None:
        return replace(final, message=_with_those_out(final.message, view))
    return final


async def _remove_leftovers(here: Session, cluster: KubeCluster, *, takeover: bool) -> None:
    """Delete what Canal has left in the API, once the migration is done."""
    from cni_migrate.engine.leftovers import Removal

    record = await here.record()
    if record is None or record.cluster.phase is not Phase.DONE:
        return

    async def find() -> tuple[Leftover, ...]:
        return await here.look_for_leftovers(record, here.config)

    await Removal(cluster, here.store(), here.lock(), here.clock, find, who(), here.config.deadlines.pods).run(
        takeover=takeover
    )


def _with_those_out(message: str, view: StatusView) -> str:
    """Who stops must know which nodes have been left out of service."""
    out = status_table.out_of_service(view)
    return f"{message}; {out}" if out else message


async def _show(here: Session, seen: Snapshot, *, said: str = "", quietly: bool = False) -> StatusView | None:
    """The status table, the last thing on the screen but for what to do next; what it shows.

    `said` is what will be said below it: why a node is held is not told twice.
    """
    try:
        view = await here.status(seen)
    except MigrateError:
        if quietly:
            return None  # what is on its way up says more
        raise
    sys.stderr.flush()
    # Who drives, what happened, and what to type next is said before and after.
    nodes = [
        one.model_copy(update={"held": "why is told below"}) if one.held and one.held in said else one
        for one in view.nodes
    ]
    known = view.model_copy(update={"next": None, "driver": None, "eta_seconds": None, "history": [], "nodes": nodes})
    status_table.show(output.out(), known, "table", here.clock.now())
    sys.stdout.flush()
    return view


def _ended(final: Final) -> None:
    """Say how it ended.

    Raises:
        Halted, GateFailed, Interrupted: it did not reach the goal.
    """
    if final.outcome == "done":
        output.say(output.out(), final.message, "done: ", by=6)
        sys.stdout.flush()
        if final.next:
            say_next(final.next)
        return
    kind: dict[str, type[MigrateError]] = {"halted": Halted, "gate": GateFailed, "interrupted": Interrupted}
    raise kind[final.outcome](final.message, next=final.next)
