"""How Cilium turns a pod into an identity: by its labels that matter, its namespace's, and its service account.

The filter is the default one of `pkg/labelsfilter` (Cilium 1.15), as far as labels of simulated pods meet it.
What an identity shows as labels of its own is as from 1.18 on.
"""

import json
from collections.abc import Mapping

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.context import Context
from cni_migrate.sim.world.ipcache import NAMESPACE_LABEL, NAMESPACE_LABELS
from cni_migrate.sim.world.kinds import CILIUM_IDENTITY, NAMESPACE

_FIRST, _LAST = 1024, 65535
_LEFT_OUT = (
    "io.kubernetes",
    "kubernetes.io",
    "k8s.io",
    "pod-template-generation",
    "pod-template-hash",
    "controller-revision-hash",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/controller-uid",
    "controller-uid",
    "etcd_node",
)


def _matters(label: str) -> bool:
    return not label.startswith(_LEFT_OUT) and "beta.kubernetes.io" not in label


def security_labels(pod: Object, namespace: Object | None) -> dict[str, str]:
    """The labels of a pod's identity."""
    found = {f"k8s:{key}": value for key, value in meta.labels(pod).items() if _matters(key)}
    of_namespace = meta.labels(namespace) if namespace is not None else {}
    found |= {f"k8s:{NAMESPACE_LABELS}{key}": value for key, value in of_namespace.items()}
    return found | {
        "k8s:io.cilium.k8s.policy.cluster": "default",
        "k8s:io.cilium.k8s.policy.serviceaccount": str(pod["spec"].get("serviceAccountName") or "default"),
        f"k8s:{NAMESPACE_LABEL}": meta.namespace(pod),
    }


def key_of(labels: Mapping[str, str]) -> str:
    """What two identities must not have in common."""
    return json.dumps(dict(labels), sort_keys=True)


async def number_for(ctx: Context, pod: Object) -> tuple[int, dict[str, str]]:
    """The number of a pod's identity, which is made when there is none, and its labels."""
    labels = security_labels(pod, ctx.cluster[NAMESPACE].get(meta.namespace(pod)))
    known = [int(meta.name(one)) for one in ctx.cluster[CILIUM_IDENTITY].by("labels", key_of(labels))]
    if known:
        return min(known), labels
    number = _FIRST + int(ctx.chance("identity", key_of(labels)) * (_LAST - _FIRST))
    while ctx.cluster[CILIUM_IDENTITY].get(str(number)) is not None:
        number = number + 1 if number < _LAST else _FIRST
    body: Object = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumIdentity",
        "metadata": {"name": str(number), "labels": {NAMESPACE_LABEL: meta.namespace(pod)}},
        "security-labels": labels,
    }
    await ctx.cluster.create(CILIUM_IDENTITY, body)
    return number, labels
