"""Cluster steps that install: namespaces, agents, Cilium, Multus; and that make Canal selective."""

from cni_migrate import cilium_versions
from cni_migrate.core.model import names
from cni_migrate.core.model.effects import Effect, PatchObject, PutObject
from cni_migrate.core.model.objects import DaemonSet, ObjectRef, Pod, Snapshot
from cni_migrate.core.model.words import many
from cni_migrate.core.render.manifests import Manifest
from cni_migrate.core.steps.agents import foreign_part
from cni_migrate.core.steps.answers import Answer, Apply, ClusterChanges, Done, Refuse, Wait
from cni_migrate.core.steps.labels import labels_patch, taken
from cni_migrate.core.steps.progress import missing, next_few
from cni_migrate.core.steps.registry import ABOUT, cluster_step
from cni_migrate.core.steps.selection import canals, selecting, strategies, strategy_before
from cni_migrate.core.steps.view import ClusterStep, ClusterView, Plan
from cni_migrate.core.steps.waited import named


def put_all(view: ClusterView, step: ClusterStep, what: str) -> Answer:
    """Make the objects that a step installs be as they should: each is written once, whoever drives."""
    installs = ABOUT[step.__name__].installs
    assert installs is not None, step.__name__
    effects = [PutObject(manifest) for manifest in installs(view.plan, view.seen)]
    left = missing(view, effects, ("applied",))
    if not left:
        return Done()
    return next_few(view, f"{what} to be applied", effects, left, left)


def await_everywhere(view: ClusterView, namespace: str, daemonset: str) -> Answer:
    """Wait until a DaemonSet's pod is Ready on every Ready node that takes part."""
    lacking: list[str] = []
    first: tuple[str, Pod | None] | None = None
    for node in view.members():
        if not node.ready:
            continue
        pod = view.agent(node.name, namespace, daemonset)
        if pod is None or not pod.ready or pod.deleting:
            lacking.append(node.name)
            first = first or (node.name, pod)
    if first is None:
        return Done()
    name, pod = first
    others = ", ".join(lacking[1:4]) + (f" and {len(lacking) - 4} more" if len(lacking) > 4 else "")
    return Wait(
        on=f"DaemonSet {namespace}/{daemonset} to be Ready on {many(len(lacking), 'node')}",
        observed=f"node {name}: {named(view.seen, pod)}{others and f'; also on {others}'}",
        pods=(pod,) if pod is not None else (),
    )


@cluster_step("host", foreseeable=True, installs=lambda plan, _: plan.manifests.namespaces())
def apply_namespaces(view: ClusterView) -> Answer:
    """Create the namespaces of the record and of the agents."""
    return put_all(view, apply_namespaces, "namespaces")


@cluster_step("host", foreseeable=True, installs=lambda plan, _: plan.manifests.knet())
def apply_knet(view: ClusterView) -> Answer:
    """Deploy the two knet-stress DaemonSets."""
    return put_all(view, apply_knet, "knet-stress")


@cluster_step("agent")
def await_knet(view: ClusterView) -> Answer:
    """Wait until two knet-stress agents are Ready on every node."""
    for daemonset in names.KNET.values():
        answer = await_everywhere(view, view.config.knet.namespace, daemonset)
        if not isinstance(answer, Done):
            return answer
    return Done()


@cluster_step("host", foreseeable=True)
def label_nodes(view: ClusterView) -> Answer:
    """Label every node as one that runs Canal and the first Cilium."""
    own = [view.config.labels.canal_cilium]
    for node in view.members():
        if refusal := taken(node, own):
            return refusal
    patches = (labels_patch(node, own) for node in view.members())
    effects = tuple(patch for patch in patches if patch is not None)
    return Apply(effects, on=f"labels of {many(len(effects), 'node')}") if effects else Done()


def _ref(one: DaemonSet) -> ObjectRef:
    return ObjectRef("apps/v1", "DaemonSet", one.namespace, one.name)


