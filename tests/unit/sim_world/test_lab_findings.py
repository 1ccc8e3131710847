"""The eleven findings of a lab with the real programs, one by one, on the simulated world."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds
from cni_migrate.sim.world.canalmanifests import cni_network_config
from cni_migrate.sim.world.multus import build
from tests.unit.sim_world.install import (
    DEFAULT,
    FIRST,
    apply,
    daemon_set,
    first_cilium,
    install_cilium,
    knet_objects,
    label,
    lines,
    multus,
    node_config,
    pods_on,
    restart,
)

Object = dict[str, Any]
Test = Callable[[Simulation], Awaitable[None]]

PLAIN = Scenario.model_validate(
    {"nodes": 3, "calico": False, "workloads": [{"kind": "daemonset", "name": "app"}, {"name": "web", "replicas": 3}]}
)


def simulated(test: Test) -> Callable[[], None]:
    """Run a test in a simulation on virtual time."""

    async def run() -> None:
        async with Simulation(PLAIN) as sim:
            await sim.world.idle()
            await test(sim)

    @wraps(test)
    def wrapper() -> None:
        run_virtual(run())

    del wrapper.__wrapped__
    return wrapper


async def overlay(sim: Simulation) -> None:
    """Cilium beside Canal on all nodes; no node uses it."""
    await install_cilium(sim)
    await apply(sim, (kinds.DAEMON_SET, daemon_set("cilium", "cilium-agent")))
    await apply(sim, (kinds.CILIUM_NODE_CONFIG_V2ALPHA1, node_config()))
    await sim.world.idle()


async def switch(sim: Simulation, node: str) -> None:
    await label(sim, node, dict(DEFAULT))
    await restart(sim, node, "cilium-")


async def ips(sim: Simulation, node: str, prefix: str) -> list[str]:
    return [pod["status"]["podIP"] for pod in await pods_on(sim, node, prefix)]


def files(sim: Simulation, node: str) -> list[str]:
    return sorted(sim.world.host(node).plane.files)


@simulated
async def test_1_the_label_alone_does_nothing(sim: Simulation) -> None:
    await overlay(sim)
    await label(sim, "w1", dict(DEFAULT))
    await sim.world.idle()
    assert files(sim, "w1") == ["10-canal.conflist"]
    await restart(sim, "w1", "cilium-")
    assert files(sim, "w1") == ["05-cilium.conflist", "10-canal.conflist.cilium_bak"]


@simulated
async def test_2_an_exclusive_agent_renames_and_rewrites(sim: Simulation) -> None:
    await overlay(sim)
    await switch(sim, "w1")
    await restart(sim, "w1", "canal-")
    assert files(sim, "w1") == ["05-cilium.conflist", "10-canal.conflist.cilium_bak"]
    sim.world.host("w1").remove_files("05-cilium.conflist")
    sim.world.host("w1").write_file("00-multus.conflist", "{}")
    await sim.world.idle()
    assert files(sim, "w1") == [
        "00-multus.conflist.cilium_bak",
        "05-cilium.conflist",
        "10-canal.conflist.cilium_bak",
    ]


@simulated
async def test_3_going_back_has_an_order(sim: Simulation) -> None:
    await overlay(sim)
    await switch(sim, "w1")
    await label(sim, "w1", dict.fromkeys(DEFAULT))
    await restart(sim, "w1", "cilium-")
    assert files(sim, "w1") == ["05-cilium.conflist", "10-canal.conflist.cilium_bak"]
    await restart(sim, "w1", "app")
    assert (await ips(sim, "w1", "app"))[0].startswith("10.245.")
    await restart(sim, "w1", "canal-")
    assert files(sim, "w1") == ["05-cilium.conflist", "10-canal.conflist", "10-canal.conflist.cilium_bak"]
    sim.world.host("w1").remove_files("05-cilium.conflist")
    await restart(sim, "w1", "app")
    assert (await ips(sim, "w1", "app"))[0].startswith("10.244.")


@simulated
async def test_4_pods_keep_the_network_they_were_born_with(sim: Simulation) -> None:
    await overlay(sim)
    before = await ips(sim, "w1", "app")
    await switch(sim, "w1")
    assert await ips(sim, "w1", "app") == before
    other = (await pods_on(sim, "w2", "app"))[0]
    source = sim.world.sandbox("default", other["metadata"]["name"])
    assert source is not None
    assert sim.world.reach(source, before[0]) == ""


@simulated
async def test_5_deletes_use_the_configuration_of_the_moment(sim: Simulation) -> None:
    await overlay(sim)
    leased = await ips(sim, "w1", "app")
    await switch(sim, "w1")
    await restart(sim, "w1", "app")
    host = sim.world.host("w1")
    assert leased[0] in host.leases
    held = (await ips(sim, "w1", "app"))[0]
    assert held in host.endpoints
    await label(sim, "w1", dict.fromkeys(DEFAULT))
    await restart(sim, "w1", "cilium-")
    host.rename_files({"10-canal.conflist.cilium_bak": "10-canal.conflist"})
    host.remove_files("05-cilium.conflist")
    await restart(sim, "w1", "app")
    assert held in host.endpoints
    await restart(sim, "w1", "cilium-")
    assert held not in host.endpoints


async def dual(sim: Simulation) -> None:
    """Canal, the first Cilium and Multus on all nodes; pods not restarted yet."""
    await install_cilium(sim, custom_cni_conf="false")
    await apply(sim, (kinds.DAEMON_SET, first_cilium()), (kinds.DAEMON_SET, multus()))
    for node in ("w1", "w2", "w3"):
        await label(sim, node, dict(FIRST))
    await sim.world.idle()


@simulated
async def test_6_multus_cannot_delete_what_it_did_not_create(sim: Simulation) -> None:
    leased = await ips(sim, "w1", "app")
    await dual(sim)
    assert files(sim, "w1") == ["00-multus.conflist", "10-canal.conflist", "99-cilium.conflist"]
    await restart(sim, "w1", "app")
    host = sim.world.host("w1")
    assert leased[0] in host.leases
    (new,) = await ips(sim, "w1", "app")
    assert new.startswith("10.244.")
    (pod,) = await pods_on(sim, "w1", "app")
    endpoint = await sim.client.get(kinds.CILIUM_ENDPOINT, pod["metadata"]["name"], "default")
    assert endpoint["status"]["networking"]["addressing"][0]["ipv4"].startswith("10.245.")
    await restart(sim, "w1", "app")
    assert new not in host.leases


@simulated
async def test_7_an_agent_restart_loses_no_packet_but_starts_no_pod(sim: Simulation) -> None:
    await apply(sim, *knet_objects())
    await overlay(sim)
    await switch(sim, "w1")
    await restart(sim, "w1", "knet-stress")
    (agent,) = await pods_on(sim, "w1", "cilium-")
    await sim.client.delete(kinds.POD, agent["metadata"]["name"], "kube-system")
    (app,) = await pods_on(sim, "w1", "app")
    await sim.client.delete(kinds.POD, app["metadata"]["name"], "default")
    host = sim.world.host("w1")
    await asyncio.sleep(4.0)
    assert not host.plane.agent
    waiting = [p for p in await pods_on(sim, "w1", "app") if p["metadata"]["uid"] != app["metadata"]["uid"]]
    assert waiting[0]["status"]["phase"] == "Pending"
    node = await sim.client.get(kinds.NODE, "w1")
    assert _ready(node)
    await sim.world.idle()
    assert (await ips(sim, "w1", "app"))[0].startswith("10.245.")
    for node_name in ("w1", "w2", "w3"):
        for line in await lines(sim, node_name, "a", 20):
            assert [bad for bad in line["bad"] if bad["error"] == "timeout"] == []


@simulated
async def test_8_after_a_power_cut_the_api_lies(sim: Simulation) -> None:
    node = await sim.client.get(kinds.NODE, "w1")
    boot = node["status"]["nodeInfo"]["bootID"]
    await sim.world.machines.power_off("w1")
    await asyncio.sleep(5.0)
    assert _ready(await sim.client.get(kinds.NODE, "w1"))
    assert all(pod["status"]["phase"] == "Running" for pod in await pods_on(sim, "w1"))
    sim.world.machines.power_on("w1")
    await sim.world.idle()
    after = await sim.client.get(kinds.NODE, "w1")
    assert _ready(after)
    assert after["status"]["nodeInfo"]["bootID"] != boot
    assert all(_ready(pod) for pod in await pods_on(sim, "w1"))


@simulated
async def test_9_what_canal_leaves_behind(sim: Simulation) -> None:
    await apply(sim, *knet_objects())
    await overlay(sim)
    for node in ("w1", "w2", "w3"):
        await switch(sim, node)
        for name in ("app", "web", "knet", "coredns"):
            await restart(sim, node, name)
    await sim.client.delete(kinds.DAEMON_SET, "canal", "kube-system")
    await sim.world.idle()
    plane = sim.world.host("w1").plane
    assert {"cni0", "flannel.1"} <= plane.links
    assert {"FLANNEL-FWD", "FLANNEL-POSTRTG"} <= plane.chains
    assert plane.subnet
    assert "/opt/cni/bin/flannel" in plane.left
    assert "/var/lib/cni/networks/k8s-pod-network" in plane.left
    annotations = (await sim.client.get(kinds.NODE, "w1"))["metadata"]["annotations"]
    assert "flannel.alpha.coreos.com/backend-data" in annotations
    await asyncio.sleep(5.0)
    for node in ("w1", "w2", "w3"):
        assert [line["bad"] for line in await lines(sim, node, "a", 3)] == [[], [], []]
    await sim.world.machines.reboot("w1")
    await sim.world.idle()
    plane = sim.world.host("w1").plane
    assert not {"cni0", "flannel.1"} & plane.links
    assert plane.subnet == ""
    assert "/opt/cni/bin/flannel" in plane.left
    assert "/var/lib/cni/networks/k8s-pod-network" in plane.left
    assert "10-canal.conflist.cilium_bak" in plane.files


@simulated
async def test_10_both_write_network_unavailable(sim: Simulation) -> None:
    async def reason() -> str:
        node = await sim.client.get(kinds.NODE, "w1")
        (found,) = [c for c in node["status"]["conditions"] if c["type"] == "NetworkUnavailable"]
        assert found["status"] == "False"
        return str(found["reason"])

    assert await reason() == "FlannelIsUp"
    await overlay(sim)
    assert await reason() == "CiliumIsUp"
    await restart(sim, "w1", "canal-")
    assert await reason() == "FlannelIsUp"


@simulated
async def test_11_canals_file_is_there_before_its_subnet(sim: Simulation) -> None:
    await sim.world.machines.reboot("w1")
    seen: list[tuple[bool, bool]] = []
    host = sim.world.host("w1")
    host.remove_files("10-canal.conflist")
    host.on_change(lambda _, before, after: seen.append(("10-canal.conflist" in after.files, bool(after.subnet))))
    messages: set[str] = set()
    sim.world.ctx.cluster[kinds.POD].on_change(lambda _, pod: messages.update(_waiting(pod)))
    await sim.world.idle()
    assert (True, False) in seen
    assert seen[-1] == (True, True)
    assert any("open /run/flannel/subnet.env" in text for text in messages) or any(
        "not initialized" in text for text in messages
    )
    assert all(_ready(pod) for pod in await pods_on(sim, "w1"))


def _waiting(pod: Object | None) -> list[str]:
    states = ((pod or {}).get("status") or {}).get("containerStatuses") or ()
    return [state["state"]["waiting"]["message"] for state in states if "waiting" in state["state"]]


def _ready(obj: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in obj["status"]["conditions"])


def test_the_file_multus_builds_is_json() -> None:
    for calico in (True, False):
        canal = cni_network_config(PLAIN.model_copy(update={"calico": calico}))
        text = build(canal, "")
        assert json.loads(text)["plugins"][0]["type"] == "multus"
