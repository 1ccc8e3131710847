"""Steps that set a node's labels. The labels decide which DaemonSets run there (seed, steps 1 and 3)."""

from collections.abc import Iterable

from cni_migrate.configsections import Label
from cni_migrate.core.model.effects import PatchNode
from cni_migrate.core.model.objects import Node
from cni_migrate.core.steps.answers import Answer, Apply, Done, NodeChanges, Refuse
from cni_migrate.core.steps.registry import node_step
from cni_migrate.core.steps.view import NodeView


def labels_patch(node: Node, add: Iterable[Label] = (), remove: Iterable[Label] = ()) -> PatchNode | None:
    """The patch that makes the node's labels so, or None when they are. A label with another value is not removed."""
    change: dict[str, str | None] = {
        label.key: label.value for label in add if node.labels.get(label.key) != label.value
    }
    change |= {label.key: None for label in remove if node.labels.get(label.key) == label.value}
    return PatchNode(node.name, node.uid, node.resource_version, change, {}) if change else None


def taken(node: Node, add: Iterable[Label]) -> Refuse | None:
    """The refusal to overwrite what somebody else has set; preflight looks before the first node is touched."""
    for label in add:
        value = node.labels.get(label.key, label.value)
        if value != label.value:
            return Refuse(
                why=f"node {node.name} has the label {label.key}={value}, set by somebody else: it is not overwritten"
                f" with {label.value or 'no value'}",
                next=f"remove it (`kubectl label node {node.name} {label.key}-`)",
            )
    return None


def _set(view: NodeView, add: Iterable[Label] = (), remove: Iterable[Label] = ()) -> Answer:
    add = list(add)
    if refusal := taken(view.node, add):
        return refusal
    patch = labels_patch(view.node, add, remove)
    return Apply((patch,), on=f"labels of node {view.node.name}") if patch else Done()


@node_step("host", foreseeable=True)
def label_dual(view: NodeView) -> Answer:
    """Give the node the label by which Canal and the first Cilium run there."""
    return _set(view, add=[view.config.labels.canal_cilium])


@node_step("host", foreseeable=True)
def exchange_labels(view: NodeView) -> Answer:
    """Exchange the labels of Canal, the first Cilium and Multus for that of the second Cilium, in one patch.

    The second one's pod waits by itself until the agent of the first has ended (templates/cilium-agent.yaml).
    """
    labels = view.config.labels
    answer = _set(view, add=[labels.cilium], remove=[labels.canal_cilium, labels.multus])
    # The routes that Canal has laid last as long as this boot (core/decision/forward.py, `_rerouted`).
    return Done(remember=NodeChanges(boot=view.node.boot_id)) if isinstance(answer, Done) else answer


@node_step("host", foreseeable=True)
def label_multus(view: NodeView) -> Answer:
    """Let Multus run on the node, unless it goes back to Canal alone."""
    if view.entry.alone:
        return Done()
    return _set(view, add=[view.config.labels.multus])


@node_step("host")
def unlabel_multus(view: NodeView) -> Answer:
    """Take Multus off the node."""
    return _set(view, remove=[view.config.labels.multus])


@node_step("host")
def unlabel_cilium(view: NodeView) -> Answer:
    """Take the second Cilium off the node."""
    labels = view.config.labels
    return _set(view, remove=[labels.cilium, labels.migrated])


@node_step("host", foreseeable=True)
def label_switched(view: NodeView) -> Answer:
    """Select the node with the CiliumNodeConfig: its agent makes every pod's network once it restarts."""
    return _set(view, add=[view.config.labels.switched])


@node_step("host")
def unlabel_switched(view: NodeView) -> Answer:
    """Deselect the node, so that its agent writes no CNI file once it restarts."""
    labels = view.config.labels
    return _set(view, remove=[labels.switched, labels.migrated])


@node_step("host")
def label_detached(view: NodeView) -> Answer:
    """Keep Cilium off the node."""
    return _set(view, add=[view.config.labels.detached])


@node_step("host")
def unlabel_detached(view: NodeView) -> Answer:
    """Let Cilium run on the node again, should it have been kept off by a rollback."""
    return _set(view, remove=[view.config.labels.detached])


@node_step("host", foreseeable=True)
def label_migrated(view: NodeView) -> Answer:
    """Mark the node as migrated."""
    return _set(view, add=[view.config.labels.migrated])
