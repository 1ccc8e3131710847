"""Canals of further publishers and versions, reduced to what a migration can tell; made here, nothing is copied."""

import json

from tests.unit.sim_world.shapes import (
    TEMPLATE,
    Object,
    calico_node,
    flannel_alone,
    host,
    meta,
    net_conf_of,
    published,
)

NAMESPACE: Object = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "kube-flannel", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
}


def _pod(objects: list[Object]) -> Object:
    found: Object = objects[-1]["spec"]["template"]["spec"]
    return found


def rke2() -> list[Object]:
    """RKE2's chart: images of a mirror under names of their own, a Helm release, felix told by its environment."""
    objects = published("rke2-canal", "rke2-canal-config", net_conf=net_conf_of("10.42.0.0/16"))
    objects[-1]["metadata"] |= {
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "rke2-canal", "meta.helm.sh/release-namespace": "kube-system"},
    }
    pod = _pod(objects)
    pod["nodeSelector"] = {"kubernetes.io/os": "linux"}
    for one in (*pod["initContainers"], *pod["containers"]):
        mirror = "hardened-flannel:v0.26.5" if one["name"] == "kube-flannel" else "hardened-calico:v3.30.1"
        one["image"] = f"example.org/rancher/{mirror}"
    pod["containers"][0]["env"] += [
        {"name": "FELIX_IPTABLESBACKEND", "value": "auto"},
        {"name": "FELIX_DEFAULTENDPOINTTOHOSTACTION", "value": "ACCEPT"},
    ]
    return objects


def kops() -> list[Object]:
    """kops: the whole range that it does not masquerade as flannel's network, and Typha."""
    objects = published(net_conf=net_conf_of("100.64.0.0/10"))
    objects[-1]["metadata"]["labels"] = {"addon.kops.k8s.io/name": "networking.projectcalico.org.canal"}
    labels = {"k8s-app": "calico-typha"}
    container = {"name": "calico-typha", "image": "example.org/calico/typha:v3.24.5"}
    pod: Object = {
        "hostNetwork": True,
        "serviceAccountName": "canal",
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
    }
    template: Object = {"metadata": {"labels": labels}, "spec": pod}
    named = meta("calico-typha")
    chosen = {"selector": {"matchLabels": labels}}
    return [
        *objects,
        {"apiVersion": "v1", "kind": "Service", "metadata": named, "spec": {"selector": labels, "ports": [{"port": 5473}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": named, "spec": {"replicas": 1, **chosen, "template": template}},
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": named, "spec": {"maxUnavailable": 1, **chosen}},
    ]  # fmt: skip


def kubermatic() -> list[Object]:
    """Kubermatic's addon: the plugin bandwidth behind portmap; and one more of an operator's."""
    listed = json.loads(TEMPLATE.replace("__CNI_MTU__", "0"))
    listed["cniVersion"] = "1.0.0"
    listed["plugins"] += [
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        {"type": "tuning", "sysctl": {"net.core.somaxconn": "512"}},
    ]
    return published(template=json.dumps(listed), net_conf=net_conf_of("172.25.0.0/16"))


def kubespray() -> list[Object]:
    """Kubespray until 2.21: Calico's plugin behind flannel's, Calico's objects in etcd, flannel's /run on the host."""
    plugins = [
        {"type": "flannel", "delegate": {"type": "calico"}},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    node = calico_node(ETCD_ENDPOINTS="https://10.0.0.1:2379")
    node["env"] = [one for one in node["env"] if one["name"] != "DATASTORE_TYPE"]
    daemon: Object = {
        "name": "flannel",
        "image": "example.org/flannel:v0.20.2",
        "command": ["/opt/bin/flanneld", "--ip-masq", "--kube-subnet-mgr"],
        "env": [{"name": "FLANNELD_ETCD_ENDPOINTS", "value": "https://10.0.0.1:2379"}],
        "volumeMounts": [
            {"name": "flannel-cfg", "mountPath": "/etc/kube-flannel/"},
            {"name": "run-flannel", "mountPath": "/run/flannel"},
        ],
    }
    listed = json.dumps({"name": "cni0", "cniVersion": "0.3.1", "plugins": plugins})
    objects = published(template=listed, containers=[node, daemon], net_conf=net_conf_of("10.233.64.0/18"))
    _pod(objects)["volumes"].append(host("run-flannel", "/run/flannel"))
    return objects


def first_ones() -> list[Object]:
    """Canal of Calico 2 and 3.0: its installer is a container beside the daemons, the host's whole /run is flannel's."""
    objects = published()
    pod = _pod(objects)
    pod["containers"] += pod.pop("initContainers")
    pod["volumes"].append(host("run", "/run"))
    next(one for one in pod["containers"] if one["name"] == "kube-flannel")["volumeMounts"].append(
        {"name": "run", "mountPath": "/run"}
    )
    return objects


def split() -> list[Object]:
    """Flannel's own manifest, and Calico for policies in another namespace: each lays a CNI file of its own."""
    policy = published("calico-node", "calico-config", containers=[calico_node()])
    return [NAMESPACE, *flannel_alone(), *policy]


def flannel_in_its_namespace() -> list[Object]:
    """Flannel's own manifest with its namespace; it tolerates NoSchedule alone."""
    return [NAMESPACE, *flannel_alone(tolerations=[{"operator": "Exists", "effect": "NoSchedule"}])]


def direct() -> list[Object]:
    """Routes straight to nodes of one's own subnet, and every number another than usual."""
    return published(net_conf=net_conf_of(DirectRouting=True, MTU=1400, VNI=42, Port=4789))
