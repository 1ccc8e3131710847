"""What goes wrong on the way: the program is killed, the API server restarts, a kubelet stops, a node loses its power."""

import time
from collections.abc import Callable

import pytest

from tests.lab import traces
from tests.lab.cluster import Cluster
from tests.lab.conftest import Hire
from tests.lab.driving import Lines, Operator, Seen, told
from tests.lab.matrix import unreached

KILLS = 10
STEPS = {"overlay": 55, "multus": 95}
"""About so many different steps three nodes take, so that the kills are spread over the whole run."""


def _begun(steps: int) -> Seen:
    """Whether so many different steps have begun."""

    def so(lines: Lines) -> bool:
        told = (line for line in lines if line.get("event") == "step" and "step" in line)
        return len({(line.get("node"), line.get("of"), line["step"]) for line in told}) >= steps

    return so


def _finish(operator: Operator, cluster: Cluster) -> None:
    done = operator.run()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    cluster.await_workloads()
    assert traces.pods_off_cilium(cluster) == []
    assert traces.of_canal(cluster) == []
    assert unreached(cluster) == []


@pytest.mark.parametrize("strategy", ["overlay", "multus"])
def test_killed_ten_times(strategy: str, cluster: Cluster, hire: Hire) -> None:
    operator = hire(cluster, strategy)
    for kill in range(1, KILLS + 1):
        running = operator.start()
        assert running.until(_begun(STEPS[strategy] * kill // (KILLS + 1))), running.said()
        running.kill()
    _finish(operator, cluster)


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
    cluster.stop_node("node3")
    time.sleep(20)
    cluster.start_node("node3")


DISTURBANCES: dict[str, tuple[str, Callable[[Cluster], None]]] = {
    "the API server restarts": ("node1", _api_server_restarts),
    "the kubelet of the node in transit stops": ("node2", _kubelet_stops),
    "another node loses its power": ("node2", _node_loses_power),
}


@pytest.mark.parametrize("strategy", ["overlay", "multus"])
@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_disturbed(disturbance: str, strategy: str, cluster: Cluster, hire: Hire) -> None:
    node, happens = DISTURBANCES[disturbance]
    operator = hire(cluster, strategy)
    running = operator.start()
    assert running.until(told(step="delete_pods_off_cilium", node=node)), running.said()
    happens(cluster)
    code = running.end()
    assert code in (0, 4, 6, 8), running.said()
    if code:
        assert "migrate run" in running.said()  # it says what to type
    _finish(operator, cluster)
