"""The CiliumEndpoint of a pod on Canal's network."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress

from .settings import Json, Settings

LABEL = "cni-migrate.io/identities"
SUFFIX = ".cni-migrate"
POD_IP = "cni.projectcalico.org/podIP"  # Calico's plugin writes it before the kubelet reports the address


def canal_address(pod: Json, settings: Settings) -> str:
    """The pod's address if it is Canal's and in use, or ''."""
    status, meta = pod.get("status") or {}, pod["metadata"]
    if pod["spec"].get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed"):
        return ""
    told = (meta.get("annotations") or {}).get(POD_IP)
    if told == "" and meta.get("deletionTimestamp"):
        return ""  # Calico's plugin has taken the network down: the address may be another pod's soon
    for address in (status.get("podIP"), (told or "").partition("/")[0]):
        with contextlib.suppress(ValueError):
            found = ipaddress.ip_address(address or "")
            if found in settings.canal and found not in settings.cilium:
                return str(found)
    return ""


def endpoint_name(pod: str) -> str:
    """The name of a pod's endpoint of ours: the agents name theirs like the pod, and take over what has that name."""
    return pod + SUFFIX if len(pod) + len(SUFFIX) <= 253 else hashlib.sha256(pod.encode()).hexdigest()[:40] + SUFFIX


def endpoint(pod: Json, address: str, identity: int, labels: dict[str, str], settings: Settings) -> Json:
    """The CiliumEndpoint of a pod that has no Cilium interface."""
    meta = pod["metadata"]
    ports = [
        {"name": port["name"], "port": port["containerPort"], "protocol": port.get("protocol", "TCP")}
        for container in pod["spec"].get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("name")
    ]
    status: Json = {
        "id": 0,
        "state": "ready",
        "encryption": {},
        "external-identifiers": {"k8s-namespace": meta["namespace"], "k8s-pod-name": meta["name"]},
        "identity": {"id": identity, "labels": [f"{key}={value}" for key, value in labels.items()]},
        "networking": {"addressing": [{"ipv4": address}], "node": settings.address},
    }
    if ports:
        status["named-ports"] = ports
    owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumEndpoint",
        "metadata": {
            "name": endpoint_name(meta["name"]),
            "namespace": meta["namespace"],
            "labels": {LABEL: settings.mark},
            "ownerReferences": [owner],
        },
        "status": status,
    }
