"""The first process of a node: builds the node's root, starts its daemons and keeps them up.

`nodes.py` starts this file in fresh network, mount, pid, UTS and IPC namespaces. It is pid 1 there, so the whole node,
pods included, ends when it ends. Standard library only: it runs without the project's packages.
"""

import ctypes
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.bridge.bridge-nf-call-iptables": "1",
}


CGROUPS = Path("/sys/fs/cgroup")
WEIGHT = 20
"""So many busy processes of the machine's weigh as much as the whole lab. By default it would be one: on a machine that has
other work to do its pods would wait for seconds, and their calls be lost to no network."""


def mount(*argv: str | Path) -> None:
    """Mount, by the program of that name."""
    subprocess.run(["mount", *map(str, argv)], check=True)


def enter_root(node: dict[str, Any]) -> None:
    """Make the machine's root, with a private writable layer, the node's root."""
    home = Path(node["home"])
    root, upper, work = (home / part for part in ("root", "upper", "work"))
    for folder in (root, upper, work, home / "containerd", home / "kubelet"):
        folder.mkdir(exist_ok=True)
    mount("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", root)
    mount("-t", "proc", "proc", root / "proc")
    mount("-t", "sysfs", "sysfs", root / "sys")
    mount("--rbind", "/sys/fs/cgroup", root / "sys/fs/cgroup")
    mount("-t", "bpf", "bpf", root / "sys/fs/bpf")
    mount("--rbind", "/dev", root / "dev")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root / "run")
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / "tmp")
    # overlayfs cannot hold containerd's own overlays, so these are beside it.
    binds = {"/var/lib/containerd": str(home / "containerd"), "/var/lib/kubelet": str(home / "kubelet")}
    binds |= {path: path for path in node["visible"]}
    for target, source in binds.items():
        place = root / target.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        mount("--bind", source, place)
    if not (home / "booted").exists():
        first_boot(root, node["links"])
        (home / "booted").touch()
    (home / "boot-id").write_text(f"{uuid.uuid4()}\n")  # a new one per boot, as the kernel's
    mount("--bind", home / "boot-id", root / "proc/sys/kernel/random/boot_id")
    os.chdir("/")
    subprocess.run(["pivot_root", root, root / "mnt"], check=True)
    subprocess.run(["umount", "--lazy", "/mnt"], check=True)
    os.chdir("/")
    mount("--make-rshared", "/")


def first_boot(root: Path, links: dict[str, str]) -> None:
    """Lay the disk out as the packages of a fresh node would: no CNI configuration, the standard plugins.

    The links lead nowhere here: images in which containers see this disk's programs have what they lead to.
    """
    for path, target in links.items():
        (root / path).symlink_to(target)
    for name in ("etc/cni/net.d", "opt/cni/bin", "var/lib/cni", "var/log/pods", "var/log/containers"):
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
    for plugin in Path("/usr/lib/cni").iterdir():
        shutil.copy(plugin, root / "opt/cni/bin")
    # Cilium's agent wants this file; a kernel without modules may lack it.
    modules = root / "usr/lib/modules" / platform.release()
    modules.mkdir(parents=True, exist_ok=True)
    (modules / "modules.builtin").touch()


def make_cgroups(path: str) -> None:
    """Create the kubelet's cgroupRoot in every hierarchy, v1 or v2; the uppermost, the lab's, has its `WEIGHT`."""
    base = CGROUPS
    if (base / "cgroup.controllers").exists():  # v2
        for above in Path(path).parents:
            parent = base / above
            parent.mkdir(exist_ok=True)
            controllers = (parent / "cgroup.controllers").read_text().split()
            (parent / "cgroup.subtree_control").write_text(" ".join(f"+{one}" for one in controllers))
        (base / path).mkdir(exist_ok=True)
        _weigh(base / Path(path).parts[0], "cpu.weight", 100)
        return
    for hierarchy in base.iterdir():
        if not hierarchy.is_dir() or hierarchy.is_symlink():
            continue
        place = hierarchy
        for part in Path(path).parts:
            place = place / part
            place.mkdir(exist_ok=True)
            for knob in ("cpuset.cpus", "cpuset.mems"):
                if (place / knob).exists():
                    (place / knob).write_text((place.parent / knob).read_text())
        _weigh(hierarchy / Path(path).parts[0], "cpu.shares", 1024)


