"""Canal in the shape in which Calico publishes it: what is on its nodes, in the API, and what its pods need."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds, meta
from cni_migrate.sim.world.canalmanifests import canal_objects
from cni_migrate.sim.world.host import CALICO_NODENAME, LEASE_FOLDER
from cni_migrate.sim.world.hosttask import status
from tests.unit.sim_world.install import pods_on, restart

Object = dict[str, Any]


def scenario(**canal: Any) -> Scenario:
    """Three nodes with a published Canal and one pod on each."""
    return Scenario.model_validate(
        {"nodes": 3, "canal": {"published": True, **canal}, "workloads": [{"kind": "daemonset", "name": "app"}]}
    )


def run(given: Scenario, test: Callable[[Simulation], Awaitable[None]]) -> None:
    """Run a test in a simulation on virtual time."""

    async def main() -> None:
        async with Simulation(given) as sim:
            await sim.world.idle()
            await test(sim)

    run_virtual(main())


async def readiness(sim: Simulation) -> dict[str, bool]:
    """Which nodes are Ready."""
    found, _ = await sim.client.list(kinds.NODE)
    return {meta.name(node): meta.ready(node) for node in found}


def test_at_the_start_all_is_as_its_own_install_would_have_left_it() -> None:
    """A restart of every Canal pod changes nothing on any node and nothing in the API but the pods themselves."""

    async def test(sim: Simulation) -> None:
        before = {name: host.plane for name, host in sim.world.ctx.net.hosts.items()}
        for node in before:
            await restart(sim, node, "canal-")
        assert {name: host.plane for name, host in sim.world.ctx.net.hosts.items()} == before
        assert await readiness(sim) == {"w1": True, "w2": True, "w3": True}

    run(scenario(), test)


def test_the_template_is_filled_in() -> None:
    """The MTU is a number, node and credentials are named, and the file has the name that the installer was given."""

    async def test(sim: Simulation) -> None:
        plane = sim.world.host("w2").plane
        assert sorted(plane.files) == ["10-other.conflist", "calico-kubeconfig"]
        plugin = json.loads(plane.files["10-other.conflist"])["plugins"][0]
        assert (plugin["mtu"], plugin["nodename"]) == (0, "w2")
        assert plugin["kubernetes"] == {"kubeconfig": "/etc/cni/net.d/calico-kubeconfig"}

    run(scenario(cni_file="10-other.conflist"), test)


def test_the_published_canal_replaces_another_one() -> None:
    """Applied to a cluster with flannel's plugin: its nodes stay Ready, and new pods are made by Calico's plugin."""

    async def test(sim: Simulation) -> None:
        for manifest in canal_objects(scenario()):
            if manifest["kind"] in ("ConfigMap", "DaemonSet"):
                kind = kinds.CONFIG_MAP if manifest["kind"] == "ConfigMap" else kinds.DAEMON_SET
                await sim.client.patch(kind, meta.name(manifest), manifest, "kube-system")
        await sim.world.idle()
        assert await readiness(sim) == {"w1": True, "w2": True, "w3": True}
        await restart(sim, "w1", "app-")
        (pod,) = await pods_on(sim, "w1", "app-")
        made = sim.world.sandbox(*meta.key(pod))
        assert made is not None
        assert not made.bridged
        assert meta.ready(pod)

    run(Scenario.model_validate({"nodes": 3, "calico": False, "workloads": scenario().workloads}), test)


def test_the_host_sees_nothing_of_flannels_run_folder() -> None:
    """Its subnet file is not there, flannel's link and routes are; Calico's plugin finds all it reads."""

    async def test(sim: Simulation) -> None:
        report = status(sim.world.host("w1"))
        assert not sim.world.host("w1").plane.subnet_file
        assert report["links"] == ["flannel.1"]
        assert report["routed"] is True
        assert report["lacks"] == []

    run(scenario(), test)


NEEDS: list[tuple[str, Callable[[Simulation], object], str]] = [
    ("calico-node's file", lambda sim: _forget(sim, CALICO_NODENAME), "stat /var/lib/calico/nodename: no such file"),
    ("credentials", lambda sim: sim.world.host("w1").remove_files("calico-kubeconfig"), "calico-kubeconfig: no such"),
]


def _forget(sim: Simulation, path: str) -> bool:
    host = sim.world.host("w1")
    return host.change(left=host.plane.left - {path})


@pytest.mark.parametrize(("what", "take", "words"), NEEDS, ids=[row[0] for row in NEEDS])
def test_without_it_no_pod_starts(what: str, take: Callable[[Simulation], object], words: str) -> None:
    """Calico's plugin says what it lacks; with a new Canal pod on the node all is well again."""

    async def test(sim: Simulation) -> None:
        take(sim)
        (lacking,) = cast("list[str]", status(sim.world.host("w1"))["lacks"])
        assert lacking in words or lacking.endswith(words.partition(":")[0])
        await restart(sim, "w1", "app-")
        (pod,) = await pods_on(sim, "w1", "app-")
        assert words in pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
        await restart(sim, "w1", "canal-")
        (pod,) = await pods_on(sim, "w1", "app-")
        assert meta.ready(pod)

    run(scenario(), test)


def test_after_a_boot_pods_wait_for_calico_node() -> None:
    """The node's chains, sets and links are gone until Canal's pod is back; its credentials and files stay."""

    async def test(sim: Simulation) -> None:
        await sim.world.machines.power_off("w1")
        host = sim.world.host("w1")
        host.boot()
        assert (host.plane.chains, host.plane.ipsets, host.plane.links) == (frozenset(), frozenset(), frozenset())
        assert CALICO_NODENAME not in host.plane.left
        assert "calico-kubeconfig" in host.plane.files

    run(scenario(), test)


