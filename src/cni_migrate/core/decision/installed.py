"""What the migration needs stays installed: what somebody deletes or changes of it is put back.

Namespaces are deleted, GitOps prunes what it does not know, a hand slips. Each driver looks at every object once when
it starts, so that `migrate run` and `migrate rollback` get past whatever was missing. DaemonSets are watched all the
time: without Cilium or the agents a node would be drained for nothing, and one that is on Cilium could not go back. So
nothing else is done while one of them is put back.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from cni_migrate.core.decision.advance import Waiting, due, history
from cni_migrate.core.decision.draft import Draft, hold_all, ours_there
from cni_migrate.core.model import names
from cni_migrate.core.model.attempts import Attempt
from cni_migrate.core.model.effects import CHANGED, GONE, KeepObject
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.objects import ObjectRef, Snapshot
from cni_migrate.core.model.record import Record
from cni_migrate.core.render.manifests import Manifest
from cni_migrate.core.steps.registry import ABOUT
from cni_migrate.core.steps.view import Plan

BEGIN, MEANWHILE = "begin", "meanwhile"


def installed(plan: Plan, record: Record, seen: Snapshot) -> list[KeepObject]:
    """What is there by now and has to stay, for a driver that starts: up to the point of no return, both ways."""
    return [KeepObject(manifest, BEGIN) for manifest in _ours(plan, record, seen)]


def put_back(record: Record, looks: Iterable[KeepObject], attempts: Mapping[str, Attempt], now: datetime) -> Record:
    """The record with a line of history for everything that was put back, or could not be."""
    lines: list[str] = []
    for look in looks:
        attempt = attempts.get(look.key)
        if attempt is None:
            lines.append(f"{look.ref} was not looked at: what it needs could not be put back")
        elif attempt.result != "applied":
            lines.append(f"{look.ref} could not be put back: {attempt.message}")
        elif attempt.message in (GONE, CHANGED):
            lines.append(f"{look.ref} put back: {attempt.message}")
            if look.ref.kind == "ConfigMap" and look.ref.name == names.CILIUM_CONFIG:
                lines.append(
                    "an agent of Cilium that has started meanwhile runs by what that said: delete its pod (kubectl -n"
                    f" {look.ref.namespace} get pods -o wide), one at a time"
                )
    for line in lines:
        record = history(record, now, line)
    return record


def keep_installed(draft: Draft) -> bool:
    """Whether a DaemonSet of ours is being put back, so that nothing else may be done now."""
    cluster = draft.record.cluster
    if cluster.phase not in (Phase.ATTACHING, Phase.MIGRATING) or cluster.held is not None or draft.stopping:
        return False
    if not ours_there(draft):
        return False  # all of it at once: the next driver puts it back when it starts
    ours = _ours(draft.plan, draft.record, draft.seen)
    gone = [name for name in _daemonsets(ours) if name not in draft.seen.daemonsets]
    return bool(gone) and _put_back(draft, gone, [KeepObject(manifest, MEANWHILE) for manifest in ours])


def _ours(plan: Plan, record: Record, seen: Snapshot) -> list[Manifest]:
    """The objects of the steps that are behind us, each as the last of them left it.

    Left out are those that a step writes again and again (the agents' pace), and what ends by itself (a chart's Jobs).
    """
    found: dict[ObjectRef, Manifest] = {}
    for step in _behind(plan, record):
        if (installs := ABOUT[step].installs) is not None:
            found.update((ObjectRef.of(one), one) for one in installs(plan, seen))
    return [one for ref, one in found.items() if ref.kind != "Job" and ref.name != names.PACE]


def _behind(plan: Plan, record: Record) -> Iterator[str]:
    """The steps that have installed what is there now; none once it is being removed.

    Clean-up begins by giving Cilium its end form; behind the point of no return Helm may own that.
    """
    cluster = record.cluster
    phases = plan.strategy.phases
    match cluster.phase:
        case Phase.ATTACHING | Phase.MIGRATING:
            yield from phases["prepare"]
        case Phase.PREPARING if cluster.direction == "forward":
            yield from phases["prepare"][: cluster.position]
        case Phase.CLEANING if cluster.direction == "forward" and cluster.list_name:
            passed = phases[cluster.list_name][: cluster.position]
            if not any(ABOUT[step].irreversible for step in passed):
                yield from passed
        case _:
            return


def _daemonsets(manifests: Iterable[Manifest]) -> Iterator[tuple[str, str]]:
    for one in manifests:
        if one["kind"] == "DaemonSet":
            yield one["metadata"]["namespace"], one["metadata"]["name"]


def _put_back(draft: Draft, gone: list[tuple[str, str]], effects: list[KeepObject]) -> bool:
    config, attempts = draft.plan.config, draft.work.outcomes.attempts
    wanted, trouble = due(effects, draft.seen, draft.now, config.drain.retry_seconds, draft.work)
    tried = [attempts[effect.key].at for effect in effects if effect.key in attempts]
    end = min(tried, default=draft.now) + timedelta(seconds=config.deadlines.host)
    if trouble or draft.now >= end:
        _hold(draft, gone, trouble)
        return False
    if not tried:
        draft.record = history(draft.record, draft.now, f"{_told(gone)} gone: put back")
    draft.work.effects.extend(wanted)
    draft.work.waits.append(Waiting("", "", f"{_told(gone)} to be there again", "deleted by somebody"))
    draft.work.look_at(end)
    return True


def _told(gone: Iterable[tuple[str, str]]) -> str:
    every = ["/".join(name) for name in gone]
    return f"DaemonSet {every[0]}" if len(every) == 1 else f"DaemonSets {', '.join(every)}"


def _hold(draft: Draft, gone: list[tuple[str, str]], trouble: str) -> None:
    why = f"{_told(gone)} {'was' if len(gone) == 1 else 'were'} deleted by somebody{trouble and f'; {trouble}'}"
    hold_all(draft, why, f"find out who deletes it, then `{draft.goal.command}` goes on")
