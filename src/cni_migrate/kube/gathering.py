"""Gathers what the preflight checks look at: rights, inventory, Canal's configuration. Reads only."""

import asyncio
from collections.abc import Iterator
from typing import Any, Final

from cni_migrate.cilium_versions import PORT_RANGES
from cni_migrate.core.model.canal import FoundCanal
from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.core.preflight.findings import Facts, Hook
from cni_migrate.core.steps.view import Plan
from cni_migrate.kube import views
from cni_migrate.kube.access import Ask, Reviews
from cni_migrate.kube.admission import refusals
from cni_migrate.kube.calico import calico
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.controlplane import started
from cni_migrate.kube.inventory import Inventory, Webhook, inventory
from cni_migrate.kube.networkpolicies import (
    about_sctp,
    about_the_cluster,
    by_unknown_labels,
    ip_blocks,
    network_policies,
    port_ranges,
)
from cni_migrate.kube.nodeconfigs import node_configs
from cni_migrate.kube.owners import released
from cni_migrate.kube.request import Client
from cni_migrate.kube.services import ServiceAddresses, api_servers, service_networks, services
from cni_migrate.kube.together import together
from cni_migrate.kube.volumes import local_volumes

_POD_OPERATIONS: Final = frozenset({"CREATE", "DELETE", "*"})


async def gathered(client: Client, plan: Plan, cluster: KubeCluster, canal: FoundCanal) -> Facts:
    """The facts for the checks, beside the Canal that was found.

    Raises:
        ClusterError: the API server does not answer, or does not allow a read.
    """
    reviews = Reviews(client)
    async with together() as group:
        taking_stock = group.create_task(inventory(client))
        serving = group.create_task(services(client))
        ranges = group.create_task(service_networks(client))
        answering = group.create_task(api_servers(client))
        proxying = group.create_task(started(client))
        volumes = group.create_task(local_volumes(client))
        listing = group.create_task(network_policies(client))
        overriding = group.create_task(node_configs(client, plan.config.cilium.namespace))
        # Beside the questions that need none of it: rendering takes as long as their answers.
        roles = await asyncio.to_thread(plan.manifests.rbac)
        rights_asked = group.create_task(reviews.allowed(asks(roles)))
        refusing = group.create_task(refusals(client, _wanted(plan), reviews))
        owning = group.create_task(released(client, _ciliums(plan)))
    found, rights, addresses, proxy = taking_stock.result(), rights_asked.result(), serving.result(), proxying.result()
    policies, given = listing.result(), plan.manifests.given()
    calicos = await calico(client, found.crds)
    seen, config = cluster.snapshot(), plan.config
    nodes = [address for node in seen.nodes.values() for address in (node.internal_ip, *node.more_addresses)]
    own = [config.canal.pod_cidr, config.cilium.pod_cidr, *nodes]
    return Facts(
        config=plan.config,
        seen=seen,
        taint=plan.taint,
        version=found.version,
        rights_missing=tuple(_worded(ask) for ask, yes in rights.items() if not yes),
        refused=refusing.result(),
        released=owning.result(),
        local_volumes=volumes.result(),
        found=canal,
        policies=tuple(sorted(("NetworkPolicy", p["metadata"]["namespace"], p["metadata"]["name"]) for p in policies)),
        calico_policies=calicos.policies,
        felix=calicos.felix,
        ip_pools=calicos.pools,
        pool_networks=calicos.networks,
        masquerading=calicos.masquerading,
        ip_blocks=tuple(about_the_cluster(ip_blocks(policies), own)),
        audited=given.get("policy-audit-mode", "false") == "true",
        unknown_labels=tuple(by_unknown_labels(policies, plan.manifests.cilium_version, given.get("labels", ""))),
        port_ranges=tuple(port_ranges(policies)) if plan.manifests.cilium_version < PORT_RANGES else (),
        sctp=() if given.get("enable-sctp") == "true" else (*about_sctp(policies), *_sctp(addresses)),
        crds=found.crds,
        proxy_mode=proxy.proxy_mode,
        proxy_cidr=proxy.proxy_cidr,
        pod_hooks=tuple(_hooks(found)),
        service_ips=tuple(ip for one in addresses for ip in one.addresses),
        service_networks=(*ranges.result(), *([proxy.service_cidr] if proxy.service_cidr else ())),
        api_servers=tuple(answering.result()),
        ipv6_services=tuple(one.name for one in addresses if one.ipv6),
        images=plan.manifests.images(),
        cautions=tuple(plan.manifests.cautions()),
        later=tuple(plan.manifests.later()),
        lost_without_kube_proxy=plan.manifests.lost_without_kube_proxy(),
        host_ports=plan.manifests.host_ports(),
        node_configs=overriding.result(),
        agents=views.daemonset(agents) if (agents := plan.manifests.agents()) is not None else None,
        left_out=tuple(plan.manifests.left_out()),
        pulled_without=tuple(plan.manifests.pulled_without()),
        mirrored_without=tuple(plan.manifests.mirrored_without()),
    )


