"""What Calico's manifest brings into the API beside Canal's DaemonSet: resources, accounts, roles, controllers.

Names as in the `canal.yaml` that Calico 3.32 publishes (projectcalico/calico, manifests/canal.yaml).
"""

from cni_migrate.sim.client import Object

GROUP = "crd.projectcalico.org"
WRITER = "Go-http-client"
"""Who is told to have written what calico-node makes: it gives its client no name."""
CONTROLLERS = "calico-kube-controllers"
CNI_ACCOUNT = "calico-cni-plugin"

_CLUSTER_WIDE = (
    *("BGPConfiguration", "BGPFilter", "BGPPeer", "BlockAffinity", "CalicoNodeStatus", "ClusterInformation"),
    *("FelixConfiguration", "GlobalNetworkPolicy", "GlobalNetworkSet", "HostEndpoint", "IPAMBlock", "IPAMConfig"),
    *("IPAMHandle", "IPPool", "IPReservation", "KubeControllersConfiguration", "StagedGlobalNetworkPolicy", "Tier"),
)
_IN_NAMESPACES = ("NetworkPolicy", "NetworkSet", "StagedKubernetesNetworkPolicy", "StagedNetworkPolicy")


def calico_objects(namespace: str, account: str, image: str) -> list[Object]:
    """All of it; `account` is that of Canal's own pods, `image` calico-node's."""
    return [
        *(_definition(kind, "Cluster") for kind in _CLUSTER_WIDE),
        *(_definition(kind, "Namespaced") for kind in _IN_NAMESPACES),
        *_roles(namespace, account),
        *_controllers(namespace, image),
        *(_by_itself(*one) for one in _FROM_THE_START),
    ]


_FROM_THE_START: tuple[tuple[str, str, Object], ...] = (
    (
        "FelixConfiguration",
        "default",
        {"floatingIPs": "Disabled", "reportingInterval": "0s"},
    ),
    ("BGPConfiguration", "default", {}),
    ("ClusterInformation", "default", {"clusterType": "k8s,canal", "datastoreReady": True}),
    ("IPPool", "default-ipv4-ippool", {"cidr": "192.168.0.0/16", "blockSize": 26, "ipipMode": "Always"}),
)
"""What calico-node makes when it starts first, whoever asks for it; seen on the real one, 3.32."""


def _by_itself(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _definition(kind: str, scope: str) -> Object:
    plural = kind.lower()
    plural = f"{plural[:-1]}ies" if plural.endswith("y") else f"{plural}es" if plural.endswith("s") else f"{plural}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "scope": scope,
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def _roles(namespace: str, account: str) -> list[Object]:
    """The accounts of the plugin and of the controllers, and everybody's cluster roles."""
    grants = {
        "calico-node": ("canal-calico", account),
        "flannel": ("canal-flannel", account),
        CNI_ACCOUNT: (CNI_ACCOUNT, CNI_ACCOUNT),
        CONTROLLERS: (CONTROLLERS, CONTROLLERS),
        "calico-tier-getter": ("calico-tier-getter", ""),
    }
    made: list[Object] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        for name in (CNI_ACCOUNT, CONTROLLERS)
    ]
    for role, (binding, who) in grants.items():
        subject: Object = {"kind": "ServiceAccount", "name": who, "namespace": namespace}
        if not who:
            subject = {"kind": "User", "name": "system:kube-controller-manager", "apiGroup": _RBAC}
        made += [
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": role},
                "rules": [{"apiGroups": [GROUP], "resources": ["*"], "verbs": ["get", "list", "watch"]}],
            },
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": binding},
                "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
                "subjects": [subject],
            },
        ]
    return made


_RBAC = "rbac.authorization.k8s.io"


def _controllers(namespace: str, image: str) -> list[Object]:
    """calico-kube-controllers: a pod on the pod network with a budget of its own; its probes run inside of it."""
    labels = {"k8s-app": CONTROLLERS}
    health = {"exec": {"command": ["/usr/bin/check-status", "-r"]}, "periodSeconds": 10}
    spec: Object = {
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": CONTROLLERS,
        "tolerations": [
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
            {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
        ],
        "containers": [
            {
                "name": CONTROLLERS,
                "image": image.replace("/node:", "/kube-controllers:"),
                "env": [{"name": "ENABLED_CONTROLLERS", "value": "node"}],
                "readinessProbe": health,
            }
        ],
    }
    metadata: Object = {"name": CONTROLLERS, "namespace": namespace, "labels": labels}
    return [
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "strategy": {"type": "Recreate"},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
    ]
