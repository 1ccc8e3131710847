"""Cilium's own API objects: CustomResourceDefinitions, CiliumNodes and CiliumEndpoints."""

from collections.abc import Mapping

from cni_migrate.sim.client import ApiError, Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.ciliumidentities import number_for
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.host import Host
from cni_migrate.sim.world.kinds import CILIUM_ENDPOINT, CILIUM_NODE, NODE, POD
from cni_migrate.sim.world.sandbox import Sandbox

_RESOURCES: tuple[tuple[str, str, str, bool, bool], ...] = (
    ("ciliumclusterwidenetworkpolicies", "CiliumClusterwideNetworkPolicy", "ccnp", False, True),
    ("ciliumendpoints", "CiliumEndpoint", "cep", True, False),
    ("ciliumidentities", "CiliumIdentity", "ciliumid", False, False),
    ("ciliumnetworkpolicies", "CiliumNetworkPolicy", "cnp", True, True),
    ("ciliumnodeconfigs", "CiliumNodeConfig", "", True, False),
    ("ciliumnodes", "CiliumNode", "cn", False, True),
)
"""Plural, kind, short name, namespaced, status subresource."""


def definitions(*, node_config_v2: bool) -> list[Object]:
    """The CRDs the operator installs; `CiliumNodeConfig` is served as v2 from 1.16 on, as v2alpha1 by all here."""
    return [
        _definition(plural, kind, short, namespaced=namespaced, status=status, v2=node_config_v2)
        for plural, kind, short, namespaced, status in _RESOURCES
    ]


def _definition(plural: str, kind: str, short: str, *, namespaced: bool, status: bool, v2: bool) -> Object:
    names: Object = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    if short:
        names["shortNames"] = [short]
    versions = ["v2"]
    if plural == "ciliumnodeconfigs":
        versions = ["v2", "v2alpha1"] if v2 else ["v2alpha1"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.cilium.io"},
        "spec": {
            "group": "cilium.io",
            "names": names,
            "scope": "Namespaced" if namespaced else "Cluster",
            "versions": [_version(v, storage=place == 0, status=status) for place, v in enumerate(versions)],
        },
    }


def _version(name: str, *, storage: bool, status: bool) -> Object:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version: Object = {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": schema}}
    if status:
        version["subresources"] = {"status": {}}
    return version


async def make_node(ctx: Context, host: Host) -> bool:
    """The agent registers its node; False while the resource is not served."""
    node = ctx.cluster[NODE].get(host.name)
    if node is None:
        return False
    body: Object = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNode",
        "metadata": {"name": host.name, "ownerReferences": [_plain_owner(node)]},
        "spec": {"addresses": [{"type": "InternalIP", "ip": host.address}], "ipam": {}},
    }
    try:
        await ctx.cluster.client.create(CILIUM_NODE, body)
    except ApiError as error:
        return error.code == 409
    return True


def _plain_owner(owner: Object) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta.name(owner),
        "uid": meta.uid(owner),
    }


async def make_endpoint(ctx: Context, sandbox: Sandbox) -> None:
    """The CiliumEndpoint of a pod with a Cilium interface; one left by a former pod of this name is replaced."""
    pod = ctx.cluster[POD].get(sandbox.name, sandbox.namespace)
    if pod is None or meta.uid(pod) != sandbox.uid or not sandbox.cilium:
        return
    number, labels = await number_for(ctx, pod)
    host = ctx.host(sandbox.node)
    wanted = endpoint(pod, sandbox.cilium, host.address if host else "", number, labels)
    known = await ctx.cluster.find(CILIUM_ENDPOINT, sandbox.name, sandbox.namespace)
    if known is not None:
        owners = {owner["uid"] for owner in known["metadata"].get("ownerReferences") or ()}
        if sandbox.uid in owners and known.get("status") == wanted["status"]:
            return
        await ctx.cluster.delete(CILIUM_ENDPOINT, known)
    await ctx.cluster.create(CILIUM_ENDPOINT, wanted)


def endpoint(pod: Object, address: str, node: str, number: int, labels: Mapping[str, str]) -> Object:
    """A CiliumEndpoint of a pod: its address, its node's, and its identity."""
    namespace, name = meta.key(pod)
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumEndpoint",
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": [_plain_owner(pod)]},
        "status": {
            "state": "ready",
            "external-identifiers": {"k8s-namespace": namespace, "k8s-pod-name": name},
            "identity": {"id": number, "labels": [f"{key}={value}" for key, value in sorted(labels.items())]},
            "networking": {"addressing": [{"ipv4": address}], "node": node},
        },
    }


async def delete_stale(ctx: Context, host: Host) -> None:
    """What an agent does when it starts: of the endpoints that are on its node, those it does not know are deleted.

    It knows pods by name (`pkg/endpointcleanup`; off with `enable-stale-cilium-endpoint-cleanup: "false"`).
    """
    known = {(one.namespace, one.name) for uid in host.endpoints.values() if (one := ctx.net.by_uid.get(uid))}
    # In front of a real control plane all hosts have this machine's address, which tells nodes apart nowhere else.
    same = {other.name for other in ctx.net.hosts.values() if other is not host and other.address == host.address}
    known |= {(one.namespace, one.name) for one in ctx.net.by_uid.values() if one.node in same}
    for found in list(ctx.cluster[CILIUM_ENDPOINT].items.values()):
        networking = (found.get("status") or {}).get("networking") or {}
        if networking.get("node") == host.address and meta.key(found) not in known:
            await ctx.cluster.delete(CILIUM_ENDPOINT, found)
