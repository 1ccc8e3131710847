"""Host tasks: one-shot pods that read and mend a node's files, links and chains.

The operations are those of the program's contract; each is idempotent and none needs a CNI.
"""

import json
import re
import zlib
from collections.abc import Callable

from cni_migrate.sim.world.cilium import BACKUP
from cni_migrate.sim.world.cniconf import parse
from cni_migrate.sim.world.cniinstall import USUAL_FILE
from cni_migrate.sim.world.host import (
    ALWAYS,
    BRIDGE,
    CALICO_BINARIES,
    CALICO_FOLDERS,
    CALICO_KUBECONFIG,
    CALICO_NODENAME,
    CILIUM_BINARY,
    CILIUM_STATE,
    FLANNEL_BINARY,
    FLANNEL_CHAINS,
    FLANNEL_FOLDER,
    MULTUS_BINARY,
    MULTUS_FOLDER,
    MULTUS_RESULTS,
    NEVER,
    PASSTHRU_BINARY,
    USUAL_NETWORK,
    Host,
    kept_of,
    lease_list,
)
from cni_migrate.sim.world.identities import lay_rule, remove_rule
from cni_migrate.sim.world.masquerade import CILIUM, FLANNEL, Keep
from cni_migrate.sim.world.programs import Health, Program, Run

_LINKS = re.compile(r"cni0|flannel(-v6)?\..*|flannel-wg(-v6)?|flannel[0-9]+|cilium_.*|lxc.*")
_CHAINS = re.compile(r"(FLANNEL-|cali-|CNI-HOSTPORT-|(OLD_)?CILIUM_).*")
_GONE_WITH_CANAL = re.compile(r"CNI-HOSTPORT-(DNAT|MASQ|SETMARK)|CNI-DN-[0-9a-f]+|cali-.*")
_TABLES = re.compile(r"ip6? calico|arp calico-arp|ip flannel-ipv4|ip6 flannel-ipv6")
_OF_CANAL = (*CALICO_BINARIES, FLANNEL_BINARY, FLANNEL_FOLDER, CALICO_NODENAME, *CALICO_FOLDERS)
_OF_MULTUS = (MULTUS_BINARY, PASSTHRU_BINARY, MULTUS_FOLDER, MULTUS_RESULTS)
_REPORTED = (
    *(*CALICO_BINARIES, FLANNEL_BINARY, MULTUS_BINARY, PASSTHRU_BINARY),
    *(FLANNEL_FOLDER, MULTUS_FOLDER, *CALICO_FOLDERS),
)
LOOK = 0.2
"""Seconds between two looks of a task that waits for a CNI file."""

_WORD = re.compile(r"[A-Za-z0-9._:,=-]+")


def links(host: Host) -> set[str]:
    """The node's links, with one for each Cilium endpoint."""
    pods = {f"lxc{zlib.crc32(address.encode()):08x}" for address in host.endpoints}
    return set(host.plane.links) | pods


def unread(host: Host, file: str) -> list[str]:
    """What the first plugin of this file reads on the node, and does not find: Canal's pod writes it as it comes up."""
    plane = host.plane
    network = parse(plane.files.get(file, ""))
    if network is None or network.provider != "canal":
        return []
    if network.bridged:
        return [] if plane.subnet_file else ["/run/flannel/subnet.env"]
    nodename = [] if CALICO_NODENAME in plane.left else [CALICO_NODENAME]
    credentials = f"/etc/cni/net.d/{CALICO_KUBECONFIG}"
    needed = credentials in plane.files[file] and CALICO_KUBECONFIG not in plane.files
    return [*nodename, credentials] if needed else nodename


