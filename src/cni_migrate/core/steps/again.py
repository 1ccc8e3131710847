"""Canal that somebody has made again after clean-up had deleted it, during clean-up or long after its end.

Its pods lay flannel's links, routes and chains on every node anew, and its CNI file comes back. Whoever made it would
do so once more, so it is named, with what stops it; then the list `again` deletes Canal and cleans the hosts behind it.
"""

from typing import Final

from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.objects import DaemonSet, Snapshot
from cni_migrate.core.model.record import Record
from cni_migrate.core.steps.registry import ABOUT
from cni_migrate.core.steps.selection import canals, owners_of, who_made
from cni_migrate.core.steps.view import Plan

CLEAN: Final = "clean"
AGAIN: Final = "again"
"""The list of cluster steps that removes a Canal that came back when the rest of clean-up is over."""

STOP: Final = {
    "Argo CD": "take Canal out of its Application",
    "Flux": "take Canal out of what Flux applies",
    "the addon manager": "take Canal's manifest out of the addon manager's folder on every control-plane node",
    "kops": "set the kops cluster's networking to cni",
    "KubeOne": "set clusterNetwork.cni to external in KubeOne's manifest",
    "the Helm controller": "have RKE2 or k3s not install Canal any more (RKE2: cni: none on every server)",
    "Helm": "uninstall Canal's release, or leave it as it is from now on",
}
"""What keeps each owner from making Canal again; of others only the name is known."""


def made_again(plan: Plan, record: Record, seen: Snapshot) -> list[DaemonSet]:
    """Canal's DaemonSets that are there although clean-up has deleted them; none while their deletion is under way."""
    cluster = record.cluster
    if cluster.direction != "forward" or cluster.phase not in (Phase.CLEANING, Phase.DONE) or cluster.started is None:
        return []
    if cluster.list_name:
        steps = plan.strategy.phases.get(cluster.list_name, ())
        deletion = next((at for at, step in enumerate(steps) if ABOUT[step].deletes_canal), len(steps))
        if cluster.position <= deletion:
            return []
    elif cluster.phase is not Phase.DONE:
        return []
    began = cluster.started
    return [
        one for one in canals(plan.config, seen) if one.created is not None and one.created > began and not one.deleting
    ]


def told(found: list[DaemonSet]) -> str:
    """Who has made which of them."""
    return "; ".join(f"{who_made(one)} has made DaemonSet {one.namespace}/{one.name} again" for one in found)


def remedy(found: list[DaemonSet]) -> str:
    """What to do and to type about them."""
    owners = dict.fromkeys(owner for one in found for owner in owners_of(one))
    stops = [STOP[owner] for owner in owners if owner in STOP]
    stop = ", and ".join(stops) or f"take Canal out of {who_made(found[0])} for good"
    return f"{stop}, then `migrate run`: it deletes Canal again and cleans the nodes"
