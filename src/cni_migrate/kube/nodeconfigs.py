"""The CiliumNodeConfigs that are there before the migration: agents of Cilium in their namespace read them."""

from cni_migrate import cilium_versions
from cni_migrate.core.model.nodeconfig import NodeConfig
from cni_migrate.errors import RightsMissing
from cni_migrate.kube import paths, views
from cni_migrate.kube.discovery import served_by
from cni_migrate.kube.listing import listed
from cni_migrate.kube.request import Client


async def node_configs(client: Client, namespace: str) -> tuple[NodeConfig, ...]:
    """Those of a namespace; none where they are not served, or may not be read, which is a finding of its own.

    Raises:
        ClusterError: the API server does not answer.
    """
    version = cilium_versions.served_node_config(await served_by(client, "cilium.io"))
    if version is None:
        return ()
    path = paths.path(version, "ciliumnodeconfigs", namespace=namespace)
    try:
        return tuple([views.node_config(one) async for one in listed(client, path)])
    except RightsMissing:
        return ()
