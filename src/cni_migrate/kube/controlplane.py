"""What the control plane was started with: the cluster CIDR, the Services' network, kube-proxy's mode."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cni_migrate.kube import paths
from cni_migrate.kube.request import Client
from cni_migrate.kube.together import together
from cni_migrate.kube.transport import Answer

_LABELS: Final = ("component", "k8s-app")
"""Labels by which the control plane's pods are known: kubeadm and RKE2 use the first, kops and kubeadm's kube-proxy
the second."""


@dataclass(frozen=True, slots=True)
class Started:
    """What was seen: '' for what was not."""

    cluster_cidr: str = ""
    proxy_mode: str = ""
    proxy_cidr: str = ""
    service_cidr: str = ""


async def started(client: Client) -> Started:
    """What the pods' arguments and kube-proxy's ConfigMap say; nothing where they may not be read."""
    found: dict[str, dict[str, str]] = {"kube-apiserver": {}, "kube-controller-manager": {}, "kube-proxy": {}}

    async def labelled(label: str) -> Answer:
        query = {"labelSelector": f"{label} in ({','.join(found)})", "limit": "50"}
        return await client.request("GET", paths.path("v1", "pods", namespace="kube-system"), params=query)

    async with together() as group:
        asked = {label: group.create_task(labelled(label)) for label in _LABELS}
    for label, task in asked.items():
        answer = task.result()
        for pod in (answer.object.get("items") or ()) if answer.ok else ():
            what = (pod["metadata"].get("labels") or {}).get(label, "")
            found[what] = {**dict(_flags(pod)), **found[what]}
    proxy = found["kube-proxy"]
    if "cluster-cidr" not in proxy or "proxy-mode" not in proxy:
        path = paths.path("v1", "configmaps", namespace="kube-system", name="kube-proxy")
        answer = await client.request("GET", path)
        if answer.ok:
            proxy = {**_written((answer.object.get("data") or {}).get("config.conf", "")), **proxy}
    manager = found["kube-controller-manager"].get("cluster-cidr", "")
    serving = (found[one].get("service-cluster-ip-range", "") for one in ("kube-apiserver", "kube-controller-manager"))
    return Started(
        cluster_cidr=_first(manager) or _first(proxy.get("cluster-cidr", "")),
        proxy_mode=proxy.get("proxy-mode", ""),
        proxy_cidr=proxy.get("cluster-cidr", ""),
        service_cidr=next((one for one in map(_first, serving) if one), ""),
    )


async def cluster_cidr(client: Client) -> str:
    """The IPv4 network that nodes get their pod CIDRs from, '' where nothing says it."""
    return (await started(client)).cluster_cidr


def _flags(pod: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The `--flag=value`s of a pod's containers."""
    for container in (pod.get("spec") or {}).get("containers") or ():
        words = " ".join(str(word) for word in (*(container.get("command") or ()), *(container.get("args") or ())))
        for word in words.split():
            name, is_set, value = word.partition("=")
            if name.startswith("--") and is_set:
                yield name.removeprefix("--"), value.strip("\"'")


def _written(text: str) -> dict[str, str]:
    """The same from kube-proxy's configuration file (kubernetes.io: "kube-proxy Configuration (v1alpha1)")."""
    try:
        data = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except YAMLError:
        return {}
    if not isinstance(data, dict):
        return {}
    known = {"cluster-cidr": data.get("clusterCIDR"), "proxy-mode": data.get("mode")}
    return {key: str(value) for key, value in known.items() if value}


def _first(text: str) -> str:
    """The IPv4 part of `cidr[,cidr]`."""
    return next((one.strip() for one in text.split(",") if "." in one), "")
