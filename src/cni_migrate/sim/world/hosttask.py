"""Host tasks: one-shot pods that read and mend a node's files, links and chains.

The operations are those of the program's contract; each is idempotent and none needs a CNI.
"""

import json
from collections.abc import Callable

from cni_migrate.sim.world.cilium import BACKUP
from cni_migrate.sim.world.flannel import CNI_FILE
from cni_migrate.sim.world.host import (
    ALWAYS,
    BRIDGE,
    CILIUM_BINARY,
    FLANNEL_BINARY,
    FLANNEL_CHAINS,
    FLANNEL_FOLDER,
    FLANNEL_LINK,
    LEASE_FOLDER,
    MULTUS_BINARY,
    NEVER,
    Host,
    lease_list,
)
from cni_migrate.sim.world.programs import Health, Program, Run


def status(host: Host) -> dict[str, object]:
    """What a host task reports when it ends."""
    plane = host.plane
    return {
        "files": sorted(plane.files),
        "subnet_env": bool(plane.subnet),
        "links": sorted(plane.links),
        "leases": lease_list(host),
        "chains": sorted(plane.chains),
        "left": sorted(plane.left - {CILIUM_BINARY}),
    }


def _names(argument: str, *defaults: str) -> list[str]:
    return [name for name in argument.split(",") if name] or list(defaults)


def remove_cni(host: Host, argument: str) -> None:
    """Remove CNI files."""
    host.remove_files(*_names(argument))


def restore_backups(host: Host, argument: str) -> None:
    """Every X.cilium_bak becomes X again; where X is there already, the copy is dropped."""
    wanted = _names(argument)
    files = dict(host.plane.files)
    for name in sorted(files):
        if name.endswith(BACKUP) and (not wanted or name.removesuffix(BACKUP) in wanted):
            text = files.pop(name)
            files.setdefault(name.removesuffix(BACKUP), text)
    host.change(files=files)


def keep_leases(host: Host, argument: str) -> None:
    """Remove the leases of all addresses but these."""
    wanted = set(_names(argument))
    for address in [address for address in host.leases if address not in wanted]:
        del host.leases[address]


def remove_flannel(host: Host, argument: str) -> None:
    """Remove what Canal leaves on a node."""
    plane = host.plane
    gone = set(_names(argument, CNI_FILE))
    host.leases.clear()
    host.change(
        links=plane.links - {FLANNEL_LINK, BRIDGE},
        chains=plane.chains - set(FLANNEL_CHAINS),
        subnet="",
        flannel_seen=NEVER,
        left=plane.left - {FLANNEL_BINARY, LEASE_FOLDER, FLANNEL_FOLDER},
        files={n: text for n, text in plane.files.items() if n not in gone and not n.endswith(BACKUP)},
    )


def remove_multus(host: Host, argument: str) -> None:
    """Remove what Multus leaves on a node."""
    host.remove_files(*_names(argument, "00-multus.conflist"))
    host.change(left=host.plane.left - {MULTUS_BINARY})


def remove_cilium(host: Host, argument: str) -> None:
    """Remove what Cilium leaves on a node: its datapath, its files, its plugin."""
    plane = host.plane
    gone = set(_names(argument)) or {n for n in plane.files if "cilium" in n and n.endswith(".conflist")}
    host.endpoints.clear()
    host.change(
        links=frozenset(link for link in plane.links if not link.startswith(("cilium_", "lxc"))),
        chains=frozenset(chain for chain in plane.chains if not chain.startswith("CILIUM_")),
        left=plane.left - {CILIUM_BINARY},
        files={n: text for n, text in plane.files.items() if n not in gone},
        cilium_seen=NEVER,
        cidr="",
        enforcing=False,
    )
    host.cilium_since = ALWAYS


OPERATIONS: dict[str, Callable[[Host, str], None]] = {
    "status": lambda host, argument: None,
    "remove-cni": remove_cni,
    "restore-bak": restore_backups,
    "keep-leases": keep_leases,
    "remove-flannel": remove_flannel,
    "remove-multus": remove_multus,
    "remove-cilium": remove_cilium,
}


class HostTask(Program):
    """A pod with a container named `host-task`: its arguments are done in order, then it reports and ends."""

    container = "host-task"

    async def begin(self, run: Run) -> Health | None:
        """It takes a moment."""
        self.after(run, "run", self.ctx.about(self.ctx.timings.host_task, "host-task", run.uid))
        return None

    async def step(self, run: Run, name: str) -> Health | None:
        """Do the operations; an unknown one fails the pod."""
        args = next(c.get("args") or [] for c in run.pod["spec"]["containers"] if c["name"] == self.container)
        for argument in args:
            operation, _, value = argument.partition("=")
            if operation not in OPERATIONS:
                return Health(exit_code=2, message=f"unknown operation {operation!r}")
            OPERATIONS[operation](run.host, value)
        return Health(exit_code=0, message=json.dumps(status(run.host), separators=(",", ":")))
