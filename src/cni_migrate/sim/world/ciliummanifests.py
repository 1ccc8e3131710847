"""The manifests of a Cilium that is there already, installed as its guide "Migrating a cluster to Cilium" has it.

The shape is that of Cilium's chart as far as this simulator looks at it; nothing of the tool's own templates is used.
"""

from typing import TYPE_CHECKING

from cni_migrate.sim.client import Object

if TYPE_CHECKING:
    from cni_migrate.sim.scenario import InstalledCilium

_EVERYTHING: list[Object] = [{"operator": "Exists"}]


def cilium_config(cilium: "InstalledCilium") -> dict[str, str]:
    """The data of `cilium-config`: the guide's values, what this scenario adds, without what it takes away."""
    data: dict[str, str | None] = {
        "cluster-name": "default",
        "cluster-id": "0",
        "identity-allocation-mode": "crd",
        "enable-ipv4": "true",
        "enable-ipv6": "false",
        "ipam": "cluster-pool",
        "cluster-pool-ipv4-cidr": cilium.pod_cidr,
        "cluster-pool-ipv4-mask-size": "24",
        "routing-mode": "tunnel",
        "tunnel-protocol": "vxlan",
        "tunnel-port": str(cilium.tunnel_port),
        "custom-cni-conf": "true",
        "enable-host-legacy-routing": "true",
        "unmanaged-pod-watcher-interval": "0",
        "kube-proxy-replacement": "false",
        "enable-policy": "default",
        "prepend-iptables-chains": "false",
        "enable-stale-cilium-endpoint-cleanup": "false",
        **cilium.config,
    }
    return {key: value for key, value in data.items() if value is not None}


def cilium_objects(cilium: "InstalledCilium") -> list[Object]:
    """What `helm install` leaves: configuration, agents, operator."""
    place = {"namespace": cilium.namespace, "labels": {"app.kubernetes.io/managed-by": "Helm"}}
    agent = {
        "hostNetwork": True,
        "serviceAccountName": "cilium",
        "terminationGracePeriodSeconds": 1,
        "tolerations": _EVERYTHING,
        "containers": [{"name": "cilium-agent", "image": f"quay.io/cilium/cilium:v{cilium.version}"}],
    }
    operator = {
        "hostNetwork": True,
        "serviceAccountName": "cilium-operator",
        "tolerations": _EVERYTHING,
        "containers": [{"name": "cilium-operator", "image": f"quay.io/cilium/operator-generic:v{cilium.version}"}],
    }
    of_agent, of_operator = {"k8s-app": "cilium"}, {"io.cilium/app": "operator"}
    return [
        *({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, **place}} for name in
          ("cilium", "cilium-operator")),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cilium-config", **place},
         "data": cilium_config(cilium)},
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "cilium", **place},
         "spec": {"selector": {"matchLabels": of_agent}, "updateStrategy": {"type": "RollingUpdate"},
                  "template": {"metadata": {"labels": of_agent}, "spec": agent}}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "cilium-operator", **place},
         "spec": {"replicas": 1, "selector": {"matchLabels": of_operator},
                  "template": {"metadata": {"labels": of_operator}, "spec": operator}}},
    ]  # fmt: skip
