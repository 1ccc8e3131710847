"""Builds the lab's programs from their Go modules, each module once: kept under a digest of sources, flags and Go."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.controlplane.build import go_tool
from tests.controlplane.kubernetes import Kubernetes
from tests.lab.processes import hint, run
from tests.lab.settings import HERE, Lab, LabError

NEEDS = {
    "containerd": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
    "ipset": "ipset",
    "curl": "curl",
    "fping": "fping",
    "python3": "python3",
    "nsenter": "util-linux",
    "mount": "mount",
    "gcc": "gcc",
    "bpftool": "bpftool",
    "clang-19": "clang-19",
    "llc-19": "llvm-19",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "/usr/lib/x86_64-linux-gnu/libc.a": "libc6-dev",
}
"""What has to be on the machine, a program or a file, and the Debian package that brings it."""

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the nodes look for programs: what a user has elsewhere is not on a node."""


@dataclass(frozen=True)
class GoBuild:
    """One `go build` in one of the modules under go/."""

    name: str
    module: str
    outputs: tuple[str, ...]
    packages: tuple[str, ...] = ("./cmd/...",)
    ldflags: str = "-s -w"
    tags: str = ""
    cgo: bool = False
    modfile: str = field(default="go.mod", repr=False)
    """Whose content counts for where the build is kept, and not its name."""

    def argv(self, target: Path) -> list[str]:
        """The command line."""
        where = f"{target}/" if len(self.outputs) > 1 or "./cmd/..." in self.packages else str(target / self.outputs[0])
        flags = ["-trimpath", "-buildvcs=false", "-tags", self.tags, "-ldflags", self.ldflags]
        flags += [] if self.modfile == "go.mod" else [f"-modfile={self.modfile}"]
        return [go_tool(), "build", *flags, "-o", where, *self.packages]


_MULTUS = "gopkg.in/k8snetworkplumbingwg/multus-cni.v4/cmd"
BUILDS = (
    GoBuild(
        "cni",
        "cni",
        ("multus", "install_multus", "passthru-cni", "prober"),
        packages=("./cmd/...", f"{_MULTUS}/install_multus", f"{_MULTUS}/passthru-cni"),
    ),
    GoBuild(
        "flanneld",
        "cni",
        ("flanneld",),
        packages=("github.com/flannel-io/flannel",),
        cgo=True,
        tags="netgo,osusergo",
        ldflags="-s -w -linkmode external -extldflags -static",
    ),
    GoBuild(
        "flannel-cni",
        "flannel-cni",
        ("flannel",),
        packages=("github.com/containernetworking/plugins/plugins/meta/flannel",),
    ),
    GoBuild(
        "kube-router",
        "kube-router",
        ("kube-router",),
        packages=("github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",),
    ),
    GoBuild("coredns", "coredns", ("coredns",)),
)
"""What every lab has; its nodes' own programs (`node`) and its Cilium (`cilium.Release`) are two more."""


def node(kubernetes: Kubernetes) -> GoBuild:
    """What each node runs of this Kubernetes."""
    programs = ("kubelet", "kube-proxy", "pause")
    return GoBuild("node", "node", programs, ldflags=kubernetes.ldflags, modfile=kubernetes.modfile)


HELM = GoBuild("helm", "helm", ("helm",), packages=("helm.sh/helm/v4/cmd/helm",))
"""No lab needs it to run: it is built with the rest, or when it is asked for."""


def missing_packages() -> list[str]:
    """The Debian packages that the lab needs and that are not installed."""
    return [
        package
        for need, package in NEEDS.items()
        if not (Path(need).exists() if need.startswith("/") else shutil.which(need, path=SYSTEM_PATH))
    ]


def check_packages() -> None:
    """Raises with the one command that installs all that is missing."""
    if missing := missing_packages():
        command = "apt-get install -y --no-install-recommends " + " ".join(missing)
        raise LabError(f"the lab needs packages that are not installed; on Debian 12, as root:\n  {command}")


def _folder(lab: Lab, item: GoBuild) -> Path:
    """Where a build is kept."""
    digest = hashlib.sha256(repr(item).encode() + run(go_tool(), "version").stdout.encode())
    root = HERE / "go" / item.module
    modules = (item.modfile, Path(item.modfile).with_suffix(".sum").name)
    for path in sorted(root.rglob("*")):
        other = path.parent == root and path.name not in modules
        if path.suffix == ".go" or (path.suffix in (".mod", ".sum") and not other):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return lab.cache / f"{item.name}-{digest.hexdigest()[:16]}"


def programs(lab: Lab, builds: Iterable[GoBuild]) -> dict[str, Path]:
    """Where each program is, or would be."""
    return {name: folder / name for item in builds for folder in [_folder(lab, item)] for name in item.outputs}


def build_programs(lab: Lab, builds: Iterable[GoBuild]) -> dict[str, Path]:
    """Build what is missing; where each program is."""
    for item in builds:
        folder = _folder(lab, item)
        if all((folder / name).exists() for name in item.outputs):
            continue
        hint(f"building {', '.join(item.outputs)} (some minutes when Go's cache is cold)")
        started = time.monotonic()
        staging = folder.with_name(folder.name + ".building")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        environment = os.environ | {"CGO_ENABLED": "1" if item.cgo else "0"}
        done = subprocess.run(item.argv(staging), cwd=HERE / "go" / item.module, env=environment, check=False)
        if done.returncode:
            raise LabError(f"`go build` of {item.name} failed, see above; it needs the module proxy")
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
        hint(f"  {time.monotonic() - started:.0f} s")
    return programs(lab, builds)
