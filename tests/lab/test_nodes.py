"""Nodes that go and come while others are in between: a reboot, and a node that joins."""

import pytest

from tests.lab import traces
from tests.lab.cluster import Cluster
from tests.lab.conftest import STRATEGIES, Hire
from tests.lab.driving import told
from tests.lab.matrix import unreached


@pytest.mark.parametrize(("strategy", "canal"), STRATEGIES)
def test_a_migrated_node_reboots_and_another_one_joins(strategy: str, cluster: Cluster, hire: Hire) -> None:
    operator = hire(cluster, strategy)
    running = operator.start()
    assert running.until(told(step="evict_pods", node="node2", of="drain")), running.said()
    cluster.stop_node("node1")  # it is migrated
    cluster.start_node("node1")
    cluster.join("node4")
    code = running.end()
    tries = 0
    while code in (4, 6) and tries < 3:  # held with a reason and a command to type, which is typed
        assert "migrate run" in running.said()
        running = operator.start()
        code, tries = running.end(), tries + 1
    assert code == 0, running.said()

    cluster.await_workloads()
    assert {node["name"]: node["state"] for node in operator.ask("status")["nodes"]} == dict.fromkeys(
        ["node1", "node2", "node3", "node4"], "migrated"
    )
    assert traces.pods_off_cilium(cluster) == []
    assert traces.of_canal(cluster) == []
    assert unreached(cluster) == []
