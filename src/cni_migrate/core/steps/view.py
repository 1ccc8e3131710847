"""What a step is given to look at: one node, or the cluster, with the record and the configuration."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from cni_migrate.config import Config
from cni_migrate.core.model import names
from cni_migrate.core.model.cidr import inside
from cni_migrate.core.model.lifecycle import ClusterLifecycle, NodeEvent, NodeLifecycle, NodeState, StrategyTable
from cni_migrate.core.model.objects import Node, Pod, Snapshot, Taint
from cni_migrate.core.model.outcomes import Outcomes
from cni_migrate.core.model.record import NodeRecord, Record
from cni_migrate.core.render.manifests import Manifests
from cni_migrate.core.steps.answers import Answer
from cni_migrate.core.steps.drain import overdue


@dataclass(frozen=True)
class Plan:
    """What does not change while a driver runs: configuration, manifests, tables."""

    config: Config
    manifests: Manifests
    strategy: StrategyTable
    node_lifecycle: NodeLifecycle
    cluster_lifecycle: ClusterLifecycle

    @property
    def taint(self) -> Taint:
        """The taint that keeps pods away from a node in transit: it has the name of the Cilium label."""
        label = self.config.labels.cilium
        return Taint(label.key, label.value, self.config.drain.taint_effect)


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The whole cluster, for a cluster step. `since` is when the step began."""

    plan: Plan
    seen: Snapshot
    record: Record
    now: datetime
    since: datetime
    outcomes: Outcomes = field(default_factory=Outcomes, kw_only=True)

    @property
    def config(self) -> Config:
        """The configuration."""
        return self.plan.config

    def members(self) -> Iterator[Node]:
        """The nodes that take part: known to the record, there, and not waived."""
        for name, entry in self.record.nodes.items():
            node = self.seen.nodes.get(name)
            if node is not None and not entry.gone and not entry.skipped:
                yield node

    def agent(self, node: str, namespace: str, daemonset: str) -> Pod | None:
        """The pod of a DaemonSet on a node, one that is not terminating before one that is."""
        owner = self.seen.daemonsets.get((namespace, daemonset))
        if owner is None:
            return None
        own = [p for p in self.seen.pods_on(node) if p.controller is not None and p.controller[2] == owner.uid]
        return min(own, key=lambda pod: (pod.deleting, pod.uid), default=None)

    def agents(self, node: str, namespace: str, daemonset: str) -> list[Pod]:
        """All pods of a DaemonSet of this name on a node, also of one that has been deleted meanwhile."""
        owner = ("DaemonSet", daemonset)
        return [
            pod
            for pod in self.seen.pods_on(node)
            if pod.namespace == namespace and pod.controller is not None and pod.controller[:2] == owner
        ]

    def canals_for(self, node: Node) -> list[tuple[str, str]]:
        """(namespace, name) of Canal's DaemonSets that are meant for a node; flannel's, Calico's, an architecture's.

        The label by which nodes leave Canal does not count: who looks has just set it, or is about to take it away.
        One that is not there is looked for everywhere, and so are all where none is meant for the node.
        """
        every = self.config.canal.every_daemonset()
        ours = self.config.labels.canal_cilium.key
        sets = {name: self.seen.daemonsets.get(name) for name in every}
        meant = [name for name, found in sets.items() if found is None or found.meant_for(node, but=ours)]
        return meant or list(every)

    def networked(self, node: str) -> list[Pod]:
        """The pods on a node that have, or will have, an interface of the pod network.

        Those that hang in their end for longer than the operator waits do not count.
        """
        options = self.config.drain
        return [
            pod
            for pod in self.seen.pods_on(node)
            if not pod.host_network and not pod.finished and not pod.mirror and not overdue(pod, options, self.now)
        ]

    def static(self, node: str) -> list[Pod]:
        """The static pods on a node that have an interface of the pod network: they keep the one they have.

        What is deleted and made again through the API is their mirror alone (kubernetes.io: "Create static Pods").
        """
        every = self.seen.pods_on(node)
        return [pod for pod in every if pod.mirror and not pod.host_network and not pod.finished]

    def on_canal(self, pod: Pod) -> bool:
        """Whether the pod's address is Canal's. Cilium's network may be a part of what flannel takes for its own."""
        return bool(pod.ip) and inside(pod.ip, self.config.canal.whole) and not self.on_cilium(pod)

    def on_cilium(self, pod: Pod) -> bool:
        """Whether the pod's address is Cilium's."""
        return bool(pod.ip) and inside(pod.ip, self.config.cilium.pod_cidr)

    def endpoint_of(self, pod: Pod) -> bool:
        """Whether a CiliumEndpoint proves that this very pod has a Cilium interface."""
        endpoint = self.seen.endpoints.get((pod.namespace, pod.name))
        return endpoint is not None and endpoint.pod_uid == pod.uid

    def known_to_cilium(self, pod: Pod) -> bool:
        """Whether policies on Cilium know this very pod on Canal: it has an endpoint of ours, with an identity."""
        endpoint = self.seen.endpoints.get((pod.namespace, names.endpoint_of(pod.name)))
        return endpoint is not None and endpoint.pod_uid == pod.uid and endpoint.ip == pod.ip and endpoint.identity != 0

    def is_agent(self, pod: Pod) -> bool:
        """Whether the pod is one of the knet-stress agents."""
        owner = pod.controller[:2] if pod.controller is not None else ("", "")
        return pod.namespace == self.config.knet.namespace and owner in {
            ("DaemonSet", one) for one in names.KNET.values()
        }

    def host_tasks(self, node: str) -> list[Pod]:
        """The host-task pods on a node."""
        return [
            pod
            for pod in self.seen.pods_on(node)
            if pod.namespace == self.config.namespace and pod.labels.get(names.COMPONENT) == names.HOST_TASK
        ]


@dataclass(frozen=True, slots=True)
class NodeView(ClusterView):
    """One node, for a node step."""

    node: Node
    entry: NodeRecord

    @property
    def pods(self) -> list[Pod]:
        """The node's pods on the pod network."""
        return self.networked(self.node.name)

    @property
    def never_switched(self) -> bool:
        """Whether the node goes back from an event in which its network was not exchanged yet.

        Then its pods are where they belong: nobody needs to be moved, so that a node that is held because its pods
        cannot be moved can go back all the same.
        """
        event = self.entry.event
        there = event is not None and event.backwards and self.plan.node_lifecycle.target(event)
        return there is self.entry.state

    @property
    def tainted(self) -> bool:
        """Whether the node carries our taint."""
        return self.plan.taint in self.node.taints

    @property
    def cordon_is_ours(self) -> bool:
        """Whether the node's cordon was set by us."""
        return names.CORDONED_BY in self.node.annotations


def out_of_service(plan: Plan, entry: NodeRecord) -> bool:
    """Whether the node is, or is about to be, out of service by our hand."""
    if entry.event is not None:
        return entry.event not in plan.strategy.in_service
    return entry.state in (NodeState.DRAINING, NodeState.CILIUM)


def in_transit(plan: Plan, entry: NodeRecord) -> bool:
    """Whether the node is not at rest: its pods' network changes, or is about to.

    That is more than being out of service, which a newcomer that is adopted never was. An attach in service (overlay)
    is not among them: a second agent starts, and no pod's network is touched.
    """
    if entry.gone or entry.skipped:
        return False
    return out_of_service(plan, entry) or entry.event in (
        NodeEvent.ADOPT,
        NodeEvent.REROUTE,
        NodeEvent.DETACH,
    )


NodeStep = Callable[[NodeView], Answer]
ClusterStep = Callable[[ClusterView], Answer]
