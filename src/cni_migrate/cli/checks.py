"""The checks before a migration: made, shown, and refused when one fails that a migration cannot do without."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from cni_migrate.cli.session import Session
from cni_migrate.cli.ui import colours, output
from cni_migrate.config import Config
from cni_migrate.core.model.canal import FoundCanal
from cni_migrate.core.model.words import many
from cni_migrate.core.preflight.catalogue import ABOUT
from cni_migrate.core.preflight.findings import Finding, Severity, blockers, findings
from cni_migrate.core.preflight.waiving import unused
from cni_migrate.errors import PreflightFailed
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.gathering import gathered
from cni_migrate.wiring import plan_for

NARROW = 60
"""Columns below which findings are not set in: names of pods are long, and are not to be broken."""

STYLES = {Severity.BLOCKER: colours.BAD, Severity.WARNING: colours.CAUTION, Severity.INFO: colours.QUIET}


async def checked(here: Session, config: Config, cluster: KubeCluster, canal: FoundCanal) -> list[Finding]:
    """The findings now."""
    facts = await gathered(here.client, plan_for(config, cluster.snapshot()), cluster, canal)
    if here.releases is not None:
        facts = replace(facts, release=here.releases.found())
    return findings(facts)


def refuse(found: Iterable[Finding], *, next: str) -> None:  # noqa: A002 - it is the word the screen shows
    """Refuse when there are blockers.

    Raises:
        PreflightFailed: there are.
    """
    if failed := blockers(found):
        what = ", ".join(finding.id for finding in failed)  # what each of them is about has just been shown
        if all(ABOUT[finding.id].waivable for finding in failed):
            next = f"{next}; what you judge to be no trouble here: --waive ID[:OBJECT]"  # noqa: A001
        raise PreflightFailed(f"{many(len(failed), 'check')} failed, nothing was changed: {what}", next=next)


def show(to: Console, found: Sequence[Finding], waivers: Sequence[str] = (), *, most: int = 10) -> None:
    """Print findings: each with its objects and what to do about it; and which of the waivers nothing was found for."""
    narrow = to.is_terminal and to.width < NARROW
    margin = 2 if narrow else 8
    for finding in found:
        label = "waived" if finding.waived else finding.severity
        style = colours.QUIET if finding.waived else STYLES[finding.severity]
        head = Text.assemble((f"{label.upper():8}", style), (f"{finding.id}: ", colours.HEAD))
        output.say(to, finding.what, head, by=margin)
        for one in finding.objects[:most]:
            output.say(to, one, f"{' ' * (margin if narrow else margin + 2)}- ", by=margin + (2 if narrow else 4))
        if len(finding.objects) > most:
            output.say(to, f"{' ' * (margin + 2)}and {len(finding.objects) - most} more", by=margin + 2)
        if finding.waived:
            continue
        if finding.severity is not Severity.INFO or finding.to_do != "nothing to do":
            output.say(to, finding.to_do, Text(f"{' ' * margin}do: ", style=colours.NEXT), by=margin + 4)
    for waiver in unused(waivers, found):
        output.say(to, Text(f"waived, but nothing of it was found: {waiver}", style=colours.CAUTION))
    count = {severity: sum(1 for f in found if f.severity is severity and not f.waived) for severity in Severity}
    told = [many(number, severity) for severity, number in count.items() if number]
    if number := sum(1 for finding in found if finding.waived):
        told.append(f"{number} waived")
    to.print(Text(f"preflight: {', '.join(told) or 'nothing to fix'}", style=colours.HEAD))
