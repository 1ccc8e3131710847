"""Nodes as the machine sees them: start, stop, enter."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.lab import certificates, leftovers, node_config
from tests.lab.build import SYSTEM_PATH
from tests.lab.cilium import BY_PATH, ON_PATH
from tests.lab.processes import alive, ended, kill, remember, run, spawn, wait_for
from tests.lab.settings import BRIDGE, HERE, HOST_IP, Lab, LabError, node_ip, node_number

NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc")


def pid_file(lab: Lab, name: str) -> Path:
    """Where the pid of the node's first process is, as the machine numbers it."""
    return lab.node_folder(name) / "init.pid"


def start(lab: Lab, name: str, programs: dict[str, Path], images: list[Path]) -> None:
    """Boot a node with the images in these folders. Its disk is kept over stop and start; its /run and its network are not."""
    if alive(pid_file(lab, name)):
        return
    number, home = node_number(name), lab.node_folder(name)
    home.mkdir(parents=True, exist_ok=True)
    certificates.for_node(lab, name, node_ip(number), lab.state()["api_port"])
    leftovers.remove_cgroups(lab, name)  # as a reboot does; the kubelet spends 3 s on each stale one
    for stale in ("host-pid", "ready"):
        (home / stale).unlink(missing_ok=True)
    node_config.write(lab, name, shared=not lab.state().get("images"))
    daemons = {
        "containerd": ["containerd", "-c", f"{home}/containerd.toml"],
        "kube-proxy": [str(programs["kube-proxy"]), f"--config={home}/kube-proxy.yaml"],
        "kubelet": [
            str(programs["kubelet"]),
            f"--config={home}/kubelet.yaml",
            f"--hostname-override={name}",
            f"--kubeconfig={home}/kubelet.kubeconfig",
            f"--node-ip={node_ip(number)}",
            "--v=2",
        ],
    }
    node = {
        "name": name,
        "home": str(home),
        "path": SYSTEM_PATH,
        "images": [str(folder) for folder in images],
        "cgroup": f"{lab.cgroup}/{name}",
        "visible": [str(lab.cache), str(lab.folder), *map(str, images[1:])],
        "links": {f"usr/bin/{program}": f"/{ON_PATH}/{program}" for program in BY_PATH},
        "daemons": daemons,
    }
    (home / "node.json").write_text(json.dumps(node, indent=1))
    leftovers.make_bridge(lab)
    first: list[str | Path] = [sys.executable, "-B", "-S", HERE / "node_init.py", home / "node.json"]
    unshare = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--propagation", "private", "--"]
    spawn(lab, f"{name}-unshare", [*unshare, *first])
    wait_for(f"{name}: first process", (home / "host-pid").exists, 20, every=0.02)
    pid = int((home / "host-pid").read_text())
    remember(pid_file(lab, name), pid)
    _plug_in(lab, number, pid)


def _plug_in(lab: Lab, number: int, pid: int) -> None:
    """The node's cable; its default route comes last, and the node waits for it."""
    port = f"{BRIDGE}-{number}"
    run("ip", "link", "del", port, check=False)
    run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    run("ip", "link", "set", port, "alias", lab.alias, "master", BRIDGE, "up")
    inside = ["nsenter", f"--target={pid}", "--net", "ip"]
    run(*inside, "addr", "add", f"{node_ip(number)}/24", "dev", "eth0")
    run(*inside, "link", "set", "eth0", "up")
    run(*inside, "route", "add", "default", "via", HOST_IP)


def await_booted(lab: Lab, name: str) -> None:
    """Wait until the node's programs have been started."""

    def booted() -> bool:
        if not alive(pid_file(lab, name)):
            raise LabError(f"{name} ended while booting, see {lab.logs}/{name}-unshare.log")
        return (lab.node_folder(name) / "ready").exists()

    wait_for(f"{name}: boot", booted, 300)


def stop(lab: Lab, name: str) -> None:
    """Cut a node's power: every process in it ends at once."""
    node_number(name)
    pids = [pid for pid in (alive(pid_file(lab, name)), alive(lab.folder / f"{name}-unshare.pid")) if pid]
    kill(pids)
    wait_for(f"{name}: stop", lambda: all(map(ended, pids)), 20, every=0.05)
    run("ip", "link", "del", f"{BRIDGE}-{node_number(name)}", check=False)


def command(lab: Lab, name: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` inside a node."""
    pid = alive(pid_file(lab, name))
    if not pid:
        raise LabError(f"{name} does not run")
    return ["nsenter", f"--target={pid}", *NAMESPACES, "--wd", "--", *argv]


def load(lab: Lab, name: str, archive: Path) -> None:
    """Bring an image's archive to a node."""
    with archive.open("rb") as image:
        argv = command(lab, name, ["ctr", "-n", "k8s.io", "images", "import", "-"])
        done = subprocess.run(argv, stdin=image, check=False)
    if done.returncode:
        raise LabError(f"{name}: cannot load {archive}")