def status(host: Host, network: str = USUAL_NETWORK, file: str = USUAL_FILE) -> dict[str, object]:
    """What a host task reports when it ends; it takes this file, and the leases of this network, for Canal's."""
    plane = host.plane
    leases, results = sorted(kept_of(network))
    return {
        "files": sorted(plane.files),
        "lacks": unread(host, file),
        "routed": bool(plane.subnet),
        "links": sorted(link for link in links(host) if _LINKS.fullmatch(link)),
        "leases": lease_list(host) if host.plane.network == network else [],
        "chains": sorted(chain for chain in plane.chains if _CHAINS.fullmatch(chain)),
        "rules": ["iptables"] if any(isinstance(rule, Keep) for rule in plane.postrouting) else [],
        "left": [
            *(path for path in (*_REPORTED, leases) if path in plane.left),
            *(["ipset cali*"] if any(name.startswith("cali4") for name in plane.ipsets) else []),
            *(f"nft table {table}" for table in sorted(plane.tables) if _TABLES.fullmatch(table)),
            *(path for path in (results, MULTUS_RESULTS) if path in plane.left),
        ],
    }


def _names(argument: str, *defaults: str) -> list[str]:
    return [name for name in argument.split(",") if name] or list(defaults)


def remove_cni(host: Host, argument: str, network: str) -> None:
    """Remove CNI files."""
    host.remove_files(*_names(argument))


def restore_backups(host: Host, argument: str, network: str) -> None:
    """Every X.cilium_bak becomes X again; where X is there already, the copy is dropped."""
    files = dict(host.plane.files)
    for name in sorted(files):
        if name.endswith(BACKUP):
            text = files.pop(name)
            files.setdefault(name.removesuffix(BACKUP), text)
    host.change(files=files)


def in_force(host: Host) -> str:
    """The CNI file that a runtime reads."""
    return next((name for name in sorted(host.plane.files) if name.endswith((".conf", ".conflist", ".json"))), "")


def free_leases(host: Host, argument: str, network: str) -> None:
    """Remove the leases of these addresses."""
    for address in _names(argument) if host.plane.network == network else ():
        host.leases.pop(address, None)


def keep_leases(host: Host, argument: str, network: str) -> None:
    """Remove the leases of all addresses but these."""
    wanted = set(_names(argument))
    if host.plane.network == network:
        host.leases = {address: uid for address, uid in host.leases.items() if address in wanted}


def _of_canal(file: str, text: str) -> str | None:
    """The network's name, where a CNI file has flannel's or Calico's plugin."""
    network = parse(text) if file.endswith((".conf", ".conflist", ".json", BACKUP)) else None
    return network.name if network is not None and network.provider == "canal" else None


def remove_flannel(host: Host, argument: str, network: str) -> None:
    """Remove what Canal leaves on a node."""
    plane = host.plane
    others = {name: found for name, text in plane.files.items() if (found := _of_canal(name, text)) is not None}
    gone = {*_names(argument, USUAL_FILE), *others, CALICO_KUBECONFIG}
    kept = {path for name in (network, *others.values()) for path in kept_of(name)}
    if plane.network == network:
        host.leases.clear()
    host.change(
        links=frozenset(link for link in plane.links if link != BRIDGE and not link.startswith("flannel")),
        chains=frozenset(c for c in plane.chains if c not in FLANNEL_CHAINS and not _GONE_WITH_CANAL.fullmatch(c)),
        ipsets=frozenset(name for name in plane.ipsets if not name.startswith("cali4")),
        tables=frozenset(table for table in plane.tables if not _TABLES.fullmatch(table)),
        subnet="",
        flannel_seen=NEVER,
        postrouting=tuple(rule for rule in plane.postrouting if rule != FLANNEL),
        calico_seen=NEVER,
        left=plane.left - {*_OF_CANAL, *kept},
        files={n: text for n, text in plane.files.items() if n not in gone and not n.endswith(BACKUP)},
    )


def remove_multus(host: Host, argument: str, network: str) -> None:
    """Remove what Multus leaves on a node."""
    host.remove_files(*_names(argument, "00-multus.conflist"))
    host.change(left=host.plane.left - set(_OF_MULTUS))


