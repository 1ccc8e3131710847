"""A real control plane on loopback, without kubelets: etcd, kube-apiserver, kube-controller-manager, kube-scheduler.

    with RealCluster() as cluster:
        ...  # cluster.url, cluster.kubeconfig, cluster.ssl_context(), cluster.audit()

Nodes are Node objects that a test, or the simulated world, keeps alive. All programs end with the block, and with this
process should it be killed.
"""

import base64
import contextlib
import ctypes
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.controlplane import build, pki
from tests.controlplane.kubernetes import DEFAULT

POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
ADMIN = "kubernetes-admin"
GRACE = 8
"""Seconds without a heartbeat after which a node is Unknown; short, for tests."""

_AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Request, resources: [{group: "", resources: [pods/eviction]}]}
  - {level: Metadata}
"""
_PR_SET_PDEATHSIG = 1


class ClusterFailedError(Exception):
    """The control plane did not come up; the message holds the end of the log."""


def tls(folder: Path, name: str) -> ssl.SSLContext:
    """A client's TLS settings from a folder of certificates."""
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


def _die_with_parent() -> None:
    """Linux kills the child when this process dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class RealCluster:
    """One control plane in a temporary folder; a context manager.

    Each cluster has its own free ports, so several can run side by side. `version` is that of Kubernetes.
    """

    def __init__(self, *, controllers: bool = True, version: str = DEFAULT.version) -> None:
        self._controllers = controllers
        self._version = version
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._binaries = build.Binaries({})
        self.folder = Path()
        self.url = ""

    def __enter__(self) -> Self:
        self._binaries = build.ensure_binaries(self._version)
        self.folder = Path(tempfile.mkdtemp(prefix="cni-migrate-controlplane-"))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # What a test uses

    @property
    def kubectl(self) -> Path:
        """The kubectl of the same version."""
        return self._binaries["kubectl"]

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "admin.kubeconfig"

    def user_kubeconfig(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig for another user, who has no rights but what RBAC objects give."""
        self.pki.issue_client(f"user-{user}", user, groups)
        return self._write_kubeconfig(f"user-{user}")

    def issue_serving(self, name: str, ips: Sequence[str] = ("127.0.0.1",)) -> tuple[Path, Path]:
        """A certificate with which a simulated kubelet can serve logs: the API server trusts its CA.

        The node says where in `status.addresses` (InternalIP) and `status.daemonEndpoints.kubeletEndpoint.Port`.
        """
        return self.pki.issue_serving(name, ips)

    def ssl_context(self, name: str = "admin") -> ssl.SSLContext:
        """TLS settings of a client; `name` is `admin` or what `issue_client` was called with."""
        return tls(self.folder / "pki", name)

    def audit(self) -> list[dict[str, Any]]:
        """Every request so far, as audit events of level Metadata; those of evictions have the body."""
        return [json.loads(line) for line in (self.folder / "audit.log").read_text().splitlines()]

    # Start and stop

    def _start(self) -> None:
        port, etcd, peer = _free_ports(3)
        self.url = f"https://127.0.0.1:{port}"
        self._certificates()
        (self.folder / "audit-policy.yaml").write_text(_AUDIT_POLICY)
        self._spawn("etcd", self._etcd_flags(etcd, peer))
        self._spawn("kube-apiserver", self._apiserver_flags(port, etcd))
        with httpx.Client(base_url=self.url, verify=self.ssl_context()) as client:
            self._until("kube-apiserver", lambda: client.get("/readyz").status_code == httpx.codes.OK)
            if self._controllers:
                self._spawn("kube-controller-manager", self._controller_manager_flags())
                self._spawn("kube-scheduler", self._scheduler_flags())
                account = "/api/v1/namespaces/default/serviceaccounts/default"
                self._until("kube-controller-manager", lambda: client.get(account).status_code == httpx.codes.OK)

    def stop(self) -> None:
        """Kill everything and remove the folder."""
        for program in reversed(self._programs.values()):
            program.kill()
        for program in self._programs.values():
            program.wait()
        self._programs.clear()
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self, name: str, flags: list[str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._programs[name] = subprocess.Popen(
                [self._binaries[name], *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def _until(self, name: str, ready: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(httpx.TransportError):
                if ready():
                    return
            dead = [name for name, program in self._programs.items() if program.poll() is not None]
            if dead or time.monotonic() > end:
                name = (dead or [name])[0]
                tail = (self.folder / f"{name}.log").read_text().splitlines()[-10:]
                raise ClusterFailedError(f"{name} is not ready:\n" + "\n".join(tail))
            time.sleep(0.1)

    def _certificates(self) -> None:
        self.pki = pki.Authority(self.folder / "pki")
        self.pki.issue_serving("kube-apiserver", ["127.0.0.1", "10.96.0.1"], ["localhost", "kubernetes.default.svc"])
        self.pki.issue_client("kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"])
        self.pki.signing_key("sa")
        self.pki.issue_client("admin", ADMIN, ["system:masters"])
        self.pki.issue_client("controller-manager", "system:kube-controller-manager")
        self.pki.issue_client("scheduler", "system:kube-scheduler")
        for name in ("admin", "controller-manager", "scheduler"):
            self._write_kubeconfig(name)

    def _write_kubeconfig(self, name: str) -> Path:
        def data(file: str) -> str:
            return base64.b64encode((self.folder / "pki" / file).read_bytes()).decode()

        user = {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "real", "cluster": {"server": self.url, "certificate-authority-data": data("ca.crt")}}
            ],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": name}}],
            "current-context": "real",
        }
        path = self.folder / f"{name}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        return path

    def _etcd_flags(self, port: int, peer: int) -> list[str]:
        client, other = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        return [
            "--name=test",
            f"--data-dir={self.folder}/etcd",
            "--unsafe-no-fsync",
            "--log-level=warn",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={other}",
            f"--initial-advertise-peer-urls={other}",
            f"--initial-cluster=test={other}",
        ]

    def _apiserver_flags(self, port: int, etcd: int) -> list[str]:
        keys = self.folder / "pki"
        return [
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            f"--client-ca-file={keys}/ca.crt",
            f"--tls-cert-file={keys}/kube-apiserver.crt",
            f"--tls-private-key-file={keys}/kube-apiserver.key",
            f"--kubelet-certificate-authority={keys}/ca.crt",
            f"--kubelet-client-certificate={keys}/kubelet-client.crt",
            f"--kubelet-client-key={keys}/kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={keys}/sa.pub",
            f"--service-account-signing-key-file={keys}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--audit-policy-file={self.folder}/audit-policy.yaml",
            f"--audit-log-path={self.folder}/audit.log",
        ]

    def _controller_manager_flags(self) -> list[str]:
        keys = self.folder / "pki"
        return [
            f"--kubeconfig={self.folder}/controller-manager.kubeconfig",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--root-ca-file={keys}/ca.crt",
            f"--service-account-private-key-file={keys}/sa.key",
            f"--cluster-signing-cert-file={keys}/ca.crt",
            f"--cluster-signing-key-file={keys}/ca.key",
            "--allocate-node-cidrs=true",
            f"--cluster-cidr={POD_CIDR}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--node-monitor-period=1s",
            f"--node-monitor-grace-period={GRACE}s",
            "--secure-port=0",
        ]

    def _scheduler_flags(self) -> list[str]:
        return [f"--kubeconfig={self.folder}/scheduler.kubeconfig", "--leader-elect=false", "--secure-port=0"]
