"""Cluster steps of a rollback out of clean-up, before its point of no return: all that it changed is taken back."""

from cni_migrate.configsections import Label
from cni_migrate.core.model import names
from cni_migrate.core.model.words import many
from cni_migrate.core.steps import agents
from cni_migrate.core.steps.answers import Answer, Apply, Done, Wait
from cni_migrate.core.steps.labels import labels_patch
from cni_migrate.core.steps.registry import cluster_step
from cni_migrate.core.steps.rolling import restart_agents
from cni_migrate.core.steps.view import ClusterView


def _label(view: ClusterView, label: Label) -> Answer:
    patches = (labels_patch(node, [label]) for node in view.members())
    effects = tuple(patch for patch in patches if patch is not None)
    return Apply(effects, on=f"labels of {many(len(effects), 'node')}") if effects else Done()


@cluster_step("host", foreseeable=True)
def label_cilium_nodes(view: ClusterView) -> Answer:
    """Label every node as one that runs the second Cilium, those that joined during clean-up, too."""
    return _label(view, view.config.labels.cilium)


@cluster_step("host", foreseeable=True)
def label_switched_nodes(view: ClusterView) -> Answer:
    """Select every node for the CiliumNodeConfig, those that joined during clean-up, too."""
    return _label(view, view.config.labels.switched)


@cluster_step("agent")
def restart_finished_cilium(view: ClusterView) -> Answer:
    """Restart the agents in their final form, a tenth at a time: they leave room for Canal again.

    In their final form they would put their chains before Calico's, and delete the endpoints of Canal's pods.
    """
    namespace = view.config.cilium.namespace
    daemonset = view.seen.daemonsets.get((namespace, names.CILIUM))
    if daemonset is None or daemonset.observed_generation < daemonset.generation:
        return Wait(on="the control plane to look at DaemonSet cilium", observed="an older generation")
    return restart_agents(
        view,
        lambda pod: agents.finished(view, pod),
        on="Cilium to run beside Canal again",
        agents="in the final form",
        crashing_counts=False,  # one that crashes is why all go back
        at_once=True,
    )
