"""The lab's certificates and kubeconfigs."""

import base64
import json
from pathlib import Path

from tests.controlplane.pki import Authority
from tests.lab.settings import ADMINISTRATOR, HOST_IP, SERVICE_IP, Lab


def authority(lab: Lab) -> Authority:
    """The lab's own, made when there is none yet."""
    return Authority(lab.pki)


def write_kubeconfig(lab: Lab, name: str, server: str, path: Path) -> None:
    """The kubeconfig of the client certificate NAME."""

    def data(file: str) -> str:
        return base64.b64encode((lab.pki / file).read_bytes()).decode()

    user = {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")}
    cluster = {"server": server, "certificate-authority-data": data("ca.crt")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
        "current-context": "lab",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1))


def for_control_plane(lab: Lab, api_port: int) -> None:
    """The certificates of the control plane, and its kubeconfigs; once."""
    if lab.admin.exists():
        return
    pki = authority(lab)
    pki.issue_serving(
        "apiserver",
        ["127.0.0.1", HOST_IP, SERVICE_IP],
        ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
    )
    pki.issue_client("kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"])
    pki.issue_client("kube-proxy", "system:kube-proxy")
    pki.signing_key("sa")
    pki.issue_client("controller-manager", "system:kube-controller-manager")
    pki.issue_client("scheduler", "system:kube-scheduler")
    pki.issue_client("admin", ADMINISTRATOR, ["system:masters"])
    for name in ("controller-manager", "scheduler", "admin"):
        write_kubeconfig(lab, name, f"https://127.0.0.1:{api_port}", lab.folder / f"{name}.kubeconfig")


def for_node(lab: Lab, name: str, ip: str, api_port: int) -> None:
    """A kubelet's certificates, and the kubeconfigs of a node; once."""
    home, server = lab.node_folder(name), f"https://{HOST_IP}:{api_port}"
    if (home / "kube-proxy.kubeconfig").exists():
        return
    pki = authority(lab)
    pki.issue_client(name, f"system:node:{name}", ["system:nodes"])
    pki.issue_serving(f"{name}-serving", [ip], [name])
    write_kubeconfig(lab, name, server, home / "kubelet.kubeconfig")
    write_kubeconfig(lab, "kube-proxy", server, home / "kube-proxy.kubeconfig")