def remove_cilium(host: Host, argument: str, network: str) -> None:
    """Remove what Cilium leaves on a node: its datapath, its plugin, all files with its name and those given."""
    plane = host.plane
    gone = {*_names(argument), *(n for n in plane.files if "cilium" in n and n.endswith(".conflist"))}
    host.endpoints.clear()
    host.change(
        links=frozenset(link for link in plane.links if not link.startswith(("cilium_", "lxc"))),
        chains=frozenset(chain for chain in plane.chains if not chain.startswith(("CILIUM_", "OLD_CILIUM_"))),
        left=plane.left - {CILIUM_BINARY, CILIUM_STATE},
        files={n: text for n, text in plane.files.items() if n not in gone},
        cilium_seen=NEVER,
        cidr="",
        enforcing=False,
        postrouting=tuple(rule for rule in plane.postrouting if rule != CILIUM),
        cilium_forwards=False,
    )
    host.cilium_since = ALWAYS


OPERATIONS: dict[str, Callable[[Host, str, str], None]] = {
    "status": lambda host, argument, network: None,
    "await-first": lambda host, argument, network: None,  # HostTask waits
    "remove-cni": remove_cni,
    "restore-bak": restore_backups,
    "keep-leases": keep_leases,
    "free-leases": free_leases,
    "free-host-ports": lambda host, argument, network: None,  # what portmap has laid for which pod is not in this world
    "remove-flannel": remove_flannel,
    "remove-multus": remove_multus,
    "remove-cilium": remove_cilium,
    "lay-rules": lambda host, argument, network: None,  # it needs to know both networks: `perform`
    "remove-rules": lambda host, argument, network: remove_rule(host),
}


def perform(
    host: Host,
    args: list[str],
    network: str = USUAL_NETWORK,
    file: str = USUAL_FILE,
    pods: tuple[str, str] = ("", ""),
) -> tuple[int, dict[str, object]]:
    """Do the operations in order; the exit code and the report. Nothing is touched unless all are known.

    `network` is the one that the task takes for Canal's: it sees and frees only that one's leases. So is `file`.
    `pods` are Canal's and Cilium's pod networks.
    """
    for argument in args:
        operation, given, value = argument.partition("=")
        if not _WORD.fullmatch(argument) or ".." in argument:
            return 2, {"error": f"not an operation: {argument}"}
        lonely = given and operation in ("status", "restore-bak", "lay-rules", "remove-rules")
        lacking = operation in ("remove-cni", "await-first") and not value
        lacking = lacking or (operation == "free-host-ports" and bool(given) and not value)
        lacking = lacking or (operation in ("keep-leases", "free-leases") and not given)
        if operation not in OPERATIONS or lonely or lacking:
            return 2, {"error": f"unknown operation: {argument}"}
    for argument in args:
        operation, _, value = argument.partition("=")
        OPERATIONS[operation](host, value, network)
        if operation == "lay-rules":
            if not all(pods):
                return 1, {"error": "the pod networks are not known"}
            lay_rule(host, *pods)
    return 0, status(host, network, file)


class HostTask(Program):
    """A pod with a container named `host-task`: its arguments are done in order, then it reports and ends."""

    container = "host-task"

    async def begin(self, run: Run) -> Health | None:
        """It takes a moment."""
        self.after(run, "run", self.ctx.about(self.ctx.timings.host_task, "host-task", run.uid))
        return None

    async def step(self, run: Run, name: str) -> Health | None:
        """Do the operations, once what is awaited is there; an unknown one fails the pod."""
        container = next(c for c in run.pod["spec"]["containers"] if c["name"] == self.container)
        args: list[str] = container.get("args") or []
        awaited = [argument.partition("=")[2] for argument in args if argument.startswith("await-first=")]
        looks: int = run.memory.get("looks", 0)
        most = int(next((e["value"] for e in container.get("env", ()) if e["name"] == "AWAIT_SECONDS"), 60)) * 5
        if awaited and looks < most and in_force(run.host) != awaited[0]:
            run.memory["looks"] = looks + 1
            self.after(run, "run", LOOK)
            return None
        given = {e["name"]: e["value"] for e in container.get("env", ()) if "value" in e}
        canal = given.get("CANAL_NETWORK", USUAL_NETWORK), given.get("CANAL_FILE", USUAL_FILE)
        pods = given.get("CANAL_POD_CIDR", ""), given.get("CILIUM_POD_CIDR", "")
        code, message = perform(run.host, args, *canal, pods)
        return Health(exit_code=code, message=json.dumps(message, separators=(",", ":")))
