"""Steps about a Cilium that its operator has installed: looked at, waited for, its agents restarted, nothing written.

Its owner changes it, by `helm upgrade`. The tool says which values that takes, and goes on when they are there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Final

from cni_migrate.core.model import names
from cni_migrate.core.model.effects import DeletePod
from cni_migrate.core.render import overrides
from cni_migrate.core.render.coexistence import Stage, wrong
from cni_migrate.core.render.foreign import WRITTEN
from cni_migrate.core.steps.agents import operators_of_cilium
from cni_migrate.core.steps.answers import Answer, Apply, Done, Refuse, Wait
from cni_migrate.core.steps.cleaning import clean_nodes
from cni_migrate.core.steps.registry import cluster_step, node_step
from cni_migrate.core.steps.rolling import restart_agents
from cni_migrate.core.steps.view import ClusterView, NodeView
from cni_migrate.core.steps.waited import named

PARTS = {"transit": "cilium-values", "final": "cilium-values-final"}
"""Which part of `migrate manifests` prints a stage's values."""


def asked_for(stage: Stage) -> str:
    """What to type to get a stage's values into the cluster."""
    part = PARTS[stage]
    return (
        f"migrate manifests {part} > {part}.yaml; helm upgrade RELEASE CHART --version VERSION --namespace NAMESPACE"
        f" --reuse-values --values {part}.yaml"
    )


def _again(stage: Stage) -> str:
    """What to do where a part of Cilium is gone."""
    return f"put it back (helm upgrade --install, with the values of `migrate manifests {PARTS[stage]}`)"


@dataclass(frozen=True, slots=True)
class _Contradiction:
    """What an installed Cilium has that a stage cannot do with, and what to do about it."""

    why: str
    next: str


def _contradictions(view: ClusterView, stage: Stage) -> Iterator[_Contradiction]:
    """What of its DaemonSet, its keys, its arguments and its CiliumNodeConfigs is not as a stage needs it."""
    where, config = view.config.cilium.namespace, view.seen.cilium_config
    daemonset = view.seen.daemonsets.get((where, names.CILIUM))
    back = _again(stage)
    if daemonset is None:
        yield _Contradiction(overrides.missing(where), back)
    if config is None:
        yield _Contradiction(f"there is no ConfigMap {where}/{names.CILIUM_CONFIG}", back)
        return
    for found in wrong(config.data, view.config, stage):
        yield _Contradiction(str(found), asked_for(stage))
    if daemonset is not None:
        transit = stage == "transit"
        said = overrides.of_version(daemonset) if transit else []
        taint = view.plan.taint if transit else None
        said += overrides.of_daemonset(daemonset, view.members(), taint, view.config)
        said += overrides.of_settings(daemonset.settings, config.data, view.config, stage)
        yield from (_Contradiction(one, "give it back what it had (helm upgrade, or your GitOps)") for one in said)
    others = view.seen.node_configs
    for one in overrides.of_node_configs(others, config.data, view.config, stage, view.seen.nodes.values()):
        yield _Contradiction(one, f"{TAKE_OUT}: kubectl -n {where} edit ciliumnodeconfigs")


TAKE_OUT: Final = "take it out until the migration is done"
"""What to do about a key of a CiliumNodeConfig."""


def _refused(found: Iterable[_Contradiction], before: str) -> Refuse | None:
    if not (every := list(found)):
        return None
    why = "; ".join(one.why for one in every)
    return Refuse(why=f"{before}: {why}", next="; and ".join(dict.fromkeys(one.next for one in every)))


def operator_unaware(view: ClusterView) -> str:
    """The pod of Cilium's operator that has started before its configuration was written, in words; '' for none."""
    config = view.seen.cilium_config
    for pod in operators_of_cilium(view) if config is not None else ():
        if config is not None and config.unread_by(pod):
            return f"pod {pod.key} has started before {names.CILIUM_CONFIG} was written, and does not read it again"
    return ""


@cluster_step("host")
def check_cilium(view: ClusterView) -> Answer:
    """Make sure, key by key, that the installed Cilium keeps to itself beside Canal."""
    if refusal := _refused(_contradictions(view, "transit"), "the Cilium that is there does not fit beside Canal"):
        return refusal
    if said := operator_unaware(view):
        restart = f"kubectl -n {view.config.cilium.namespace} rollout restart deployment/{names.CILIUM_OPERATOR}"
        return Refuse(why=f"Cilium's operator may act by older settings: {said}", next=restart)
    return Done()


@node_step("host")
def check_cilium_keys(view: NodeView) -> Answer:
    """Make sure that the installed Cilium still keeps to itself where it is not its turn.

    It is the last look before the node is touched: its owner, or a program of theirs, may change it at any time.
    """
    found = [*_contradictions(view, "transit"), *_unaware(view)]
    return _refused(found, "Cilium was changed, which is its owner's") or Done()


