"""The same migration by an operator with kubectl, as Cilium's guide has it without its reboots: what to compare with.

https://docs.cilium.io/en/v1.15/installation/k8s-install-migration/. No resume, no rollback, nothing recorded; who reaches
whom is looked at after each node. It ends when the last node is switched, as the figures of `report.cost` do.
"""

import json
import subprocess
import time
from typing import Any

from tests.lab import requests
from tests.lab.cluster import Cluster
from tests.lab.driving import PROGRAM
from tests.lab.matrix import unreached
from tests.lab.processes import wait_for
from tests.lab.report import Cost
from tests.lab.settings import LabError

SWITCHED = "io.cilium.migration/cilium-default=true"


def migrate(here: Cluster) -> Cost:
    """Migrate every node; what that cost per node, the installation of Cilium left out."""
    kubectl = here.control_plane.kubectl
    manifests = [str(PROGRAM), "manifests", "cilium", "--strategy", "overlay", "--config", str(here.lab.configuration)]
    printed = here.lab.folder / "cilium.yaml"
    printed.write_text(subprocess.run(manifests, check=True, capture_output=True, text=True).stdout)
    # The CiliumNodeConfig's definition is made by the operator: the second time everything is there.
    wait_for(
        "Cilium to be applied", lambda: not kubectl("apply", "-f", str(printed), check=False).returncode, 120, every=2
    )
    kubectl("rollout", "status", "-n", "kube-system", "deploy/cilium-operator", "--timeout=180s")
    _await_agents(here, {})
    start, began = requests.position(here.lab), time.time()
    nodes = here.lab.state()["nodes"]
    for node in nodes:
        _switch(here, node)
        if broken := unreached(here):
            raise LabError(f"{node}: " + "; ".join(broken))
    ended = time.time()
    asked = [one for one in requests.since(here.lab, start) if one.agent.startswith("kubectl/") and one.at < ended]
    return Cost((ended - began) / len(nodes), len(asked) / len(nodes), 1.0, len(asked))


def _agents(here: Cluster) -> dict[str, tuple[str, str, bool]]:
    """Of each node the name and uid of Cilium's agent, and whether it is Ready."""
    told = here.control_plane.kubectl("get", "pods", "-n", "kube-system", "-l", "k8s-app=cilium", "-o", "json").stdout
    return {
        pod["spec"]["nodeName"]: (
            pod["metadata"]["name"],
            pod["metadata"]["uid"],
            any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", [])),
        )
        for pod in json.loads(told)["items"]
        if "nodeName" in pod["spec"]
    }


def _await_agents(here: Cluster, old: dict[str, str]) -> None:
    """Wait until every node has an agent that is Ready, and not the old one."""

    def so() -> bool:
        found = _agents(here)
        return set(found) == set(here.lab.state()["nodes"]) and all(
            ready and uid != old.get(node) for node, (_, uid, ready) in found.items()
        )

    wait_for("Cilium's agents to be Ready", so, 180, every=1)


def _switch(here: Cluster, node: str) -> None:
    """Take one node over."""
    kubectl = here.control_plane.kubectl
    kubectl("drain", node, "--ignore-daemonsets", "--timeout=180s")
    kubectl("label", "node", node, SWITCHED)
    name, uid, _ = _agents(here)[node]
    kubectl("delete", "pod", "-n", "kube-system", name, "--wait=false")
    _await_agents(here, {node: uid})
    on_canal = [pod for pod in _pods(here, node) if pod["status"].get("podIP", "").startswith("10.244.")]
    for pod in on_canal:
        kubectl("delete", "pod", "-n", pod["metadata"]["namespace"], pod["metadata"]["name"])

    def back() -> bool:
        ready = [
            pod["status"].get("podIP", "").startswith("10.245.")
            and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
            for pod in _pods(here, node)
        ]
        return len(ready) >= len(on_canal) and all(ready)

    wait_for(f"the pods of {node}", back, 120, every=1)
    kubectl("uncordon", node)
    here.await_workloads()


def _pods(here: Cluster, node: str) -> list[dict[str, Any]]:
    """The pods on a node that have a network of their own."""
    told = here.control_plane.kubectl(
        "get", "pods", "-A", "--field-selector", f"spec.nodeName={node}", "-o", "json"
    ).stdout
    return [pod for pod in json.loads(told)["items"] if not pod["spec"].get("hostNetwork")]
