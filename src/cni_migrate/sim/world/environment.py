"""The environment of a container as its kubelet makes it."""

from collections.abc import Mapping
from typing import Any

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.kinds import CONFIG_MAP


class NoValue(Exception):
    """A ConfigMap or a key that the environment needs is not there: the container cannot be made."""


def every_container(pod: Object) -> list[Object]:
    """The pod's containers, those that come first (`initContainers`) included."""
    spec = pod["spec"]
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


async def environment(ctx: Context, pod: Object, container: Mapping[str, Any]) -> dict[str, str]:
    """The variables of one container, with those from ConfigMaps and from the pod's own fields; secrets are left out.

    Raises:
        NoValue: what a variable refers to is not there and is not optional.
    """
    found: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        if reference := source.get("configMapRef"):
            data = await _data(ctx, pod, reference)
            found |= {source.get("prefix", "") + key: value for key, value in data.items()}
    for entry in container.get("env") or ():
        origin = entry.get("valueFrom")
        if origin is None:
            found[entry["name"]] = entry.get("value", "")
        elif "fieldRef" in origin:
            found[entry["name"]] = _field(pod, origin["fieldRef"]["fieldPath"])
        elif reference := origin.get("configMapKeyRef"):
            data = await _data(ctx, pod, reference)
            if reference["key"] in data:
                found[entry["name"]] = data[reference["key"]]
            elif not reference.get("optional"):
                raise NoValue(f"couldn't find key {reference['key']} in ConfigMap {reference['name']}")
    return found


async def _data(ctx: Context, pod: Object, reference: Mapping[str, Any]) -> dict[str, str]:
    config = await ctx.cluster.find(CONFIG_MAP, reference["name"], meta.namespace(pod))
    if config is None and not reference.get("optional"):
        raise NoValue(f'configmap "{reference["name"]}" not found')
    return dict((config or {}).get("data") or {})


def _field(pod: Object, path: str) -> str:
    fields = {
        "metadata.name": meta.name(pod),
        "metadata.namespace": meta.namespace(pod),
        "metadata.uid": meta.uid(pod),
        "spec.nodeName": meta.node_of(pod),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
    }
    return str(fields.get(path, ""))
