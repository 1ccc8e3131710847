"""Steps that wait for the network agents of a node to be Ready or gone, or that restart one."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from cni_migrate.consistency import AGENT_TAINT
from cni_migrate.core.model import names
from cni_migrate.core.model.cidr import within
from cni_migrate.core.model.effects import DeletePod
from cni_migrate.core.model.objects import CiliumNode, Node, Pod, Snapshot, Taint
from cni_migrate.core.steps.answers import Answer, Apply, Done, NodeChanges, Wait
from cni_migrate.core.steps.labels import labels_patch
from cni_migrate.core.steps.registry import node_step
from cni_migrate.core.steps.view import ClusterView, NodeView
from cni_migrate.core.steps.waited import named, why


def ready_on(view: NodeView, namespace: str, daemonset: str) -> Answer:
    """Wait until a DaemonSet's pod is Ready on the node."""
    pod = view.agent(view.node.name, namespace, daemonset)
    if pod is not None and pod.ready and not pod.deleting:
        return Done()
    on = f"DaemonSet {namespace}/{daemonset} to be Ready on node {view.node.name}"
    if (namespace, daemonset) not in view.seen.daemonsets:
        return Wait(on=on, observed="no such DaemonSet: apply it again if it was deleted")
    return Wait(on=on, observed=named(view.seen, pod), pods=(pod,) if pod is not None else ())


def given_up(view: NodeView, namespace: str, daemonset: str) -> bool:
    """Whether an agent of Cilium is waited for no longer, as it does not come up: it crashes, or half the time is over.

    Only on the way back. An agent that does not come up may be why the node goes back at all.
    """
    if view.entry.event is None or not view.entry.event.backwards:
        return False
    pod = view.agent(view.node.name, namespace, daemonset)
    if pod is not None and pod.ready and not pod.deleting:
        return False
    began = max(view.since, view.record.cluster.resumed or view.since)
    late = (view.now - began).total_seconds() >= view.config.deadlines.agent / 2
    return late or (pod is not None and not pod.deleting and "CrashLoopBackOff" in pod.trouble)


def _look_in_time(view: NodeView, answer: Answer) -> Answer:
    """The answer, looked at again when half the time is over."""
    if not isinstance(answer, Wait) or view.entry.event is None or not view.entry.event.backwards:
        return answer
    began = max(view.since, view.record.cluster.resumed or view.since)
    left = view.config.deadlines.agent / 2 - (view.now - began).total_seconds()
    return replace(answer, retry_in=left) if left > 0 else answer


def _gone(view: NodeView, *daemonsets: tuple[str, str]) -> Answer:
    left = [pod for namespace, name in daemonsets for pod in view.agents(view.node.name, namespace, name)]
    if not left:
        return Done()
    what = ", ".join(sorted({pod.controller[1] for pod in left if pod.controller}))
    observed = ", ".join(f"{pod.name} {why(view.seen, pod) if pod.deleting else pod.phase}" for pod in left)
    return Wait(on=f"the pods of {what} to leave node {view.node.name}", observed=observed, pods=tuple(left[:1]))


def _restarted(view: NodeView, *daemonsets: tuple[str, str], ready: bool = True, at_once: bool = False) -> Answer:
    """Delete the agents' pods once, by uid, and wait for others to be Ready, or at least to run.

    Pods of several DaemonSets are restarted together: `old_uid` holds the uids of all, with commas.
    """
    old = set(filter(None, view.entry.old_uid.split(",")))
    pods: list[Pod] = []
    for namespace, daemonset in daemonsets:
        pod = view.agent(view.node.name, namespace, daemonset)
        if pod is None:
            return Wait(on=f"DaemonSet {namespace}/{daemonset} on node {view.node.name}", observed="no pod")
        pods.append(pod)
    if left := [pod for pod in pods if not old or (pod.uid in old and not pod.deleting)]:
        effects = tuple(DeletePod(pod.namespace, pod.name, pod.uid, pod.node, at_once) for pod in left)
        uids = ",".join(sorted(old or {pod.uid for pod in pods}))
        what = ", ".join(pod.name for pod in left)
        return Apply(effects, on=f"pod {what} to restart", remember=NodeChanges(old_uid=uids))
    for (namespace, daemonset), pod in zip(daemonsets, pods, strict=True):
        if pod.uid in old or pod.deleting or not (pod.ready if ready else pod.phase == "Running" or pod.trouble):
            what = "be Ready" if ready else "run"
            on = f"a new pod of {namespace}/{daemonset} to {what} on node {view.node.name}"
            return Wait(on=on, observed=named(view.seen, pod), pods=(pod,))
    return Done(remember=NodeChanges(old_uid="", renewed=None))


