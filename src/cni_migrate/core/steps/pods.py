"""Steps that make a node's pods be recreated on the network of the moment: pods keep the one they were born with."""

from collections.abc import Callable
from typing import Final

from cni_migrate.core.model.effects import DeletePod
from cni_migrate.core.model.objects import Pod
from cni_migrate.core.steps.answers import Answer, Apply, Done, NodeChanges, Wait
from cni_migrate.core.steps.registry import node_step
from cni_migrate.core.steps.view import NodeView
from cni_migrate.core.steps.waited import why


def _recreate(view: NodeView, wrong: Callable[[Pod], bool], what: str) -> Answer:
    """Delete, once each, the pods that are wrong when the step begins; which ones is recorded first.

    Later pods are not looked at: a pod that was just created is not wrong, only unfinished. Nor are those that are
    leaving already: `await_pods_gone` waits for them.
    """
    pods = view.pods
    if view.entry.targets is None:
        targets = [pod for pod in pods if wrong(pod) and not pod.deleting]
        remember = NodeChanges(targets=tuple(sorted(pod.uid for pod in targets)))
        if not targets:
            return Done()
        return Apply(tuple(_delete(view, pod) for pod in targets), on=f"{len(targets)} {what}", remember=remember)
    left = [pod for pod in pods if pod.uid in view.entry.targets]
    if not left:
        return Done(remember=NodeChanges(targets=None, renewed=view.now))
    observed = ", ".join(f"{p.key} {'terminating' if p.deleting else 'running'}" for p in left[:3])
    return Apply(
        tuple(_delete(view, pod) for pod in left if not pod.deleting), on=f"{len(left)} {what} to go", observed=observed
    )


def _delete(view: NodeView, pod: Pod) -> DeletePod:
    """Our own agents end at once, and have nothing to put away: the next ones are made, and report, the sooner."""
    return DeletePod(pod.namespace, pod.name, pod.uid, pod.node, at_once=view.is_agent(pod))


VOLUMES: Final = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
"""By the last Event of these reasons a pod waits for a volume (kubelet: its sandbox, and with it its network, come
after all volumes; kubernetes/pkg/kubelet, `SyncPod`)."""


def _without_volumes(view: NodeView, pod: Pod) -> bool:
    """Whether the pod has no network yet for want of a volume: a Secret that nobody has made, a device of other nodes.

    It may wait for ever, and did so before. Should it start one day, it gets the network of that moment.
    """
    reason, _, _ = view.seen.pod_events.get(pod.uid, "").partition(":")
    return not pod.ip and not pod.deleting and reason in VOLUMES


def _await(view: NodeView, right: Callable[[Pod], bool], what: str) -> Answer:
    if view.never_switched:
        return Done()
    wrong = [pod for pod in view.pods if not right(pod) and not _without_volumes(view, pod)]
    if not wrong:
        return Done()
    first = wrong[0]
    settled = first.ip and not first.trouble and not first.deleting
    state = f"has address {first.ip}" if settled else why(view.seen, first)
    more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    on = f"every pod on node {view.node.name} to be {what}"
    return Wait(on=on, observed=f"{first.key} {state}{more}", pods=(first,))


@node_step("pods")
def delete_single_pods(view: NodeView) -> Answer:
    """Delete the pods that are on one network only, so that Multus gives the next ones both."""
    if view.entry.alone:
        return _recreate(view, lambda pod: not view.on_canal(pod), "pods that are not on Canal")
    return _recreate(view, lambda pod: not (view.on_canal(pod) and view.endpoint_of(pod)), "pods on one network only")


@node_step("pods")
def await_all_dual(view: NodeView) -> Answer:
    """Wait until every pod on the node has a Canal address and a CiliumEndpoint."""
    if view.entry.alone:
        return _await(view, view.on_canal, "on Canal")
    return _await(view, lambda pod: view.on_canal(pod) and view.endpoint_of(pod), "on both networks")


@node_step("pods")
def check_all_dual(view: NodeView) -> Answer:
    """Make sure that every pod on the node is on both networks before it is drained."""
    return _await(view, lambda pod: not pod.ip or (view.on_canal(pod) and view.endpoint_of(pod)), "on both networks")


@node_step("pods")
def delete_pods_off_cilium(view: NodeView) -> Answer:
    """Delete the pods whose address is not Cilium's, so that they come back with one that is."""
    return _recreate(view, lambda pod: not view.on_cilium(pod), "pods that are not on Cilium")


@node_step("pods")
def await_pods_on_cilium(view: NodeView) -> Answer:
    """Wait until every pod on the node has a Cilium address."""
    return _await(view, view.on_cilium, "on Cilium")


@node_step("pods")
def delete_dual_pods(view: NodeView) -> Answer:
    """Delete the pods that have a Cilium interface, so that they come back with Canal alone."""
    return _recreate(view, lambda pod: view.endpoint_of(pod) or not view.on_canal(pod), "pods on both networks")


@node_step("pods")
def delete_pods_on_cilium(view: NodeView) -> Answer:
    """Delete the pods whose address is not Canal's, so that they come back with one that is."""
    return _recreate(view, lambda pod: not view.on_canal(pod), "pods that are not on Canal")


@node_step("pods")
def await_pods_on_canal(view: NodeView) -> Answer:
    """Wait until every pod on the node has a Canal address."""
    return _await(view, view.on_canal, "on Canal")
