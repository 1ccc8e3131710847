"""Canal's DaemonSets stay as the migration made them: an owner that puts them back stops the run, by name and field.

Canal would return to nodes that have left it, and its file to theirs. So nothing goes on until the owner is suspended;
who types the command again after that gets the selector back first. One that somebody deletes stops it as well: pods
that are still on Canal lose their network, and nobody can go back. The same with a DaemonSet that clean-up has deleted
and that is there again, even long after the end: the next run deletes it anew, and cleans the hosts after it.
"""

from cni_migrate.core.decision.advance import Waiting, due, history
from cni_migrate.core.decision.draft import Draft, hold_all, ours_there
from cni_migrate.core.decision.no_return import passed
from cni_migrate.core.model.effects import PatchObject
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.core.model.record import Held, Record
from cni_migrate.core.steps.again import AGAIN, CLEAN, made_again, remedy, told
from cni_migrate.core.steps.registry import ABOUT, ends_probing
from cni_migrate.core.steps.selection import PutBack, deleted, put_back, selecting, without

STEP = next(step.name for step in ABOUT.values() if step.selects_canal)


def keep_selected(draft: Draft) -> None:
    """Look whether Canal was put back: hold everything then, or, at the beginning of a run, select it anew."""
    cluster = draft.record.cluster
    if not _is_selected(draft):
        return
    found = put_back(draft.plan.config, draft.seen)
    if not found:
        if cluster.reselect:
            draft.record = draft.record.with_cluster(cluster.model_copy(update={"reselect": False}))
    elif cluster.reselect:
        _select(draft, found)
    else:
        _hold_for(draft, found)


def keep_there(draft: Draft) -> None:
    """Look whether Canal is there as long as it is needed: hold everything where it was deleted, until it is back."""
    cluster = draft.record.cluster
    needed = cluster.phase in (Phase.ATTACHING, Phase.MIGRATING) or (
        cluster.phase is Phase.PREPARING and cluster.direction == "back"
    )
    needed = needed or (cluster.phase is Phase.CLEANING and not passed(draft.plan, draft.record))
    if not ours_there(draft):
        return  # all that the migration runs with is gone as well: its steps tell what they miss
    if needed and cluster.held is None and (gone := deleted(draft.plan.config, draft.seen)):
        hold_all(draft, *without(gone, draft.goal.command))


def keep_deleted(draft: Draft) -> None:
    """Look whether Canal was made again after clean-up had deleted it: hold, or, at the beginning of a run, go back."""
    cluster = draft.record.cluster
    if draft.goal.kind != "forward" or cluster.phase not in (Phase.CLEANING, Phase.DONE) or cluster.held is not None:
        return
    if ends_probing(cluster.step):  # the agents are on their way out: what is to come does not ask them
        return
    found = made_again(draft.plan, draft.record, draft.seen)
    if not found:
        if cluster.reselect:
            draft.record = draft.record.with_cluster(cluster.model_copy(update={"reselect": False}))
        return
    what = told(found)
    if not cluster.reselect or not draft.goal.cleans_up:
        why = f"{what}: Canal's pods and files come back to the nodes"
        held = Held(why=why, next=remedy(found), since=draft.now)
        draft.record = draft.record.with_cluster(cluster.model_copy(update={"held": held}))
        draft.record = history(draft.record, draft.now, f"held: {why}")
        return
    draft.record = _deleted_again(draft).with_nodes(
        {name: node.model_copy(update={"cleaned": False}) for name, node in draft.record.nodes.items()}
    )
    draft.record = history(draft.record, draft.now, f"{what}: it is deleted again")


def _deleted_again(draft: Draft) -> Record:
    """The record from the deletion on: of clean-up, or of the list `again` once nobody probes any more."""
    cluster = draft.record.cluster
    steps = draft.plan.strategy.phases[CLEAN]
    probed = cluster.list_name == CLEAN and not any(ABOUT[step].ends_probing for step in steps[: cluster.position])
    name = CLEAN if probed else AGAIN
    listed = draft.plan.strategy.phases[name]
    deletion = next(at for at, step in enumerate(listed) if ABOUT[step].deletes_canal)
    at = cluster.at(name, deletion, listed[deletion], draft.now)
    return draft.record.with_cluster(at.model_copy(update={"reselect": False, "again": cluster.again + 1}))


def _is_selected(draft: Draft) -> bool:
    """Whether the step that selects Canal is done, and Canal not yet on its way out."""
    cluster = draft.record.cluster
    if cluster.canal_before is None or cluster.held is not None:
        return False
    if cluster.phase is Phase.PREPARING:
        return cluster.list_name == "prepare" and cluster.step != STEP
    open_still = cluster.phase is Phase.CLEANING and not passed(draft.plan, draft.record)
    return cluster.phase in (Phase.ATTACHING, Phase.MIGRATING) or open_still


def _select(draft: Draft, found: list[PutBack]) -> None:
    config = draft.plan.config
    effects = []
    for one in found:
        ref = ObjectRef("apps/v1", "DaemonSet", one.daemonset.namespace, one.daemonset.name)
        effects.append(PatchObject(ref, selecting(config), one.daemonset.resource_version))
        draft.work.waits.append(Waiting("", STEP, f"node selector of {ref} to be set again", str(one)))
    wanted, trouble = due(effects, draft.seen, draft.now, config.drain.retry_seconds, draft.work)
    if trouble:
        _hold_for(draft, found)
    draft.work.effects.extend(wanted)


def _hold_for(draft: Draft, found: list[PutBack]) -> None:
    stop = f"suspend {found[0].who} for it (pause its synchronisation, or take Canal out of it)"
    to_do = f"{stop}, then `{draft.goal.command}`: it sets the selector again and goes on"
    hold_all(draft, "; ".join(map(str, found)), to_do)
