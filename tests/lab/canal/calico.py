#!/usr/bin/python3 -ISB
"""The lab's CNI plugin in the place of Calico's, and in its shape.

A pod hangs on a link `cali...` of its own by a /32 route, without a bridge; its gateway is 169.254.1.1, for which the node
answers by proxy ARP. No link has an address, so the node speaks to its pods from its own. Addresses come from host-local, out
of the node's podCIDR. Policies are not the plugin's business: kube-router sees to them (calico-node.sh).
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

STATE = Path("/var/lib/calico")
GATEWAY = "169.254.1.1"


class PluginError(Exception):
    """What the runtime is told."""


def command(*argv: str, said: str | None = None) -> str:
    """What a program prints; raises with what it complains of."""
    done = subprocess.run(argv, input=said, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PluginError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def state(name: str) -> str:
    """A file that calico-node or install-cni has written; raises while it has not."""
    try:
        return (STATE / name).read_text().strip()
    except FileNotFoundError as missing:
        raise PluginError(
            f"no file {missing.filename}: check that calico-node runs and has mounted {STATE}"
        ) from missing


def ipam(conf: dict[str, Any], subnet: str) -> str:
    """What host-local answers to the runtime's own command."""
    section = {key: value for key, value in conf["ipam"].items() if key != "routes"}
    if section.get("subnet") == "usePodCidr":
        section["subnet"] = subnet
    program = next(path for path in map(Path, os.environ["CNI_PATH"].split(":")) if (path / "host-local").exists())
    return command(str(program / "host-local"), said=json.dumps({**conf, "ipam": section}))


def link_of(container: str, interface: str) -> str:
    """The node's end of a pod's link; at most 15 letters."""
    return "cali" + hashlib.sha256(f"{container}/{interface}".encode()).hexdigest()[:11]


def set_sysctl(name: str, value: str) -> None:
    """Set one of the kernel's, below net.ipv4."""
    Path(f"/proc/sys/net/ipv4/{name}").write_text(value)


def add(conf: dict[str, Any]) -> dict[str, Any]:
    """Connect a pod; the result of the command."""
    state("nodename")
    given = json.loads(ipam(conf, state("pod-cidr")))
    address = given["ips"][0]["address"].partition("/")[0]
    namespace, inside = os.environ["CNI_NETNS"], os.environ["CNI_IFNAME"]
    link, mtu = link_of(os.environ["CNI_CONTAINERID"], inside), str(conf.get("mtu") or 1450)
    peer = ("peer", "name", inside, "mtu", mtu, "netns", namespace)
    command("ip", "link", "add", link, "mtu", mtu, "address", "ee:ee:ee:ee:ee:ee", "type", "veth", *peer)
    # As the calico plugin does: the routes of the IPAM section if there are any, a default route otherwise.
    routes = [route["dst"] for route in conf["ipam"].get("routes", [])] or ["default"]
    steps = [
        f"addr add {address}/32 dev {inside}",
        f"link set {inside} up",
        f"route add {GATEWAY} dev {inside} scope link",
        *(f"route add {route} via {GATEWAY} dev {inside}" for route in routes),
    ]
    command("nsenter", f"--net={namespace}", "ip", "-batch", "-", said="\n".join(steps) + "\n")
    set_sysctl(f"conf/{link}/proxy_arp", "1")
    set_sysctl(f"neigh/{link}/proxy_delay", "0")
    command("ip", "link", "set", link, "up")
    command("ip", "route", "replace", f"{address}/32", "dev", link, "scope", "link")
    interfaces = [{"name": link}, {"name": inside, "sandbox": namespace}]
    ips = [{"version": "4", "address": f"{address}/32", "gateway": GATEWAY, "interface": 1}]
    return {"cniVersion": conf["cniVersion"], "interfaces": interfaces, "ips": ips, "dns": {}}


def remove(conf: dict[str, Any]) -> None:
    """Take a pod's link and address away; what is gone already is no failure."""
    link = link_of(os.environ["CNI_CONTAINERID"], os.environ["CNI_IFNAME"])
    subprocess.run(["ip", "link", "del", link], capture_output=True, check=False)
    try:
        subnet = state("pod-cidr")
    except PluginError:
        return  # Canal is gone from the node, and its leases with it
    ipam(conf, subnet)


def main() -> int:
    """One command of the runtime."""
    if os.environ["CNI_COMMAND"] == "VERSION":
        sys.stdout.write(json.dumps({"cniVersion": "0.3.1", "supportedVersions": ["0.3.0", "0.3.1"]}))
        return 0
    conf = json.load(sys.stdin)
    try:
        if os.environ["CNI_COMMAND"] == "ADD":
            try:
                sys.stdout.write(json.dumps(add(conf)))
            except PluginError:
                remove(conf)
                raise
        elif os.environ["CNI_COMMAND"] == "DEL":
            remove(conf)
    except PluginError as problem:
        sys.stdout.write(json.dumps({"cniVersion": conf.get("cniVersion", "0.3.1"), "code": 999, "msg": str(problem)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
