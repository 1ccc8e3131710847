"""The Canals of publishers, each from what is found of it to the clean audit: nothing is said of it by anybody."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.model.goal import Final
from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.core.preflight.findings import Severity
from cni_migrate.engine.store import RecordStore
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.documents import KubeDocuments
from cni_migrate.kube.inprocess import close_api, in_process_api
from cni_migrate.kube.leftovers import leftovers
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from tests.simulation.harness import Mortal, Process, SimulatedClock, there_and_back
from tests.simulation.looking import looked_at
from tests.unit.sim_world.publishers import (
    direct,
    first_ones,
    flannel_in_its_namespace,
    kops,
    kubermatic,
    kubespray,
    rke2,
    split,
)
from tests.unit.sim_world.shapes import Object

DONE = Final("done", "the cluster runs on Cilium; the audit is clean", "")
POLICY = {
    "metadata": {"name": "own", "namespace": "shop"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]},
}
CANAL = ("ConfigMap kube-system/canal-config", "ServiceAccount kube-system/canal")
TYPHA = tuple(f"{kind} kube-system/calico-typha" for kind in ("Deployment", "PodDisruptionBudget", "Service"))
FLANNEL = (
    "ConfigMap kube-flannel/kube-flannel-cfg", "Namespace kube-flannel", "ServiceAccount kube-flannel/kube-flannel-ds",
)  # fmt: skip


def _scenario(objects: list[Object], **more: Any) -> Scenario:
    workloads = [{"name": "web", "replicas": 3, "namespace": "shop"}, {"kind": "daemonset", "name": "app"}]
    given = {"nodes": 3, "workloads": workloads, "network_policies": [POLICY], "canal": {"objects": objects}, **more}
    return Scenario.model_validate(given)


async def _left(sim: Simulation, config: Config) -> tuple[str, ...]:
    """What Canal has left in the API."""
    api = await in_process_api(Mortal(sim), timeout=30)
    try:
        async with KubeCluster(api, config, SimulatedClock(sim), random.Random(1)) as cluster:
            documents = KubeDocuments(cluster.client, SimulatedClock(sim))
            record = await RecordStore(documents, config.namespace).load()
            assert record is not None
            used = [ObjectRef.parse(text) for text in record.cluster.canal_objects]
            spaces = {namespace for namespace, _ in config.canal.every_daemonset()}
            return tuple(sorted(str(one.ref) for one in await leftovers(cluster.client, used, spaces)))
    finally:
        await close_api(api)


SHAPES = [
    pytest.param(rke2, {"pod_cidr": "10.42.0.0/16"}, {}, {"GITOPS"},
                 ("ConfigMap kube-system/rke2-canal-config", "ServiceAccount kube-system/rke2-canal"), id="rke2"),
    pytest.param(kops, {"pod_cidr": "100.96.0.0/11"}, {"network": "100.64.0.0/10"}, {"GITOPS"},
                 (*CANAL, *TYPHA), id="kops"),
    pytest.param(kubermatic, {"pod_cidr": "172.25.0.0/16", "node_cidr": "192.168.0.0/16"},
                 {"chained": ("portmap", "bandwidth", "tuning")}, {"CNI_PLUGINS"}, CANAL, id="kubermatic"),
    pytest.param(kubespray, {"pod_cidr": "10.233.64.0/18"}, {"network_name": "cni0", "flannel_etcd": False},
                 {"CALICO_ETCD"}, CANAL, id="kubespray"),
    pytest.param(first_ones, {}, {"cni_file": "10-canal.conflist"}, set(), CANAL, id="first-ones"),
    pytest.param(split, {}, {"daemonsets": (("kube-flannel", "kube-flannel-ds"), ("kube-system", "calico-node")),
                             "cni_file": "10-canal.conflist"}, set(),
                 (*FLANNEL, "ConfigMap kube-system/calico-config", "ServiceAccount kube-system/calico-node"), id="split"),
    pytest.param(flannel_in_its_namespace, {"calico": False}, {"network_name": "cbr0"}, {"POLICIES_NEW"}, FLANNEL, id="flannel"),
    pytest.param(direct, {}, {"vni": 42, "port": 4789, "mtu": 1400}, set(), CANAL, id="direct"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "cluster", "told", "says", "left"), SHAPES)
def test_there_and_back_and_to_the_end(
    make: Callable[[], list[Object]],
    cluster: dict[str, Any],
    told: dict[str, Any],
    says: set[str],
    left: tuple[str, ...],
) -> None:
    """Found and judged; a node goes there, the cluster back as it was, then all is migrated.

    In the end hosts have nothing of Canal's, and all that is left in the API is named.
    """

    async def main() -> None:
        async with Simulation(_scenario(make(), **cluster)) as sim:
            canal, config, found = await looked_at(sim)
            assert {key: getattr(canal, key) for key in told} == told
            assert {one.id for one in found if one.severity is not Severity.INFO} == says
            await there_and_back(sim, config)
            assert await Process(sim, config).run() == DONE
            assert await _left(sim, config) == tuple(sorted(left))
            for host in sim.world.ctx.net.hosts.values():
                plane = host.plane
                every = (*plane.files, *plane.links, *plane.chains, *plane.ipsets, *plane.left)
                assert [one for one in every if any(word in one.lower() for word in WORDS)] == []

    run_virtual(main())


WORDS = ("cali", "flannel", "canal", "k8s-pod-network", "cni0", "cbr0")
"""By these what Canal lays on hosts is known."""