@pytest.mark.parametrize("name", ["k8s-pod-network", "cbr0"])
def test_addresses_are_leased_under_the_name_in_the_file(name: str) -> None:
    """Somebody who looks where another network's leases are finds none, and frees none."""

    async def test(sim: Simulation) -> None:
        await restart(sim, "w1", "app-")
        host = sim.world.host("w1")
        assert f"/var/lib/cni/networks/{name}" in host.plane.left
        assert (LEASE_FOLDER in host.plane.left) is (name == "k8s-pod-network")
        assert (status(host)["leases"] != []) is (name == "k8s-pod-network")

    run(scenario(cni_name=name), test)


def test_flannels_settings_show_on_nodes() -> None:
    """VNI and port are those of its ConfigMap, and its network may be wider than the pods' part."""

    async def test(sim: Simulation) -> None:
        node = await sim.client.get(kinds.NODE, "w1")
        assert json.loads(node["metadata"]["annotations"]["flannel.alpha.coreos.com/backend-data"])["VNI"] == 4096
        plane = sim.world.host("w1").plane
        assert (plane.vtep, plane.vtep_port) == ("flannel.4096", 4789)
        assert sim.world.ctx.pod_network == "10.0.0.0/8"
        assert "flannel.4096" in plane.links
        one, two = [sim.world.sandbox(*meta.key((await pods_on(sim, n, "app-"))[0])) for n in ("w1", "w2")]
        assert one is not None
        assert two is not None
        assert sim.world.reach(one, two.ip) == ""

    async def test_after_restarts(sim: Simulation) -> None:
        for name in ("w1", "w2", "w3"):
            await restart(sim, name, "canal-")
        await test(sim)

    run(scenario(network="10.0.0.0/8", vni=4096, port=4789), test_after_restarts)


def test_without_a_tunnel_flannel_routes_plainly() -> None:
    """`host-gw` has no link, and pods reach each other all the same."""

    async def test(sim: Simulation) -> None:
        assert sim.world.host("w1").plane.links == frozenset()
        one, two = [sim.world.sandbox(*meta.key((await pods_on(sim, n, "app-"))[0])) for n in ("w1", "w2")]
        assert one is not None
        assert two is not None
        assert sim.world.reach(one, two.ip) == ""

    run(scenario(backend="host-gw"), test)


def test_two_daemon_sets_make_one_canal() -> None:
    """Flanneld in one pod, calico-node with the installer in another: each does its own part."""

    async def test(sim: Simulation) -> None:
        before = sim.world.host("w1").plane
        await restart(sim, "w1", "kube-flannel-")
        await restart(sim, "w1", "canal-")
        assert sim.world.host("w1").plane == before
        assert before.flanneld
        assert before.felix

    run(scenario(split=True), test)


def test_one_daemon_set_per_architecture() -> None:
    """Every node has one Canal pod, of its own architecture's DaemonSet."""
    nodes = [{"name": "w1"}, {"name": "w2", "labels": {"kubernetes.io/arch": "arm64"}}]
    canal = {"published": True, "architectures": ["amd64", "arm64"]}

    async def test(sim: Simulation) -> None:
        found = [[meta.name(pod)[:11] for pod in await pods_on(sim, node, "canal-")] for node in ("w1", "w2")]
        assert found == [["canal-amd64"], ["canal-arm64"]]
        assert await readiness(sim) == {"w1": True, "w2": True}

    run(Scenario.model_validate({"nodes": nodes, "canal": canal}), test)


def test_an_owner_puts_its_daemon_set_back() -> None:
    """A changed node selector is as it was ten seconds later; so is a DaemonSet that was deleted."""

    async def test(sim: Simulation) -> None:
        before = await sim.client.get(kinds.DAEMON_SET, "canal", "kube-system")
        body: Object = {"spec": {"template": {"spec": {"nodeSelector": {"no": "node"}}}}}
        await sim.client.patch(kinds.DAEMON_SET, "canal", body, "kube-system")
        await asyncio.sleep(8)
        assert await pods_on(sim, "w1", "canal-") == []
        await asyncio.sleep(8)
        after = await sim.client.get(kinds.DAEMON_SET, "canal", "kube-system")
        assert after["spec"] == before["spec"]
        assert len(await pods_on(sim, "w1", "canal-")) == 1
        await sim.client.delete(kinds.DAEMON_SET, "canal", "kube-system")
        await asyncio.sleep(15)
        assert len(await pods_on(sim, "w1", "canal-")) == 1

    run(scenario(owner_restores_after="10s"), test)


def test_calicos_own_objects_are_in_the_api() -> None:
    """22 resources, controllers with a budget, two more accounts, five roles."""

    async def test(sim: Simulation) -> None:
        crds, _ = await sim.client.list(kinds.CRD)
        assert len([one for one in crds if meta.name(one).endswith(".crd.projectcalico.org")]) == 22
        controllers = await sim.client.get(kinds.DEPLOYMENT, "calico-kube-controllers", "kube-system")
        assert controllers["status"]["readyReplicas"] == 1
        assert (await sim.client.get(kinds.BUDGET, "calico-kube-controllers", "kube-system"))["spec"]
        accounts, _ = await sim.client.list(kinds.SERVICE_ACCOUNT, namespace="kube-system")
        assert {"canal", "calico-cni-plugin", "calico-kube-controllers"} <= {meta.name(one) for one in accounts}
        roles, _ = await sim.client.list(kinds.CLUSTER_ROLE)
        assert len([one for one in roles if meta.name(one).startswith(("calico-", "flannel"))]) == 5

    run(scenario(), test)
