"""What each fault does to the world, and that it ends when it is to end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds, meta
from tests.unit.sim_world.install import apply, knet_objects, lines, pods_on

Object = dict[str, Any]
Test = Callable[[Simulation], Awaitable[None]]


def with_faults(*faults: Object, **values: Any) -> Callable[[Test], Callable[[], None]]:
    """Run a test on three nodes with agents; the faults' clock starts when the agents are up, at 20 s."""

    def decorate(test: Test) -> Callable[[], None]:
        async def run() -> None:
            async with Simulation(Scenario.model_validate({"nodes": 3, "faults": list(faults), **values})) as sim:
                await apply(sim, *knet_objects())
                await asyncio.sleep(19)
                await test(sim)

        def wrapper() -> None:
            run_virtual(run())

        wrapper.__doc__ = test.__doc__
        return wrapper

    return decorate


async def kinds_of(sim: Simulation, node: str, mesh: str = "a") -> set[tuple[str, str]]:
    """Peers and kinds of the bad probes in an agent's last round."""
    (line,) = await lines(sim, node, mesh, 1)
    return {(one["peer"], one["kind"]) for one in line["bad"]}


def towards(*peers: str, kinds: tuple[str, ...] = ("http", "udp", "tcp")) -> set[tuple[str, str]]:
    return {(peer, kind) for peer in peers for kind in kinds}


@with_faults({"at": 20, "large_lost": {"network": "canal"}, "lasts": "10s"})
async def test_large_packets(sim: Simulation) -> None:
    assert await kinds_of(sim, "w1") == set()
    await asyncio.sleep(5)
    expected = towards("w2/a", "w2/b", "w3/a", "w3/b", kinds=("http_large",))
    assert await kinds_of(sim, "w1") == expected
    (line,) = await lines(sim, "w1", "a", 1)
    assert {one["since"] for one in line["bad"]} == {min(one["since"] for one in line["bad"])}
    assert "2030-01-01T00:00:20.0" <= line["bad"][0]["since"] < "2030-01-01T00:00:20.6"
    await asyncio.sleep(10)
    assert await kinds_of(sim, "w1") == set()


@with_faults({"at": 20, "udp_lost": {"node": "w3"}})
async def test_udp(sim: Simulation) -> None:
    await asyncio.sleep(5)
    assert await kinds_of(sim, "w1") >= towards("w3/a", "w3/b", kinds=("udp",))
    assert await kinds_of(sim, "w1") <= towards("w3/a", "w3/b", kinds=("udp",)) | {("dns", "dns")}


@with_faults({"at": 20, "deaf": {"node": "w2"}, "lasts": "3s"})
async def test_a_deaf_node_and_the_stalls_it_leaves(sim: Simulation) -> None:
    await asyncio.sleep(3)
    allowed = {("w2/b", "policy_allow"), ("service", "service"), ("guard", "policy_allow"), ("dns", "dns")}
    found = await kinds_of(sim, "w1")
    assert towards("w2/a", "w2/b") <= found <= towards("w2/a", "w2/b") | allowed
    await asyncio.sleep(3)
    stalls = [stall for line in await lines(sim, "w1", "a", 12) for stall in line["stalls"]]
    assert {stall["peer"] for stall in stalls} == {"w2/a", "w2/b"}
    assert 2900 <= max(stall["ms"] for stall in stalls) <= 4000
    assert not (await lines(sim, "w1", "a", 1))[0]["stalls"]


@with_faults({"at": 20, "dns_down": True})
async def test_dns(sim: Simulation) -> None:
    assert await kinds_of(sim, "w1") == set()
    await asyncio.sleep(5)
    assert await kinds_of(sim, "w1") == {("dns", "dns")}


@with_faults({"at": 20, "delete_link": {"node": "w1", "name": "flannel.1"}})
async def test_a_link_that_disappears(sim: Simulation) -> None:
    await asyncio.sleep(5)
    assert towards("w2/a", "w2/b", "w3/a", "w3/b") <= await kinds_of(sim, "w1")
    assert towards("w1/a", "w1/b") <= await kinds_of(sim, "w2")


@with_faults({"at": 20, "delete_route": {"node": "w1", "name": "w2"}})
async def test_a_route_that_disappears(sim: Simulation) -> None:
    await asyncio.sleep(5)
    bad = {peer for peer, _ in await kinds_of(sim, "w1")}
    assert {"w2/a", "w2/b"} <= bad
    assert not {"w3/a", "w3/b"} & bad


