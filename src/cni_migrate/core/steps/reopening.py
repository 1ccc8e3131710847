"""Cluster steps of a rollback out of clean-up, before its point of no return: all that it changed is taken back."""

from typing import Final

from cni_migrate.configsections import Label
from cni_migrate.core.model import names
from cni_migrate.core.model.effects import PatchNode
from cni_migrate.core.model.words import many
from cni_migrate.core.steps import agents
from cni_migrate.core.steps.answers import Answer, Apply, Done, Wait
from cni_migrate.core.steps.labels import labels_patch
from cni_migrate.core.steps.registry import cluster_step
from cni_migrate.core.steps.rolling import restart_agents
from cni_migrate.core.steps.view import ClusterView
from cni_migrate.core.steps.waited import named


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


OPERATOR_SECONDS: Final = 60
"""For so long an operator that still runs in the final form is waited for: it would close the nodes again."""


@cluster_step("agent")
def open_nodes(view: ClusterView) -> Answer:
    """Take away the taint of nodes whose agent is not Ready: an operator's own Cilium sets it in its final form only.

    Where no agent comes up any more, which may be why all go back, pods could not be moved anywhere.
    """
    effects = [
        PatchNode(node.name, node.uid, node.resource_version, {}, {}, taints=taints)
        for node in view.seen.nodes.values()
        if (taints := agents.opened(view, node)) != node.taints
    ]
    if effects:
        return Apply(tuple(effects), on=f"Cilium's taint of {many(len(effects), 'node')} to go")
    old = [pod for pod in agents.operators_of_cilium(view) if pod.labels.get(names.STAGE) != "transit"]
    if not old or view.config.cilium.source == "builtin" or (view.now - view.since).total_seconds() > OPERATOR_SECONDS:
        return Done()
    return Wait(on="Cilium's operator to run beside Canal again", observed=named(view.seen, old[0]), pods=(old[0],))


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
