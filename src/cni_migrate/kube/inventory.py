"""What preflight reads once, besides what the cache holds: the version, webhooks, CRDs; and single ConfigMaps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cni_migrate.kube import paths
from cni_migrate.kube.listing import listed
from cni_migrate.kube.reading import read
from cni_migrate.kube.request import Client
from cni_migrate.kube.together import together

NAMES_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
"""Ask for metadata alone (kubernetes.io: "API Concepts"); a CRD's schema may have hundreds of kilobytes."""


@dataclass(frozen=True, slots=True)
class WebhookRule:
    """What a webhook is called for."""

    groups: tuple[str, ...]
    resources: tuple[str, ...]
    operations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Webhook:
    """One admission webhook. `service` is the `namespace/name` it runs behind, '' for a URL outside the cluster."""

    configuration: str
    name: str
    failure_policy: str
    service: str
    rules: tuple[WebhookRule, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was read."""

    version: str
    webhooks: tuple[Webhook, ...] = ()
    crds: tuple[str, ...] = ()


async def inventory(client: Client) -> Inventory:
    """Read everything once.

    Raises:
        ClusterError: the API server does not answer, or does not allow it.
    """
    async with together() as group:
        told = group.create_task(version(client))
        crds = group.create_task(crd_names(client))
        webhooks = group.create_task(_webhooks(client))
    return Inventory(version=told.result(), webhooks=tuple(webhooks.result()), crds=tuple(crds.result()))


async def get_config_map(client: Client, namespace: str, name: str) -> Mapping[str, str] | None:
    """The data of a ConfigMap, or None when it is not there.

    Raises:
        ClusterError: the API server does not answer, or does not allow it.
    """
    path = paths.path("v1", "configmaps", namespace=namespace, name=name)
    found = await read(client, path, f"ConfigMap {namespace}/{name}")
    return None if found is None else found.get("data") or {}


async def crd_names(client: Client) -> list[str]:
    """The names of all CustomResourceDefinitions."""
    path = paths.path("apiextensions.k8s.io/v1", "customresourcedefinitions")
    return sorted([str(one["metadata"]["name"]) async for one in listed(client, path, accept=NAMES_ONLY)])


async def version(client: Client) -> str:
    """What the API server says it is, as in `v1.34.4+rke2r1`; '' when it does not say.

    Raises:
        ClusterError: it does not answer.
    """
    answer = await client.request("GET", "/version")
    return str(answer.object.get("gitVersion", ""))


async def _webhooks(client: Client) -> list[Webhook]:
    found: list[Webhook] = []
    for plural in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        async for one in listed(client, paths.path("admissionregistration.k8s.io/v1", plural)):
            found += [_webhook(one["metadata"]["name"], each) for each in one.get("webhooks") or ()]
    return found


def _webhook(configuration: str, raw: Mapping[str, Any]) -> Webhook:
    service = (raw.get("clientConfig") or {}).get("service") or {}
    return Webhook(
        configuration=configuration,
        name=str(raw["name"]),
        failure_policy=str(raw.get("failurePolicy", "Fail")),
        service=f"{service['namespace']}/{service['name']}" if service else "",
        rules=tuple(
            WebhookRule(*(tuple(rule.get(part) or ()) for part in ("apiGroups", "resources", "operations")))
            for rule in raw.get("rules") or ()
        ),
    )
