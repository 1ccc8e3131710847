"""Steps by which Canal's pods are known to Cilium, so that policies hold between both networks (overlay)."""

from cni_migrate.core.model import names
from cni_migrate.core.model.effects import DeleteIdentities, DeleteObject
from cni_migrate.core.model.objects import ObjectRef, Pod
from cni_migrate.core.model.words import many
from cni_migrate.core.steps.agents import ready_on
from cni_migrate.core.steps.answers import Answer, Apply, Done, Wait
from cni_migrate.core.steps.cleaning import delete_all, refs_of
from cni_migrate.core.steps.install import await_everywhere, put_all
from cni_migrate.core.steps.registry import cluster_step, node_step
from cni_migrate.core.steps.view import ClusterView, NodeView


def strangers(view: ClusterView) -> list[Pod]:
    """The pods on Canal that policies on Cilium would not know; those on nodes that are NotReady are not asked for.

    Nor are those on a skipped node: it may have no Cilium, and what nobody can deliver to has no endpoint. Policies on
    migrated nodes take such a pod for a stranger, so they fail closed.
    """
    return [
        pod
        for node in view.members()
        if node.ready
        for pod in view.networked(node.name)
        if view.on_canal(pod) and not pod.deleting and not view.known_to_cilium(pod)
    ]


def _everybody_known(view: ClusterView) -> Answer:
    found = strangers(view)
    if not found:
        return Done()
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return Wait(
        on=f"{many(len(found), 'pod')} on Canal to have an identity in Cilium",
        observed=", ".join(f"{pod.key} on node {pod.node}" for pod in found[:3]) + more,
    )


@cluster_step("host", foreseeable=True, installs=lambda plan, _: plan.manifests.identities())
def apply_identities(view: ClusterView) -> Answer:
    """Deploy the agents that give Canal's pods identities in Cilium, and lay the nodes' rules."""
    return put_all(view, apply_identities, "the identity agents")


@cluster_step("agent")
def await_identities(view: ClusterView) -> Answer:
    """Wait until an identity agent is Ready on every node, and every pod on Canal has an identity in Cilium."""
    answer = await_everywhere(view, view.config.namespace, names.IDENTITIES)
    return answer if not isinstance(answer, Done) else _everybody_known(view)


@node_step("agent")
def await_identity_agent(view: NodeView) -> Answer:
    """Wait until the identity agent is Ready on the node."""
    return ready_on(view, view.config.namespace, names.IDENTITIES)


@node_step("agent")
def await_identified(view: NodeView) -> Answer:
    """Wait until policies on Cilium know every pod on Canal, and an agent on each node keeps that so."""
    answer = await_everywhere(view, view.config.namespace, names.IDENTITIES)
    return answer if not isinstance(answer, Done) else _everybody_known(view)


@cluster_step("pods")
def delete_identities(view: ClusterView) -> Answer:
    """Delete the identity agents, then the endpoints that they leave."""
    answer = delete_all(view, refs_of(view.plan.manifests.identities()), "the identity agents")
    if not isinstance(answer, Done):
        return answer
    left = [one for one in view.seen.endpoints.values() if one.ours]
    effects = tuple(
        DeleteObject(ObjectRef("cilium.io/v2", "CiliumEndpoint", one.namespace, one.name), one.uid) for one in left
    )
    return Apply(effects, on="the endpoints of Canal's pods to be deleted", observed=str(len(left))) if left else Done()


@cluster_step("pods")
def forget_identities(view: ClusterView) -> Answer:
    """Delete the identities that our agents have made, now that Cilium uses none of them (undo).

    While Cilium stays, its operator deletes what nobody uses, and only that.
    """
    effect = DeleteIdentities(names.OURS)
    attempt = view.outcomes.attempts.get(effect.key)
    if attempt is not None and attempt.result in ("applied", "gone"):
        return Done()
    return Apply((effect,), on="the identities of Canal's pods to be deleted")
