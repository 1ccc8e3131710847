"""What a node's programs are told."""

import json
from pathlib import Path
from typing import Any

from tests.lab import capabilities
from tests.lab.images import PAUSE
from tests.lab.processes import run
from tests.lab.settings import DNS_DOMAIN, DNS_IP, POD_CIDR, Lab

SHARED = ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64", "/usr/share", "/etc/alternatives")
"""The parts of the node's own userland that every container sees, read-only. /usr/src and /usr/local stay the image's.
A Debian root with clang in each image would be over a gigabyte, unpacked once per node."""


def containerd(home: Path, runc: Path | None = None) -> str:
    """The configuration of containerd: as the distribution has it, but for a spec in which the node's userland is mounted.

    `runc`: what is started in its place.
    """
    options = f'[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]\nBinaryName = "{runc}"\n'
    return f"""\
version = 2
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
base_runtime_spec = "{home}/base-spec.json"
{options if runc else ""}"""


def base_spec(*, shared: bool) -> str:
    """What every container starts from: containerd's own default, and the node's userland if it is `shared`."""
    spec: dict[str, Any] = json.loads(run("ctr", "oci", "spec").stdout)
    if not shared:
        return json.dumps(spec)
    spec["mounts"] += [
        {"destination": path, "source": path, "type": "bind", "options": ["rbind", "ro"]} for path in SHARED
    ]
    return json.dumps(spec)


def kubelet(lab: Lab, name: str) -> str:
    """The kubelet's configuration: authorized by the API server, cgroups under the lab's own."""
    return f"""\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {lab.pki}/ca.crt}}
authorization: {{mode: Webhook}}
tlsCertFile: {lab.pki}/{name}-serving.crt
tlsPrivateKeyFile: {lab.pki}/{name}-serving.key
cgroupDriver: cgroupfs
cgroupRoot: /{lab.cgroup}/{name}
clusterDNS: [{DNS_IP}]
clusterDomain: {DNS_DOMAIN}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
evictionHard: {{nodefs.available: 1%, imagefs.available: 1%, memory.available: 50Mi}}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
nodeStatusUpdateFrequency: 5s
resolvConf: ""
"""


def kube_proxy(home: Path, name: str) -> str:
    """The configuration of kube-proxy. Conntrack sizes are the whole machine's: it must not set them."""
    return f"""\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
hostnameOverride: {name}
clusterCIDR: {POD_CIDR}
clientConnection: {{kubeconfig: {home}/kube-proxy.kubeconfig}}
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
"""


def write(lab: Lab, name: str, *, shared: bool) -> None:
    """All of it, into the node's folder; whether containers are to see the node's programs is `shared`."""
    home = lab.node_folder(name)
    runc = home / "runc"
    files = {
        "containerd.toml": containerd(home, runc if capabilities.write_runc(runc) else None),
        "base-spec.json": base_spec(shared=shared),
        "kubelet.yaml": kubelet(lab, name),
        "kube-proxy.yaml": kube_proxy(home, name),
    }
    for file, text in files.items():
        (home / file).write_text(text)
