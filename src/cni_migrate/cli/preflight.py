"""`migrate preflight`: whether the cluster is fit for a migration."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cni_migrate.cli.drain_options import NO_DRAIN_OPTIONS, DrainOptions
from cni_migrate.cli.options import Common, Form, OnStrategy, Output, Waive, examples, typed_again, with_common

if TYPE_CHECKING:
    from cni_migrate.core.model.record import Record

EXAMPLES = examples(
    "migrate preflight --strategy multus", "migrate preflight -o json", "migrate preflight --waive DUAL_STACK"
)


@with_common
def command(
    common: Common,
    strategy: OnStrategy = None,
    waive: Waive = None,
    drain: DrainOptions = NO_DRAIN_OPTIONS,
    output: Output = Form.TABLE,
) -> None:
    """Check whether the cluster is ready for a migration. Writes nothing.

    Exit code 3 when it finds a blocker.
    """
    from cni_migrate.cli.session import run_async

    flags = {"strategy": strategy.value if strategy else None, "preflight.waive": waive or None, **drain.keys()}
    waivers = typed_again(("--waive", waiver) for waiver in waive or ())
    run_async(_preflight(common, flags, output.value, drain.words, waivers))


async def _preflight(common: Common, flags: Mapping[str, object], form: str, drain: str, waive: str) -> None:
    from cni_migrate.cli import checks, effective_config
    from cni_migrate.cli.session import configured, session
    from cni_migrate.cli.ui import output
    from cni_migrate.core.preflight.catalogue import ABOUT
    from cni_migrate.core.preflight.findings import blockers

    loaded = configured(common, flags)
    async with session(common, loaded.config) as here, here.cluster(watching=False) as cluster:
        record = await here.record()
        if record is not None and effective_config.begun(record):
            _say_begun(record, form)
            return
        config, canal = await effective_config.settle(here, loaded, record, cluster)
        found = await checks.checked(here, config, cluster, canal)
    if form == "table":
        to = output.out()
        output.say(to, f"{here.where}: {output.plural(len(cluster.snapshot().nodes), 'node')}")
        checks.show(to, found, config.preflight.waive)
    else:
        listed = [asdict(finding) | {"waivable": ABOUT[finding.id].waivable} for finding in found]
        data = {"schema": 1, "passed": not blockers(found), "findings": listed}
        (output.as_json if form == "json" else output.as_yaml)(data)
    checks.refuse(found, next=f"fix what is named above, then `migrate preflight{waive}{drain}` again")
    if form == "table":
        output.show_next(f"migrate plan{drain}, then migrate run{waive}{drain}")


def _say_begun(record: "Record", form: str) -> None:
    """Say that the checks are for the time before a migration.

    Later they would find what the migration did itself, and advise to remove it.
    """
    from cni_migrate.cli.ui import output
    from cni_migrate.core.model.lifecycle import Phase

    phase = record.cluster.phase
    if form == "table":
        back = record.cluster.direction == "back"
        moves = "rolled back" if back else "migrated"
        what = "was migrated" if phase is Phase.DONE else f"is being {moves}, phase {phase}"
        to = output.out()
        output.say(to, f"The cluster {what}: the checks are for the time before, and were not made.")
        onward = "" if phase is Phase.DONE else f", then {'' if back else 'migrate run or '}migrate rollback"
        order = f"migrate status{onward}"
        output.show_next(order)
        return
    data: dict[str, Any] = {"schema": 1, "passed": True, "phase": phase.value, "findings": []}
    (output.as_json if form == "json" else output.as_yaml)(data)
