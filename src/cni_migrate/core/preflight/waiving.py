"""What an operator has waived by name: `ID`, or `ID:object` for one of the objects that a finding names."""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from cni_migrate.core.model.words import many
from cni_migrate.core.preflight.catalogue import ABOUT
from cni_migrate.core.preflight.registry import Finding, Severity
from cni_migrate.errors import UsageError

REFERENCE = "docs/reference/preflight.md"


def check_waivers(waivers: Iterable[str], source: str) -> None:
    """Refuse what cannot be waived.

    Args:
        waivers: `ID` or `ID:object`.
        source: where they were written.

    Raises:
        UsageError: an id is unknown (the message names the nearest), or its findings cannot be waived.
    """
    for waiver in waivers:
        check_id, colon, thing = waiver.partition(":")
        about = ABOUT.get(check_id)
        if about is None:
            near = difflib.get_close_matches(check_id.upper().replace("-", "_"), ABOUT, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(
                f"{source}: there is no preflight check {check_id!r}{hint}", next=f"see {REFERENCE}  (every id)"
            )
        if not about.waivable:
            raise UsageError(f"{source}: {check_id} cannot be waived: {about.never}", next=f"instead: {about.remedy}")
        if colon and not thing.strip():
            raise UsageError(f"{source}: {waiver!r} names no object", next=f"--waive {check_id}:OBJECT, or {check_id}")


def names(thing: str, listed: str) -> bool:
    """Whether an object as it was typed is one that a finding lists.

    A finding says more than the name: `shop/db-0 on w1`, `node w1: podCIDR …`. The name is enough, and so is all of it.
    """
    return re.match(rf"(?:[A-Za-z]+ )?{re.escape(thing.strip())}(?=$|[\s:,(])", listed) is not None


def waived(found: Iterable[Finding], waivers: Sequence[str]) -> Iterator[Finding]:
    """The findings, with what was waived marked. One whose objects are waived in part is two: waived, and not."""
    for finding in found:
        mine = [waiver.partition(":")[2] for waiver in waivers if waiver.partition(":")[0] == finding.id]
        if not mine or finding.severity is Severity.INFO or not ABOUT[finding.id].waivable:
            yield finding
        elif "" in mine:
            yield replace(finding, waived=True)
        else:
            yield from _by_object(finding, mine)


def _by_object(finding: Finding, things: Sequence[str]) -> Iterator[Finding]:
    chosen = tuple(one for one in finding.objects if any(names(thing, one) for thing in things))
    left = tuple(one for one in finding.objects if one not in chosen)
    if not chosen:
        yield finding
    elif not left:
        yield replace(finding, waived=True)
    else:
        yield replace(finding, objects=left, what=f"{finding.what} ({many(len(chosen), 'object')} waived)")
        yield replace(finding, objects=chosen, waived=True)


def unused(waivers: Iterable[str], found: Iterable[Finding]) -> list[str]:
    """The waivers that nothing was found for: a slip in an object's name, or what has been mended since.

    Of what only a step can find out nothing is known yet.
    """
    done = [finding for finding in found if finding.waived]

    def used(waiver: str) -> bool:
        check_id, _, thing = waiver.partition(":")
        return any(
            one.id == check_id and (not thing or any(names(thing, listed) for listed in one.objects)) for one in done
        )

    return [waiver for waiver in waivers if not ABOUT[waiver.partition(":")[0]].later and not used(waiver)]


def told(found: Iterable[Finding], most: int = 20) -> tuple[str, ...]:
    """What was waived, one line for each finding, for the record's history."""
    return tuple(f"{one.id}: {one.what}{_listed(one.objects, most)}" for one in found if one.waived)


def _listed(objects: Sequence[str], most: int) -> str:
    more = f" and {len(objects) - most} more" if len(objects) > most else ""
    return f" ({'; '.join(objects[:most])}{more})" if objects else ""