@with_faults({"at": 20, "delete_file": {"node": "w1", "name": "10-canal.conflist"}})
async def test_a_file_that_disappears(sim: Simulation) -> None:
    await asyncio.sleep(5)
    node = await sim.client.get(kinds.NODE, "w1")
    assert meta.condition(node, "Ready")["reason"] == "KubeletNotReady"


def test_a_lease_that_disappears_gives_an_address_twice() -> None:
    async def run() -> None:
        async with Simulation(Scenario(nodes=1)) as sim:
            await apply(sim, *knet_objects())
            await sim.world.idle()
            host = sim.world.host("w1")
            victim = (await pods_on(sim, "w1", "knet-stress-a"))[0]
            address = victim["status"]["podIP"]
            fault = Scenario.model_validate({"faults": [{"delete_lease": {"node": "w1", "name": address}}]}).faults[0]
            await sim.faults.strike(fault)
            assert address not in host.leases
            pod = {"metadata": {"name": "twin"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
            await sim.client.create(kinds.POD, pod, "default")
            await sim.world.idle()
            assert (await sim.client.get(kinds.POD, "twin", "default"))["status"]["podIP"] == address
            owner = sim.world.ctx.net.owner(address, sim.world.ctx.now())
            assert owner is not None
            assert owner.name == "twin"

    run_virtual(run())


@with_faults({"at": 20, "never_ready": {"name": "knet-stress-a", "node": "w1"}, "lasts": "30s"})
async def test_never_ready(sim: Simulation) -> None:
    await asyncio.sleep(5)
    (pod,) = await pods_on(sim, "w1", "knet-stress-a")
    assert pod["status"]["phase"] == "Running"
    assert not meta.ready(pod)
    assert all(meta.ready(one) for one in await pods_on(sim, "w2"))
    await asyncio.sleep(30)
    (pod,) = await pods_on(sim, "w1", "knet-stress-a")
    assert meta.ready(pod)


@with_faults({"at": 20, "crash": {"name": "canal", "node": "w1", "message": "boom"}, "lasts": "30s"})
async def test_a_crash_loop(sim: Simulation) -> None:
    await asyncio.sleep(5)
    (pod,) = await pods_on(sim, "w1", "canal")
    waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting == {"reason": "CrashLoopBackOff", "message": "boom"}
    assert not sim.world.host("w1").plane.flanneld
    await asyncio.sleep(60)
    (pod,) = await pods_on(sim, "w1", "canal")
    assert meta.ready(pod)
    assert sim.world.host("w1").plane.flanneld


@with_faults({"at": 20, "kubelet_down": "w1", "lasts": "60s"})
async def test_a_kubelet_that_stops(sim: Simulation) -> None:
    await asyncio.sleep(50)
    assert not meta.ready(await sim.client.get(kinds.NODE, "w1"))
    assert await kinds_of(sim, "w2") == set()
    await asyncio.sleep(30)
    assert meta.ready(await sim.client.get(kinds.NODE, "w1"))


@with_faults({"at": 20, "power_off": "w1", "lasts": "60s"})
async def test_a_power_cut(sim: Simulation) -> None:
    await asyncio.sleep(5)
    assert meta.ready(await sim.client.get(kinds.NODE, "w1"))
    assert towards("w1/a", "w1/b") <= await kinds_of(sim, "w2")
    await asyncio.sleep(50)
    assert not meta.ready(await sim.client.get(kinds.NODE, "w1"))
    await asyncio.sleep(60)
    assert meta.ready(await sim.client.get(kinds.NODE, "w1"))
    assert await kinds_of(sim, "w2") == set()
    assert await kinds_of(sim, "w1") == set()


@with_faults({"at": 20, "join": {"name": "w9", "zone": "z", "labels": {"a": "b"}}, "lasts": "60s"})
async def test_a_node_that_comes_and_goes(sim: Simulation) -> None:
    await asyncio.sleep(30)
    node = await sim.client.get(kinds.NODE, "w9")
    assert meta.ready(node)
    assert meta.labels(node)["topology.kubernetes.io/zone"] == "z"
    assert await kinds_of(sim, "w9") == set()
    await asyncio.sleep(60)
    nodes, _ = await sim.client.list(kinds.NODE)
    assert [meta.name(one) for one in nodes] == ["w1", "w2", "w3"]
    assert await pods_on(sim, "w9") == []


@with_faults({"slow": {"node": "w1", "factor": 20}})
async def test_slowness(sim: Simulation) -> None:
    assert not any(meta.ready(pod) for pod in await pods_on(sim, "w1", "knet"))
    assert all(meta.ready(pod) for pod in await pods_on(sim, "w2", "knet"))


@with_faults({"when": {"pod_ready": "knet-stress/knet-stress-a", "node": "w2"}, "after": 2, "reboot": "w3"})
async def test_a_trigger_on_a_pod(sim: Simulation) -> None:
    assert sim.faults.struck == ["reboot"]
    await sim.world.idle()
    assert sim.world.host("w3").plane.boot == 1


def test_api_faults_are_handed_through() -> None:
    async def run() -> None:
        fault = {"api": {"path": "/pods", "code": 429, "retry_after": 3, "times": None}, "lasts": "5s"}
        async with Simulation(Scenario.model_validate({"nodes": 1, "faults": [fault]})) as sim:
            await asyncio.sleep(1)
            (rule,) = sim.app.hooks.faults
            assert (rule.code, rule.headers, rule.path) == (429, {"Retry-After": "3"}, "/pods")
            await asyncio.sleep(5)
            assert sim.app.hooks.faults == []

    run_virtual(run())


def test_a_finalizer_keeps_a_pod() -> None:
    async def run() -> None:
        workload = {"name": "keeper", "replicas": 1, "finalizers": ["example.com/never"]}
        async with Simulation(Scenario.model_validate({"nodes": 2, "workloads": [workload]})) as sim:
            await sim.world.idle()
            pods, _ = await sim.client.list(kinds.POD, namespace="default")
            await sim.client.delete(kinds.POD, meta.name(pods[0]), "default")
            await asyncio.sleep(600)
            left = await sim.client.get(kinds.POD, meta.name(pods[0]), "default")
            assert meta.terminating(left)
            assert len((await sim.client.list(kinds.POD, namespace="default"))[0]) == 2

    run_virtual(run())


@pytest.mark.parametrize("action", ["kubelet_down", "power_off", "reboot", "leave"])
def test_faults_on_nodes_that_are_gone_do_nothing(action: str) -> None:
    async def run() -> None:
        async with Simulation(Scenario.model_validate({"nodes": 1, "faults": [{action: "w7"}]})):
            await asyncio.sleep(60)

    run_virtual(run())


TRIGGERS: list[tuple[Object, Object]] = [
    ({"node": "w1", "label": "a"}, {"metadata": {"labels": {"a": "b"}}}),
    ({"node": "w1", "label": "a=b"}, {"metadata": {"labels": {"a": "b"}}}),
    ({"node": "w1", "label": "a="}, {"metadata": {"labels": {"a": ""}}}),
    ({"node": "w1", "cordoned": True}, {"spec": {"unschedulable": True}}),
    ({"node": "w1", "tainted": "k"}, {"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}),
]


@pytest.mark.parametrize(("when", "patch"), TRIGGERS)
def test_triggers_on_nodes(when: Object, patch: Object) -> None:
    async def run() -> None:
        fault = {"when": when, "dns_down": True}
        async with Simulation(Scenario.model_validate({"nodes": 2, "faults": [fault]})) as sim:
            await sim.client.patch(kinds.NODE, "w2", patch)
            await asyncio.sleep(5)
            assert sim.faults.struck == []
            await sim.client.patch(kinds.NODE, "w1", patch)
            await asyncio.sleep(5)
            assert sim.faults.struck == ["dns_down"]

    run_virtual(run())


def test_a_trigger_on_writes() -> None:
    async def run() -> None:
        fault = {"when": {"writes": 2}, "dns_down": True}
        async with Simulation(Scenario.model_validate({"nodes": 1, "faults": [fault]})) as sim:
            for number in (1, 2, 3):
                sim.app.hooks.writes = number
                for observer in sim.app.hooks.observers:
                    observer(None, None)  # type: ignore[arg-type]
                await asyncio.sleep(1)
                assert sim.faults.struck == (["dns_down"] if number >= 2 else [])

    run_virtual(run())
