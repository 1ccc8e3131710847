"""A whole lab: up, down, status."""

import os
import shutil
import time
from pathlib import Path

from tests.controlplane.build import ensure_binaries
from tests.controlplane.kubernetes import release as kubernetes_release
from tests.lab import build, cilium, configuration, images, leftovers, nodes
from tests.lab.cilium import Release
from tests.lab.control_plane import COMPONENTS, ControlPlane
from tests.lab.processes import alive, kill, marked, remember, run, say, wait_for
from tests.lab.settings import HERE, Lab, LabError

API_PORT = 16443
"""etcd has the next two."""

CANAL = HERE / "manifests" / "canal.yaml"
BRIDGED = CANAL.with_name("canal-bridge.yaml")
"""flannel alone, with its own plugin and without NetworkPolicies."""


class Cluster:
    """The lab with its programs at hand; made by `built` or by `present`."""

    def __init__(
        self, lab: Lab, kubernetes: str, release: Release, programs: dict[str, Path], archives: list[Path]
    ) -> None:
        self.lab = lab
        self.kubernetes = kubernetes
        self.release = release
        self.control_plane = ControlPlane(lab, ensure_binaries(kubernetes))
        self.programs = programs
        self._archives = archives

    def up(self, count: int, *, canal: Path | None = CANAL, api_port: int = API_PORT) -> None:
        """Start the cluster, or what is missing of it, until its nodes are Ready (without Canal: registered)."""
        started = time.monotonic()
        names = [f"node{number}" for number in range(1, count + 1)]
        state = self.lab.state() if self.lab.exists else {}
        api_port = state.get("api_port", api_port)
        names = sorted({*names, *state.get("nodes", [])}, key=len)
        versions = {"kubernetes": self.kubernetes, "cilium": self.release.version}
        self.lab.save(state | {"api_port": api_port, "nodes": names, **versions})
        configuration.write(self.lab.folder, self.release.version)
        self.control_plane.up(api_port)
        say(f"control plane ready after {time.monotonic() - started:.1f} s")
        for name in names:
            self.start_node(name, wait=False)
        for name in names:
            nodes.await_booted(self.lab, name)
        wait_for("nodes to register", lambda: set(names) <= set(self.conditions()), 60)
        say(f"{len(names)} nodes registered after {time.monotonic() - started:.1f} s")
        self.control_plane.await_accounts()
        if canal:
            self.control_plane.kubectl("apply", "-f", str(canal))
            self.apply("coredns.yaml")
            self.await_ready(names)
            say(f"nodes Ready after {time.monotonic() - started:.1f} s")

    def apply(self, manifest: str) -> None:
        """Apply one of the lab's manifests."""
        self.control_plane.kubectl("apply", "-f", str(HERE / "manifests" / manifest))

    def start_node(self, name: str, *, wait: bool = True) -> None:
        """Boot a node."""
        nodes.start(self.lab, name, self.programs, self._archives)
        if wait:
            nodes.await_booted(self.lab, name)

    def join(self, name: str) -> None:
        """Boot a node that the cluster has not had so far, and wait until it is registered."""
        state = self.lab.state()
        self.lab.save(state | {"nodes": [*state["nodes"], name]})
        self.start_node(name)
        wait_for(f"{name} to register", lambda: name in self.conditions(), 60)

    def stop_node(self, name: str) -> None:
        """Cut a node's power."""
        nodes.stop(self.lab, name)

    def freeze(self, name: str, program: str) -> None:
        """Stop a node's program where it stands, as if it hung; nothing starts it again."""
        run(*nodes.command(self.lab, name, ["pkill", "-STOP", "-x", program]))

    def thaw(self, name: str, program: str) -> None:
        """Let it go on."""
        run(*nodes.command(self.lab, name, ["pkill", "-CONT", "-x", program]))

    def await_ready(self, names: list[str]) -> None:
        """Wait until nodes are Ready."""
        wait_for("nodes to become Ready", lambda: all(self.conditions().get(name) == "True" for name in names), 180)

    def await_workloads(self) -> None:
        """Wait until every Deployment, StatefulSet and DaemonSet of the workloads is rolled out, and cluster DNS too."""
        kubectl = self.control_plane.kubectl
        for namespace, kinds in (("kube-system", "deploy"), ("shop", "deploy,sts,ds")):
            for name in kubectl("get", kinds, "-n", namespace, "-o", "name").stdout.split():
                kubectl("rollout", "status", "-n", namespace, name, "--timeout=180s")

    def service(self, namespace: str, name: str) -> str:
        """The URL of a Service, by its ClusterIP."""
        address = self.control_plane.kubectl(
            "get", "svc", "-n", namespace, name, "-o", "jsonpath={.spec.clusterIP}"
        ).stdout
        return f"http://{address}/"

    def conditions(self) -> dict[str, str]:
        """Of each node, whether it is Ready: True, False or Unknown."""
        template = '{range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
        lines = self.control_plane.kubectl("get", "nodes", "-o", f"jsonpath={template}", check=False).stdout.split()
        return dict(line.split("=") for line in lines)

    def status(self) -> bool:
        """Show which parts run; whether all do."""
        good, ready = True, self.conditions()
        for name in COMPONENTS:
            pid = alive(self.lab.folder / f"{name}.pid")
            good &= bool(pid)
            say(f"{name:26} {f'pid {pid}' if pid else 'stopped'}")
        for name in self.lab.state()["nodes"]:
            pid = alive(nodes.pid_file(self.lab, name))
            good &= bool(pid)
            say(f"{name:26} {f'pid {pid}' if pid else 'stopped'}, Ready={ready.get(name, 'not registered')}")
        return good


