"""Clusters whose Canal is not what the defaults say: what was found is used, and what contradicts it is refused."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cni_migrate.sim.scenario import Scenario
from tests.cli.conftest import QUICK, Served, Typed
from tests.unit.sim_world.shapes import flannel_alone

RKE2 = Scenario.model_validate(
    {
        "name": "rke2-like",
        "nodes": 3,
        "control_planes": 1,
        "pod_cidr": "10.42.0.0/16",
        "canal": {"name": "rke2-canal", "config": "rke2-canal-config"},
        "workloads": [{"name": "web", "namespace": "shop", "replicas": 2}],
    }
)


@pytest.fixture(scope="module")
def rke2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A cluster in RKE2's shape."""
    with Served(tmp_path_factory.mktemp("rke2"), RKE2) as served:
        yield served


@pytest.mark.parametrize(
    ("text", "both"),
    [
        ("canal: {pod_cidr: 10.244.0.0/16}\n", ("10.244.0.0/16", "10.42.0.0/16", "rke2-canal-config")),
        ("canal: {daemonset: canal}\n", ("kube-system/canal", "kube-system/rke2-canal", "CANAL_DAEMONSET")),
        ("canal: {tunnel_port: 4789}\n", ("4789", "8472", "TUNNEL_PORT")),
    ],
)
def test_a_contradiction_is_refused_by_both_values(
    migrate: Typed, rke2: Served, tmp_path: Path, text: str, both: tuple[str, ...]
) -> None:
    """Nothing is begun; the configuration's value and the cluster's are both told."""
    file = tmp_path / "migrate.yaml"
    file.write_text(text, encoding="utf-8")
    ended = migrate("run", "--yes", "--config", str(file), "--kubeconfig", str(rke2.kubeconfig))
    assert ended.code == 3
    assert [one for one in both if one not in ended.err] == []


def test_a_configuration_from_the_cluster(migrate: Typed, rke2: Served, tmp_path: Path) -> None:
    """What was found is written, and is a configuration that preflight accepts."""
    file = tmp_path / "found.yaml"
    where = ("--kubeconfig", str(rke2.kubeconfig))
    assert migrate("config", "init", "--from-cluster", "--output", str(file), *where).code == 0
    written = file.read_text(encoding="utf-8").splitlines()
    for line in ("  daemonset: rke2-canal", "  pod_cidr: 10.42.0.0/16", "  tunnel_port: 8472", "  #mask_size: 24"):
        assert line in written
    assert migrate("preflight", "--config", str(file), *where).code == 0


def test_a_configuration_from_a_cluster_that_contradicts_itself(
    migrate: Typed, served: Callable[..., Served], tmp_path: Path
) -> None:
    """What flannel says is written, and that nodes say otherwise is told: nobody can know which of them is right."""
    scenario = Scenario.model_validate({"nodes": [{"name": "w1"}, {"name": "w2", "pod_cidr": "10.99.3.0/24"}]})
    cluster = served(scenario)
    file = tmp_path / "found.yaml"
    ended = migrate("config", "init", "--from-cluster", "--output", str(file), "--kubeconfig", str(cluster.kubeconfig))
    assert ended.code == 0
    assert "flannel's network is 10.244.0.0/16, but nodes have their podCIDRs elsewhere: w2 10.99.3.0/24:" in ended.err
    checked = migrate("preflight", "--config", str(file), "--kubeconfig", str(cluster.kubeconfig))
    assert checked.code == 3
    assert "10.99.3.0/24" in checked.out + checked.err


def test_a_silent_configuration_takes_what_is_found(migrate: Typed, rke2: Served, tmp_path: Path) -> None:
    """From preflight to the record: later commands go on with what the run began with."""
    file = tmp_path / "migrate.yaml"
    file.write_text(QUICK + "strategy: overlay\n", encoding="utf-8")
    where = ("--config", str(file), "--kubeconfig", str(rke2.kubeconfig))
    checked = migrate("preflight", *where)
    assert checked.code == 0
    assert "network 10.42.0.0/16" in checked.out
    assert migrate("run", "--yes", "--until", "attaching", *where).code == 0
    ended = migrate("run", "--yes", "--remove-leftovers", *where)
    assert ended.code == 0, ended.err
    assert "audit: clean" in ended.out


def test_flannel_that_tolerates_no_eviction(migrate: Typed, served: Callable[..., Served], tmp_path: Path) -> None:
    """Flannel's own manifest: the taint that it tolerates is found once, and later commands go on with it, back as well."""
    tolerations = [{"operator": "Exists", "effect": "NoSchedule"}]
    scenario = Scenario.model_validate({"nodes": 3, "canal": {"objects": flannel_alone(tolerations=tolerations)}})
    file = tmp_path / "migrate.yaml"
    file.write_text(QUICK, encoding="utf-8")
    where = ("--config", str(file), "--kubeconfig", str(served(scenario).kubeconfig))
    begun = migrate("run", "--yes", "--nodes", "w1", *where)
    assert begun.code == 0, begun.err
    back = migrate("rollback", "--yes", *where)
    assert back.code == 0, back.err
    assert "the cluster is as it was found" in back.out


def test_a_network_of_services_that_is_not_used_yet(migrate: Typed, served: Callable[..., Served]) -> None:
    """Cilium's default network lies in the Services': later ones would have addresses of pods. So does the API server's."""
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {
            "name": "elsewhere",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "endpoints": [{"addresses": ["10.245.7.7"]}],
    }
    arguments = ["kube-apiserver", "--service-cluster-ip-range=10.240.0.0/12"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "kube-apiserver-cp1",
            "namespace": "kube-system",
            "labels": {"component": "kube-apiserver"},
        },
        "spec": {"nodeName": "w1", "containers": [{"name": "kube-apiserver", "image": "a", "command": arguments}]},
    }
    there = served(Scenario.model_validate({"nodes": 3, "objects": [slices, pod]}))
    ended = migrate("preflight", "--force", "--kubeconfig", str(there.kubeconfig))
    assert ended.code == 3, ended.out
    assert "the Services' network 10.240.0.0/12" in ended.out
    assert "the API server (10.245.7.7)" in ended.out
