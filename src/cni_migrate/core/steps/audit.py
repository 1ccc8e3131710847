"""The audit: what of the migration, or of the old network, is still in the cluster."""

from typing import Final

from cni_migrate.core.model import names
from cni_migrate.core.model.objects import Pod
from cni_migrate.core.steps.again import made_again, remedy, told
from cni_migrate.core.steps.view import ClusterView

AGAIN: Final = "it is static: move its manifest out of the kubelet's folder there, and back"
"""How a static pod gets the network of the moment: through the API it cannot be recreated."""


def _marks(view: ClusterView) -> list[str]:
    """Cordons, taints and labels of ours that are still on nodes."""
    labels = view.config.labels
    keys = [label.key for label in labels.every()]
    problems = []
    for node in view.seen.nodes.values():
        if names.CORDONED_BY in node.annotations:
            problems.append(f"node {node.name} is cordoned by this migration")
        if any(taint.key == labels.cilium.key for taint in node.taints):
            problems.append(f"node {node.name} has the taint {labels.cilium.key}")
        problems += [f"node {node.name} has the label {key}" for key in keys if key in node.labels]
        problems += [
            f"host task {pod.name} is left on node {node.name}"
            for pod in view.host_tasks(node.name)
            if not pod.deleting
        ]
    return problems


def _identities(view: ClusterView) -> list[str]:
    """What is left of the agents that made Canal's pods known to Cilium."""
    return _still_there(view, (view.config.namespace, names.IDENTITIES)) + [
        f"CiliumEndpoint {one.namespace}/{one.name} is left" for one in view.seen.endpoints.values() if one.ours
    ]


def _still_there(view: ClusterView, *daemonsets: tuple[str, str]) -> list[str]:
    return [
        f"DaemonSet {namespace}/{name} is still there"
        for namespace, name in daemonsets
        if (namespace, name) in view.seen.daemonsets
    ]


def by_hand(pod: Pod) -> str:
    """What to add about a pod that cannot be recreated through the API."""
    return f": {AGAIN}" if pod.mirror else ""


def audit_problems(view: ClusterView) -> list[str]:
    """What keeps the migration from being complete; empty when it is."""
    config = view.config
    problems = _marks(view) + _identities(view)
    again = made_again(view.plan, view.record, view.seen)
    problems += [f"{told([one])}: {remedy([one])}" for one in again]
    back = {(one.namespace, one.name) for one in again}
    problems += _still_there(
        view,
        *(one for one in config.canal.every_daemonset() if one not in back),
        (config.multus.namespace, names.MULTUS),
        (config.cilium.namespace, names.FIRST_CILIUM),
    )
    for node in view.seen.nodes:
        every = (*view.networked(node), *view.static(node))
        problems += [f"pod {p.key} on node {node} is on Canal{by_hand(p)}" for p in every if view.on_canal(p)]
    return problems


def undone_problems(view: ClusterView) -> list[str]:
    """What keeps the cluster from being as it was found; empty when it is."""
    config = view.config
    problems = _marks(view) + _identities(view)
    installed = [(config.cilium.namespace, names.CILIUM)] if config.cilium.source != "existing" else []
    problems += _still_there(
        view,
        *installed,
        (config.cilium.namespace, names.FIRST_CILIUM),
        (config.multus.namespace, names.MULTUS),
    )
    for node in view.seen.nodes:
        every = (*view.networked(node), *view.static(node))
        problems += [f"pod {p.key} on node {node} is on Cilium{by_hand(p)}" for p in every if view.on_cilium(p)]
    return problems
