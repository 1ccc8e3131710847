"""Canals that are made otherwise than the usual one: another network's name, several DaemonSets."""

import random
from typing import Any

import pytest

from cni_migrate.config import Config
from cni_migrate.core.model.canal import settled
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.kube.canal import found_canal
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.inprocess import close_api, in_process_api
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from tests.simulation.harness import SMALL, Mortal, Process, SimulatedClock, config_for, simulated, there_and_back
from tests.simulation.outcome import outcome
from tests.unit.sim_world.shapes import calico_node, flannel_alone, net_conf_of, published

STRATEGIES = ["multus", "overlay"]


def _of(canal: dict[str, Any], node: str, labels: dict[str, str]) -> Scenario:
    """The small cluster with this Canal, and labels of one of its nodes."""
    nodes = [
        one.model_copy(update={"labels": {**one.labels, **labels}}) if one.name == node else one
        for one in (SMALL.nodes if isinstance(SMALL.nodes, list) else ())
    ]
    return SMALL.model_copy(update={"canal": SMALL.canal.model_validate(canal), "nodes": nodes})


def _left_over(sim: Simulation) -> dict[str, set[str]]:
    """Leased addresses of each node that none of its pods has."""
    taken = {
        ip["ip"]
        for stored in sim.store.select(sim.app.catalog.find("", "v1", "pods"))
        for ip in stored.object["status"].get("podIPs", [])
    }
    return {name: left for name, host in sim.world.ctx.net.hosts.items() if (left := set(host.leases) - taken)}


async def _there_back_and_there_again(scenario: Scenario, config: Config) -> None:
    """Migrate the workers, roll all back to what was found, then migrate everything."""
    async with simulated(scenario, config) as (sim, watch):
        before = outcome(sim, config)
        workers = Goal(wanted=lambda node: node.name != "cp1", partial=True)
        final = await Process(sim, config, goal=workers).run()
        assert final is not None
        assert "1 more to go" in final.message
        final = await Process(sim, config, goal=Goal(kind="rollback")).run()
        assert final is not None
        assert (final.outcome, final.message) == ("done", "the cluster is as it was found")
        assert outcome(sim, config) == before
        final = await Process(sim, config).run()
        assert final == Final("done", "the cluster runs on Cilium; the audit is clean", "")
        watch.check()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", ["cbr0", "cni0"])
def test_leases_are_those_of_the_network_that_the_conflist_names(strategy: str, name: str) -> None:
    """Attached, and back again, no address is leased to a pod that is gone; clean-up removes that network's folder."""

    async def main() -> None:
        config = config_for(strategy, canal={"network_name": name})
        async with simulated(_of({"cni_name": name}, "", {}), config) as (sim, _):
            await Process(sim, config, goal=Goal(until=Phase.ATTACHING)).run()
            assert _left_over(sim) == {}
            await Process(sim, config, goal=Goal(wanted=lambda node: node.name == "w1", partial=True)).run()
            assert set(_left_over(sim)) == {"w1"}, "pods that were deleted while Cilium was in force"
            final = await Process(sim, config, goal=Goal(kind="rollback_node", node="w1")).run()
            assert final == Final("done", "node w1 is back: dual", "migrate run")
            assert _left_over(sim) == {}
            final = await Process(sim, config).run()
            assert final == Final("done", "the cluster runs on Cilium; the audit is clean", "")
            for host in sim.world.ctx.net.hosts.values():
                assert host.leases == {}
                assert [path for path in host.plane.left if name in path or "networks" in path] == []

    run_virtual(main())


BY_ARCHITECTURE = {"daemonset": "canal-amd64", "more_daemonsets": ["kube-system/canal-arm64"]}
SPLIT = {"daemonset": "kube-flannel", "more_daemonsets": ["kube-system/canal"]}


