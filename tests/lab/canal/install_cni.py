#!/usr/bin/python3
"""The lab's install-cni: lays the plugin and Canal's CNI file on the node, as the container of that name does it.

What the lab's plugin needs of the API is asked here, once: the part of the pod network that is this node's.
"""

import json
import os
import shutil
import ssl
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PLUGINS = Path("/host/opt/cni/bin")
FILES = Path("/host/etc/cni/net.d")
STATE = Path("/var/lib/calico")
KUBECONFIG = "calico-kubeconfig"


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """The whole file at once, or nothing."""
    part = path.with_name(f".{path.name}.new")
    part.write_text(text)
    part.chmod(mode)
    part.rename(path)


def main() -> None:
    """Install, then end."""
    node = os.environ["KUBERNETES_NODE_NAME"]
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    server, token = f"https://{host}:{port}", (ACCOUNT / "token").read_text()
    asked = urllib.request.Request(f"{server}/api/v1/nodes/{node}", headers={"Authorization": f"Bearer {token}"})
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(asked, context=trust, timeout=30) as answer:
        write(STATE / "pod-cidr", json.load(answer)["spec"]["podCIDR"])

    plugin = PLUGINS / ".calico.new"
    shutil.copy("/opt/cni/bin/calico", plugin)
    plugin.rename(PLUGINS / "calico")

    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "calico", "user": {"token": token}}],
        "contexts": [{"name": "calico-context", "context": {"cluster": "local", "user": "calico"}}],
        "current-context": "calico-context",
    }
    write(FILES / KUBECONFIG, json.dumps(kubeconfig, indent=2) + "\n")
    text = os.environ["CNI_NETWORK_CONFIG"]
    for word, value in {
        "__KUBERNETES_NODE_NAME__": node,
        "__CNI_MTU__": os.environ["CNI_MTU"],
        "__KUBECONFIG_FILEPATH__": f"/etc/cni/net.d/{KUBECONFIG}",
    }.items():
        text = text.replace(word, value)
    write(FILES / os.environ["CNI_CONF_NAME"], text)


if __name__ == "__main__":
    main()
