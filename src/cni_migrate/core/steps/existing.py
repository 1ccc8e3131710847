"""Steps about a Cilium that its operator has installed: looked at, waited for, its agents restarted, nothing written.

Its owner changes it, by `helm upgrade`. The tool says which values that takes, and goes on when they are there.
"""

from cni_migrate.core.model import names
from cni_migrate.core.model.objects import Pod
from cni_migrate.core.render.coexistence import Stage, wrong
from cni_migrate.core.steps.answers import Answer, Done, Refuse, Wait
from cni_migrate.core.steps.cleaning import clean_nodes
from cni_migrate.core.steps.registry import cluster_step, node_step
from cni_migrate.core.steps.rolling import restart_agents
from cni_migrate.core.steps.view import ClusterView, NodeView

PARTS = {"transit": "cilium-values", "final": "cilium-values-final"}
"""Which part of `migrate manifests` prints a stage's values."""


def asked_for(stage: Stage) -> str:
    """What to type to get a stage's values into the cluster."""
    part = PARTS[stage]
    return (
        f"migrate manifests {part} > {part}.yaml; helm upgrade RELEASE CHART --version VERSION --namespace NAMESPACE"
        f" --reuse-values --values {part}.yaml"
    )


def keys_wrong(view: ClusterView, stage: Stage) -> str:
    """Which keys of `cilium-config` are not as a stage needs them, in words; '' when all are."""
    config = view.seen.cilium_config
    if config is None:
        return f"there is no ConfigMap {view.config.cilium.namespace}/{names.CILIUM_CONFIG}"
    return "; ".join(map(str, wrong(config.data, view.config, stage)))


def operator_unaware(view: ClusterView) -> str:
    """The pod of Cilium's operator that has started before its configuration was written, in words; '' for none."""
    config = view.seen.cilium_config
    for pod in _operators(view) if config is not None else ():
        if config is not None and config.unread_by(pod):
            return f"pod {pod.key} has started before {names.CILIUM_CONFIG} was written, and does not read it again"
    return ""


def _operators(view: ClusterView) -> list[Pod]:
    namespace = view.config.cilium.namespace
    every = [pod for node in view.seen.nodes for pod in view.seen.pods_on(node)]
    return [
        pod
        for pod in every
        if pod.namespace == namespace and names.CILIUM_OPERATOR in pod.containers and not pod.deleting
    ]


@cluster_step("host")
def check_cilium(view: ClusterView) -> Answer:
    """Make sure that the Cilium that is there keeps to itself while Canal is there, key by key of its configuration."""
    if said := keys_wrong(view, "transit"):
        return Refuse(why=f"the Cilium that is there does not fit beside Canal: {said}", next=asked_for("transit"))
    if said := operator_unaware(view):
        restart = f"kubectl -n {view.config.cilium.namespace} rollout restart deployment/{names.CILIUM_OPERATOR}"
        return Refuse(why=f"Cilium's operator may act by older settings: {said}", next=restart)
    return Done()


@node_step("host")
def check_cilium_keys(view: NodeView) -> Answer:
    """Make sure that the Cilium is there still, and keeps to itself on the nodes whose turn it is not."""
    where = view.config.cilium.namespace
    if (where, names.CILIUM) not in view.seen.daemonsets:
        put_back = f"put it back (helm upgrade --install, with the values of `migrate manifests {PARTS['transit']}`)"
        return Refuse(why=f"DaemonSet {where}/{names.CILIUM} is gone, which is Cilium's owner's", next=put_back)
    if said := keys_wrong(view, "transit"):
        return Refuse(why=f"Cilium's configuration was changed: {said}", next=asked_for("transit"))
    return Done()


def _await(view: ClusterView, stage: Stage, what: str) -> Answer:
    said = keys_wrong(view, stage)
    return Wait(on=f"{what} (`{asked_for(stage)}`)", observed=said) if said else Done()


@cluster_step("upgrade")
def await_final_values(view: ClusterView) -> Answer:
    """Wait until Cilium's owner has given it the values that it stays with; Canal is deleted after that only."""
    return _await(view, "final", "Cilium's owner to give it its final values")


@cluster_step("upgrade")
def await_transit_values(view: ClusterView) -> Answer:
    """Wait until Cilium's owner has given it the values for the time beside Canal again."""
    return _await(view, "transit", "Cilium's owner to give it the values for the time beside Canal again")


@cluster_step("agent")
def restart_unaware_cilium(view: ClusterView) -> Answer:
    """Restart the agents that have started before their configuration was written, a tenth at a time."""
    config = view.seen.cilium_config
    if config is None:
        return Wait(on=f"ConfigMap {names.CILIUM_CONFIG}", observed="it is not there")
    return restart_agents(view, config.unread_by, on="Cilium to run by its new values", agents="that started before")


@cluster_step("host")
def clean_rules(view: ClusterView) -> Answer:
    """Remove our rule from every host (undo); what is Cilium's stays."""
    return clean_nodes(view, "undo", "remove-rules")