@pytest.mark.parametrize(
    ("strategy", "canal", "settings"),
    [
        pytest.param("multus", {"architectures": ["amd64", "arm64"]}, BY_ARCHITECTURE, id="multus-architectures"),
        pytest.param(
            "overlay",
            {"published": True, "architectures": ["amd64", "arm64"]},
            BY_ARCHITECTURE,
            id="overlay-architectures",
        ),
        pytest.param("overlay", {"published": True, "split": True}, SPLIT, id="overlay-split"),
    ],
)
def test_a_canal_of_several_daemonsets_comes_back(
    strategy: str, canal: dict[str, Any], settings: dict[str, Any]
) -> None:
    """Two nodes of two architectures are migrated, then all goes back; a new run succeeds."""
    scenario = _of(canal, "w2", {"kubernetes.io/arch": "arm64"})
    run_virtual(_there_back_and_there_again(scenario, config_for(strategy, canal=settings)))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_flannel_that_tolerates_no_eviction_comes_back(strategy: str) -> None:
    """Flannel's own manifest tolerates NoSchedule alone: with the taint found for it, there and back and there again."""
    tolerations = [{"operator": "Exists", "effect": "NoSchedule"}]
    objects = flannel_alone(tolerations=tolerations)
    settings = {
        "daemonset": "kube-flannel-ds",
        "namespace": "kube-flannel",
        "cni_file": "10-flannel.conflist",
        "network_name": "cbr0",
    }
    config = config_for(strategy, canal=settings, drain={"taint_effect": "NoSchedule"})
    run_virtual(_there_back_and_there_again(_of({"objects": objects}, "", {}), config))


async def _found(sim: Simulation) -> Config:
    """The configuration of somebody who says nothing of Canal: with what the cluster tells."""
    api = await in_process_api(Mortal(sim), timeout=30)
    try:
        async with KubeCluster(api, config_for("overlay"), SimulatedClock(sim), random.Random(1)) as cluster:
            nodes = cluster.snapshot().nodes.values()
            canal = await found_canal(
                cluster.client,
                [node.pod_cidr for node in nodes],
                [node.internal_ip for node in nodes],
                [config_for("overlay").cilium.pod_cidr],
            )
    finally:
        await close_api(api)
    return settled(config_for("overlay"), {"strategy"}, canal)


SPLIT_OFF = published("calico-node", "calico-config", containers=[calico_node()])
"""Calico for policies alone, beside a flannel of its own."""


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param(published("rke2-canal", "rke2-canal-config"), id="other-names"),
        pytest.param(published(net_conf=net_conf_of("10.0.0.0/8", VNI=4096, Port=4789), file=""), id="other-numbers"),
        pytest.param(published(folder="/var/lib/rancher/k3s/agent/etc/cni/net.d"), id="other-folder"),
        pytest.param([*flannel_alone("kube-flannel-ds-amd64", "kube-system"), *SPLIT_OFF], id="split"),
    ],
)
def test_what_is_found_is_enough_to_go_there_and_back(objects: list[dict[str, Any]]) -> None:
    """Nothing is said of Canal: a node goes there, the cluster back as it was, then to the clean audit."""

    async def main() -> None:
        async with Simulation(_of({"objects": objects}, "", {})) as sim:
            config = await _found(sim)
            await there_and_back(sim, config)
            final = await Process(sim, config).run()
            assert final == Final("done", "the cluster runs on Cilium; the audit is clean", "")
            for host in sim.world.ctx.net.hosts.values():
                assert [name for name in host.plane.files if "cilium.conflist" not in name] == []

    run_virtual(main())


def test_nodes_that_join_have_room_in_a_part_that_is_guessed() -> None:
    """Flannel's Network holds Services: callers on nodes that join later are known to policies like all others."""

    async def main() -> None:
        wide = _of({"objects": published(net_conf=net_conf_of("10.0.0.0/8"))}, "", {})
        join = [{"when": {"node": "w1", "cordoned": True}, "join": {"name": name}} for name in ("w3", "w4")]
        scenario = Scenario.model_validate(wide.model_dump(exclude_unset=True) | {"faults": join})
        async with Simulation(scenario) as sim:
            config = await _found(sim)
            final = await Process(sim, config).run()
            assert final == Final("done", "the cluster runs on Cilium; the audit is clean", "")

    run_virtual(main())
