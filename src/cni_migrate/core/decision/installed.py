"""What the migration needs stays installed: a DaemonSet of ours that somebody deletes is put back.

Namespaces are deleted, GitOps prunes what it does not know. Without Cilium or the agents a node would be drained for
nothing, and one that is on Cilium could not go back. So this is looked at before anything else is done.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from cni_migrate.core.decision.advance import Waiting, due, history
from cni_migrate.core.decision.draft import Draft
from cni_migrate.core.model import names
from cni_migrate.core.model.effects import PutObject
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.record import Held
from cni_migrate.core.render.manifests import Manifest


def keep_installed(draft: Draft) -> bool:
    """Whether something of ours is being put back, so that nothing else may be done now."""
    cluster = draft.record.cluster
    if cluster.phase not in (Phase.ATTACHING, Phase.MIGRATING) or cluster.held is not None or draft.stopping:
        return False
    if not any(one.labels.get(names.MANAGED_BY) == names.TOOL for one in draft.seen.daemonsets.values()):
        return False  # whoever takes all of it away has not done so by accident
    gone: list[tuple[str, str]] = []
    effects: list[PutObject] = []
    for manifests in _ours(draft):
        if missing := [name for name in _daemonsets(manifests) if name not in draft.seen.daemonsets]:
            gone += missing
            effects += [PutObject(manifest) for manifest in manifests]
    return bool(gone) and _put_back(draft, gone, effects)


def _ours(draft: Draft) -> Iterator[list[Manifest]]:
    """What the preparation installed, part by part."""
    manifests = draft.plan.manifests
    yield manifests.knet()
    yield manifests.cilium()
    yield manifests.identities()


def _daemonsets(manifests: Iterable[Manifest]) -> Iterator[tuple[str, str]]:
    for one in manifests:
        if one["kind"] == "DaemonSet":
            yield one["metadata"]["namespace"], one["metadata"]["name"]


def _put_back(draft: Draft, gone: list[tuple[str, str]], effects: list[PutObject]) -> bool:
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
    """Hold the cluster, and every node whose event is under way: they would wait for what cannot come."""
    why = f"{_told(gone)} {'was' if len(gone) == 1 else 'were'} deleted by somebody{trouble and f'; {trouble}'}"
    held = Held(why=why, next=f"find out who deletes it, then `{draft.goal.command}` goes on", since=draft.now)
    draft.record = draft.record.with_cluster(draft.record.cluster.model_copy(update={"held": held}))
    for name, entry in draft.record.nodes.items():
        if entry.event is not None and entry.held is None and not entry.gone and not entry.skipped:
            draft.record = draft.record.with_node(name, entry.model_copy(update={"held": held}))
    draft.record = history(draft.record, draft.now, f"held: {why}")
