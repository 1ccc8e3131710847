"""Canal's DaemonSets stay as the migration made them: an owner that puts them back stops the run, by name and field.

Canal would return to nodes that have left it, and its file to theirs. So nothing goes on until the owner is suspended;
who types `migrate run` after that gets the selector back first. The same with a DaemonSet that clean-up has deleted
and that is there again: the next run deletes it anew, and cleans the hosts after it.
"""

from cni_migrate.core.decision.advance import Waiting, due, history
from cni_migrate.core.decision.draft import Draft
from cni_migrate.core.model.effects import PatchObject
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.core.model.record import Held
from cni_migrate.core.steps.registry import ABOUT
from cni_migrate.core.steps.selection import PutBack, canals, put_back, selecting, who_made

STEP = next(step.name for step in ABOUT.values() if step.selects_canal)
DELETION = next(step.name for step in ABOUT.values() if step.deletes_canal)
CLEANING = "clean"


def keep_selected(draft: Draft) -> None:
    """Look whether Canal was put back: hold everything then, or, at the beginning of a run, select it anew."""
    cluster = draft.record.cluster
    if draft.goal.kind != "forward" or cluster.direction != "forward" or not _is_selected(draft):
        return
    found = put_back(draft.plan.config, draft.seen)
    if not found:
        if cluster.reselect:
            draft.record = draft.record.with_cluster(cluster.model_copy(update={"reselect": False}))
    elif cluster.reselect:
        _select(draft, found)
    else:
        _hold(draft, found)


def keep_deleted(draft: Draft) -> None:
    """Look whether Canal was made again after clean-up had deleted it: hold, or, at the beginning of a run, go back."""
    cluster = draft.record.cluster
    if cluster.phase is not Phase.CLEANING or cluster.direction != "forward" or cluster.held is not None:
        return
    steps = draft.plan.strategy.phases[CLEANING]
    if DELETION not in steps or cluster.list_name != CLEANING or cluster.started is None:
        return
    deletion = steps.index(DELETION)
    if cluster.position <= deletion:
        return
    began = cluster.started
    again = [one for one in canals(draft.plan.config, draft.seen) if one.created is not None and one.created > began]
    if not again:
        return
    what = "; ".join(f"{who_made(one)} has made DaemonSet {one.namespace}/{one.name} again" for one in again)
    if not cluster.reselect:
        why = f"{what}: Canal's pods and files come back to the nodes"
        owner = who_made(again[0])
        to_do = f"take Canal out of {owner} for good, then `migrate run`: it deletes Canal again and cleans the nodes"
        held = Held(why=why, next=to_do, since=draft.now)
        draft.record = draft.record.with_cluster(cluster.model_copy(update={"held": held}))
        draft.record = history(draft.record, draft.now, f"held: {why}")
        return
    cluster = cluster.at(CLEANING, deletion, DELETION, draft.now).model_copy(update={"reselect": False})
    nodes = {name: node.model_copy(update={"cleaned": False}) for name, node in draft.record.nodes.items()}
    draft.record = draft.record.with_cluster(cluster).with_nodes(nodes)
    draft.record = history(draft.record, draft.now, f"{what}: it is deleted again")


def _is_selected(draft: Draft) -> bool:
    """Whether the step that selects Canal is done, and Canal not yet on its way out."""
    cluster = draft.record.cluster
    if cluster.canal_before is None or cluster.held is not None:
        return False
    if cluster.phase is Phase.PREPARING:
        return cluster.list_name == "prepare" and cluster.step != STEP
    return cluster.phase in (Phase.ATTACHING, Phase.MIGRATING)


def _select(draft: Draft, found: list[PutBack]) -> None:
    config = draft.plan.config
    effects = []
    for one in found:
        ref = ObjectRef("apps/v1", "DaemonSet", one.daemonset.namespace, one.daemonset.name)
        effects.append(PatchObject(ref, selecting(config), one.daemonset.resource_version))
        draft.work.waits.append(Waiting("", STEP, f"node selector of {ref} to be set again", str(one)))
    wanted, trouble = due(effects, draft.seen, draft.now, config.drain.retry_seconds, draft.work)
    if trouble:
        _hold(draft, found)
    draft.work.effects.extend(wanted)


def _hold(draft: Draft, found: list[PutBack]) -> None:
    """Hold the cluster, and every node whose event is under way: they would wait for what cannot come."""
    owner = found[0].who
    why = "; ".join(map(str, found))
    what = f"suspend {owner} for it (pause its synchronisation, or take Canal out of it)"
    held = Held(why=why, next=f"{what}, then `migrate run`: it sets the selector again and goes on", since=draft.now)
    draft.record = draft.record.with_cluster(draft.record.cluster.model_copy(update={"held": held}))
    for name, entry in draft.record.nodes.items():
        if entry.event is not None and entry.held is None and not entry.gone and not entry.skipped:
            draft.record = draft.record.with_node(name, entry.model_copy(update={"held": held}))
    draft.record = history(draft.record, draft.now, f"held: {why}")
