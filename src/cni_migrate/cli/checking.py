"""`migrate preflight`: the checks, shown; the same before the first step of a run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from cni_migrate.cli.options import Common
from cni_migrate.cli.session import Session, configured, run_async, session
from cni_migrate.cli.settling import begun, look_for_canal, settle
from cni_migrate.cli.ui import output
from cni_migrate.config import Config
from cni_migrate.core.model.canal import FoundCanal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.record import Record
from cni_migrate.core.preflight.catalogue import ABOUT
from cni_migrate.core.preflight.findings import Finding, Severity, blockers, findings
from cni_migrate.core.preflight.waiving import unused
from cni_migrate.errors import PreflightFailed
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.gathering import gathered
from cni_migrate.wiring import plan_for

STYLES = {Severity.BLOCKER: "bold red", Severity.WARNING: "yellow", Severity.INFO: "dim"}
WAIVED = "magenta"


def preflight(common: Common, flags: Mapping[str, Any], *, form: str) -> None:
    """Check and show.

    Raises:
        PreflightFailed: something was found that a run cannot do without mending.
    """
    run_async(_preflight(common, flags, form))


async def _preflight(common: Common, flags: Mapping[str, Any], form: str) -> None:
    loaded = configured(common, flags)
    async with session(common, loaded.config) as here, here.cluster() as cluster:
        record = await here.record()
        if record is not None and begun(record):
            _begun_already(record, form)
            return
        config, _ = await settle(here, loaded, record, cluster)
        found = await checked(here, config, cluster, await look_for_canal(here, cluster))
    if form == "table":
        show(output.out(), found, config.preflight.waive)
    else:
        listed = [asdict(finding) | {"waivable": ABOUT[finding.id].waivable} for finding in found]
        data = {"schema": 1, "passed": not blockers(found), "findings": listed}
        (output.as_json if form == "json" else output.as_yaml)(data)
    refuse(found, next="mend what is named above, then `migrate preflight` again")
    if form == "table":
        output.out().print(Text.assemble(("next: ", "cyan"), "migrate plan, then migrate run"), soft_wrap=True)


def _begun_already(record: Record, form: str) -> None:
    """Say that the checks are for the time before a migration.

    Later they would find what the migration did itself, and advise to remove it.
    """
    phase = record.cluster.phase
    if form == "table":
        what = "was migrated" if phase is Phase.DONE else f"is being migrated, phase {phase}"
        to = output.out()
        to.print(f"The cluster {what}: the checks are for the time before, and were not made.", soft_wrap=True)
        order = "migrate status" if phase is Phase.DONE else "migrate status, then migrate run or migrate rollback"
        to.print(Text.assemble(("next: ", "cyan"), order), soft_wrap=True)
        return
    data: dict[str, Any] = {"schema": 1, "passed": True, "phase": phase.value, "findings": []}
    (output.as_json if form == "json" else output.as_yaml)(data)


async def checked(here: Session, config: Config, cluster: KubeCluster, canal: FoundCanal) -> list[Finding]:
    """The findings now."""
    return findings(await gathered(here.client, plan_for(config, cluster.snapshot()), cluster, canal))


def refuse(found: Iterable[Finding], *, next: str) -> None:  # noqa: A002 - it is the word the screen shows
    """Refuse when there are blockers.

    Raises:
        PreflightFailed: there are.
    """
    if failed := blockers(found):
        what = "; ".join(f"{finding.id}: {finding.what}" for finding in failed)
        if all(ABOUT[finding.id].waivable for finding in failed):
            next = f"{next}; what you judge to be no trouble here: --waive ID[:OBJECT]"  # noqa: A001
        raise PreflightFailed(f"{output.plural(len(failed), 'check')} failed, nothing was changed: {what}", next=next)


def show(to: Console, found: Sequence[Finding], waivers: Sequence[str] = (), *, most: int = 10) -> None:
    """Print findings: each with its objects and what to do about it; and which of the waivers nothing was found for."""
    for finding in found:
        style, label = (WAIVED, "waived") if finding.waived else (STYLES[finding.severity], finding.severity)
        head = Text.assemble((f"{label.upper():8}", style), (f"{finding.id}: ", "bold"), finding.what)
        to.print(head, soft_wrap=True)
        for one in finding.objects[:most]:
            to.print(Text(f"          - {one}"), soft_wrap=True)
        if len(finding.objects) > most:
            to.print(Text(f"          and {len(finding.objects) - most} more"), soft_wrap=True)
        if finding.waived:
            continue
        if finding.severity is not Severity.INFO or finding.to_do != "nothing to do":
            to.print(Text.assemble(("        do: ", "cyan"), finding.to_do), soft_wrap=True)
    for waiver in unused(waivers, found):
        to.print(Text(f"waived, but nothing of it was found: {waiver}", style="yellow"), soft_wrap=True)
    count = {severity: sum(1 for f in found if f.severity is severity and not f.waived) for severity in Severity}
    told = [output.plural(number, severity) for severity, number in count.items() if number]
    if number := sum(1 for finding in found if finding.waived):
        told.append(f"{number} waived")
    to.print(Text(f"preflight: {', '.join(told) or 'nothing to mend'}", style="bold"))
