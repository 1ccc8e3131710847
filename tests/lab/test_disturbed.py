"""What goes wrong on the way: the program is killed, the API server restarts, a kubelet stops, a node loses its power."""

import time
from collections.abc import Callable

import pytest

from tests.lab import traces
from tests.lab.cluster import Cluster
from tests.lab.conftest import STRATEGIES, Hire
from tests.lab.driving import Lines, Operator, Running, Seen, steps, told
from tests.lab.matrix import unreached
from tests.lab.processes import say

KILLS = 10
STEPS = {"overlay": 55, "multus": 95}
"""About so many different steps three nodes take, so that the kills are spread over the whole run."""


def begun(many: int) -> Seen:
    """Whether so many different steps have begun."""

    def so(lines: Lines) -> bool:
        found = {(line.get("node"), line.get("of"), line["step"]) for line in steps(lines) if "step" in line}
        return len(found) >= many

    return so


def _finish(operator: Operator, cluster: Cluster) -> None:
    done = operator.run()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    cluster.await_workloads()
    assert traces.pods_off_cilium(cluster) == []
    assert traces.of_canal(cluster) == []
    assert unreached(cluster) == []


@pytest.mark.parametrize(("strategy", "canal"), STRATEGIES)
def test_killed_ten_times(strategy: str, cluster: Cluster, hire: Hire) -> None:
    operator = hire(cluster, strategy)
    kill_ten_times(operator)
    _finish(operator, cluster)


def kill_ten_times(operator: Operator) -> None:
    """Begin to migrate ten times, and kill it each time further on the way."""
    for kill in range(1, KILLS + 1):
        running = operator.start()
        assert running.until(begun(STEPS[operator.strategy] * kill // (KILLS + 1)), within=600), running.said()
        running.kill()


def _api_server_restarts(cluster: Cluster) -> None:
    cluster.control_plane.kill("kube-apiserver")
    time.sleep(5)
    cluster.control_plane.up(cluster.lab.state()["api_port"])


def _kubelet_stops(cluster: Cluster) -> None:
    cluster.freeze("node2", "kubelet")
    time.sleep(60)  # long enough for the node to become NotReady
    assert cluster.conditions()["node2"] == "Unknown"
    cluster.thaw("node2", "kubelet")


def _node_loses_power(cluster: Cluster) -> None:
    cluster.stop_node("node1")
    time.sleep(20)
    cluster.start_node("node1")


DISTURBANCES: list[tuple[str, Callable[[Cluster], None]]] = [
    ("node1", _api_server_restarts),
    ("node2", _kubelet_stops),
    ("node3", _node_loses_power),
]
"""What happens when which node's pods are about to be recreated on Cilium."""


@pytest.mark.parametrize(("strategy", "canal"), STRATEGIES)
def test_disturbed_three_times(strategy: str, cluster: Cluster, hire: Hire) -> None:
    operator = hire(cluster, strategy)
    running = operator.start()
    for node, happens in DISTURBANCES:
        while not running.until(told(step="delete_pods_off_cilium", node=node)):
            running = _again(operator, running)
        happens(cluster)
    while running.end():
        running = _again(operator, running)
    cluster.await_ready(cluster.lab.state()["nodes"])
    _finish(operator, cluster)


def _again(operator: Operator, running: Running) -> Running:
    """The run has stopped with a reason, and said what to type: that is typed."""
    assert running.end() in (4, 6, 8), running.said()
    assert "migrate run" in running.said()
    say(f"stopped: {running.said().splitlines()[-2:]}")
    return operator.start()
