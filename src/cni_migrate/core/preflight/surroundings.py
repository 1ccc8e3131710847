"""Checks of what else acts on the cluster, and what is worth knowing before."""

from collections.abc import Iterator

from cni_migrate import cilium_versions
from cni_migrate.core.connectivity.peers import graph
from cni_migrate.core.preflight.registry import Facts, Finding, check, info, many, warning
from cni_migrate.core.steps.selection import canals, owners_of


@check
def webhooks(facts: Facts) -> Iterator[Finding]:
    """Admission webhooks that pods depend on may be unreachable for a moment."""
    if facts.pod_hooks:
        yield warning(
            "WEBHOOKS",
            f"pods are refused when {many(len(facts.pod_hooks), 'admission webhook')} cannot be reached",
            "run their servers with two replicas and a budget, or exempt kube-system and this tool's namespaces",
            [f"{hook.name} ({hook.service or 'outside the cluster'})" for hook in facts.pod_hooks],
        )


@check
def gitops(facts: Facts) -> Iterator[Finding]:
    """Nobody else keeps Canal's DaemonSets as they are."""
    for one in canals(facts.config, facts.seen):
        owners = owners_of(one)
        if not owners:
            continue
        yield warning(
            "GITOPS",
            f"DaemonSet {one.namespace}/{one.name} of Canal's is managed by {' and '.join(owners)}, which may undo its"
            " changes",
            "suspend that synchronisation of Canal until the migration is done, then remove Canal from it",
            owners,
        )


@check
def cautions(facts: Facts) -> Iterator[Finding]:
    """What the manifests cannot promise."""
    for text in facts.cautions:
        yield warning("MANIFESTS", text, "choose another version, or rehearse on a copy of the cluster")


@check
def kubernetes(facts: Facts) -> Iterator[Finding]:
    """Cilium lists the cluster's version of Kubernetes among those that it is tested with."""
    cilium, here = facts.config.cilium.version.removeprefix("v"), facts.version
    if not cilium_versions.listed_with(cilium, here):
        tested = cilium_versions.KUBERNETES[cilium_versions.parsed(cilium)]
        yield warning(
            "CILIUM_KUBERNETES",
            f"Cilium {cilium} is tested by its makers with Kubernetes {', '.join(tested)}; this API server is {here}",
            "choose a version of Cilium that lists it, or rehearse on a copy of the cluster",
        )


def firewall(facts: Facts) -> Finding:
    """Which port has to be open, and who tries it when: looking at the cluster starts no pods."""
    config, nodes = facts.config, facts.seen.nodes
    port = f"UDP port {config.cilium.tunnel_port} must be open between all nodes for Cilium's tunnel"
    if config.cilium.source == "existing":
        return info(
            "FIREWALL",
            f"{port}; it is not tried: Cilium's agents have it already on every node",
            "see that it is open (`cilium-dbg status` where health checking is on); the gates find out, but late",
        )
    mesh = graph(nodes, config)
    pairs = sum(len(mesh.neighbours(name)) for name in nodes)
    return info(
        "FIREWALL",
        f"{port}: `migrate run` tries it by short-lived pods on the nodes' own network, {many(pairs, 'pair')} of nodes,"
        " before it changes anything",
        "open it before the migration",
    )


@check
def assumptions(facts: Facts) -> Iterator[Finding]:
    """What is taken for granted and cannot be seen through the API."""
    config = facts.config
    yield info(
        "CNI_FOLDER",
        f"CNI files are taken to be in {config.host_task.cni_folder}, plugins in {config.host_task.bin_folder}",
        "set host_task.cni_folder and host_task.bin_folder if that is not so",
    )
    yield firewall(facts)
    if facts.images:
        yield info(
            "IMAGES",
            f"the nodes pull {many(len(facts.images), 'image')}",
            "make sure that the nodes can pull them, or mirror them (`migrate images`)",
            [f"{purpose}: {image}" for purpose, image in facts.images.items()],
        )
    if facts.version:
        yield info("VERSION", f"the API server is {facts.version}", "nothing to do")