@cluster_step("host", foreseeable=True, selects_canal=True)
def select_canal(view: ClusterView) -> Answer:
    """Patch Canal's DaemonSets to run on the labelled nodes only, restarted by nobody.

    What was there is recorded, for the way back.
    """
    config, label = view.config, view.config.labels.canal_cilium
    for namespace, name in config.canal.every_daemonset():
        if (namespace, name) not in view.seen.daemonsets:
            return Refuse(
                why=f"there is no DaemonSet {namespace}/{name}",
                next="set canal.namespace and canal.daemonset in the configuration",
            )
    left = [one for one in canals(config, view.seen) if one.node_selector.get(label.key) != label.value]
    if not left:
        return Done()
    unlabelled = [n.name for n in view.members() if n.labels.get(label.key) != label.value]
    if unlabelled:
        return Refuse(
            why=f"Canal would leave nodes that lack the label {label.key}: {', '.join(unlabelled[:5])}",
            next="find out who takes the label away",
        )
    effects = tuple(PatchObject(_ref(one), selecting(config), one.resource_version) for one in left)
    first = not view.record.cluster.canal_before
    remember = ClusterChanges(canal_before=strategies(config, view.seen)) if first else ClusterChanges()
    return Apply(effects, on=f"node selector of {_ref(left[0])}", remember=remember)


@cluster_step("host", foreseeable=True)
def unselect_canal(view: ClusterView) -> Answer:
    """Let Canal run everywhere again, with the update strategy it had."""
    label = view.config.labels.canal_cilium
    before = view.record.cluster.canal_before or {}
    effects: list[Effect] = []
    for one in canals(view.config, view.seen):
        if label.key in one.node_selector:
            strategy = {"type": strategy_before(view.config, before, one)}
            template = {"spec": {"nodeSelector": {label.key: None}}}
            body = {"spec": {"updateStrategy": strategy, "template": template}}
            effects.append(PatchObject(_ref(one), body, one.resource_version))
    return Apply(tuple(effects), on="node selector of Canal to go") if effects else Done()


@cluster_step("host", foreseeable=True, installs=lambda plan, _: plan.manifests.cilium())
def apply_cilium(view: ClusterView) -> Answer:
    """Deploy Cilium beside Canal: no pod's network changes."""
    return put_all(view, apply_cilium, "Cilium")


@cluster_step("agent")
def await_cilium_everywhere(view: ClusterView) -> Answer:
    """Wait until Cilium is Ready on every node, and its operator has given each a pod CIDR."""
    name = names.FIRST_CILIUM if view.config.traits.two_daemonsets else names.CILIUM
    answer = await_everywhere(view, view.config.cilium.namespace, name)
    if not isinstance(answer, Done):
        return answer
    for node in view.members():
        found = view.seen.cilium_nodes.get(node.name)
        if node.ready and (found is None or not found.pod_cidrs):
            return Wait(on="a Cilium pod CIDR for every node", observed=f"none for node {node.name}")
        if node.ready and (other := foreign_part(view, node.name)) is not None:
            return other
    return Done()


def _node_config(plan: Plan, seen: Snapshot) -> list[Manifest]:
    if cilium_versions.served_node_config(seen.served) is None:
        return []
    return plan.manifests.node_config(seen.served)


@cluster_step("host", foreseeable=True, installs=_node_config)
def apply_node_config(view: ClusterView) -> Answer:
    """Apply the CiliumNodeConfig that switches labelled nodes, in the version that this Cilium serves."""
    if cilium_versions.served_node_config(view.seen.served) is None:
        return Wait(
            on="Cilium's operator to create the CRD ciliumnodeconfigs",
            observed=f"served: {', '.join(sorted(view.seen.served)) or 'nothing of Cilium'}",
        )
    return put_all(view, apply_node_config, "CiliumNodeConfig")


@cluster_step("host", foreseeable=True, installs=lambda plan, _: plan.manifests.multus())
def apply_multus(view: ClusterView) -> Answer:
    """Deploy Multus; it runs on no node until a node is attached."""
    return put_all(view, apply_multus, "Multus")
