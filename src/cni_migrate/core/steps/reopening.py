"""Cluster steps of a rollback out of clean-up, before its point of no return: all that it changed is taken back."""

from cni_migrate.config import Label
from cni_migrate.core.model import names
from cni_migrate.core.model.effects import DeletePod
from cni_migrate.core.model.words import many
from cni_migrate.core.steps import agents
from cni_migrate.core.steps.answers import Answer, Apply, Done, Wait
from cni_migrate.core.steps.labels import labels_patch
from cni_migrate.core.steps.registry import cluster_step
from cni_migrate.core.steps.view import ClusterView
from cni_migrate.core.steps.waited import named

SHARE = 10
"""One agent in so many restarts at a time, as in the DaemonSet's own rolling update."""


def _label(view: ClusterView, label: Label) -> Answer:
    patches = (labels_patch(node, [label]) for node in view.members())
    effects = tuple(patch for patch in patches if patch is not None)
    return Apply(effects, on=f"labels of {many(len(effects), 'node')}") if effects else Done()


@cluster_step("host", foreseeable=True)
def label_cilium_nodes(view: ClusterView) -> Answer:
    """Label every node as one that runs the second Cilium; those that joined during clean-up are not yet."""
    return _label(view, view.config.labels.cilium)


@cluster_step("host", foreseeable=True)
def label_switched_nodes(view: ClusterView) -> Answer:
    """Select every node for the CiliumNodeConfig; those that joined during clean-up are not yet."""
    return _label(view, view.config.labels.switched)


@cluster_step("agent")
def restart_finished_cilium(view: ClusterView) -> Answer:
    """Restart the agents that run in their final form, a tenth at a time, so that they leave room for Canal again.

    In their final form they would put their chains before Calico's, and delete the endpoints of Canal's pods.
    """
    namespace = view.config.cilium.namespace
    daemonset = view.seen.daemonsets.get((namespace, names.CILIUM))
    if daemonset is None or daemonset.observed_generation < daemonset.generation:
        return Wait(on="the control plane to look at DaemonSet cilium", observed="an older generation")
    finished, restarting = [], []
    members = [node for node in view.members() if node.ready]
    for node in members:
        pod = view.agent(node.name, namespace, names.CILIUM)
        if pod is not None and not pod.deleting and agents.finished(view, pod):
            finished.append(pod)
        elif pod is None or pod.deleting or not (pod.ready or pod.trouble):  # one that crashes is why all go back
            restarting.append(f"node {node.name}: {named(view.seen, pod)}")
    if not finished and not restarting:
        return Done()
    on = f"Cilium to run beside Canal again on {len(finished) + len(restarting)} nodes"
    room = max(1, len(members) // SHARE) - len(restarting)
    observed = restarting[0] if restarting else f"{many(len(finished), 'agent')} in the final form"
    if not finished or room <= 0:
        return Wait(on=on, observed=observed)
    chosen = [DeletePod(pod.namespace, pod.name, pod.uid, pod.node, at_once=True) for pod in finished[:room]]
    return Apply(tuple(chosen), on=on, observed=observed)
