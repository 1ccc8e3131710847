"""What preflight looks at once, besides what the cache holds: versions, policies, webhooks, CRDs, DNS."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cni_migrate import cilium_versions
from cni_migrate.kube import paths
from cni_migrate.kube.discovery import served_by
from cni_migrate.kube.listing import listed
from cni_migrate.kube.reading import read
from cni_migrate.kube.request import Client
from cni_migrate.kube.together import together

NAMES_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
"""Ask for metadata alone (kubernetes.io: "API Concepts"); a CRD's schema may have hundreds of kilobytes."""

_CALICO: Final = "crd.projectcalico.org/v1"


@dataclass(frozen=True, slots=True, order=True)
class Policy:
    """A network policy of Kubernetes or of Calico, which Canal enforces and Cilium would not."""

    api_version: str
    kind: str
    namespace: str
    name: str


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
    mutating: bool
    failure_policy: str
    service: str
    timeout_seconds: int
    rules: tuple[WebhookRule, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """A Service, as far as somebody wants to reach it."""

    namespace: str
    name: str
    cluster_ip: str
    ports: tuple[tuple[str, int], ...]
    """(protocol, port) of each."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The findings. `served` has `group/version/plural` of all that Cilium's group serves."""

    version: str
    policies: tuple[Policy, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    crds: tuple[str, ...] = ()
    dns: tuple[Service, ...] = ()
    served: frozenset[str] = field(default_factory=frozenset)

    @property
    def node_config_version(self) -> str:
        """The `apiVersion` to write CiliumNodeConfigs in, or '' while they are not served."""
        return cilium_versions.served_node_config(self.served) or ""


async def inventory(client: Client) -> Inventory:
    """Read everything once.

    Raises:
        ClusterError: the API server does not answer, or does not allow it.
    """
    async with together() as group:
        told = group.create_task(version(client))
        crds = group.create_task(crd_names(client))
        webhooks = group.create_task(_webhooks(client))
        dns = group.create_task(_dns(client))
        served = group.create_task(served_by(client, "cilium.io"))
    names = crds.result()
    return Inventory(
        version=told.result(),
        policies=tuple(await _policies(client, names)),
        webhooks=tuple(webhooks.result()),
        crds=tuple(names),
        dns=tuple(dns.result()),
        served=served.result(),
    )


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


async def _policies(client: Client, crds: list[str]) -> list[Policy]:
    wanted = [("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")]
    for kind, plural in (("NetworkPolicy", "networkpolicies"), ("GlobalNetworkPolicy", "globalnetworkpolicies")):
        if f"{plural}.{paths.group_of(_CALICO)}" in crds:
            wanted.append((_CALICO, kind, plural))
    return sorted(
        [
            Policy(api_version, kind, one["metadata"].get("namespace", ""), one["metadata"]["name"])
            for api_version, kind, plural in wanted
            async for one in listed(client, paths.path(api_version, plural), accept=NAMES_ONLY)
        ]
    )


async def _webhooks(client: Client) -> list[Webhook]:
    found: list[Webhook] = []
    for plural, mutating in (("mutatingwebhookconfigurations", True), ("validatingwebhookconfigurations", False)):
        async for one in listed(client, paths.path("admissionregistration.k8s.io/v1", plural)):
            found += [_webhook(one["metadata"]["name"], each, mutating=mutating) for each in one.get("webhooks") or ()]
    return found


def _webhook(configuration: str, raw: Mapping[str, Any], *, mutating: bool) -> Webhook:
    service = (raw.get("clientConfig") or {}).get("service") or {}
    return Webhook(
        configuration=configuration,
        name=str(raw["name"]),
        mutating=mutating,
        failure_policy=str(raw.get("failurePolicy", "Fail")),
        service=f"{service['namespace']}/{service['name']}" if service else "",
        timeout_seconds=int(raw.get("timeoutSeconds", 10)),
        rules=tuple(
            WebhookRule(*(tuple(rule.get(part) or ()) for part in ("apiGroups", "resources", "operations")))
            for rule in raw.get("rules") or ()
        ),
    )


async def _dns(client: Client) -> list[Service]:
    """The cluster's DNS: its Service has carried this label in every distribution since kube-dns."""
    path = paths.path("v1", "services")
    return [_service(one) async for one in listed(client, path, {"labelSelector": "k8s-app=kube-dns"})]


def _service(raw: Mapping[str, Any]) -> Service:
    spec = raw.get("spec") or {}
    ports = tuple((str(one.get("protocol", "TCP")), int(one["port"])) for one in spec.get("ports") or ())
    return Service(raw["metadata"]["namespace"], raw["metadata"]["name"], str(spec.get("clusterIP", "")), ports)
