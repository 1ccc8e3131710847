"""Checks of the cluster itself: rights, Canal, nodes, and networks that are there already."""

from collections.abc import Iterator

from cni_migrate.core.model import names
from cni_migrate.core.model.objects import Node, Pod
from cni_migrate.core.model.words import many
from cni_migrate.core.preflight.evicted import moved
from cni_migrate.core.preflight.registry import Facts, Finding, blocker, check, warning
from cni_migrate.core.preflight.shapes import network_instead
from cni_migrate.core.render.foreign import AGENT


@check
def rights(facts: Facts) -> Iterator[Finding]:
    """Every verb that the effects need is allowed."""
    if facts.rights_missing:
        yield blocker(
            "RIGHTS",
            f"this user lacks {many(len(facts.rights_missing), 'right')} that a migration needs",
            "migrate manifests rbac | kubectl apply -f -   (as an admin), then run as that ServiceAccount",
            facts.rights_missing,
        )


@check
def admission(facts: Facts) -> Iterator[Finding]:
    """Nothing refuses what the migration puts into the cluster."""
    if facts.refused:
        yield blocker(
            "ADMISSION",
            f"{many(len(facts.refused), 'object')} of the migration would be refused: by a quota, PodSecurity,"
            " a webhook, or as nobody knows their kind or has their namespace",
            "exempt the namespaces that are named, raise the quota, bring the definition, make the namespace (kubectl"
            " create namespace); nothing was written: it was asked by a dry run",
            facts.refused,
        )


@check
def canal_daemonset(facts: Facts) -> Iterator[Finding]:
    """Canal's DaemonSet is where the configuration says."""
    config, found = facts.config.canal, facts.found.daemonsets
    there = ", ".join("/".join(one) for one in found)
    for name in config.every_daemonset():
        if name in facts.seen.daemonsets and name in found:
            continue
        gone = name not in facts.seen.daemonsets
        what = f"there is no DaemonSet {'/'.join(name)}" if gone else f"DaemonSet {'/'.join(name)} is not Canal's"
        instead = network_instead(facts)
        hint = f": flannel runs in {there}" if found else f": no DaemonSet runs flannel{instead and f'; {instead}'}"
        yield blocker(
            "CANAL_DAEMONSET",
            f"{what}{hint}",
            "set canal.namespace and canal.daemonset in the configuration, or omit them: they are found"
            if found
            else "this migrates clusters whose network is Canal or flannel; set canal.namespace and canal.daemonset if"
            " it is there under another form",
            ["/".join(one) for one in found],
        )


def _ready(facts: Facts, node: Node) -> bool:
    """Whether a pod of each of Canal's DaemonSets that are meant for the node, and of one at least, is Ready there."""
    every = [facts.seen.daemonsets.get(name) for name in facts.config.canal.every_daemonset()]
    label = facts.config.labels.canal_cilium.key
    meant = [one.uid for one in every if one is not None and one.meant_for(node, but=label)]
    ready = {pod.controller[2] for pod in facts.seen.pods_on(node.name) if pod.ready and pod.controller is not None}
    return bool(meant) and ready.issuperset(meant)


@check
def canal_ready(facts: Facts) -> Iterator[Finding]:
    """Canal is Ready on every node, so that a failure later is not an old one."""
    if facts.canal is None:
        return
    if missing := sorted(name for name, node in facts.seen.nodes.items() if node.ready and not _ready(facts, node)):
        what = f"Canal is not Ready on {many(len(missing), 'node')}"
        yield blocker("CANAL_READY", what, "fix Canal there before it is replaced", missing)


@check
def nodes_ready(facts: Facts) -> Iterator[Finding]:
    """All nodes are Ready: one that is not can neither be migrated nor be asked."""
    if down := sorted(name for name, node in facts.seen.nodes.items() if not node.ready):
        what = f"{many(len(down), 'node')} NotReady"
        yield blocker("NODES_READY", what, "fix them, or remove them from the cluster", down)


