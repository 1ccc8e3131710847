"""The manifests of Canal: as this simulator has it by default, or in the shape in which Calico publishes it."""

import json
from typing import TYPE_CHECKING, Any

from cni_migrate.sim.client import Object
from cni_migrate.sim.manifestfiles import ordered
from cni_migrate.sim.world.calicomanifests import CNI_ACCOUNT, calico_objects
from cni_migrate.sim.world.flannel import RUN_FOLDER

if TYPE_CHECKING:
    from cni_migrate.sim.scenario import Scenario

ARCHITECTURE = "kubernetes.io/arch"
_EVERYTHING: list[Object] = [{"operator": "Exists"}]
_PORTMAP: Object = {"type": "portmap", "capabilities": {"portMappings": True}}


def _meta(name: str, namespace: str, **more: Any) -> Object:
    return {"name": name, "namespace": namespace, **more}


def published(scenario: "Scenario") -> bool:
    """Whether Canal has the shape in which Calico publishes it."""
    return scenario.canal.published and scenario.calico


def cni_network_config(scenario: "Scenario") -> str:
    """The text of Canal's CNI file: the calico plugin, or with `calico: false` flannel's.

    As published it is a template: the MTU stands there without quotes, so that it is no JSON before it is filled in.
    """
    plugins: list[Object] = [_PORTMAP]
    if not scenario.calico:
        first: Object = {"type": "flannel", "delegate": {"hairpinMode": True, "isDefaultGateway": True}}
    else:
        first = {
            "type": "calico",
            "log_level": "info",
            "datastore_type": "kubernetes",
            "ipam": {"type": "host-local", "subnet": "usePodCidr"},
            "policy": {"type": "k8s"},
        }
    if published(scenario):
        first |= {"nodename": "__KUBERNETES_NODE_NAME__", "mtu": "__CNI_MTU__"}
        first["kubernetes"] = {"kubeconfig": "__KUBECONFIG_FILEPATH__"}
        plugins = [_PORTMAP | {"snat": True}, {"type": "bandwidth", "capabilities": {"bandwidth": True}}]
    content = {"name": scenario.canal.cni_name, "cniVersion": "0.3.1", "plugins": [first, *plugins]}
    return json.dumps(content, indent=2).replace('"__CNI_MTU__"', "__CNI_MTU__") + "\n"


def net_conf_text(scenario: "Scenario") -> str:
    """Flannel's `net-conf.json`."""
    canal = scenario.canal
    backend: Object = {"Type": canal.backend}
    backend |= {"VNI": canal.vni} if canal.vni else {}
    backend |= {"Port": canal.port} if canal.port else {}
    return json.dumps({"Network": canal.network or scenario.pod_cidr, "Backend": backend})


def canal_objects(scenario: "Scenario") -> list[Object]:
    """Canal as it is installed everywhere, and what Calico's manifest brings beside it; or another's manifests."""
    canal = scenario.canal
    if canal.objects:
        return [_placed(one) for one in ordered(canal.objects)]
    data = {"cni_network_config": cni_network_config(scenario), "net-conf.json": net_conf_text(scenario)}
    if published(scenario):
        data |= {"typha_service_name": "none", "canal_iface": "", "masquerade": "true", "veth_mtu": "0"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta(canal.name, canal.namespace)},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _meta(canal.config, canal.namespace), "data": data},
        *(calico_objects(canal.namespace, canal.name, scenario.versions.calico) if published(scenario) else ()),
        *_own_daemon_sets(scenario),
    ]


_THE_CLUSTERS_OWN = frozenset(
    {"resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "selfLink"}
)


def _placed(manifest: Object) -> Object:
    """With the namespace that kubectl would put it into; the API server forgets that of what lives in none.

    What `kubectl get -o yaml` tells beside it belongs to the cluster it was got from.
    """
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in _THE_CLUSTERS_OWN}
    rest = {name: value for name, value in manifest.items() if name != "status"}
    return {**rest, "metadata": {**metadata, "namespace": metadata.get("namespace") or "default"}}


def daemon_sets(scenario: "Scenario") -> list[Object]:
    """Canal's DaemonSets."""
    return [one for one in canal_objects(scenario) if one["kind"] == "DaemonSet"]


def _own_daemon_sets(scenario: "Scenario") -> list[Object]:
    """One, or one per daemon, or one per architecture."""
    canal = scenario.canal
    pods = {canal.name: _canal_pod(scenario)}
    if published(scenario):
        pods = _published_pods(scenario)
    if canal.architectures:
        pods = {
            f"{name}-{architecture}": spec | {"nodeSelector": {**spec["nodeSelector"], ARCHITECTURE: architecture}}
            for name, spec in pods.items()
            for architecture in canal.architectures
        }
    return [_daemon_set(scenario, name, spec) for name, spec in pods.items()]


