"""Nodes as network namespaces: a bridge in a namespace of its own, and for each node one with three addresses.

Two are its agents', the third is the host's own.

Everything is made by iproute2, and nothing of it is in the machine's own namespace, so that what filters there does
not reach it and its names cannot clash. The names carry the maker's process id: what a dead maker left is swept.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

PREFIX = "knetfault"
TOOLS = {"ip": "iproute2", "tc": "iproute2", "ss": "iproute2"}
HUB = "hub"
SINK = "sink"


class CannotBuild(Exception):
    """Namespaces, or what fills them, cannot be made here; says what to do about it."""


def run(*command: str, check: bool = True) -> str:
    """Run a command; its output.

    Raises:
        CannotBuild: it failed and `check` is set.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if check and done.returncode:
        raise CannotBuild(f"`{' '.join(command)}` says: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def missing() -> str:
    """What is missing to make namespaces here, and how to get it, or ''."""
    absent = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if absent:
        return f"{', '.join(absent)} is not installed: `apt-get install {' '.join(absent)}` or what your system has"
    if os.geteuid() != 0:
        return "network namespaces need root: run this with `sudo`"
    probe = f"{PREFIX}-{os.getpid()}-probe"
    try:
        run("ip", "netns", "add", probe)
    except CannotBuild as problem:
        return f"{problem}. A container needs the capabilities NET_ADMIN and SYS_ADMIN (`docker run --privileged`)"
    run("ip", "netns", "del", probe, check=False)
    return ""


def has_netem() -> bool:
    """Whether the kernel can delay packets."""
    probe = f"{PREFIX}-{os.getpid()}-netem"
    try:
        run("ip", "netns", "add", probe)
        run("ip", "-n", probe, "link", "set", "lo", "up")
        run("tc", "-n", probe, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    except CannotBuild:
        return False
    finally:
        run("ip", "netns", "del", probe, check=False)
    return True


def sweep() -> list[str]:
    """Remove the namespaces of runs that have ended, with what still runs in them; their names."""
    gone = []
    for name in re.findall(rf"^{PREFIX}-\d+-\S+", run("ip", "netns", "list", check=False), re.MULTILINE):
        if not _lives(name.split("-")[1]):
            remove(name)
            gone.append(name)
    return gone


def _lives(pid: str) -> bool:
    """Whether this process is a run like this one still: not a dead one that nobody has waited for, nor another one."""
    try:
        command = Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return False
    return b"knet_faults" in command or b"pytest" in command


def remove(name: str) -> None:
    """Remove a namespace and end the processes in it."""
    for pid in run("ip", "netns", "pids", name, check=False).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), 9)
    run("ip", "netns", "del", name, check=False)


class Net:
    """The namespaces of some nodes, joined by a bridge. A context: it removes all it made, whatever happens."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self.nodes = list(nodes)
        self.hub = self.namespace(HUB)

    def namespace(self, node: str) -> str:
        """The name of a node's namespace."""
        return f"{PREFIX}-{os.getpid()}-{node}"

    def address(self, node: str, mesh: str) -> str:
        """The address of one of a node's two agents."""
        number = 2 * self.nodes.index(node) + (mesh == "b") + 2
        return f"10.211.{number // 250}.{number % 250 + 1}"

    def host(self, node: str) -> str:
        """The address of a node itself."""
        number = self.nodes.index(node)
        return f"10.211.{128 + number // 250}.{number % 250 + 1}"

    def __enter__(self) -> "Net":
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in (*self.nodes, HUB):
            remove(self.namespace(node))

    def _build(self) -> None:
        ip = ("ip", "-n", self.hub)
        run("ip", "netns", "add", self.hub)
        run(*ip, "link", "add", "br0", "type", "bridge")
        run(*ip, "link", "set", "br0", "up")
        # What is to be lost goes here: the other end has no address and answers nothing.
        run(*ip, "link", "add", SINK, "type", "veth", "peer", "name", "void")
        run(*ip, "link", "set", SINK, "up")
        run(*ip, "link", "set", "void", "up")
        for node in self.nodes:
            own = self.namespace(node)
            run("ip", "netns", "add", own)
            run(*ip, "link", "add", node, "type", "veth", "peer", "name", "eth0", "netns", own)
            run(*ip, "link", "set", node, "master", "br0", "up")
            run("ip", "-n", own, "link", "set", "lo", "up")
            for address in (self.address(node, "a"), self.address(node, "b"), self.host(node)):
                run("ip", "-n", own, "addr", "add", f"{address}/16", "dev", "eth0")
            # One segment per packet, as on a wire: bigger ones would pass a link whatever its MTU.
            run("ip", "-n", own, "link", "set", "eth0", "gso_max_segs", "1", "up")

    def lose(self, node: str, *match: str, into: bool = True, out: bool = True) -> None:
        """Lose the packets into a node or out of it that a u32 filter matches; without `match` all, ARP too."""
        tc = ("tc", "-n", self.hub)
        run(*tc, "qdisc", "replace", "dev", node, "clsact")
        protocol = "ip" if match else "all"
        for wanted, hook in ((into, "egress"), (out, "ingress")):  # as the bridge's end of the link sees it
            if wanted:
                rule = ("u32", "match", *(match or ("u32", "0", "0")))
                sink = ("action", "mirred", "egress", "redirect", "dev", SINK)
                run(*tc, "filter", "add", "dev", node, hook, "protocol", protocol, *rule, *sink)

    def shrink(self, node: str, mtu: int) -> None:
        """Give the bridge's end of a node's link an MTU that the node does not know: larger packets vanish."""
        run("ip", "-n", self.hub, "link", "set", node, "mtu", str(mtu))

    def delay(self, node: str, ms: int) -> None:
        """Delay what goes into a node and what comes from it."""
        run("tc", "-n", self.hub, "qdisc", "add", "dev", node, "root", "netem", "delay", f"{ms}ms")
        own = self.namespace(node)
        run("tc", "-n", own, "qdisc", "add", "dev", "eth0", "root", "netem", "delay", f"{ms}ms")

    def cut(self, node: str, port: int) -> None:
        """Cut the connections of a node to and from this port, as a firewall does that resets them."""
        for side in ("dport", "sport"):
            run("ip", "netns", "exec", self.namespace(node), "ss", "-K", "-t", side, "=", f":{port}")

    def heal(self, node: str) -> None:
        """Undo whatever was done to a node's link."""
        for kind in ("clsact", "root"):
            run("tc", "-n", self.hub, "qdisc", "del", "dev", node, kind, check=False)
        run("tc", "-n", self.namespace(node), "qdisc", "del", "dev", "eth0", "root", check=False)
        self.shrink(node, 1500)
