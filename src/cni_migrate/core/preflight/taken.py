"""Checks that what the migration sets on nodes is free: what somebody else has set is not overwritten."""

from collections.abc import Iterator

from cni_migrate.core.model.words import many
from cni_migrate.core.preflight.registry import Facts, Finding, blocker, check
from cni_migrate.core.steps.agents import guests


@check
def record_lost(facts: Facts) -> Iterator[Finding]:
    """No node has marks of a migration: these checks are made before one begins, so its record would be gone.

    A second migration over the first would take nodes that are on Cilium for nodes on Canal.
    """
    existing = facts.config.cilium.source == "existing"
    labels = [one for one in facts.config.labels.every() if not existing or one != facts.config.labels.switched]
    marked = []
    for name, node in sorted(facts.seen.nodes.items()):
        found = [label.key for label in labels if node.labels.get(label.key) == label.value]
        found += [f"taint {facts.taint.key}" for taint in node.taints if taint == facts.taint]
        if found:
            marked.append(f"{name}: {', '.join(found)}")
    if marked:
        yield blocker(
            "RECORD_LOST",
            f"{many(len(marked), 'node')} with labels or taints of a migration whose record is gone (namespace"
            f" {facts.config.namespace}): another one begun over it would cut off the nodes that are on Cilium already",
            "put the record back, from a copy or by the marks on the nodes (docs/how-to/recover-the-record.md); when no"
            " node has left Canal, take the labels away",
            marked,
        )


@check
def labels_taken(facts: Facts) -> Iterator[Finding]:
    """No label of the migration is there with another value."""
    taken = [
        f"{name}: {label.key}={node.labels[label.key]} instead of {label.value or 'no value'}"
        for name, node in sorted(facts.seen.nodes.items())
        for label in facts.config.labels.every()
        if node.labels.get(label.key, label.value) != label.value
    ]
    canal, own = facts.canal, facts.config.labels.canal_cilium
    if canal is not None and canal.node_selector.get(own.key, own.value) != own.value:
        what = f"DaemonSet {facts.config.canal.namespace}/{facts.config.canal.daemonset}"
        taken.append(f"{what}: node selector {own.key}={canal.node_selector[own.key]} instead of {own.value}")
    if taken:
        yield blocker(
            "LABELS_TAKEN",
            f"{many(len(taken), 'label')} of the migration set by somebody else, with another value",
            "choose other keys (`labels` in the configuration), or remove them if nobody needs them",
            taken,
        )


@check
def taint_taken(facts: Facts) -> Iterator[Finding]:
    """No taint with our key is there with another value or effect: one key and effect has one value only."""
    ours = facts.taint
    taken = [
        f"{name}: {taint.key}={taint.value}:{taint.effect} instead of {ours.value}:{ours.effect}"
        for name, node in sorted(facts.seen.nodes.items())
        for taint in node.taints
        if taint.key == ours.key and taint != ours
    ]
    if taken:
        yield blocker(
            "TAINT_TAKEN",
            f"the taint {ours.key} set by somebody else on {many(len(taken), 'node')}, with another value or effect",
            "choose another key (`labels.cilium.key` in the configuration), or remove it if nobody needs it",
            taken,
        )


@check
def knet_namespace(facts: Facts) -> Iterator[Finding]:
    """Nobody else has pods in the agents' namespace: it admits restricted pods alone, and is deleted with them."""
    home = facts.config.knet.namespace
    if there := guests(facts.seen, home):
        yield blocker(
            "KNET_NAMESPACE",
            f"{many(len(there), 'pod')} of somebody else's in namespace {home}, which is to be the agents' own",
            "choose another knet.namespace",
            there,
        )