def _weigh(top: Path, knob: str, usual: int) -> None:
    """Give the lab's cgroup its weight, where it is the one for processors."""
    if (top / knob).exists():
        (top / knob).write_text(str(WEIGHT * usual))


def enter_cgroup(path: str) -> None:
    """Give the node a root of its own in cgroup v2, beside hierarchies of v1.

    Cilium balances the load of sockets at the root that a node sees: it must hold for this node's processes alone.
    On a machine of v2 alone the kubelet's cgroups are in the same place, and may not share it with processes.
    """
    place = Path("/sys/fs/cgroup/unified") / path
    if not place.is_dir():
        return
    (place / "cgroup.procs").write_text("0")
    newcgroup = 0x02000000  # CLONE_NEWCGROUP, linux/sched.h; os.unshare is there from Python 3.12 on
    if ctypes.CDLL(None, use_errno=True).unshare(newcgroup):
        raise OSError(ctypes.get_errno(), "unshare of the cgroup namespace")


def await_network() -> None:
    """The cable is plugged in from outside, the default route last."""
    while not any(line.split()[1] == "00000000" for line in Path("/proc/net/route").read_text().splitlines()[1:]):
        time.sleep(0.05)


def set_sysctls() -> None:
    """What a node for Kubernetes sets, as far as this kernel has it."""
    for name, value in SYSCTLS.items():
        path = Path("/proc/sys") / name.replace(".", "/")
        if path.exists():
            path.write_text(value)


def import_images(folder: Path, done: Path) -> None:
    """Load a folder's images that this node does not have yet; they stay over a reboot."""
    done.mkdir(exist_ok=True)
    for archive in sorted(folder.glob("*.tar*")):
        stamp, seen = f"{archive}", done / archive.name
        if not seen.exists() or seen.read_text() != stamp:
            subprocess.run(["ctr", "-n", "k8s.io", "images", "import", archive], check=True)
            seen.write_text(stamp)


class Daemons:
    """The node's daemons, started again when they end."""

    def __init__(self, home: Path, commands: dict[str, list[str]]) -> None:
        self._home = home
        self._commands = commands
        self._running: dict[int, str] = {}

    def start(self, name: str) -> None:
        """Start one."""
        with (self._home / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(self._commands[name], stdout=log, stderr=log, start_new_session=True)
        self._running[child.pid] = name

    def keep(self) -> None:
        """Reap orphans and restart daemons, for ever."""
        while True:
            pid, status = os.wait()
            name = self._running.pop(pid, None)
            if name is not None:
                sys.stdout.write(f"{name} ended with status {status}, starting it again\n")
                sys.stdout.flush()
                time.sleep(1)
                self.start(name)


def main() -> None:
    """Boot, then stay."""
    node = json.loads(Path(sys.argv[1]).read_text())
    home, name = Path(node["home"]), node["name"]
    os.environ["PATH"] = node["path"]
    # /proc is still the machine's here, so this is the pid as the machine sees it.
    (home / "host-pid.new").write_text(str(Path("/proc/self").readlink()))
    (home / "host-pid.new").rename(home / "host-pid")
    enter_root(node)
    socket.sethostname(name)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    await_network()
    set_sysctls()
    make_cgroups(node["cgroup"])
    enter_cgroup(node["cgroup"])
    daemons = Daemons(home, node["daemons"])
    daemons.start("containerd")
    while subprocess.run(["ctr", "version"], capture_output=True, check=False).returncode:
        time.sleep(0.1)
    for folder in node["images"]:
        import_images(Path(folder), home / "imported")
    daemons.start("kube-proxy")
    daemons.start("kubelet")
    (home / "ready").touch()
    daemons.keep()


if __name__ == "__main__":
    main()
