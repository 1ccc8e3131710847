"""Back from everywhere: one node from each of its states, and the whole cluster when it is half migrated."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.lab import cluster as labs
from tests.lab import guarded, policies, requests, traces
from tests.lab.account import needless, open_account
from tests.lab.cluster import Cluster
from tests.lab.conftest import STRATEGIES, Hire
from tests.lab.driving import Operator, Seen, said, told
from tests.lab.matrix import unreached
from tests.real.stage import Trail

STAGES: dict[str, dict[str, str]] = {
    "overlay": {"draining": "restart_cilium", "cilium": "recheck"},
    "multus": {"draining": "await_old_agents_gone", "cilium": "recheck"},
}
"""At which of node1's steps the program is killed, so that the node is found in each state."""


def _addresses(here: Cluster, node: str) -> set[str]:
    """The networks of the pods of a node that have one of their own: the first two parts of their addresses."""
    pods = json.loads(here.control_plane.kubectl("get", "pods", "-A", "-o", "json").stdout)["items"]
    return {
        ".".join(pod["status"]["podIP"].split(".")[:2])
        for pod in pods
        if pod["spec"].get("nodeName") == node and not pod["spec"].get("hostNetwork")
    }


def _state(operator: Operator, node: str) -> str:
    return next(str(one["state"]) for one in operator.ask("status")["nodes"] if one["name"] == node)


def _kill_at(operator: Operator, trail: Trail, so: Seen) -> None:
    operator.forget()
    running = operator.start()
    assert running.until(so), running.said()
    since = datetime.now(UTC)
    running.kill()
    trail.kills.append((since, datetime.now(UTC)))


def _all_is_well(here: Cluster, canal: Path) -> None:
    """Workloads are back, pods reach each other, and where Canal enforces policies nobody gets by them."""
    here.await_workloads()
    assert unreached(here) == []
    if canal == labs.CANAL:
        guarded.settle(here)
        assert policies.wrong(policies.calls(here)) == []


@pytest.mark.parametrize(("strategy", "canal"), STRATEGIES)
def test_back_from_every_state(strategy: str, canal: Path, cluster: Cluster, hire: Hire) -> None:
    operator = hire(cluster, strategy)
    guarded.deploy(cluster)
    _all_is_well(cluster, canal)
    nodes = cluster.lab.state()["nodes"]
    found = {node: traces.cni_files(cluster.lab, node) for node in nodes}
    links = {node: traces.links(cluster.lab, node) for node in nodes}

    trail = Trail(cluster.lab.logs / "audit.log")
    dual: dict[str, str] = {}
    for state, step in {**STAGES[strategy], "migrated": ""}.items():
        if step:
            _kill_at(operator, trail, told(step=step, node="node1"))
        else:
            done = operator.run("--nodes", "node1")
            assert done.returncode == 0, said(done)
        assert _state(operator, "node1") == state
        # Dual nodes have the files that are in force then: the first one's are compared, node2 is dual all the time.
        dual = dual or traces.cni_files(cluster.lab, "node2")
        done = operator.type("rollback-node", "node1", "--yes")
        assert done.returncode == 0, said(done)
        assert _state(operator, "node1") == "dual"
        assert set(traces.cni_files(cluster.lab, "node1")) == set(dual)
        _all_is_well(cluster, canal)
        assert _addresses(cluster, "node1") == {"10.244"}

    # Half migrated: node1 is migrated, node2 in the middle of its switch.
    _kill_at(operator, trail, told(step="gate", node="node2", of="switch"))
    done = operator.type("rollback", "--yes")
    assert done.returncode == 0, said(done)
    _all_is_well(cluster, canal)
    for node in nodes:
        assert traces.cni_files(cluster.lab, node) == found[node]
        assert traces.links(cluster.lab, node) == links[node]
        assert _addresses(cluster, node) <= {"10.244"}
    after = operator.ask("status")
    assert after["nodes"] == []
    assert after["rolled_back"] is not None
    assert traces.of_cilium(cluster) == []

    # And forward again: all that the account may do has been needed by now, and nothing was refused.
    # The agents' namespace went with the rollback, and with it the account's rights there: they are applied again.
    # While that is on its way out they would go with it.
    operator.forget()
    cluster.control_plane.kubectl("wait", "--for=delete", "namespace/knet-stress", "--timeout=60s")
    open_account(cluster, strategy)
    done = operator.run()
    assert done.returncode == 0, said(done)
    _all_is_well(cluster, canal)
    assert traces.pods_off_cilium(cluster) == []
    assert trail.problems() == []
    assert sorted(needless(cluster.lab, strategy, requests.since(cluster.lab))) == []
