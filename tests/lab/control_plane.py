"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler on the machine itself, beside the nodes."""

from subprocess import CompletedProcess

from tests.controlplane.build import Binaries
from tests.lab import certificates
from tests.lab.processes import alive, kill, run, spawn, wait_for
from tests.lab.settings import HOST_IP, POD_CIDR, SERVICE_CIDR, Lab, LabError

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Request, resources: [{group: "", resources: [pods/eviction]}]}
- {level: Metadata}
"""


class ControlPlane:
    """The control plane of a lab."""

    def __init__(self, lab: Lab, binaries: Binaries) -> None:
        self._lab = lab
        self.binaries = binaries

    def kubectl(self, *args: str, check: bool = True) -> CompletedProcess[str]:
        """Run kubectl as administrator."""
        return run(self.binaries["kubectl"], "--kubeconfig", self._lab.admin, *args, check=check)

    def up(self, port: int) -> None:
        """Start what of it does not run, until the API server answers."""
        certificates.for_control_plane(self._lab, port)
        (self._lab.folder / "audit-policy.yaml").write_text(_AUDIT_POLICY)
        flags = {
            "etcd": self._etcd(port),
            "kube-apiserver": self._apiserver(port),
            "kube-controller-manager": self._controller_manager(),
            "kube-scheduler": [
                f"--kubeconfig={self._lab.folder}/scheduler.kubeconfig",
                "--leader-elect=false",
                "--secure-port=0",
            ],
        }
        for name in COMPONENTS[:2]:
            self._start(name, flags[name])
        wait_for("kube-apiserver", self._serves, 60)
        for name in COMPONENTS[2:]:
            self._start(name, flags[name])

    def kill(self, name: str) -> None:
        """End one of its programs at once; `up` starts it again."""
        pid = alive(self._lab.folder / f"{name}.pid")
        if pid:
            kill([pid])
            wait_for(f"{name} to end", lambda: not alive(self._lab.folder / f"{name}.pid"), 20)

    def await_accounts(self) -> None:
        """Wait for what follows readiness by some seconds: the account and the CA bundle that every pod needs."""
        wait_for("service accounts", self._has_accounts, 60)

    def _start(self, name: str, flags: list[str]) -> None:
        if not alive(self._lab.folder / f"{name}.pid"):
            spawn(self._lab, name, [self.binaries[name], *flags])

    def _check_alive(self, *names: str) -> None:
        for name in names:
            if not alive(self._lab.folder / f"{name}.pid"):
                log = self._lab.logs / f"{name}.log"
                raise LabError(f"{name} ended, see {log}:\n" + "\n".join(log.read_text().splitlines()[-5:]))

    def _serves(self) -> bool:
        self._check_alive(*COMPONENTS[:2])
        return self.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok"

    def _has_accounts(self) -> bool:
        self._check_alive(*COMPONENTS)
        wanted = ("serviceaccount/default", "configmap/kube-root-ca.crt")
        return self.kubectl("get", "-n", "default", *wanted, check=False).returncode == 0

    def _etcd(self, port: int) -> list[str]:
        client, peer = f"http://127.0.0.1:{port + 1}", f"http://127.0.0.1:{port + 2}"
        return [
            "--name=lab",
            f"--data-dir={self._lab.folder}/etcd",
            "--unsafe-no-fsync",
            "--log-level=warn",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=lab={peer}",
        ]

    def _apiserver(self, port: int) -> list[str]:
        keys, logs = self._lab.pki, self._lab.logs
        return [
            f"--etcd-servers=http://127.0.0.1:{port + 1}",
            f"--secure-port={port}",
            f"--advertise-address={HOST_IP}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={keys}/ca.crt",
            f"--tls-cert-file={keys}/apiserver.crt",
            f"--tls-private-key-file={keys}/apiserver.key",
            f"--kubelet-certificate-authority={keys}/ca.crt",
            f"--kubelet-client-certificate={keys}/kubelet-client.crt",
            f"--kubelet-client-key={keys}/kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={keys}/sa.pub",
            f"--service-account-signing-key-file={keys}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--audit-policy-file={self._lab.folder}/audit-policy.yaml",
            f"--audit-log-path={logs}/audit.log",
        ]

    def _controller_manager(self) -> list[str]:
        keys = self._lab.pki
        return [
            f"--kubeconfig={self._lab.folder}/controller-manager.kubeconfig",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--root-ca-file={keys}/ca.crt",
            f"--service-account-private-key-file={keys}/sa.key",
            f"--cluster-signing-cert-file={keys}/ca.crt",
            f"--cluster-signing-key-file={keys}/ca.key",
            "--allocate-node-cidrs=true",
            f"--cluster-cidr={POD_CIDR}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--secure-port=0",
        ]
