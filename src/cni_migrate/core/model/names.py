"""Names that `migrate` gives to things in the cluster. What a user may choose is in the configuration instead."""

import hashlib

RECORD = "cni-migrate-record"
"""ConfigMap with the cluster's part of the record."""

SHARD = "cni-migrate-nodes-"
"""ConfigMaps with the nodes' parts, numbered from 0."""

HISTORY = "cni-migrate-history-"
"""ConfigMaps with the oldest lines of the history, numbered from 0."""

REQUESTS = "cni-migrate-requests"
"""ConfigMap that only operators write: pause, retry, skip."""

LEASE = "cni-migrate"
"""The lock."""

CORDONED_BY = "cni-migrate.io/cordoned"
"""Node annotation, set in the same patch as the cordon: this cordon is ours and may be lifted by us."""

FLANNEL_ANNOTATIONS = "flannel.alpha.coreos.com/"
"""Node annotations by which Canal's flannel tells its peers where it is; they outlive it."""

MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"
TOOL = "cni-migrate"
FIELD_MANAGER = "migrate"
RECORD_PART = "record"
CLOSED_RECORD = "closed-record"
HOST_TASK = "host-task"
TASK = "cni-migrate.io/task"
"""Label of host tasks that are one of many for the same purpose, and go together."""

TUNNEL = "tunnel"
"""What it says of the pods that try the port of Cilium's tunnel."""

DRIVER = "driver"

JOB = "cni-migrate"
"""The Job that runs `migrate` in the cluster."""

JOB_CONFIG = "cni-migrate-config"
"""ConfigMap with its configuration."""

CILIUM = "cilium"
"""DaemonSet: the only one (overlay), or the second, which stays (multus)."""

FIRST_CILIUM = "cilium-canal"
"""DaemonSet: the first Cilium, beside Canal (multus)."""

CILIUM_OPERATOR = "cilium-operator"
CILIUM_CONFIG = "cilium-config"
"""The ConfigMap that Cilium's agents and operator are configured by, under this name in every chart of Cilium."""

MULTUS = "kube-multus"
KNET = {"a": "knet-stress-a", "b": "knet-stress-b"}
PACE = "knet-stress-pace"
"""The ConfigMap in the agents' namespace that asks them for fast rounds until an instant."""

IDENTITIES = "cni-migrate-identities"
"""The agents that make Canal's pods known to Cilium, with all that belongs to them (overlay)."""

LONGEST_NAME = 253
"""So long an object's name may be (kubernetes.io: "Object Names and IDs")."""

ENDPOINT_SUFFIX = ".cni-migrate"
"""What follows a pod's name in that of the endpoint that our agents give it; Cilium's own has the pod's name."""

OURS = "cni-migrate.io/identities"
"""Label of the endpoints and identities that our agents have made."""

NODE_CONFIG = "cilium-default"
"""The CiliumNodeConfig that switches nodes, as Cilium's guide calls it."""

OWN_NODE_CONFIG = "cni-migrate"
"""The same beside an installed Cilium, whose owner may have one of the guide's name already."""

STAGE = "cni-migrate.io/stage"
"""Pod label of Cilium's agents: `final` in the end form of the tool's own Cilium; `transit` in an operator's Cilium as
long as it is not yet what the operator wrote."""


def endpoint_of(pod: str) -> str:
    """The name of the endpoint that our agents give a pod on Canal (`identities/agent/endpoints.py` has it, too)."""
    if len(pod) + len(ENDPOINT_SUFFIX) <= LONGEST_NAME:
        return pod + ENDPOINT_SUFFIX
    return hashlib.sha256(pod.encode()).hexdigest()[:40] + ENDPOINT_SUFFIX
