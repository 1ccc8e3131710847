"""Links and cgroups: what does not go with a node's processes, and how it is found again."""

import contextlib
import json
import os
import time
from pathlib import Path

from tests.lab.processes import run
from tests.lab.settings import BRIDGE, HOST_IP, Lab, LabError

_CGROUPS = Path("/sys/fs/cgroup")


def _links() -> dict[str, str]:
    """The machine's links and their aliases."""
    links = json.loads(run("ip", "-json", "link", "show").stdout or "[]")
    return {link["ifname"]: link.get("ifalias", "") for link in links}


def make_bridge(lab: Lab) -> None:
    """The network between the nodes, unless it is there."""
    alias = _links().get(BRIDGE)
    if alias is None:
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "link", "set", BRIDGE, "alias", lab.alias, "up")
        run("ip", "addr", "add", f"{HOST_IP}/24", "dev", BRIDGE)
    elif alias != lab.alias:
        raise LabError(f"the bridge {BRIDGE} belongs to another lab ({alias or 'unknown'}): end that one first")


def remove_links(lab: Lab) -> None:
    """The bridge, and what is left of the nodes' cables."""
    for name, alias in _links().items():
        if alias == lab.alias:
            run("ip", "link", "del", name, check=False)


def remove_cgroups(lab: Lab, name: str = "") -> None:
    """The cgroups of a stopped node, or of the whole lab."""
    part = Path(lab.cgroup) / name
    for top in [_CGROUPS / part, *_CGROUPS.glob(f"*/{part}")]:
        if top.is_dir():
            for folder, _, _ in os.walk(top, topdown=False):
                _remove(Path(folder))


def _remove(folder: Path) -> None:
    for _ in range(50):
        with contextlib.suppress(FileNotFoundError):
            try:
                folder.rmdir()
            except OSError as problem:
                if isinstance(problem, FileNotFoundError):
                    raise
                time.sleep(0.1)  # the kernel is still busy with the last exits
                continue
        return


def found(lab: Lab) -> list[str]:
    """What is left of a lab on the machine outside its folder, in words."""
    left = [f"link {name}" for name, alias in _links().items() if alias == lab.alias]
    left += [f"cgroup {top}" for top in [_CGROUPS / lab.cgroup, *_CGROUPS.glob(f"*/{lab.cgroup}")] if top.is_dir()]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return left + [f"mount {line.split()[4]}" for line in mounts if line.split()[4].startswith(str(lab.folder))]
