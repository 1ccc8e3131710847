"""Cluster steps that remove what is no longer used, forwards (after the migration) and back (undo), and the audits."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from cni_migrate import cilium_versions
from cni_migrate.core.model import names
from cni_migrate.core.model.effects import DeleteObject, DeletePod, Effect, PatchNode, UpgradeRelease
from cni_migrate.core.model.objects import ObjectRef, Pod
from cni_migrate.core.model.ranks import WORKLOADS, rank
from cni_migrate.core.model.words import many
from cni_migrate.core.steps.agents import finished, guests, opened, operators_of_cilium
from cni_migrate.core.steps.answers import Answer, Apply, ClusterChanges, Done, NodeChanges, Refuse, Wait
from cni_migrate.core.steps.audit import audit_problems, by_hand, undone_problems
from cni_migrate.core.steps.host import HostStatus, run_task, task_name
from cni_migrate.core.steps.install import put_all
from cni_migrate.core.steps.progress import missing, next_few
from cni_migrate.core.steps.registry import cluster_step
from cni_migrate.core.steps.selection import canals
from cni_migrate.core.steps.view import ClusterView
from cni_migrate.core.steps.waited import named


def delete_all(view: ClusterView, refs: Iterable[ObjectRef], what: str) -> Answer:
    """Delete objects: workloads first, and what these need when the pods of the DaemonSets among them are gone."""
    wanted = list(refs)
    effects = [DeleteObject(ref) for ref in wanted]
    left = missing(view, effects, ("applied", "gone"))
    first = [effect for effect in left if rank(effect.ref.kind) >= WORKLOADS]
    on = f"{what} to be deleted"
    if first:
        return next_few(view, on, effects, left, first)
    for ref in wanted:
        if ref.kind == "DaemonSet":
            for node in view.seen.nodes:
                if pods := view.agents(node, ref.namespace, ref.name):
                    return Wait(on=f"the pods of {ref} to go", observed=f"{pods[0].name} on node {node}")
    return next_few(view, on, effects, left, left) if left else Done()


def refs_of(manifests: Iterable[Mapping[str, Any]], keep: Iterable[str] = ()) -> list[ObjectRef]:
    """The references of manifests in reverse order; kinds to keep are left out."""
    return [ref for ref in (ObjectRef.of(m) for m in reversed(list(manifests))) if ref.kind not in set(keep)]


@cluster_step("pods")
def check_nothing_on_canal(view: ClusterView) -> Answer:
    """Make sure that no pod has a Canal address any more."""
    for node in view.seen.nodes:
        for pod in (*view.networked(node), *view.static(node)):
            if view.on_canal(pod):
                return Wait(
                    on="every pod to be off Canal",
                    observed=f"pod {pod.key} on node {node} has address {pod.ip}{by_hand(pod)}",
                )
    return Done()


@cluster_step("pods")
def delete_multus(view: ClusterView) -> Answer:
    """Delete Multus."""
    return delete_all(view, refs_of(view.plan.manifests.multus()), "Multus")


@cluster_step("pods", irreversible=True, deletes_canal=True)
def delete_canal(view: ClusterView) -> Answer:
    """Delete Canal's DaemonSet, and the objects of canal.extra_objects."""
    config = view.config.canal
    refs = [ObjectRef("apps/v1", "DaemonSet", namespace, name) for namespace, name in config.every_daemonset()]
    refs += [ObjectRef.parse(text) for text in config.extra_objects]
    answer = delete_all(view, refs, "Canal")
    there = list(canals(view.config, view.seen))
    if not isinstance(answer, Apply) or not there:
        return answer
    # Once the DaemonSets are gone nobody could tell what they used, and which image has all that cleans up behind them.
    known = view.record.cluster
    remember = {
        **answer.remember,
        "canal_objects": tuple(sorted({*known.canal_objects, *(ref.text for one in there for ref in one.uses)})),
        "cleaning_image": known.cleaning_image or view.plan.manifests.cleaning_image,
    }
    return replace(answer, remember=cast("ClusterChanges", remember))


@cluster_step("pods")
def delete_first_cilium(view: ClusterView) -> Answer:
    """Delete the first Cilium DaemonSet, which runs nowhere any more."""
    ref = ObjectRef("apps/v1", "DaemonSet", view.config.cilium.namespace, names.FIRST_CILIUM)
    return delete_all(view, [ref], "the first Cilium")


