"""The environment of a container as its kubelet makes it, and the files that it has from ConfigMaps."""

from collections.abc import Iterator, Mapping
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


ConfigMaps = Mapping[tuple[str, str], Mapping[str, str]]
"""What ConfigMaps hold, by namespace and name."""


async def config_maps(ctx: Context, pod: Object) -> ConfigMaps:
    """The ConfigMaps that a pod refers to, as far as they are there."""
    found: dict[tuple[str, str], Mapping[str, str]] = {}
    for name in _referred(pod):
        config = await ctx.cluster.find(CONFIG_MAP, name, meta.namespace(pod))
        if config is not None:
            found[meta.namespace(pod), name] = config.get("data") or {}
    return found


def _referred(pod: Object) -> Iterator[str]:
    for container in every_container(pod):
        for source in container.get("envFrom") or ():
            if "configMapRef" in source:
                yield source["configMapRef"]["name"]
        for entry in container.get("env") or ():
            if "configMapKeyRef" in (entry.get("valueFrom") or {}):
                yield entry["valueFrom"]["configMapKeyRef"]["name"]
    for source in _volume_sources(pod):
        if "configMap" in source:
            yield source["configMap"]["name"]


def _volume_sources(pod: Object) -> Iterator[Mapping[str, Any]]:
    for volume in pod["spec"].get("volumes") or ():
        yield volume
        yield from (volume.get("projected") or {}).get("sources") or ()


def mounted(maps: ConfigMaps, pod: Object, file: str) -> str | None:
    """A file of this name from one of the ConfigMaps that the pod has as volumes; None when there is none."""
    for source in _volume_sources(pod):
        if "configMap" not in source:
            continue
        config = source["configMap"]
        data = maps.get((meta.namespace(pod), config["name"]), {})
        keys = {str(item["path"]): str(item["key"]) for item in config.get("items") or ()}
        key = keys.get(file, "") if keys else file
        if key in data:
            return data[key]
    return None


def environment(maps: ConfigMaps, pod: Object, container: Mapping[str, Any]) -> dict[str, str]:
    """The variables of one container, with those from ConfigMaps and from the pod's own fields; secrets are left out.

    Raises:
        NoValue: what a variable refers to is not there and is not optional.
    """
    found: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        if reference := source.get("configMapRef"):
            data = _data(maps, pod, reference)
            found |= {source.get("prefix", "") + key: value for key, value in data.items()}
    for entry in container.get("env") or ():
        origin = entry.get("valueFrom")
        if not origin:
            found[entry["name"]] = entry.get("value") or ""
        elif "fieldRef" in origin:
            found[entry["name"]] = _field(pod, origin["fieldRef"]["fieldPath"])
        elif reference := origin.get("configMapKeyRef"):
            data = _data(maps, pod, reference)
            if reference["key"] in data:
                found[entry["name"]] = data[reference["key"]]
            elif not reference.get("optional"):
                raise NoValue(f"couldn't find key {reference['key']} in ConfigMap {reference['name']}")
    return found


def _data(maps: ConfigMaps, pod: Object, reference: Mapping[str, Any]) -> dict[str, str]:
    config = maps.get((meta.namespace(pod), reference["name"]))
    if config is None and not reference.get("optional"):
        raise NoValue(f'configmap "{reference["name"]}" not found')
    return dict(config or {})


def _field(pod: Object, path: str) -> str:
    fields = {
        "metadata.name": meta.name(pod),
        "metadata.namespace": meta.namespace(pod),
        "metadata.uid": meta.uid(pod),
        "spec.nodeName": meta.node_of(pod),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
    }
    return str(fields.get(path, ""))
