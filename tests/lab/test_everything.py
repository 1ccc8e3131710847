"""A chart with as much turned on as runs on a lab: killed ten times, and all of it is there in the end; back from the middle."""

import json

import pytest

from tests.lab import cilium, configuration, traces
from tests.lab import cluster as labs
from tests.lab.asked import Asked
from tests.lab.cluster import Cluster
from tests.lab.conftest import Hire
from tests.lab.driving import Operator, said, told
from tests.lab.matrix import unreached
from tests.lab.processes import run, say
from tests.lab.releases import Release
from tests.lab.settings import node_ip, node_number
from tests.lab.test_chart import OBSERVE
from tests.lab.test_disturbed import kill_ten_times

DOOR = 18080
"""The host port of the workloads' probers, one on each node."""

AGENT = ("-n", "kube-system", "ds/cilium", "-c", "cilium-agent", "--")


def doors(here: Cluster) -> dict[str, str]:
    """What a host port of each node answers from outside: a status, 000 for nothing."""
    found = {}
    for node in here.lab.state()["nodes"]:
        url = f"http://{node_ip(node_number(node))}:{DOOR}/"
        argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--retry", "3", "--retry-all-errors", "-m", "5"]
        found[node] = run(*argv, url, check=False).stdout
    return found


def open_everywhere(here: Cluster) -> dict[str, str]:
    """What `doors` says when all of them are open."""
    return dict.fromkeys(here.lab.state()["nodes"], "200")


def promised(operator: Operator) -> set[str]:
    """The images that `migrate images` lists."""
    done = operator.type("images", "--strategy", operator.strategy)
    assert done.returncode == 0, said(done)
    return {line.split()[-1] for line in done.stdout.splitlines()[1:] if line.strip()}


BOTH = (
    pytest.param("overlay", labs.CANAL, id="overlay"),
    pytest.param("multus", labs.BRIDGED, id="multus-bridged"),
)
"""Each strategy, and which Canal the cluster has."""


@pytest.fixture
def release(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Release:
    """The release of a chart that is to be migrated to; its helm is on PATH, and the configuration says so."""
    chart = cilium.chart(cluster.lab, cluster.release.version)
    made = Release(cluster, chart, configuration.EVERYTHING)
    monkeypatch.setenv("PATH", str(made.helm.parent), prepend=":")
    configuration.write(cluster.lab.folder, cluster.release.version, chart, configuration.EVERYTHING)
    return made


@pytest.mark.parametrize(("strategy", "canal"), BOTH)
def test_what_values_ask_for_survives_ten_kills(strategy: str, cluster: Cluster, release: Release, hire: Hire) -> None:
    operator = hire(cluster, strategy)
    with Asked(cluster) as asked:
        kill_ten_times(operator)
        done = operator.run()
        assert done.returncode == 0, said(done)

    assert traces.pods_off_cilium(cluster) == []
    assert traces.of_canal(cluster) == []
    cluster.await_workloads()
    assert unreached(cluster) == []
    _as_the_values_say(cluster, release)
    images = promised(operator)
    say(f"images promised: {sorted(images)}; asked for: {sorted(asked.new())}")
    assert asked.new() - images == set()
    assert images - asked.new() <= asked.before


@pytest.mark.parametrize(("strategy", "canal"), BOTH)
def test_a_rollback_from_the_middle_leaves_no_release(
    strategy: str, cluster: Cluster, release: Release, hire: Hire
) -> None:
    """node1 is migrated, node2 in the middle of its switch."""
    operator = hire(cluster, strategy)
    assert doors(cluster) == open_everywhere(cluster)
    done = operator.run("--nodes", "node1")
    assert done.returncode == 0, said(done)
    # A DaemonSet's pod ends under Cilium's file, so portmap still asks its chain on node1; clean-up removes that one.
    assert {node: doors(cluster)[node] for node in ("node2", "node3")} == {"node2": "200", "node3": "200"}
    running = operator.start()
    assert running.until(told(step="gate", node="node2", of="switch")), running.said()
    running.kill()

    done = operator.type("rollback", "--yes")
    assert done.returncode == 0, said(done)
    assert release.revisions() == []
    assert traces.of_cilium(cluster) == []
    cluster.await_workloads()
    assert unreached(cluster) == []
    assert doors(cluster) == open_everywhere(cluster)


def _as_the_values_say(cluster: Cluster, release: Release) -> None:
    """Helm owns it, and every program that the values ask for does its work."""
    kubectl = cluster.control_plane.kubectl
    assert release.ask("status")["info"]["status"] == "deployed"
    kubectl("rollout", "status", "-n", "kube-system", "ds/cilium", "--timeout=180s")
    kubectl("rollout", "status", "-n", "kube-system", "deploy/hubble-relay", "--timeout=180s")
    before = release.objects()
    release.upgrade()
    assert release.objects() == before
    assert "FORWARDED" in kubectl(*OBSERVE).stdout
    by_relay = ("hubble", "list", "nodes", "--server", f"{_address(cluster, 'hubble-relay')}:80")
    names = kubectl("exec", *AGENT, *by_relay).stdout
    assert all(node in names for node in cluster.lab.state()["nodes"]), names

    status = json.loads(kubectl("exec", *AGENT, "cilium-dbg", "status", "-o", "json").stdout)
    assert status["kube-proxy-replacement"]["mode"] == "True"
    assert status["cni-chaining"]["mode"] == "portmap"
    assert status["masquerading"]["mode"] == "BPF"
    assert doors(cluster) == open_everywhere(cluster)


def _address(cluster: Cluster, service: str) -> str:
    words = ("get", "svc", "-n", "kube-system", service, "-o", "jsonpath={.spec.clusterIP}")
    return cluster.control_plane.kubectl(*words).stdout
