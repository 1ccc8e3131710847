"""Keeps Multus's CNI file on this node: Canal's network first (eth0, the pod's address), Cilium's second (net1).

The file is built from the node's own Canal file, so whatever is special about it stays. It is written atomically once
both plugins can work, again when Canal's file changes, and removed at the end. Standard library only, Python >= 3.9.

Both networks stand in it as they are, so every packet leaves by eth0 with the address that the kubelet, Services and
policies know the pod by: Cilium's plugin sets no default route beside Canal's, and identity agents tell Cilium who
that address is.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any


def as_list(content: dict[str, Any]) -> dict[str, Any]:
    """A CNI configuration as a list of plugins, which a single plugin's is not."""
    if "plugins" in content:
        return content
    version, name = content.get("cniVersion", "0.3.1"), content.get("name", "cilium")
    return {"cniVersion": version, "name": name, "plugins": [content]}


def build(canal: dict[str, Any], cilium: dict[str, Any]) -> dict[str, Any]:
    """Multus's configuration for these two networks."""
    first, second = as_list(canal), as_list(cilium)
    # The runtime passes port mappings and the like only to a plugin that names the capability.
    capabilities = {key: on for plugin in first["plugins"] for key, on in plugin.get("capabilities", {}).items()}
    multus: dict[str, Any] = {"type": "multus", "logLevel": "error", "delegates": [first, second]}
    if capabilities:
        multus["capabilities"] = capabilities
    return {"cniVersion": first.get("cniVersion", "0.3.1"), "name": "multus-cni-network", "plugins": [multus]}


class Keeper:
    """Writes, watches and removes the file. `root` stands before every path, for tests."""

    def __init__(self, env: dict[str, str], root: str = "") -> None:
        folder = Path(root + "/host/etc/cni/net.d")
        self.target = folder / env.get("MULTUS_CONF_FILE", "00-multus.conflist")
        self.canal = folder / env.get("CANAL_CONF_FILE", "10-canal.conflist")
        self.cilium = folder / env.get("CILIUM_CONF_FILE", "99-cilium.conflist")
        self.plugins = [Path(root + "/host/opt/cni/bin") / name for name in ("multus", "cilium-cni")]
        self.ready = Path(root + "/tmp/multus-ready")  # noqa: S108 - an emptyDir of this pod alone
        self.said = ""

    def say(self, text: str) -> None:
        """Log what is new."""
        if text != self.said:
            self.said = text
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def step(self) -> bool:
        """Bring the file up to date; whether it is."""
        missing = [str(path) for path in [self.canal, self.cilium, *self.plugins] if not path.exists()]
        if missing and not self.target.exists():
            self.say("waiting for " + ", ".join(missing))
            return False
        try:
            parts = [json.loads(path.read_text()) for path in (self.canal, self.cilium)]
            wanted = build(*parts)
        except FileNotFoundError as problem:
            # Both files are there before ours is written; one that goes later is told, ours stays as it is.
            self.say(f"{problem.filename} is gone: {self.target.name} stays as it is")
            return not missing
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as problem:
            self.say(f"cannot use {self.canal.name}: {problem}")
            return False
        text = json.dumps(wanted, indent=2) + "\n"
        if not self.target.exists() or self.target.read_text() != text:
            part = self.target.with_name("." + self.target.name + ".new")
            part.write_text(text)
            part.chmod(0o600)
            part.rename(self.target)
            self.say(f"wrote {self.target.name}")
        return not missing

    def run(self, stop: threading.Event) -> None:
        """Keep the file until `stop`, then remove it."""
        try:
            while not stop.is_set():
                if self.step():
                    self.ready.touch()
                else:
                    self.ready.unlink(missing_ok=True)
                stop.wait(1.0)
        finally:
            self.ready.unlink(missing_ok=True)
            self.target.unlink(missing_ok=True)
            self.say(f"removed {self.target.name}")


def main() -> int:
    """Run until TERM or INT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Keeper(dict(os.environ)).run(stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
