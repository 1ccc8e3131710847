"""The Cilium that somebody has installed already: what its DaemonSet, its operator and its `cilium-config` tell."""

from collections.abc import Mapping
from typing import Any

from cni_migrate.core.model import names
from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.core.render.foreign import AGENT, facts_of, version_of
from cni_migrate.kube import paths
from cni_migrate.kube.inventory import get_config_map
from cni_migrate.kube.reading import read
from cni_migrate.kube.request import Client

Json = Mapping[str, Any]


async def installed_cilium(client: Client, namespace: str) -> dict[str, Any]:
    """What it says of the configuration's section `cilium`, by its keys; nothing where there is none.

    Raises:
        ClusterError: the API server does not answer, or does not allow it.
    """
    data = await get_config_map(client, namespace, names.CILIUM_CONFIG)
    agents = await _workload(client, ObjectRef("apps/v1", "DaemonSet", namespace, names.CILIUM))
    if data is None or agents is None:
        return {}
    image = _image(agents, AGENT)
    operator = await _workload(client, ObjectRef("apps/v1", "Deployment", namespace, names.CILIUM_OPERATOR))
    found: dict[str, Any] = {
        **facts_of(data),
        "version": version_of(image),
        "image": image,
        "operator_image": _image(operator, names.CILIUM_OPERATOR) if operator is not None else "",
    }
    return {key: value for key, value in found.items() if value != ""}


def _image(workload: Json, container: str) -> str:
    containers = ((workload.get("spec") or {}).get("template") or {}).get("spec", {}).get("containers") or ()
    return next((str(one.get("image", "")) for one in containers if one.get("name") == container), "")


async def _workload(client: Client, ref: ObjectRef) -> Json | None:
    plural = f"{ref.kind.lower()}s"
    return await read(client, paths.path(ref.api_version, plural, namespace=ref.namespace, name=ref.name), ref)