@check
def enough_nodes(facts: Facts) -> Iterator[Finding]:
    """A drained pod has somewhere to go: a node that is in service and whose taints it tolerates."""
    usable = [node for node in facts.seen.nodes.values() if node.ready and not node.unschedulable]
    if len(usable) < 2:
        only = "one node is in service" if usable else "no node is in service"
        stuck = [node.name for node in usable]
    else:
        stuck = [f"{pod.key} on {pod.node}" for pod in _homeless(facts, usable)]
        only = f"{many(len(stuck), 'pod')} would find no other node that takes them"
    if stuck or len(usable) < 2:
        yield blocker(
            "ENOUGH_NODES",
            f"{only}: those of a drained node have nowhere to go, and a budget would stop the drain",
            "add a worker for the migration, or uncordon one; a cluster of one node is better rebuilt",
            stuck,
        )


def _homeless(facts: Facts, usable: list[Node]) -> Iterator[Pod]:
    """The pods that drains will move, and that no other node takes by its taints."""
    for pod in moved(facts):
        if not any(node.name != pod.node and _takes(node, pod) for node in usable):
            yield pod


def _takes(node: Node, pod: Pod) -> bool:
    repelling = [taint for taint in node.taints if taint.effect in ("NoSchedule", "NoExecute")]
    return all(any(one.tolerates(taint) for one in pod.tolerations) for taint in repelling)


@check
def cordoned(facts: Facts) -> Iterator[Finding]:
    """Nodes that somebody else has cordoned are left alone, and clean-up waits for them."""
    nodes = facts.seen.nodes.values()
    if found := sorted(n.name for n in nodes if n.unschedulable and names.CORDONED_BY not in n.annotations):
        yield warning(
            "NODES_CORDONED",
            f"{many(len(found), 'node')} cordoned by somebody else: not touched, and clean-up waits for them",
            "uncordon them, or remove them from the cluster",
            found,
        )


@check
def named_nodes(facts: Facts) -> Iterator[Finding]:
    """Nodes that the configuration names are there."""
    for key in ("canary", "own_node"):
        name = getattr(facts.config, key)
        if name and name not in facts.seen.nodes:
            yield blocker("NAMED_NODES", f"{key} is {name}, and there is no such node", f"correct {key}", [name])


@check
def other_networks(facts: Facts) -> Iterator[Finding]:
    """No Multus and no Cilium is there that is not ours."""
    wanted = ((AGENT, "OTHER_CILIUM", "Cilium"), ("multus", "OTHER_MULTUS", "Multus"))
    for mark, check_id, what in wanted:
        found = [
            f"{namespace}/{name}"
            for (namespace, name), one in facts.seen.daemonsets.items()
            if any(mark in word for word in (*one.containers, *map(_last, one.images)))
            and one.labels.get(names.MANAGED_BY) != names.TOOL
            and not (mark == AGENT and _is_installed(facts, namespace, name))
        ]
        if mark == AGENT and facts.config.cilium.source == "existing" and not _installed_there(facts):
            continue  # that one is looked for in another place: nobody should remove it for that
        if found:
            yield blocker(
                check_id,
                f"{what} is there already, and not by this migration: {', '.join(sorted(found))}",
                f"remove that {what} first; two of them would fight for the nodes' CNI files"
                + (_GO_ON if mark == AGENT and facts.config.cilium.source != "existing" else ""),
                found,
            )


_GO_ON = (
    "; or go on with it, if it was installed by Cilium's guide Migrating a cluster to Cilium: cilium.source: existing"
)


def _installed_there(facts: Facts) -> bool:
    """Whether the Cilium that `cilium.source: existing` is about is where it was said."""
    return any(_is_installed(facts, namespace, name) for namespace, name in facts.seen.daemonsets)


def _is_installed(facts: Facts, namespace: str, name: str) -> bool:
    """Whether a DaemonSet is the one that `cilium.source: existing` is about."""
    cilium = facts.config.cilium
    return cilium.source == "existing" and (namespace, name) == (cilium.namespace, names.CILIUM)


def _last(image: str) -> str:
    """An image's own name: `hardened-multus-cni` of `docker.io/rancher/hardened-multus-cni:v4`."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]