def _ciliums(plan: Plan) -> list[dict[str, Any]]:
    """All of Cilium's that the migration puts, on the way and in the end."""
    installed = plan.config.cilium.source == "existing"
    return [] if installed else [*plan.manifests.cilium(), *plan.manifests.cilium_final()]


def _wanted(plan: Plan) -> Iterator[dict[str, Any]]:
    """What the migration puts into the cluster, as far as it is known before; a host task stands for all."""
    manifests, config = plan.manifests, plan.config
    yield from manifests.namespaces()
    yield from manifests.knet()
    if config.cilium.source != "existing":
        yield from (cilium := manifests.cilium())
        known = {ObjectRef.of(one) for one in cilium}
        # What comes with the last step alone: it would be refused when every node is migrated.
        yield from (one for one in manifests.cilium_final() if ObjectRef.of(one) not in known)
    yield from manifests.identities()
    if config.traits.multus:
        yield from manifests.multus()
    yield manifests.host_task("", "dry-run-host-task", ["status"])


def _sctp(every: list[ServiceAddresses]) -> Iterator[str]:
    yield from (f"Service {one.name}" for one in every if one.sctp)


def asks(rbac: list[dict[str, Any]]) -> list[Ask]:
    """The rights that the tool's own roles grant, which are the least it works with.

    Rules that name objects are left out: a right on some objects cannot be asked for as one on all.
    """
    return list(dict.fromkeys(_asks(rbac)))


def _asks(rbac: list[dict[str, Any]]) -> Iterator[Ask]:
    for manifest in rbac:
        if manifest["kind"] not in ("ClusterRole", "Role"):
            continue
        namespace = manifest["metadata"].get("namespace", "")
        for rule in manifest["rules"]:
            if rule.get("resourceNames") or rule.get("nonResourceURLs"):
                continue
            for group in rule["apiGroups"]:
                for name in rule["resources"]:
                    resource, _, sub = name.partition("/")
                    yield from (Ask(verb, group, resource, sub, namespace) for verb in rule["verbs"])


def _worded(ask: Ask) -> str:
    resource = f"{ask.resource}/{ask.subresource}" if ask.subresource else ask.resource
    group = f".{ask.group}" if ask.group else ""
    where = f" in namespace {ask.namespace}" if ask.namespace else ""
    return f"{ask.verb} {resource}{group}{where}"


def _hooks(found: Inventory) -> Iterator[Hook]:
    """The webhooks that pods meet when they come or go, and whose failure refuses them."""
    for hook in found.webhooks:
        if hook.failure_policy == "Fail" and _meets_pods(hook):
            yield Hook(f"{hook.configuration}/{hook.name}", hook.service)


def _meets_pods(hook: Webhook) -> bool:
    return any(
        {"", "*"} & set(rule.groups)
        and {"*", "*/*", "pods", "pods/*", "pods/eviction", "pods/binding"} & set(rule.resources)
        and _POD_OPERATIONS & set(rule.operations)
        for rule in hook.rules
    )
