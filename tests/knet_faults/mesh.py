"""Real agents in the namespaces, and what the real reader and the real gate make of their reports."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cni_migrate.config import Config
from cni_migrate.core.connectivity import gate
from cni_migrate.core.connectivity.gate import Failing, Passed, Verdict
from cni_migrate.core.model.rounds import GateReading, Round
from cni_migrate.knet import agent as source
from cni_migrate.knet.reader import rounds_of
from tests.knet_faults.net import Net

CONFIG = Config()
LINES = 40
"""As many rounds of each agent are read: more than a gate ever needs."""


def now() -> datetime:
    """The time on the wall: that of the reports."""
    return datetime.now(UTC)


class Mesh:
    """Two agents on each of the nodes. A context: it starts them all and ends them all.

    They stay at the fast pace unless they are to be `slow` once nothing is new.
    """

    def __init__(self, nodes: int, *, slow: bool = False) -> None:
        self._idle_interval = CONFIG.knet.idle_interval if slow else CONFIG.knet.interval
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.agents = [f"{node}/{mesh}" for node in self.nodes for mesh in "ab"]
        self.net = Net(self.nodes)
        self.expected = gate.expected(self.nodes, CONFIG)
        self._folder = tempfile.TemporaryDirectory(prefix="knetfault-")
        self.folder = Path(self._folder.name)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped: set[str] = set()

    def __enter__(self) -> "Mesh":
        peers = [
            {"node": node, "mesh": mesh, "address": self.net.address(node, mesh), "host": self.net.host(node)}
            for node in self.nodes
            for mesh in "ab"
        ]
        settings = {
            "interval_s": CONFIG.knet.interval, "idle_interval_s": self._idle_interval,
            "timeout_s": CONFIG.knet.timeout, "degree": CONFIG.knet.degree,
            "full_mesh_max": CONFIG.knet.full_mesh_max, "seed": CONFIG.knet.namespace,
        }  # fmt: skip
        (self.folder / "peers.json").write_text(json.dumps(peers))
        (self.folder / "config.json").write_text(json.dumps(settings))
        self.net.__enter__()
        try:
            for name in self.agents:
                self.start(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait(10)
        self.net.__exit__()
        self._folder.cleanup()

    def _address(self, name: str) -> str:
        return self.net.address(*name.split("/"))

    def _log(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '-')}.log"

    def start(self, name: str) -> None:
        """Start an agent; what it prints is kept."""
        node, mesh = name.split("/")
        # Nothing enforces policies here, and there is no cluster that has names.
        env = os.environ | {
            "NODE_NAME": node, "KNET_MESH": mesh, "POD_NAME": name, "POD_UID": f"{name}-{time.time_ns()}",
            "KNET_LISTEN": self._address(name), "KNET_PEERS_FILE": str(self.folder / "peers.json"),
            "NODE_IP": self.net.host(node), "PYTHONPATH": str(Path(str(source.__file__)).parents[1]),
            "KNET_CONFIG": str(self.folder / "config.json"), "KNET_SKIP": "dns,policy_deny",
        }  # fmt: skip
        command = ["ip", "netns", "exec", self.net.namespace(node), sys.executable, "-B", "-m", "agent", "serve"]
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(command, env=env, stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        """End an agent without a word."""
        self._running[name].kill()
        self._running[name].wait(10)
        self._stopped.add(name)

    def stop(self, name: str) -> None:
        """Stop an agent where it is; the kernel still takes its connections."""
        self._running[name].send_signal(signal.SIGSTOP)
        self._stopped.add(name)

    def restore(self, name: str) -> None:
        """Have an agent run again that was stopped or killed."""
        if self._running[name].poll() is None:
            self._running[name].send_signal(signal.SIGCONT)
        else:
            self.start(name)
        self._stopped.discard(name)

    def rounds(self) -> Mapping[str, list[Round]]:
        """What the reader finds in the end of each agent's output."""
        return {name: rounds_of("".join(self._tail(name)), name)[0] for name in self.agents}

    def _tail(self, name: str) -> list[str]:
        with self._log(name).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 100_000))
            return log.read().decode().splitlines(keepends=True)[-LINES:]

    def judged(self, since: datetime) -> tuple[Verdict, dict[str, int]]:
        """The gate's verdict, and how many rounds each running agent has begun and reported since."""
        rounds = self.rounds()
        verdict = gate.judge(GateReading(now(), rounds, {}), self.expected, (), since, CONFIG)
        running = (name for name in self.agents if name not in self._stopped)
        return verdict, {name: sum(one.at >= since for one in rounds[name]) for name in running}

    def settle(self, within: float = 30.0) -> str:
        """Wait until the gate passes; '' or what keeps it shut."""
        began, since = time.monotonic(), now()
        while True:
            verdict, _ = self.judged(since)
            if isinstance(verdict, Passed):
                return ""
            if time.monotonic() - began > within:
                return verdict.diagnosis if isinstance(verdict, Failing) else verdict.observed
            time.sleep(0.3)

    def alarms(self, seconds: float) -> list[str]:
        """Watch undisturbed agents; each verdict that is a failure, as it is told."""
        until = time.monotonic() + seconds
        recent = timedelta(seconds=5 + 3 * self._idle_interval)
        found: list[str] = []
        while time.monotonic() < until:
            time.sleep(0.3)
            verdict, _ = self.judged(now() - recent)
            if isinstance(verdict, Failing) and verdict.diagnosis not in found:
                found.append(verdict.diagnosis)
        return found
