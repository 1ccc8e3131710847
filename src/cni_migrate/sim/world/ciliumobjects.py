"""Cilium's own API objects: CustomResourceDefinitions, CiliumNodes and CiliumEndpoints."""

from typing import Any

from cni_migrate.sim.client import ApiError, Object
from cni_migrate.sim.world import meta
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
    known = await ctx.cluster.find(CILIUM_ENDPOINT, sandbox.name, sandbox.namespace)
    wanted = _endpoint(pod, sandbox, ctx)
    if known is not None:
        owners = {owner["uid"] for owner in known["metadata"].get("ownerReferences") or ()}
        if sandbox.uid in owners and known.get("status") == wanted["status"]:
            return
        await ctx.cluster.delete(CILIUM_ENDPOINT, known)
    ctx.net.published.add(sandbox.uid)
    await ctx.cluster.create(CILIUM_ENDPOINT, wanted)


def _endpoint(pod: Object, sandbox: Sandbox, ctx: Context) -> Object:
    host = ctx.host(sandbox.node)
    address: dict[str, Any] = {"addressing": [{"ipv4": sandbox.cilium}], "node": host.address if host else ""}
    identity = 1024 + int(ctx.chance("identity", sandbox.namespace, *sorted(sandbox.labels.items())) * 60000)
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumEndpoint",
        "metadata": {
            "name": sandbox.name,
            "namespace": sandbox.namespace,
            "ownerReferences": [_plain_owner(pod)],
        },
        "status": {"state": "ready", "identity": {"id": identity}, "networking": address},
    }


async def drop_endpoint(ctx: Context, pod: Object) -> None:
    """The garbage collector removes the CiliumEndpoint of a pod that is gone."""
    known = await ctx.cluster.find(CILIUM_ENDPOINT, meta.name(pod), meta.namespace(pod))
    if known is None:
        return
    owners = {owner["uid"] for owner in known["metadata"].get("ownerReferences") or ()}
    if meta.uid(pod) in owners:
        await ctx.cluster.delete(CILIUM_ENDPOINT, known)
