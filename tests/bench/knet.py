"""What the knet-stress agents cost: the graph against the original's all-pairs scheme, and one real agent."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cni_migrate.config import Config
from cni_migrate.core.connectivity.gate import expected
from cni_migrate.core.connectivity.peers import graph
from cni_migrate.knet import agent as source
from cni_migrate.knet.agent.rounds import FAST

PER_PEER = 4
"""http, http_large, udp and tcp; the policy pairs and what all agents share are left out."""
ORIGINAL_AGENTS = 2
"""Two DaemonSets, and a `status` in each of their pods asks every other pod once: 4 N² requests."""
IDLE = 5.0


@dataclass(frozen=True)
class Scheme:
    """One round over a whole cluster of some nodes."""

    nodes: int
    peers: float
    """Of one agent, on average."""
    probes: int
    """Of all agents."""
    read: int
    """Agents that the gate of one node reads."""
    line: int
    """Bytes of one agent's report."""
    original: int
    """Requests of the original's check."""


def scheme(nodes: int) -> Scheme:
    """What a round costs with this many nodes, as configured by default."""
    config = Config()
    names = [f"worker-{number:04}.example.org" for number in range(nodes)]
    mesh = graph(names, config)
    peers = [len(mesh.peers(f"{name}/{which}")) for name in names for which in "ab"]
    round_of_one = {
        "v": 1, "round": 1000, "at": "2030-01-01T00:00:06.000000Z", "node": names[0], "mesh": "a",
        "pod": "knet-stress-a-x1x1x", "uid": "01234567-89ab-cdef-0123-456789abcdef", "interval_s": 0.5,
        "peers": sorted(mesh.peers(f"{names[0]}/a")), "sent": PER_PEER * peers[0], "lost": 0, "bad": [], "stalls": [],
        "ms": {"p50": 1.1, "p99": 3.0, "max": 4.2},
    }  # fmt: skip
    return Scheme(
        nodes,
        sum(peers) / len(peers),
        PER_PEER * sum(peers),
        len(expected(names, config, focus=[names[0]])),
        len(json.dumps(round_of_one, separators=(",", ":"))) + 1,
        (ORIGINAL_AGENTS * nodes) ** 2,
    )


@dataclass(frozen=True)
class Use:
    """What a running agent takes."""

    interval: float
    percent: float
    """Of one core, in user and kernel."""
    mib: float
    """The most memory that was resident."""
    p99_ms: float


def agent_use(peers: int, *, fast_s: float, slow_s: float) -> list[Use]:
    """One agent on loopback that probes `peers` others, and they it: at the fast pace, then at the slow one."""
    names = [
        (f"n{number // 2}", "ab"[number % 2], f"127.77.{number // 250}.{number % 250 + 1}")
        for number in range(peers + 1)
    ]
    everyone = [{"node": node, "mesh": mesh, "address": at, "host": at} for node, mesh, at in names]
    running: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        (at / "all.json").write_text(json.dumps(everyone))
        (at / "one.json").write_text(json.dumps(everyone[:1]))  # the others are there for the first alone
        settings = {"interval_s": 0.5, "idle_interval_s": IDLE, "full_mesh_max": peers + 1}
        (at / "config.json").write_text(json.dumps(settings))
        try:
            for number, (node, mesh, address) in enumerate(names):
                env = os.environ | {
                    "NODE_NAME": node, "KNET_MESH": mesh, "KNET_LISTEN": address, "KNET_CONFIG": str(at / "config.json"),
                    "KNET_PEERS_FILE": str(at / ("one.json" if number else "all.json")),
                    "KNET_SKIP": "dns,policy_allow,policy_deny", "PYTHONPATH": str(Path(str(source.__file__)).parents[1]),
                }  # fmt: skip
                command = [sys.executable, "-B", "-m", "agent", "serve"]
                with (at / "log" if number == 0 else Path(os.devnull)).open("wb") as log:
                    running.append(subprocess.Popen(command, env=env, stdout=log, stderr=log))
            time.sleep(15)
            fast = _measured(running[0].pid, at / "log", fast_s)
            deadline = time.monotonic() + 2 * FAST
            while _last(at / "log")["interval_s"] < IDLE and time.monotonic() < deadline:
                time.sleep(1)
            time.sleep(15)  # the others started later, and are fast for longer
            return [fast, _measured(running[0].pid, at / "log", slow_s)]
        finally:
            for process in running:
                process.kill()
            for process in running:
                process.wait(10)


def _measured(pid: int, log: Path, seconds: float) -> Use:
    def spent() -> float:
        user, kernel = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(kernel)) / os.sysconf("SC_CLK_TCK")

    began, before = time.monotonic(), spent()
    time.sleep(seconds)
    used = (spent() - before) / (time.monotonic() - began)
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    last = _last(log)
    return Use(last["interval_s"], 100 * used, peak / 1024, last["ms"]["p99"])


def _last(log: Path) -> Any:
    return json.loads(log.read_text().splitlines()[-1])