@cluster_step("pods")
def delete_cilium(view: ClusterView) -> Answer:
    """Delete all of Cilium (undo), also what came with the last step where clean-up had begun.

    Definitions that an operator's manifests bring (of the Gateway API, for example) stay as Cilium's own do: with one
    go all objects of its kind, whoever made them, and it may have been there before. CiliumNodes go when no agent
    is left that would make them anew: by them nodes keep their parts of a network that a later run may not have.
    """
    made = [*view.plan.manifests.cilium(), *view.plan.manifests.cilium_final()]
    keep = ("Namespace", "CustomResourceDefinition")
    answer = delete_all(view, list(dict.fromkeys(refs_of(made, keep=keep))), "Cilium")
    if not isinstance(answer, Done):
        return answer
    parts = [ObjectRef("cilium.io/v2", "CiliumNode", "", name) for name in view.seen.cilium_nodes]
    return delete_all(view, parts, "the CiliumNodes")


@cluster_step("host")
def delete_node_config(view: ClusterView) -> Answer:
    """Delete the CiliumNodeConfig: every node uses Cilium now, or none does."""
    if cilium_versions.served_node_config(view.seen.served) is None:
        return Done()
    return delete_all(view, refs_of(view.plan.manifests.node_config(view.seen.served)), "CiliumNodeConfig")


@cluster_step("host", installs=lambda plan, _: plan.manifests.cilium_final())
def finish_cilium(view: ClusterView) -> Answer:
    """Apply Cilium's final form: on every node, with the policy enforcement that was asked for."""
    return put_all(view, finish_cilium, "Cilium's final form")


@cluster_step("agent")
def await_cilium_finished(view: ClusterView) -> Answer:
    """Wait until every agent, and Cilium's operator, runs in its final form; existing pods keep talking."""
    daemonset = view.seen.daemonsets.get((view.config.cilium.namespace, names.CILIUM))
    if daemonset is None or daemonset.observed_generation < daemonset.generation:
        return Wait(on="the control plane to look at DaemonSet cilium", observed="an older generation")
    old = 0
    first: tuple[str, Pod | None] | None = None
    for node in view.members():
        if not node.ready:
            continue
        pod = view.agent(node.name, view.config.cilium.namespace, names.CILIUM)
        if pod is None or pod.deleting or not pod.ready or not finished(view, pod):
            old += 1
            first = first or (node.name, pod)
    if first is None:
        return _operator_finished(view)
    name, pod = first
    return Wait(
        on=f"Cilium in its final form on {many(old, 'node')}",
        observed=f"node {name}: {named(view.seen, pod)}",
        pods=(pod,) if pod is not None else (),
    )


def _operator_finished(view: ClusterView) -> Answer:
    """Whether one of Cilium's operators is Ready, and none still acts by the settings of the transit."""
    operators = operators_of_cilium(view)
    old = [pod for pod in operators if pod.labels.get(names.STAGE) == "transit"]
    if not old and any(pod.ready for pod in operators):
        return Done()
    shown = next(iter(old or operators), None)
    return Wait(
        on="Cilium's operator in its final form",
        observed=named(view.seen, shown),
        pods=(shown,) if shown is not None else (),
    )


@cluster_step("agent", irreversible=True)
def install_release(view: ClusterView) -> Answer:
    """Let Helm make the release that owns Cilium's objects, with the operator's own values (source chart)."""
    cilium = view.config.cilium
    if cilium.source != "chart":
        return Done()
    effect = UpgradeRelease(cilium.namespace, cilium.release)
    attempt = view.outcomes.attempts.get(effect.key)
    if attempt is not None and attempt.result == "applied":
        return Done()
    return Apply((effect,), on=f"`helm upgrade --install {cilium.release}`")


def clean_nodes(view: ClusterView, purpose: str, *ops: str) -> Answer:
    """Run a host task on every node that was not cleaned yet, some at a time."""
    effects: list[Effect] = []
    cleaned: dict[str, NodeChanges] = {}
    waiting: list[str] = []
    at_once = 20
    for node in view.members():
        if view.record.nodes[node.name].cleaned:
            continue
        if not node.ready:
            waiting.append(f"node {node.name} is not Ready")
            continue
        if len(waiting) >= at_once:
            break
        name = task_name(node, purpose)
        answer = run_task(view, node.name, name, *ops)
        if isinstance(answer, HostStatus):
            cleaned[node.name] = NodeChanges(cleaned=True)
            if (pod := view.seen.pod(view.config.namespace, name)) is not None:
                effects.append(DeletePod(pod.namespace, pod.name, pod.uid, pod.node))
            continue
        if isinstance(answer, Refuse):
            return answer
        if isinstance(answer, Apply):
            effects.extend(answer.effects)
        if isinstance(answer, Apply | Wait):
            waiting.append(f"{answer.on}: {answer.observed}")
    if not waiting and not cleaned:
        left = [
            task for node in view.seen.nodes for task in view.host_tasks(node) if task.finished and not task.deleting
        ]
        if not left:
            return Done()
        effects = [DeletePod(task.namespace, task.name, task.uid, task.node) for task in left]
        waiting = [f"{many(len(left), 'host task')} removed that had ended"]
    return Apply(tuple(effects), on="the hosts to be cleaned", observed=waiting[0] if waiting else "", nodes=cleaned)


