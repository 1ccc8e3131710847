"""Which other objects a pod's spec names: its account, ConfigMaps and Secrets."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cni_migrate.core.model.objects import ObjectRef

Json = Mapping[str, Any]

_CNI_ACCOUNT: Final = "CALICO_CNI_SERVICE_ACCOUNT"
"""By this variable Calico's programs name the account of their CNI plugin (projectcalico/calico, node/pkg/cni)."""


def used_by(pod: Json, namespace: str) -> Iterator[ObjectRef]:
    """The account, ConfigMaps and Secrets that a pod's spec names, each once."""
    found: dict[ObjectRef, None] = {}

    def named(kind: str, source: object, key: str = "name") -> None:
        name = source.get(key) if isinstance(source, Mapping) else source
        if name:
            found[ObjectRef("v1", kind, namespace, str(name))] = None

    named("ServiceAccount", pod.get("serviceAccountName") or pod.get("serviceAccount"))
    for volume in pod.get("volumes") or ():
        named("Secret", volume.get("secret"), "secretName")
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            named("ConfigMap", source.get("configMap"))
        for source in (volume.get("projected") or {}).get("sources") or ():
            named("Secret", source.get("secret"))
    for container in (*(pod.get("initContainers") or ()), *(pod.get("containers") or ())):
        for source in container.get("envFrom") or ():
            named("ConfigMap", source.get("configMapRef"))
            named("Secret", source.get("secretRef"))
        for one in container.get("env") or ():
            origin = one.get("valueFrom") or {}
            named("ConfigMap", origin.get("configMapKeyRef"))
            named("Secret", origin.get("secretKeyRef"))
            if one.get("name") == _CNI_ACCOUNT:
                named("ServiceAccount", one.get("value"))
    yield from found
