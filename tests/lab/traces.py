"""Looks on the nodes themselves for what a network has left there, without asking the tool."""

import json

from tests.lab import nodes
from tests.lab.cluster import Cluster
from tests.lab.processes import run
from tests.lab.settings import POD_CIDR, Lab

_PREFIX = ".".join(POD_CIDR.split(".")[:2]) + "."
_FILES = (
    "/etc/cni/net.d/*",
    "/opt/cni/bin/flannel",
    "/opt/cni/bin/calico*",
    "/opt/cni/bin/multus*",
    "/run/flannel",
    "/run/calico",
    "/var/lib/calico",
    "/var/log/calico",
    "/var/lib/cni/*",
    "/var/lib/cni/networks/*",
)


def inside(lab: Lab, node: str, *argv: str) -> str:
    """What a command inside a node prints."""
    return run(*nodes.command(lab, node, argv)).stdout


CREDENTIALS = "calico-kubeconfig"
"""Canal writes a new token into it whenever its pod starts."""


def cni_files(lab: Lab, node: str) -> dict[str, str]:
    """A node's CNI configurations: names and contents; of credentials only that they are there."""
    script = 'cd /etc/cni/net.d && for f in *; do [ -e "$f" ] && printf "%s\\0%s\\0" "$f" "$(cat "$f")"; done; true'
    words = inside(lab, node, "sh", "-c", script).split("\0")
    found = zip(words[::2], words[1::2], strict=False)
    return {name: "credentials" if name == CREDENTIALS else text for name, text in found}


def links(lab: Lab, node: str) -> set[str]:
    """A node's links, those of pods left out."""
    found = (link["ifname"] for link in json.loads(inside(lab, node, "ip", "-j", "link")))
    return {name for name in found if not name.startswith(("veth", "lxc", "cali"))}


def of_cilium(here: Cluster) -> list[str]:
    """What is left of Cilium, Multus and the agents on any node or in the API, in words."""
    left = []
    for node in here.lab.state()["nodes"]:
        left += [f"{node}: link {name}" for name in links(here.lab, node) if name.startswith("cilium")]
        rules = inside(here.lab, node, "iptables-save").splitlines()
        left += [f"{node}: iptables {rule}" for rule in rules if "CILIUM" in rule]
        routes = inside(here.lab, node, "ip", "route", "show", "table", "all").splitlines()
        left += [f"{node}: route {route}" for route in routes if "cilium" in route or route.startswith("10.245.")]
        files = inside(
            here.lab, node, "sh", "-c", "ls -d /etc/cni/net.d/*cilium* /opt/cni/bin/cilium* 2>/dev/null; true"
        )
        left += [f"{node}: file {name}" for name in files.split()]
    # What its operator made stays on purpose: deleting a definition deletes all objects of its kind. The tool says how.
    stays = ("CustomResourceDefinition", "cilium-operator-resource-lock")
    in_api = (one for one in _in_api(here, ("cilium", "multus", "knet")) if not any(word in one for word in stays))
    return left + [f"the API: {found}" for found in in_api]


def of_canal(here: Cluster) -> list[str]:
    """What is left of Canal and Multus on any node or in the API, in words; nothing when all is gone."""
    left = []
    for node in here.lab.state()["nodes"]:
        left += [f"{node}: {found}" for found in _on_node(here.lab, node)]
    words = ("flannel", "canal", "multus", "knet", "network-attachment")
    return left + [f"the API: {found}" for found in _in_api(here, words)]


def _on_node(lab: Lab, node: str) -> list[str]:
    found = [f"link {name}" for name in sorted(links(lab, node)) if name.startswith(("cni0", "flannel"))]
    routes = inside(lab, node, "ip", "route", "show", "table", "all").splitlines()
    found += [f"route {route}" for route in routes if route.startswith(_PREFIX)]
    rules = inside(lab, node, "iptables-save").splitlines()
    # kube-proxy's own rules name the cluster's CIDR it was started with; they are the operator's.
    # What the stand-in for Calico's policy engine leaves (KUBE-ROUTER, KUBE-POD-FW, KUBE-NWPLCY) is no Canal's.
    marks = ("FLANNEL", "cali-", "cali:")
    found += [
        f"iptables {rule}"
        for rule in rules
        if any(mark in rule for mark in marks) or (_PREFIX in rule and "KUBE-" not in rule)
    ]
    found += [f"ipset {name}" for name in inside(lab, node, "ipset", "list", "-n").split() if name.startswith("cali")]
    files = inside(lab, node, "sh", "-c", f"ls -d {' '.join(_FILES)} 2>/dev/null; true").split()
    expected = {
        "/etc/cni/net.d/05-cilium.conflist",
        "/var/lib/cni/networks",
        "/var/lib/cni/results",
        "/var/lib/cni/cache",
    }
    return found + [f"file {name}" for name in files if name not in expected]


def _in_api(here: Cluster, words: tuple[str, ...]) -> list[str]:
    kubectl = here.control_plane.kubectl
    found = []
    for node in json.loads(kubectl("get", "nodes", "-o", "json").stdout)["items"]:
        meta = node["metadata"]
        marks = [*meta.get("annotations", {}), *meta.get("labels", {})]
        found += [f"{meta['name']} has {mark}" for mark in marks if any(word in mark for word in words)]
        found += [f"{meta['name']} has taint {taint['key']}" for taint in node["spec"].get("taints", [])]
    kinds = "ds,deploy,cm,sa,pods,jobs,leases"
    objects = kubectl(
        "get", kinds, "-A", "--no-headers", "-o", "custom-columns=A:.kind,B:.metadata.namespace,C:.metadata.name"
    )
    wide = kubectl(
        "get", "clusterroles,clusterrolebindings,crds", "--no-headers", "-o", "custom-columns=A:.kind,B:.metadata.name"
    )
    for line in (objects.stdout + wide.stdout).splitlines():
        if any(word in line.split()[-1] for word in words):
            found.append(" ".join(line.split()))
    return found


def pods_off_cilium(here: Cluster) -> list[str]:
    """Pods whose address is not Cilium's, those of the host's network left out."""
    pods = json.loads(here.control_plane.kubectl("get", "pods", "-A", "-o", "json").stdout)["items"]
    return [
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']} {pod['status'].get('podIP')}"
        for pod in pods
        if not pod["spec"].get("hostNetwork") and not pod["status"].get("podIP", "").startswith("10.245.")
    ]
