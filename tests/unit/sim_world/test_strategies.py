"""Both ways of having two networks, as far as agents, files and policies show them."""

import asyncio
import json
from typing import Any

import pytest

from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds, meta
from cni_migrate.sim.world.ciliumoperator import served_v2
from cni_migrate.sim.world.knet import Agent, AgentConfig, Roster
from cni_migrate.sim.world.timings import Timings
from tests.unit.sim_world.install import (
    FIRST,
    SECOND,
    apply,
    cilium_config,
    daemon_set,
    first_cilium,
    install_cilium,
    knet_objects,
    label,
    lines,
    multus,
    operator,
    pods_on,
    restart,
    second_cilium,
)

Object = dict[str, Any]
NODES = ("w1", "w2", "w3")
SMALL = Scenario.model_validate({"nodes": 3, "workloads": [{"kind": "daemonset", "name": "app"}]})


async def attach(sim: Simulation) -> None:
    """Every node dual, as with strategy multus."""
    await apply(sim, *knet_objects())
    await install_cilium(sim, custom_cni_conf="false", enable_policy="default")
    await apply(sim, (kinds.DAEMON_SET, first_cilium()), (kinds.DAEMON_SET, multus()))
    await apply(sim, (kinds.DAEMON_SET, second_cilium()))
    for node in NODES:
        await label(sim, node, dict(FIRST))
    await sim.world.idle()
    for node in NODES:
        for prefix in ("knet", "app", "coredns"):
            await restart(sim, node, prefix)


async def switch(sim: Simulation, node: str) -> None:
    """One node to Cilium alone."""
    await label(sim, node, dict.fromkeys(FIRST))
    await sim.world.idle()
    await label(sim, node, dict(SECOND))
    await sim.world.idle()
    for prefix in ("knet", "app", "coredns"):
        await restart(sim, node, prefix)
    await asyncio.sleep(5)


async def bad(sim: Simulation) -> dict[tuple[str, str], list[Object]]:
    return {
        (node, mesh): found[-1]["bad"] for node in NODES for mesh in "ab" if (found := await lines(sim, node, mesh, 2))
    }


def test_multus_node_by_node() -> None:
    """Without identities for dual pods, allowed callers of migrated ones are taken for strangers."""

    async def run() -> None:
        async with Simulation(SMALL) as sim:
            await sim.world.idle()
            await attach(sim)
            await asyncio.sleep(5)
            assert set(map(str, (await bad(sim)).values())) == {"[]"}
            (line,) = await lines(sim, "w1", "a", 1)
            # 5 peers with 4 probes each, 3 guarded ones, what is shared, 3 nodes
            assert line["shared"] == ["api", "dns", "guard", "kubelet", "nodeport", "service"]
            assert line["sent"] == 5 * 4 + 3 + 6 + 3
            await switch(sim, "w1")
            assert sorted({*sim.world.host("w1").plane.files} - {"calico-kubeconfig"}) == [
                "00-cilium.conflist",
                "10-canal.conflist.cilium_bak",
                "99-cilium.conflist.cilium_bak",
            ]
            found = await bad(sim)
            refused = {(*who, one["peer"], one["kind"]) for who, all_bad in found.items() for one in all_bad}
            by_address = {(n, "a", "w1/b", "policy_allow") for n in ("w2", "w3")}
            by_service = {(n, "a", "guard", "policy_allow") for n in ("w2", "w3")}  # where it leads to w1
            assert by_address <= refused <= by_address | by_service
            await switch(sim, "w2")
            await switch(sim, "w3")
            assert set(map(str, (await bad(sim)).values())) == {"[]"}

    run_virtual(run())


async def ready(sim: Simulation) -> set[str]:
    """The nodes whose agent is Ready."""
    found = {node: [meta.ready(pod) for pod in await pods_on(sim, node, "cilium-")] for node in NODES}
    return {node for node, states in found.items() if states and all(states)}


