"""Restarts agents of Cilium a share at a time, as a rolling update does, where the DaemonSet is not to do it itself."""

from collections.abc import Callable

from cni_migrate.core.model import names
from cni_migrate.core.model.effects import DeletePod
from cni_migrate.core.model.objects import Pod
from cni_migrate.core.model.words import many
from cni_migrate.core.steps.answers import Answer, Apply, Done, Wait
from cni_migrate.core.steps.view import ClusterView
from cni_migrate.core.steps.waited import named

SHARE = 10
"""One agent in so many restarts at a time, as in the DaemonSet's own rolling update."""


def restart_agents(
    view: ClusterView,
    old: Callable[[Pod], bool],
    *,
    on: str,
    agents: str,
    crashing_counts: bool = True,
    at_once: bool = False,
) -> Answer:
    """Delete the agents that are `old`, a share at a time, and wait until their successors on Ready nodes are Ready.

    `on` and `agents` say what is waited for and which agents are left. A successor that does not come up holds the
    others back, unless crashing ones do not count. `at_once` deletes without grace.
    """
    left: list[Pod] = []
    restarting: list[str] = []
    members = [node for node in view.members() if node.ready]
    for node in members:
        pod = view.agent(node.name, view.config.cilium.namespace, names.CILIUM)
        if pod is not None and not pod.deleting and old(pod):
            left.append(pod)
        elif pod is None or pod.deleting or not (pod.ready or (pod.trouble and not crashing_counts)):
            restarting.append(f"node {node.name}: {named(view.seen, pod)}")
    if not left and not restarting:
        return Done()
    on = f"{on} on {many(len(left) + len(restarting), 'node')}"
    room = max(1, len(members) // SHARE) - len(restarting)
    observed = restarting[0] if restarting else f"{many(len(left), 'agent')} {agents}"
    if not left or room <= 0:
        return Wait(on=on, observed=observed)
    chosen = [DeletePod(pod.namespace, pod.name, pod.uid, pod.node, at_once=at_once) for pod in left[:room]]
    return Apply(tuple(chosen), on=on, observed=observed)