def _unaware(view: NodeView) -> Iterator[_Contradiction]:
    """Agents that have started since their node was switched, and before `cilium-config` was written last.

    What they read may have been wrong, though it is right now: policies of their node's pods might be open. The agents
    that the switch has started were looked after then, and those of other nodes serve no pod yet.
    """
    config, where = view.seen.cilium_config, view.config.cilium.namespace
    old = []
    for node in view.members() if config is not None else ():
        entry = view.record.nodes[node.name]
        pod = view.agent(node.name, where, names.CILIUM)
        if pod is None or pod.deleting or entry.event is not None or entry.since is None:
            continue
        by_itself = pod.created > entry.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        switched = view.config.labels.switched.key in node.labels
        if switched and by_itself and config is not None and config.unread_by(pod):
            old.append(node.name)
    if old:
        yield _Contradiction(
            f"Cilium's agent on {overrides.told(sorted(old))} has started before {names.CILIUM_CONFIG} was written"
            " last: what it read then may have been wrong, and it does not read it again",
            f"kubectl -n {where} rollout restart daemonset/{names.CILIUM}",
        )


@node_step("host")
def check_cilium_there(view: NodeView) -> Answer:
    """Make sure that the node's agent can be restarted, and leaves the node to Canal."""
    if view.never_switched:
        return Done()
    return _refused(_stays(view), f"node {view.node.name} cannot go back to Canal yet") or Done()


def _stays(view: NodeView) -> Iterator[_Contradiction]:
    """What would keep a node from going back: no agent, or one that writes its CNI file whatever the node's label is.

    Nothing else counts: who goes back may do so because this Cilium is not as it should be.
    """
    where, config = view.config.cilium.namespace, view.seen.cilium_config
    daemonset = view.seen.daemonsets.get((where, names.CILIUM))
    back = _again("transit")
    if daemonset is None or daemonset.deleting:
        yield _Contradiction(overrides.missing(where), back)
    elif not daemonset.meant_for(view.node):
        said = "its nodeSelector or affinity keeps its agent off the node"
        yield _Contradiction(f"DaemonSet {where}/{names.CILIUM} was changed: {said}", back)
    if config is None:
        yield _Contradiction(f"there is no ConfigMap {where}/{names.CILIUM_CONFIG}", back)
        return
    after = {**view.node.labels}
    after.pop(view.config.labels.switched.key, None)
    data = dict(config.data)
    for one in sorted(view.seen.node_configs, key=lambda one: one.name):
        data |= one.defaults if one.takes(after) else {}
    data |= daemonset.settings if daemonset is not None else {}
    for found in wrong(data, view.config, "transit"):
        if found.key in WRITTEN:
            said = f"; so says a CiliumNodeConfig or the agents' arguments: {TAKE_OUT}"
            yield _Contradiction(
                f"{found}{said if config.data.get(found.key, '') != found.found else ''}", asked_for("transit")
            )


def _await(view: ClusterView, stage: Stage, what: str) -> Answer:
    said = "; ".join(one.why for one in _contradictions(view, stage))
    return Wait(on=f"{what} (`{asked_for(stage)}`)", observed=said) if said else Done()


@cluster_step("upgrade")
def await_final_values(view: ClusterView) -> Answer:
    """Wait until Cilium's owner has given it its final values."""
    return _await(view, "final", "Cilium's owner to give it its final values")


@cluster_step("upgrade")
def await_transit_values(view: ClusterView) -> Answer:
    """Wait until Cilium's owner has given it the values for the time beside Canal again."""
    return _await(view, "transit", "Cilium's owner to give it the values for the time beside Canal again")


@cluster_step("agent")
def restart_unaware_cilium(view: ClusterView) -> Answer:
    """Restart what has started before its configuration was written: agents, a tenth at a time, then the operator."""
    config, on = view.seen.cilium_config, "Cilium to run by its new values"
    if config is None:
        return Wait(on=f"ConfigMap {names.CILIUM_CONFIG}", observed="it is not there")
    answer = restart_agents(view, config.unread_by, on=on, agents="that started before")
    if not isinstance(answer, Done):
        return answer
    operators = operators_of_cilium(view)
    old = [pod for pod in operators if config.unread_by(pod)]
    starting = [pod for pod in operators if pod not in old and not pod.ready]
    if not operators or starting:
        return Wait(on=on, observed=named(view.seen, next(iter(starting), None)), pods=tuple(starting))
    if not old:
        return Done()
    effect = DeletePod(old[0].namespace, old[0].name, old[0].uid, old[0].node)
    return Apply((effect,), on=on, observed=f"operator {old[0].name} that started before")


@cluster_step("host")
def clean_rules(view: ClusterView) -> Answer:
    """Remove our rule from every host (undo); what is Cilium's stays."""
    return clean_nodes(view, "undo", "remove-rules")