@cluster_step("host", irreversible=True)
def clean_hosts(view: ClusterView) -> Answer:
    """Remove Canal's and Multus's links, routes, chains, leases and files from every host, and our rule."""
    config = view.config
    flannel, multus = f"remove-flannel={config.canal.cni_file}", f"remove-multus={config.multus.cni_file}"
    # A task that has ended before Canal came back tells nothing of what came with it.
    again = view.record.cluster.again
    return clean_nodes(view, f"clean/{again}" if again else "clean", "remove-rules", flannel, multus)


@cluster_step("host")
def clean_cilium_hosts(view: ClusterView) -> Answer:
    """Remove Cilium's and Multus's links, chains and files from every host, and our rule (undo)."""
    multus = f"remove-multus={view.config.multus.cni_file}"
    return clean_nodes(view, "undo", "remove-cilium", multus, "remove-rules")


@cluster_step("agent")
def restart_canal(view: ClusterView) -> Answer:
    """Make sure that Canal is Ready on every node again (undo)."""
    for node in view.members():
        for namespace, name in view.canals_for(node) if node.ready else ():
            pod = view.agent(node.name, namespace, name)
            if pod is None or pod.deleting or not pod.ready:
                return Wait(
                    on="Canal to be Ready on every node",
                    observed=f"node {node.name}: {namespace}/{name}: {named(view.seen, pod)}",
                    pods=(pod,) if pod is not None else (),
                )
    return Done()


@cluster_step("host")
def remove_labels(view: ClusterView) -> Answer:
    """Take the migration's labels, annotations and taints off the nodes, and a deleted Canal's annotations."""
    keys = [label.key for label in view.config.labels.every()]
    canal = view.config.canal
    canal_gone = not any(name in view.seen.daemonsets for name in canal.every_daemonset())
    effects: list[Effect] = []
    for node in view.seen.nodes.values():
        labels: dict[str, str | None] = {key: None for key in keys if key in node.labels}
        ours = names.CORDONED_BY in node.annotations
        annotations: dict[str, str | None] = {names.CORDONED_BY: None} if ours else {}
        if canal_gone:
            annotations |= {key: None for key in node.annotations if key.startswith(names.FLANNEL_ANNOTATIONS)}
        taints = tuple(taint for taint in opened(view, node) if taint != view.plan.taint)
        if labels or annotations or taints != node.taints:
            effects.append(
                PatchNode(
                    node.name,
                    node.uid,
                    node.resource_version,
                    labels,
                    annotations,
                    unschedulable=False if ours and node.unschedulable else None,
                    taints=taints if taints != node.taints else None,
                )
            )
    return Apply(tuple(effects), on=f"marks of {many(len(effects), 'node')} to go") if effects else Done()


@cluster_step("pods", ends_probing=True)
def remove_knet(view: ClusterView) -> Answer:
    """Remove the knet-stress agents, unless they are to be kept; not a namespace in which others have pods, too."""
    if view.config.knet.keep:
        return Done()
    keep = ["Namespace"] if guests(view.seen, view.config.knet.namespace) else []
    return delete_all(view, refs_of(view.plan.manifests.knet(), keep=keep), "knet-stress")


@cluster_step("pods")
def audit(view: ClusterView) -> Answer:
    """Look at the whole cluster once more: nothing of the migration or of Canal may be left."""
    return _audited(view, audit_problems(view), "the migration")


@cluster_step("pods")
def audit_undone(view: ClusterView) -> Answer:
    """Look at the whole cluster once more: it must be as it was found."""
    return _audited(view, undone_problems(view), "the rollback")


def _audited(view: ClusterView, problems: list[str], what: str) -> Answer:
    """The audit's answer. A host task that only waited for something may end after the hosts were cleaned: it goes."""
    ended = [task for node in view.seen.nodes for task in view.host_tasks(node) if task.finished and not task.deleting]
    if ended:
        effects = tuple(DeletePod(task.namespace, task.name, task.uid, task.node) for task in ended)
        return Apply(
            effects, on=f"the audit of {what} to be clean", observed=f"{many(len(ended), 'ended host task')} left"
        )
    if not problems:
        return Done()
    return Wait(on=f"the audit of {what} to be clean", observed="; ".join(problems[:5]))
