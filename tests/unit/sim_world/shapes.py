"""Canals in the shapes in which they are published, as small as these shapes allow; made here, nothing is copied."""

import json
from typing import Any

Object = dict[str, Any]

TEMPLATE = """{
  "name": "k8s-pod-network", "cniVersion": "0.3.1",
  "plugins": [
    {"type": "calico", "datastore_type": "kubernetes", "mtu": __CNI_MTU__, "nodename": "__KUBERNETES_NODE_NAME__",
     "ipam": {"type": "host-local", "subnet": "usePodCidr"},
     "kubernetes": {"kubeconfig": "__KUBECONFIG_FILEPATH__"}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}"""
FLANNELS = {
    "name": "cbr0",
    "cniVersion": "0.3.1",
    "plugins": [{"type": "flannel", "delegate": {"hairpinMode": True, "isDefaultGateway": True}}],
}


def meta(name: str, namespace: str = "kube-system") -> Object:
    """Metadata."""
    return {"name": name, "namespace": namespace}


def host(name: str, path: str) -> Object:
    """A volume of the host."""
    return {"name": name, "hostPath": {"path": path}}


def net_conf_of(network: str = "10.244.0.0/16", **backend: Any) -> str:
    """Flannel's settings."""
    return json.dumps({"Network": network, "Backend": {"Type": "vxlan", **backend}})


def daemonset(name: str, pod: Object, namespace: str = "kube-system") -> Object:
    """A DaemonSet on every node, on the host's network."""
    labels = {"k8s-app": name}
    spec = {"hostNetwork": True, "tolerations": [{"operator": "Exists"}], "serviceAccountName": name, **pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": meta(name, namespace),
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


def flannel(*arguments: str, name: str = "kube-flannel") -> Object:
    """The container that runs flanneld; its arguments are the usual ones unless given."""
    return {
        "name": name,
        "image": "example.org/flannel:v0.26.7",
        "command": ["/opt/bin/flanneld", *(arguments or ("--ip-masq", "--kube-subnet-mgr"))],
        "volumeMounts": [{"name": "flannel-cfg", "mountPath": "/etc/kube-flannel/"}],
    }


def calico_node(**env: str) -> Object:
    """The container of calico-node, policy only unless the environment says otherwise."""
    values = {"DATASTORE_TYPE": "kubernetes", "CALICO_NETWORKING_BACKEND": "none", **env}
    given = [{"name": key, "value": value} for key, value in values.items()]
    return {"name": "calico-node", "image": "example.org/calico/node:v3.32.0", "env": given}


def published(
    name: str = "canal",
    config: str = "canal-config",
    *,
    net_conf: str = "",
    file: str = "10-canal.conflist",
    containers: list[Object] | None = None,
    template: str = TEMPLATE,
    folder: str = "/etc/cni/net.d",
) -> list[Object]:
    """Calico's `canal.yaml`: account, ConfigMap, and a DaemonSet with calico-node and flannel."""
    named = [{"name": "CNI_CONF_NAME", "value": file}] if file else []
    of_config: Object = {"configMapKeyRef": {"name": config, "key": "cni_network_config"}}
    install: Object = {
        "name": "install-cni",
        "image": "example.org/calico/cni:v3.32.0",
        "env": [
            *named,
            {"name": "CNI_NETWORK_CONFIG", "valueFrom": of_config},
            {"name": "CNI_MTU", "value": "0"},
            {"name": "KUBERNETES_NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        "volumeMounts": [
            {"name": "bin", "mountPath": "/host/opt/cni/bin"},
            {"name": "net", "mountPath": "/host/etc/cni/net.d"},
        ],
    }
    pod: Object = {
        "initContainers": [install],
        "containers": containers if containers is not None else [calico_node(), flannel()],
        "volumes": [
            {"name": "flannel-cfg", "configMap": {"name": config}},
            host("bin", "/opt/cni/bin"),
            host("net", folder),
        ],
    }
    data = {"cni_network_config": template, "net-conf.json": net_conf or net_conf_of()}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(name)},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(config), "data": data},
        daemonset(name, pod),
    ]


def flannel_alone(
    name: str = "kube-flannel-ds", namespace: str = "kube-flannel", *, net_conf: str = "", **pod: Any
) -> list[Object]:
    """Flannel's own manifest: its installer copies its CNI file, its /run/flannel is the host's."""
    config, target = "kube-flannel-cfg", "/etc/cni/net.d/10-flannel.conflist"
    mount = {"name": "flannel-cfg", "mountPath": "/etc/kube-flannel/"}
    copy = {
        "name": "install-cni",
        "image": "example.org/flannel:v0.26.7",
        "command": ["cp"],
        "args": ["-f", "/etc/kube-flannel/cni-conf.json", target],
        "volumeMounts": [{"name": "net", "mountPath": "/etc/cni/net.d"}, mount],
    }
    daemon = flannel()
    daemon["volumeMounts"].append({"name": "run", "mountPath": "/run/flannel"})
    spec: Object = {
        "initContainers": [copy],
        "containers": [daemon],
        "volumes": [
            {"name": "flannel-cfg", "configMap": {"name": config}},
            host("net", "/etc/cni/net.d"),
            host("run", "/run/flannel"),
        ],
        **pod,
    }
    data = {"cni-conf.json": json.dumps(FLANNELS), "net-conf.json": net_conf or net_conf_of()}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(name, namespace)},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(config, namespace), "data": data},
        daemonset(name, spec, namespace),
    ]