def finished(view: ClusterView, pod: Pod) -> bool:
    """Whether an agent of Cilium runs in its final form.

    The tool's own says so. An operator's objects lack the mark of the transit; where they were the tool's own once
    (`migrate manifests cilium-final`), they say so as well.
    """
    stage = pod.labels.get(names.STAGE)
    return stage == "final" if view.config.cilium.source == "builtin" else stage != "transit"


CLOSED: Final = Taint(AGENT_TAINT, "", "NoSchedule")
"""Cilium's operator closes a node by it whose agent is not Ready (`set-cilium-node-taints`), in exactly this form."""


def opened(view: ClusterView, node: Node) -> tuple[Taint, ...]:
    """The node's taints; on the way back without the one of Cilium's operator, which nobody else would take away."""
    if view.record.cluster.direction == "forward" or view.config.cilium.source == "existing":
        return node.taints
    return tuple(taint for taint in node.taints if taint != CLOSED)


def operators_of_cilium(view: ClusterView) -> list[Pod]:
    """The pods of Cilium's operator, by their container or their Deployment; those that are being deleted left out."""

    def is_one(pod: Pod) -> bool:
        kind, owner, _ = pod.controller or ("", "", "")
        by_deployment = kind == "ReplicaSet" and owner.rpartition("-")[0] == names.CILIUM_OPERATOR
        return names.CILIUM_OPERATOR in pod.containers or by_deployment

    namespace = view.config.cilium.namespace
    every = [pod for node in view.seen.nodes for pod in view.seen.pods_on(node)]
    return [pod for pod in every if pod.namespace == namespace and not pod.deleting and is_one(pod)]


@node_step("agent")
def await_canal(view: NodeView) -> Answer:
    """Wait until Canal is Ready on the node."""
    for namespace, daemonset in view.canals_for(view.node):
        answer = ready_on(view, namespace, daemonset)
        if isinstance(answer, Wait):
            return answer
    return Done()


@node_step("agent")
def await_first_cilium(view: NodeView) -> Answer:
    """Wait until the first Cilium, the one beside Canal, is Ready on the node.

    When the whole cluster goes back and it does not come up, the node goes back to Canal alone.
    """
    namespace = view.config.cilium.namespace
    answer = ready_on(view, namespace, names.FIRST_CILIUM)
    if isinstance(answer, Done) or view.record.cluster.direction == "forward":
        return answer
    if given_up(view, namespace, names.FIRST_CILIUM):
        return Done(remember=NodeChanges(alone=True))
    return _look_in_time(view, answer)


@node_step("agent")
def await_multus(view: NodeView) -> Answer:
    """Wait until Multus is Ready on the node, and with it the first Cilium whose plugin it calls.

    Where the node goes back to Canal alone, Multus leaves it instead.
    """
    multus, namespace = view.config.multus.namespace, view.config.cilium.namespace
    if view.entry.alone:
        patch = labels_patch(view.node, remove=[view.config.labels.multus])
        return Apply((patch,), on="label of Multus to go") if patch else _gone(view, (multus, names.MULTUS))
    answer = ready_on(view, namespace, names.FIRST_CILIUM)
    if not isinstance(answer, Wait):
        return ready_on(view, multus, names.MULTUS)
    if view.record.cluster.direction == "back" and given_up(view, namespace, names.FIRST_CILIUM):
        return Apply((), on=answer.on, observed=answer.observed, remember=NodeChanges(alone=True), retry_in=0.0)
    return _look_in_time(view, answer) if view.record.cluster.direction == "back" else answer


@node_step("agent")
def await_probed(view: NodeView) -> Answer:
    """Wait until the node's kubelet has an answer from the knet-stress agents there.

    Pods may reach each other and still not answer their kubelet: a routed pod whose default route is at Cilium's
    interface answers by it, with Canal's address, and Cilium drops that (measured). Its probes would end them.
    """
    for name in names.KNET.values():
        answer = ready_on(view, view.config.knet.namespace, name)
        if isinstance(answer, Wait):
            return replace(answer, on=f"{answer.on}: its kubelet probes it there")
    return Done()


