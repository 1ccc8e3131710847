"""Names, addresses and folders of one lab."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.controlplane import kubernetes

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
KUBERNETES = kubernetes.DEFAULT.version  # of a lab that is not told another one, as is the next
CILIUM = "1.20.2"  # cilium.RELEASES has all
COREDNS = "1.12.1"  # kubeadm's for this Kubernetes; 1.14.7 and 1.15.0 need a newer Go than the rest of the lab
FLANNEL = "0.26.7"
KUBE_ROUTER = "2.1.0"
MULTUS = "4.2.2"

BRIDGE = "cnilab0"
HOST_IP = "172.30.0.1"
SERVICE_IP = "10.96.0.1"
DNS_IP = "10.96.0.10"
DNS_DOMAIN = "cluster.local"
SERVICE_CIDR = "10.96.0.0/16"
POD_CIDR = "10.244.0.0/16"

ADMINISTRATOR = "kubernetes-admin"
"""Who the administrator's kubeconfig says it is."""

MARK = "CNI_MIGRATE_LAB"
"""Every process of a lab has this variable in its environment, so that `down` finds it after a crash."""


class LabError(Exception):
    """A failure that is told to the user without a traceback."""


def cache_folder() -> Path:
    """Where programs and images are kept, each under a digest of what it is made from."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cni-migrate" / "lab"


@dataclass(frozen=True)
class Lab:
    """Where one lab has its files: the cache is kept, the other folder goes with `down`."""

    cache: Path
    folder: Path

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.folder / "pki"

    @property
    def logs(self) -> Path:
        """What the programs on the machine say."""
        return self.folder / "logs"

    @property
    def admin(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "admin.kubeconfig"

    @property
    def configuration(self) -> Path:
        """The tool's configuration for this lab; `up` writes it."""
        return self.folder / "migrate.yaml"

    @property
    def cilium(self) -> str:
        """Which Cilium the lab has, or would have."""
        version: str = self.state().get("cilium", CILIUM) if self.exists else CILIUM
        return version

    @property
    def kubernetes(self) -> str:
        """Which Kubernetes the lab has, or would have."""
        version: str = self.state().get("kubernetes", KUBERNETES) if self.exists else KUBERNETES
        return version

    @property
    def alias(self) -> str:
        """By this the lab's links are told from all others."""
        return f"cni-migrate lab {self.folder}"

    @property
    def cgroup(self) -> str:
        """The cgroup under which all nodes are."""
        return "cnilab-" + hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]

    @property
    def _state(self) -> Path:
        return self.folder / "lab.json"

    @property
    def exists(self) -> bool:
        """Whether there is one, running or not."""
        return self._state.exists()

    def state(self) -> dict[str, Any]:
        """What was started: `api_port`, `nodes`, and which `kubernetes` and `cilium` there are."""
        if not self.exists:
            raise LabError(f"no lab in {self.folder}: start one with `python -m tests.lab up`")
        state: dict[str, Any] = json.loads(self._state.read_text())
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Remember what was started."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._state.write_text(json.dumps(state, indent=2) + "\n")

    def node_folder(self, name: str) -> Path:
        """A node's disk, configuration and logs."""
        return self.folder / "nodes" / name


def default_lab() -> Lab:
    """The lab of this user."""
    cache = cache_folder()
    return Lab(cache=cache, folder=cache / "running")


def node_ip(number: int) -> str:
    """The address of node NUMBER."""
    return f"172.30.0.{10 + number}"


def node_number(name: str) -> int:
    """The number in a node's name."""
    if not name.startswith("node") or not name[4:].isdigit():
        raise LabError(f"{name}: nodes are called node1, node2, ...")
    return int(name[4:])