def test_two_vxlans_on_one_port_crash() -> None:
    async def run() -> None:
        async with Simulation("same-port") as sim:
            await install_cilium(sim)
            await apply(sim, (kinds.DAEMON_SET, daemon_set("cilium", "cilium-agent")))
            await asyncio.sleep(120)
            (pod,) = await pods_on(sim, "w1", "cilium-")
            (state,) = pod["status"]["containerStatuses"]
            assert state["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            assert "address already in use" in state["state"]["waiting"]["message"]
            assert not sim.world.host("w1").plane.agent

    run_virtual(run())


@pytest.mark.parametrize("looks", [True, False])
def test_a_second_agent_waits_for_the_first_if_it_looks(looks: bool) -> None:
    """With /proc in an init container it can see the other one's process; otherwise it finds the port taken."""

    async def run() -> None:
        async with Simulation(SMALL) as sim:
            await install_cilium(sim, custom_cni_conf="false")
            second = second_cilium()
            if looks:
                spec = second["spec"]["template"]["spec"]
                spec["volumes"] = [{"name": "hostproc", "hostPath": {"path": "/proc"}}]
                mounts = [{"name": "hostproc", "mountPath": "/hostproc"}]
                spec["initContainers"] = [{"name": "config", "image": "example.com/x:1", "volumeMounts": mounts}]
            await apply(sim, (kinds.DAEMON_SET, first_cilium()), (kinds.DAEMON_SET, second))
            await label(sim, "w1", dict(FIRST))
            await sim.world.idle()
            await label(sim, "w1", dict(SECOND))
            await asyncio.sleep(30)

            async def pod() -> Object:
                found = await pods_on(sim, "w1", "cilium-")
                (own,) = [one for one in found if one["metadata"]["labels"]["app"] == second["metadata"]["name"]]
                return own

            assert not meta.ready(await pod())
            states = [one["state"] for one in (await pod()).get("status", {}).get("containerStatuses", [])]
            assert any("address already in use" in str(state) for state in states) is not looks
            await label(sim, "w1", dict.fromkeys(FIRST))
            await asyncio.sleep(90)
            assert meta.ready(await pod())

    run_virtual(run())


@pytest.mark.parametrize("looks", [True, False])
def test_the_successor_of_an_agent_that_was_deleted_at_once_waits_for_it_if_it_looks(looks: bool) -> None:
    """Its DaemonSet makes the next pod while the last one's agent still ends, here for longer than the next one needs."""
    slow = SMALL.model_copy(update={"timings": Timings(pod_start=1.0, pod_stop=4.0)})

    async def run() -> None:
        async with Simulation(slow) as sim:
            await install_cilium(sim)
            cilium = daemon_set("cilium", "cilium-agent")
            spec = cilium["spec"]["template"]["spec"]
            spec["volumes"] = [{"name": "hostproc", "hostPath": {"path": "/proc"}}]
            if looks:
                spec["containers"][0]["volumeMounts"] = [{"name": "hostproc", "mountPath": "/hostproc"}]
            await apply(sim, (kinds.DAEMON_SET, cilium))
            await sim.world.idle()
            (old,) = await pods_on(sim, "w1", "cilium-")
            await sim.client.delete(kinds.POD, old["metadata"]["name"], old["metadata"]["namespace"], grace=0)
            await asyncio.sleep(0.5)
            (new,) = await pods_on(sim, "w1", "cilium-")
            assert meta.uid(new) != meta.uid(old)
            await asyncio.sleep(60)
            (new,) = await pods_on(sim, "w1", "cilium-")
            assert meta.ready(new)
            (state,) = new["status"]["containerStatuses"]
            assert (state["restartCount"] == 0) is looks, "otherwise it runs into the ports of the other one"

    run_virtual(run())


def test_without_an_operator_agents_wait() -> None:
    async def run() -> None:
        async with Simulation(SMALL) as sim:
            await apply(sim, (kinds.CONFIG_MAP, cilium_config()))
            await apply(sim, (kinds.DAEMON_SET, daemon_set("cilium", "cilium-agent")))
            await asyncio.sleep(60)
            assert await ready(sim) == set()
            await apply(sim, (kinds.DEPLOYMENT, operator()))
            await sim.world.idle()
            assert await ready(sim) == set(NODES)
            nodes, _ = await sim.client.list(kinds.CILIUM_NODE)
            assert sorted(node["spec"]["ipam"]["podCIDRs"][0] for node in nodes) == [
                "10.245.0.0/24",
                "10.245.1.0/24",
                "10.245.2.0/24",
            ]

    run_virtual(run())


@pytest.mark.parametrize(
    ("image", "newer"), [("x:v1.15.19", False), ("x:v1.16.0@sha256:00", True), ("x:v1.7.2", False), ("x:latest", False)]
)
def test_which_operator_serves_v2(image: str, newer: bool) -> None:
    async def run() -> None:
        assert served_v2(image) is newer
        async with Simulation(SMALL) as sim:
            await apply(sim, (kinds.DEPLOYMENT, operator(image)))
            await sim.world.idle()
            crd = await sim.client.get(kinds.CRD, "ciliumnodeconfigs.cilium.io")
            names = {version["name"] for version in crd["spec"]["versions"]}
            assert names == ({"v2", "v2alpha1"} if newer else {"v2alpha1"})

    run_virtual(run())


def test_endpoints_come_and_go_with_pods() -> None:
    async def run() -> None:
        async with Simulation(SMALL) as sim:
            await sim.world.idle()
            await attach(sim)
            endpoints, _ = await sim.client.list(kinds.CILIUM_ENDPOINT)
            pods, _ = await sim.client.list(kinds.POD)
            expected = {meta.key(pod) for pod in pods if not meta.host_network(pod)}
            assert {meta.key(endpoint) for endpoint in endpoints} == expected
            await sim.client.delete(kinds.DAEMON_SET, "app", "default")
            await sim.world.idle()
            endpoints, _ = await sim.client.list(kinds.CILIUM_ENDPOINT, namespace="default")
            assert endpoints == []

    run_virtual(run())


def test_a_host_task_reports_in_its_termination_message() -> None:
    async def run() -> None:
        async with Simulation(SMALL) as sim:
            spec = {
                "nodeName": "w1",
                "hostNetwork": True,
                "restartPolicy": "Never",
                "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "host-task", "image": "x:1", "args": ["remove-cni=10-canal.conflist"]}],
            }
            await apply(sim, (kinds.POD, {"metadata": {"name": "t", "namespace": "default"}, "spec": spec}))
            await sim.world.idle()
            pod = await sim.client.get(kinds.POD, "t", "default")
            assert pod["status"]["phase"] == "Succeeded"
            ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
            assert json.loads(ended["message"])["files"] == ["calico-kubeconfig"]
            node = await sim.client.get(kinds.NODE, "w1")
            assert meta.condition(node, "Ready")["reason"] == "KubeletNotReady"
            keys = {(taint["key"], taint["effect"]) for taint in meta.taints(node)}
            assert keys == {("node.kubernetes.io/not-ready", effect) for effect in ("NoSchedule", "NoExecute")}

    run_virtual(run())


def test_the_ring_is_symmetric_and_small() -> None:
    roster = Roster()
    config = AgentConfig(full_mesh_max=12, degree=4, seed="s")
    agents = {}
    for number in range(40):
        agent = Agent(f"n{number}", "a", "knet", f"p{number}", f"u{number}", config)
        agents[agent.node] = agent
        roster.put(agent.node, "a", agent, 1.0)
    near = {node: set(roster.neighbours(agent, 2.0)) - {node} for node, agent in agents.items()}
    assert {len(found) for found in near.values()} == {4}
    assert all(node in near[other] for node, found in near.items() for other in found)
    gone = min(near["n0"])
    roster.put(gone, "a", None, 3.0)
    assert gone not in roster.neighbours(agents["n0"], 3.0)
    assert gone in roster.neighbours(agents["n0"], 2.5)


def test_a_ready_agent_takes_its_taint_away() -> None:
    async def run() -> None:
        async with Simulation(SMALL) as sim:
            taint = {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoExecute"}
            await sim.client.patch(kinds.NODE, "w1", {"spec": {"taints": [taint]}})
            await install_cilium(sim)
            await apply(sim, (kinds.DAEMON_SET, daemon_set("cilium", "cilium-agent")))
            await sim.world.idle()
            assert meta.taints(await sim.client.get(kinds.NODE, "w1")) == []

    run_virtual(run())


@pytest.mark.parametrize("uninstall", ["true", "false"])
def test_an_agent_may_take_its_file_along(uninstall: str) -> None:
    async def run() -> None:
        async with Simulation(SMALL) as sim:
            await install_cilium(sim, cni_uninstall=uninstall)
            await apply(sim, (kinds.DAEMON_SET, first_cilium()))
            await label(sim, "w1", dict(FIRST))
            await sim.world.idle()
            assert "99-cilium.conflist" in sim.world.host("w1").plane.files
            await label(sim, "w1", dict.fromkeys(FIRST))
            await sim.world.idle()
            assert ("99-cilium.conflist" in sim.world.host("w1").plane.files) is (uninstall == "false")

    run_virtual(run())


@pytest.mark.parametrize("interval", ["0", "15"])
def test_the_operator_may_restart_unmanaged_dns_pods(interval: str) -> None:
    async def run() -> None:
        async with Simulation(SMALL) as sim:
            before, _ = await sim.client.list(kinds.POD, namespace="kube-system", label_selector="k8s-app=kube-dns")
            await install_cilium(sim, unmanaged_pod_watcher_interval=interval)
            await apply(sim, (kinds.DAEMON_SET, daemon_set("cilium", "cilium-agent")))
            await asyncio.sleep(40)
            after, _ = await sim.client.list(kinds.POD, namespace="kube-system", label_selector="k8s-app=kube-dns")
            same = {meta.uid(pod) for pod in before} == {meta.uid(pod) for pod in after}
            assert same is (interval == "0")

    run_virtual(run())


def test_a_deletion_during_a_power_cut_releases_the_lease_later() -> None:
    async def run() -> None:
        async with Simulation(SMALL) as sim:
            await sim.world.idle()
            (pod,) = await pods_on(sim, "w1", "app")
            await sim.world.machines.power_off("w1")
            await sim.client.delete(kinds.POD, meta.name(pod), "default")
            await asyncio.sleep(5)
            sim.world.machines.power_on("w1")
            await sim.world.idle()
            assert meta.uid(pod) not in set(sim.world.host("w1").leases.values())

    run_virtual(run())
