"""The labels of a pod's identity."""

from __future__ import annotations

from .settings import Json, Settings


def security_labels(pod: Json, namespace: Json, settings: Settings) -> dict[str, str]:
    """The labels of a pod's identity (pkg/k8s/utils/utils.go, SanitizePodLabels; then the filter)."""
    meta = pod["metadata"]
    found = {k: v for k, v in (meta.get("labels") or {}).items() if not k.startswith("io.cilium.k8s")}
    for key, value in (namespace["metadata"].get("labels") or {}).items():
        found[f"io.cilium.k8s.namespace.labels.{key}"] = value
    found["io.kubernetes.pod.namespace"] = meta["namespace"]
    if account := pod["spec"].get("serviceAccountName"):
        found["io.cilium.k8s.policy.serviceaccount"] = account
    found["io.cilium.k8s.policy.cluster"] = settings.cluster
    return {f"k8s:{key}": value for key, value in sorted(found.items()) if settings.filter(key)}