def _daemon_set(scenario: "Scenario", name: str, spec: Object) -> Object:
    canal, labels = scenario.canal, {"k8s-app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": _meta(name, canal.namespace, labels=labels),
        "spec": {
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": canal.max_unavailable}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _pod(scenario: "Scenario", **more: Any) -> Object:
    return {
        "hostNetwork": True,
        "priorityClassName": "system-node-critical",
        "serviceAccountName": scenario.canal.name,
        "terminationGracePeriodSeconds": 0,
        "nodeSelector": scenario.canal.node_selector,
        "tolerations": _EVERYTHING,
        **more,
    }


def _flannel_container(scenario: "Scenario", *mounts: Object) -> Object:
    return {
        "name": "kube-flannel",
        "image": scenario.versions.flannel,
        "command": ["/opt/bin/flanneld", "--ip-masq", "--kube-subnet-mgr"],
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": "flannel-cfg", "mountPath": "/etc/kube-flannel"}, *mounts],
    }


def _canal_pod(scenario: "Scenario") -> Object:
    versions = scenario.versions
    containers = [_flannel_container(scenario, {"name": "run-flannel", "mountPath": RUN_FOLDER})]
    if scenario.calico:
        containers.insert(0, {"name": "calico-node", "image": versions.calico, "securityContext": {"privileged": True}})
    return _pod(
        scenario,
        initContainers=[{"name": "install-cni", "image": versions.calico}],
        containers=containers,
        volumes=[
            {"name": "flannel-cfg", "configMap": {"name": scenario.canal.config}},
            {"name": "run-flannel", "hostPath": {"path": RUN_FOLDER, "type": "DirectoryOrCreate"}},
        ],
    )


def _published_pods(scenario: "Scenario") -> dict[str, Object]:
    """Pod specs by the name of their DaemonSet."""
    canal = scenario.canal
    flannel = _flannel_container(scenario)
    config: Object = {"name": "flannel-cfg", "configMap": {"name": canal.config}}
    calico: Object = {
        "initContainers": [_installer(scenario)],
        "containers": [_calico_node(scenario)],
        "volumes": [_host("cni-bin-dir", "/opt/cni/bin"), _host("cni-net-dir", "/etc/cni/net.d"), *_CALICO_VOLUMES],
    }
    if canal.split:
        return {
            "kube-flannel": _pod(scenario, containers=[flannel], volumes=[config]),
            canal.name: _pod(scenario, **calico),
        }
    calico["containers"].append(flannel)
    calico["volumes"].append(config)
    return {canal.name: _pod(scenario, **calico)}


def _installer(scenario: "Scenario") -> Object:
    def of_config(name: str, key: str) -> Object:
        return {"name": name, "valueFrom": {"configMapKeyRef": {"name": scenario.canal.config, "key": key}}}

    return {
        "name": "install-cni",
        "image": scenario.versions.calico.replace("/node:", "/cni:"),
        "command": ["/opt/cni/bin/install"],
        "env": [
            {"name": "CALICO_CNI_SERVICE_ACCOUNT", "value": CNI_ACCOUNT},
            {"name": "CNI_CONF_NAME", "value": scenario.canal.cni_file},
            of_config("CNI_NETWORK_CONFIG", "cni_network_config"),
            {"name": "KUBERNETES_NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            of_config("CNI_MTU", "veth_mtu"),
            {"name": "SLEEP", "value": "false"},
        ],
        "volumeMounts": [
            {"name": "cni-bin-dir", "mountPath": "/host/opt/cni/bin"},
            {"name": "cni-net-dir", "mountPath": "/host/etc/cni/net.d"},
        ],
        "securityContext": {"privileged": True},
    }


def _calico_node(scenario: "Scenario") -> Object:
    return {
        "name": "calico-node",
        "image": scenario.versions.calico,
        "env": [
            {"name": "DATASTORE_TYPE", "value": "kubernetes"},
            {"name": "USE_POD_CIDR", "value": "true"},
            {"name": "NODENAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "CALICO_NETWORKING_BACKEND", "value": "none"},
            {"name": "CLUSTER_TYPE", "value": "k8s,canal"},
            {"name": "FELIX_DEFAULTENDPOINTTOHOSTACTION", "value": "ACCEPT"},
        ],
        "securityContext": {"privileged": True},
        "readinessProbe": {"httpGet": {"path": "/readiness", "port": 9099, "host": "localhost"}, "periodSeconds": 10},
        "volumeMounts": [
            {"name": "cni-net-dir", "mountPath": "/host/etc/cni/net.d"},
            {"name": "var-run-calico", "mountPath": "/var/run/calico"},
            {"name": "var-lib-calico", "mountPath": "/var/lib/calico"},
        ],
    }


def _host(name: str, path: str) -> Object:
    return {"name": name, "hostPath": {"path": path, "type": "DirectoryOrCreate"}}


_CALICO_VOLUMES = (
    _host("var-run-calico", "/var/run/calico"),
    _host("var-lib-calico", "/var/lib/calico"),
    _host("cni-log-dir", "/var/log/calico/cni"),
)