def built(lab: Lab, *, version: str | None = None, kubernetes: str | None = None, given: Path | None = None) -> Cluster:
    """The lab with all it needs, built for this Cilium and Kubernetes; with `given`, a folder of images' archives, too.

    Other images have programs of their own, which the node's would hide. So the nodes of such a lab share none, and the
    lab's own images have what they use inside. A lab that is there goes on as it was started.

    Raises:
        LabError: packages are missing, a build fails, or the lab that is there has another Cilium or Kubernetes.
    """
    for name, wanted, has in (("Cilium", version, lab.cilium), ("Kubernetes", kubernetes, lab.kubernetes)):
        if lab.exists and wanted not in (None, has):
            raise LabError(f"the lab that is up has {name} {has}: end it with `python -m tests.lab down`")
    release = cilium.release(version or lab.cilium)
    build.check_packages()
    kubernetes = kubernetes or lab.kubernetes
    programs = build.build_programs(lab, (build.node(kubernetes_release(kubernetes)), *build.BUILDS, release.build))
    if lab.exists:
        folder = lab.state().get("images")
        given = Path(folder) if folder else None
    archives = [images.pack(lab, programs, release, contained=given is not None)]
    if given is not None:
        if not any(given.glob("*.tar*")):
            raise LabError(f"{given}: no archives (*.tar) of images, as `docker save` writes them")
        archives.append(given.resolve())
        if not lab.exists:
            versions = {"kubernetes": kubernetes, "cilium": release.version}
            lab.save({"nodes": [], "images": str(archives[-1]), **versions})
    return Cluster(lab, kubernetes, release, programs, archives)


def keep_for_this_process(lab: Lab) -> None:
    """Let the lab count as `abandoned` once this process has ended without `down`."""
    lab.folder.mkdir(parents=True, exist_ok=True)
    remember(_owner(lab), os.getpid())


def abandoned(lab: Lab) -> bool:
    """Whether nobody has the lab any more, as the process it was kept for has ended."""
    return _owner(lab).exists() and alive(_owner(lab)) is None


def _owner(lab: Lab) -> Path:
    return lab.folder / "owner.pid"


def down(lab: Lab) -> None:
    """Remove all that a lab made on this machine, whatever state it is in; safe to repeat."""
    pids: list[int] = []
    for _ in range(100):
        pids = marked(lab)
        if not pids:
            break
        kill(pids)
        time.sleep(0.1)
    if pids:
        raise LabError(f"processes do not end: {pids}")
    leftovers.remove_links(lab)
    leftovers.remove_cgroups(lab)
    shutil.rmtree(lab.folder, ignore_errors=True)
    left = leftovers.found(lab)
    if lab.folder.exists():
        left.append(f"folder {lab.folder}")
    if left:
        raise LabError("not everything of the lab could be removed:\n  " + "\n  ".join(left))
