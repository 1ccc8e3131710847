"""What containers are given as variables, one by one or from whole ConfigMaps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cni_migrate.core.model.canalroles import environment
from cni_migrate.kube import paths
from cni_migrate.kube.request import Client

Json = Mapping[str, Any]


@dataclass
class ConfigMaps:
    """ConfigMaps that are read once each."""

    client: Client
    read: dict[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)

    async def data(self, namespace: str, name: str) -> Mapping[str, str]:
        """What a ConfigMap holds; nothing when it is not there or may not be read."""
        if (namespace, name) not in self.read:
            answer = await self.client.request("GET", paths.path("v1", "configmaps", namespace=namespace, name=name))
            if not answer.ok and answer.status not in (403, 404):
                raise answer.refusal(f"reading ConfigMap {namespace}/{name}")
            self.read[namespace, name] = (answer.object.get("data") or {}) if answer.ok else {}
        return self.read[namespace, name]


async def value_of(maps: ConfigMaps, namespace: str, container: Json, name: str) -> str:
    """The value of a variable, from the ConfigMap that it names where it names one; or from a whole one (`envFrom`)."""
    given = environment(container).get(name)
    if given is None:
        for source in reversed(container.get("envFrom") or ()):
            if ref := source.get("configMapRef"):
                data = await maps.data(namespace, str(ref.get("name", "")))
                prefix = str(source.get("prefix") or "")
                if name.startswith(prefix) and (value := data.get(name.removeprefix(prefix))) is not None:
                    return value
        return ""
    if ref := (given.get("valueFrom") or {}).get("configMapKeyRef"):
        return (await maps.data(namespace, str(ref.get("name", "")))).get(str(ref.get("key", "")), "")
    return str(given.get("value") or "")


async def all_values(maps: ConfigMaps, namespace: str, container: Json, prefix: str) -> dict[str, str]:
    """Every variable whose name begins so, without it and in lower case; what may not be read is left out."""
    names = [name for name in environment(container) if name.startswith(prefix)]
    for source in container.get("envFrom") or ():
        if ref := source.get("configMapRef"):
            data = await maps.data(namespace, str(ref.get("name", "")))
            names += [name for key in data if (name := f"{source.get('prefix') or ''}{key}").startswith(prefix)]
    found = {name: await value_of(maps, namespace, container, name) for name in dict.fromkeys(names)}
    return {name.removeprefix(prefix).lower(): value for name, value in found.items() if value}