@node_step("agent")
def await_cilium(view: NodeView) -> Answer:
    """Wait until Cilium is Ready on the node."""
    return ready_on(view, view.config.cilium.namespace, names.CILIUM)


def guests(seen: Snapshot, namespace: str) -> list[str]:
    """The pods in a namespace of ours that are not ours, `namespace/name`."""
    every = [*seen.pending, *(pod for node in seen.nodes for pod in seen.pods_on(node))]
    theirs = {p.key for p in every if p.namespace == namespace and p.labels.get(names.MANAGED_BY) != names.TOOL}
    return sorted(theirs)


def foreign_parts(nodes: Iterable[CiliumNode], pool: str) -> list[CiliumNode]:
    """Those whose pod CIDRs are in another network than this one."""
    return [one for one in nodes if one.pod_cidrs and not any(within(cidr, pool) for cidr in one.pod_cidrs)]


@node_step("agent")
def await_cilium_cidr(view: NodeView) -> Answer:
    """Wait until Cilium's operator has given the node a pod CIDR."""
    found = view.seen.cilium_nodes.get(view.node.name)
    if found is not None and found.pod_cidrs:
        return foreign_part(view, view.node.name) or Done()
    return Wait(
        on=f"a Cilium pod CIDR for node {view.node.name}", observed="no CiliumNode" if found is None else "no CIDR yet"
    )


@node_step("pods")
def await_old_agents_gone(view: NodeView) -> Answer:
    """Wait until Canal, the first Cilium and Multus have left the node."""
    config = view.config
    return _gone(
        view,
        (config.multus.namespace, names.MULTUS),
        *config.canal.every_daemonset(),
        (config.cilium.namespace, names.FIRST_CILIUM),
    )


@node_step("pods")
def await_cilium_gone(view: NodeView) -> Answer:
    """Wait until Cilium (the second, where there are two) has left the node."""
    return _gone(view, (view.config.cilium.namespace, names.CILIUM))


@node_step("pods")
def await_multus_gone(view: NodeView) -> Answer:
    """Wait until Multus has left the node."""
    return _gone(view, (view.config.multus.namespace, names.MULTUS))


def foreign_part(view: ClusterView, node: str) -> Wait | None:
    """What to wait for where a node still has the part that it had in an earlier Cilium's network."""
    pool = view.config.cilium.pod_cidr
    found = view.seen.cilium_nodes.get(node)
    for one in foreign_parts([found] if found is not None else [], pool):
        again = "kubectl delete ciliumnode, then restart the agent there"
        return Wait(on=f"a pod CIDR of {pool} for node {node}", observed=f"{', '.join(one.pod_cidrs)}: {again}")
    return None


@node_step("agent")
def restart_cilium(view: NodeView) -> Answer:
    """Restart the agent, as it reads its CiliumNodeConfigs only when it starts; a new UID must be Ready.

    The next pod is started while the agent of the last one still ends: it waits for that by itself. An installed one
    need not, so it has its time to end.
    """
    at_once = view.config.cilium.source != "existing"
    return _restarted(view, (view.config.cilium.namespace, names.CILIUM), at_once=at_once)


@node_step("agent")
def reload_cilium(view: NodeView) -> Answer:
    """Restart the agent, so that it writes no CNI file any more; it need not be Ready.

    An agent that never gets Ready is a reason to go back, so the way back must not wait for it: the gate will tell.
    """
    if view.never_switched:
        return Done()
    return _restarted(view, (view.config.cilium.namespace, names.CILIUM), ready=False)


@node_step("agent")
def restart_cilium_if_endpoints_left(view: NodeView) -> Answer:
    """Restart the agent if it still holds endpoints of pods that are gone.

    One that does not come up holds nobody.
    """
    if not view.entry.old_uid and not any((pod.namespace, pod.name) in view.seen.endpoints for pod in view.pods):
        return Done()
    namespace = view.config.cilium.namespace
    if given_up(view, namespace, names.CILIUM):
        return Done(remember=NodeChanges(old_uid=""))
    return _look_in_time(view, _restarted(view, (namespace, names.CILIUM)))


@node_step("agent")
def restart_canal_pod(view: NodeView) -> Answer:
    """Restart Canal on the node: it answers for NetworkUnavailable again."""
    return _restarted(view, *view.canals_for(view.node))
