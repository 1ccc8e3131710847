"""NetworkPolicies while one node of a published Canal is migrated: the tables measured on a real one, cell by cell.

Three servers, three callers that a policy allows and three that it forbids, one of each on every node; by pod address
and by ClusterIP: 36 calls. Node w1 is on Cilium (strategy overlay), w2 and w3 are on Canal.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world import kinds, meta
from cni_migrate.sim.world.ciliumidentities import number_for
from cni_migrate.sim.world.ciliumobjects import endpoint
from cni_migrate.sim.world.masquerade import Keep, on_top
from cni_migrate.sim.world.sandbox import Sandbox
from tests.unit.sim_world.install import (
    DEFAULT,
    EVERYTHING,
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
    without_default_route,
)

Call = tuple[str, str, str]
"""Caller and server, each as role and node, and how the server is called."""

NODES = ("w1", "w2", "w3")
ROLES = ("server", "allowed", "forbidden")
CANAL, CILIUM = "10.244.0.0/16", "10.245.0.0/16"
POLICY = {
    "podSelector": {},
    "policyTypes": ["Ingress"],
    "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "allowed"}}}]}],
}
GUARDED = Scenario.model_validate(
    {
        "nodes": 3,
        "canal": {"published": True},
        "workloads": [
            {"kind": "daemonset", "name": role, "namespace": "guarded", "tolerations": EVERYTHING} for role in ROLES
        ],
        "network_policies": [{"metadata": {"name": "only-ok", "namespace": "guarded"}, "spec": POLICY}],
    }
)


def simulated(test: Callable[[Simulation], Awaitable[None]], scenario: Scenario = GUARDED) -> None:
    """Run a test in a simulation on virtual time."""

    async def main() -> None:
        async with Simulation(scenario) as sim:
            await sim.world.idle()
            await test(sim)

    run_virtual(main())


async def one_migrated(sim: Simulation, **config: str) -> None:
    """Cilium beside Canal on all nodes, and w1 switched to it."""
    await install_cilium(sim, **config)
    await apply(
        sim,
        (kinds.DAEMON_SET, daemon_set("cilium", "cilium-agent")),
        (kinds.CILIUM_NODE_CONFIG_V2ALPHA1, node_config()),
    )
    await sim.world.idle()
    await label(sim, "w1", dict(DEFAULT))
    await restart(sim, "w1", "cilium-")
    for role in ROLES:
        await restart(sim, "w1", role)
    await asyncio.sleep(60)


async def keep(sim: Simulation, *ways: tuple[str, str]) -> None:
    """On every node, first in nat POSTROUTING: these ways are not masqueraded."""
    for host in sim.world.ctx.net.hosts.values():
        for source, target in ways:
            host.change(postrouting=on_top(host.plane.postrouting, Keep(source, target)))


async def describe(sim: Simulation) -> int:
    """For every pod on Canal an endpoint with its identity; answers how many there are."""
    pods, _ = await sim.client.list(kinds.POD)
    on_canal = [pod for pod in pods if pod["status"].get("podIP", "").startswith("10.244.")]
    for pod in on_canal:
        number, labels = await number_for(sim.world.ctx, pod)
        made = endpoint(pod, pod["status"]["podIP"], pod["status"]["hostIP"], number, labels)
        await sim.client.create(kinds.CILIUM_ENDPOINT, made, meta.namespace(pod))
    await sim.world.idle()
    return len(on_canal)


async def sandbox(sim: Simulation, role: str, node: str) -> Sandbox:
    """The network of a pod, by its role and node."""
    (pod,) = await pods_on(sim, node, f"{role}-")
    found = sim.world.sandbox(*meta.key(pod))
    assert found is not None
    return found


async def wrong(sim: Simulation) -> set[Call]:
    """The calls that are lost though they are allowed, and those that get through though they are forbidden."""
    found: set[Call] = set()
    for to in NODES:
        server = await sandbox(sim, "server", to)
        for role in ("allowed", "forbidden"):
            for node in NODES:
                caller = await sandbox(sim, role, node)
                for how in ("address", "service"):
                    error = sim.world.reach(caller, server.ip, service=how == "service")
                    if (error == "") is not (role == "allowed"):
                        found.add((f"{role}-{node}", f"server-{to}", how))
    return found


def calls(role: str, sources: tuple[str, ...], targets: tuple[str, ...]) -> set[Call]:
    """All calls of a role from some nodes to some."""
    return {
        (f"{role}-{source}", f"server-{target}", how)
        for source in sources
        for target in targets
        for how in ("address", "service")
    }


ALLOWED_CANAL_TO_CILIUM = calls("allowed", ("w2", "w3"), ("w1",))
ALLOWED_CILIUM_TO_CANAL = calls("allowed", ("w1",), ("w2", "w3"))
FORBIDDEN_CILIUM_TO_CANAL = calls("forbidden", ("w1",), ("w2", "w3"))
FORBIDDEN_TO_CILIUM = calls("forbidden", NODES, ("w1",))
HERE_TO_THERE, BACK = (CANAL, CILIUM), (CILIUM, CANAL)


def test_an_untouched_canal_is_right() -> None:
    """0 of 36 wrong, before anything is installed."""

    async def test(sim: Simulation) -> None:
        assert await wrong(sim) == set()

    simulated(test)


TABLE: list[tuple[str, str, tuple[tuple[str, str], ...], bool, set[Call]]] = [
    # what, enable-policy, ways that are kept, endpoints for Canal's pods, what is wrong
    ("the first node as it was", "never", (), False, ALLOWED_CILIUM_TO_CANAL | FORBIDDEN_TO_CILIUM),
    ("its allowed callers let through", "never", (BACK,), False, FORBIDDEN_TO_CILIUM),
    ("enforced, not masqueraded", "default", (HERE_TO_THERE, BACK), False, ALLOWED_CANAL_TO_CILIUM),
    ("the same, and endpoints", "default", (HERE_TO_THERE, BACK), True, set()),
    ("endpoints, masqueraded as it is", "default", (), True, ALLOWED_CANAL_TO_CILIUM),
    ("endpoints, one rule", "default", (HERE_TO_THERE,), True, set()),
]


@pytest.mark.parametrize(("what", "policy", "kept", "described", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_table(what: str, policy: str, kept: tuple[tuple[str, str], ...], described: bool, expected: set[Call]) -> None:
    """What is wrong with one node migrated."""

    async def test(sim: Simulation) -> None:
        await one_migrated(sim, enable_policy=policy)
        await keep(sim, *kept)
        if described:
            await describe(sim)
        assert await wrong(sim) == expected

    simulated(test)


def test_the_native_cidr_alone_mends_nothing() -> None:
    """Without Cilium's masquerading it is flannel's last rule that hides callers."""

    async def test(sim: Simulation) -> None:
        await one_migrated(sim, enable_policy="default", ipv4_native_routing_cidr="10.240.0.0/12")
        assert await wrong(sim) >= ALLOWED_CILIUM_TO_CANAL

    simulated(test)


async def restart_all(sim: Simulation, prefix: str) -> None:
    """Every pod of this DaemonSet is deleted at once; some seconds after the new ones are Ready."""
    old = [pod for node in NODES for pod in await pods_on(sim, node, prefix) if "operator" not in meta.name(pod)]
    for pod in old:
        await sim.client.delete(kinds.POD, meta.name(pod), meta.namespace(pod))
    await asyncio.sleep(12)
    new = [pod for node in NODES for pod in await pods_on(sim, node, prefix) if "operator" not in meta.name(pod)]
    assert len(new) == 3
    assert all(meta.ready(pod) for pod in new)
    assert not {meta.uid(pod) for pod in new} & {meta.uid(pod) for pod in old}


def test_agents_that_start_let_forbidden_calls_through_until_felix_looks() -> None:
    """Cilium's chain stands above Calico's for some seconds; then all is right where callers keep their address."""

    async def test(sim: Simulation) -> None:
        await one_migrated(sim, enable_policy="default", enable_stale_cilium_endpoint_cleanup="false")
        await describe(sim)
        await restart_all(sim, "cilium-")
        assert await wrong(sim) >= FORBIDDEN_CILIUM_TO_CANAL
        await asyncio.sleep(15)
        assert await wrong(sim) == ALLOWED_CANAL_TO_CILIUM

    simulated(test)


TRANSIT = {
    "enable_policy": "default",
    "enable_stale_cilium_endpoint_cleanup": "false",
    "prepend_iptables_chains": "false",
}


@pytest.mark.parametrize("prefix", ["cilium-", "canal-"])
def test_with_chains_at_the_end_no_restart_opens_anything(prefix: str) -> None:
    """0 of 36 wrong after all agents' restart, and after all Canal pods'; the one rule stays first."""

    async def test(sim: Simulation) -> None:
        await one_migrated(sim, **TRANSIT)
        await keep(sim, HERE_TO_THERE)
        many = await describe(sim)
        await restart_all(sim, prefix)
        assert await wrong(sim) == set()
        assert all(isinstance(host.plane.postrouting[0], Keep) for host in sim.world.ctx.net.hosts.values())
        found, _ = await sim.client.list(kinds.CILIUM_ENDPOINT)
        assert len(found) == many + 3

    simulated(test)


def test_agents_delete_the_endpoints_they_do_not_know() -> None:
    """By default a starting agent leaves only its own pods' endpoints; Canal's pods are strangers again."""

    async def test(sim: Simulation) -> None:
        await one_migrated(sim, enable_policy="default", prepend_iptables_chains="false")
        await keep(sim, HERE_TO_THERE)
        await describe(sim)
        await restart_all(sim, "cilium-")
        found, _ = await sim.client.list(kinds.CILIUM_ENDPOINT)
        assert sorted(meta.name(one).partition("-")[0] for one in found) == ["allowed", "forbidden", "server"]
        assert await wrong(sim) == ALLOWED_CANAL_TO_CILIUM | ALLOWED_CILIUM_TO_CANAL

    simulated(test)


def test_a_rule_below_cilium_s_is_no_help() -> None:
    """An agent that starts puts its chain on top again; what was first is then below it."""

    async def test(sim: Simulation) -> None:
        await one_migrated(sim, enable_policy="default", enable_stale_cilium_endpoint_cleanup="false")
        await keep(sim, HERE_TO_THERE)
        await describe(sim)
        assert await wrong(sim) == set()
        await restart_all(sim, "cilium-")
        await asyncio.sleep(20)
        assert await wrong(sim) == ALLOWED_CANAL_TO_CILIUM

    simulated(test)


def test_an_endpoint_goes_with_its_pod() -> None:
    """Whoever made it, and also when the pod was gone before it was made."""

    async def test(sim: Simulation) -> None:
        await one_migrated(sim, **TRANSIT)
        (old,) = await pods_on(sim, "w2", "server-")
        await describe(sim)
        await restart(sim, "w2", "server-")
        names = {meta.name(one) for one in (await sim.client.list(kinds.CILIUM_ENDPOINT))[0]}
        assert meta.name(old) not in names
        number, labels = await number_for(sim.world.ctx, old)
        late = endpoint(old, old["status"]["podIP"], old["status"]["hostIP"], number, labels)
        await sim.client.create(kinds.CILIUM_ENDPOINT, late, "guarded")
        await asyncio.sleep(5)
        names = {meta.name(one) for one in (await sim.client.list(kinds.CILIUM_ENDPOINT))[0]}
        assert meta.name(old) not in names

    simulated(test)


def test_an_identity_that_nobody_has_described_is_a_stranger() -> None:
    """An endpoint without the CiliumIdentity it names is of no use to a policy that names labels."""

    async def test(sim: Simulation) -> None:
        await one_migrated(sim, **TRANSIT)
        await keep(sim, HERE_TO_THERE)
        await describe(sim)
        caller = (await pods_on(sim, "w2", "allowed-"))[0]
        number, _ = await number_for(sim.world.ctx, caller)
        await sim.client.delete(kinds.CILIUM_IDENTITY, str(number))
        await sim.world.idle()
        assert await wrong(sim) >= calls("allowed", ("w2",), ("w1",))

    simulated(test)


def test_the_operator_collects_what_has_no_pod_and_no_use() -> None:
    """Endpoints at once when it looks, identities after the time that its configuration gives them."""

    async def test(sim: Simulation) -> None:
        await one_migrated(
            sim,
            **TRANSIT,
            cilium_endpoint_gc_interval="1m0s",
            identity_gc_interval="1m0s",
            identity_heartbeat_timeout="2m0s",
        )
        (pod,) = await pods_on(sim, "w2", "server-")
        ghost = {"metadata": {"name": "ghost", "namespace": "guarded", "uid": "u"}}
        stray = endpoint({**pod, **ghost}, "10.244.1.200", "172.18.0.11", 50000, {})
        stray["metadata"].pop("ownerReferences")
        identity = {"apiVersion": "cilium.io/v2", "kind": "CiliumIdentity", "metadata": {"name": "50000"}}
        await apply(sim, (kinds.CILIUM_IDENTITY, identity), (kinds.CILIUM_ENDPOINT, stray))
        await asyncio.sleep(70)
        found, _ = await sim.client.list(kinds.CILIUM_ENDPOINT)
        assert "ghost" not in {meta.name(one) for one in found}
        identities, _ = await sim.client.list(kinds.CILIUM_IDENTITY)
        assert "50000" in {meta.name(one) for one in identities}
        await asyncio.sleep(200)
        identities, _ = await sim.client.list(kinds.CILIUM_IDENTITY)
        assert "50000" not in {meta.name(one) for one in identities}
        assert len(identities) == 3

    simulated(test)


PROBED = {
    "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 2},
    "livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 10, "failureThreshold": 3},
}


async def dual(sim: Simulation, *, route: bool) -> dict[str, Any]:
    """Node w1 gets both networks; a pod with probes that starts there, a minute later.

    With `route` its pods' default route is at Cilium's interface.
    """
    await install_cilium(sim)
    if route:
        without_default_route(sim, "w1")
    await apply(sim, (kinds.DAEMON_SET, first_cilium()), (kinds.DAEMON_SET, multus()))
    await sim.world.idle()
    await label(sim, "w1", dict(FIRST))
    await sim.world.idle()
    probed = daemon_set("probed", "main", namespace="guarded", host_network=False)
    probed["spec"]["template"]["spec"]["containers"][0] |= PROBED
    await apply(sim, (kinds.DAEMON_SET, probed))
    await asyncio.sleep(100)
    (pod,) = await pods_on(sim, "w1", "probed-")
    return pod


@pytest.mark.parametrize(
    ("published", "route", "well"), [(True, True, False), (True, False, True), (False, True, True)]
)
def test_a_routed_dual_pod_cannot_answer_its_kubelet(published: bool, route: bool, well: bool) -> None:
    """With its default route at Cilium's interface it is NotReady and restarted again and again; else it is well."""
    scenario = GUARDED.model_copy(update={"canal": GUARDED.canal.model_copy(update={"published": published})})

    async def test(sim: Simulation) -> None:
        pod = await dual(sim, route=route)
        found = sim.world.sandbox(*meta.key(pod))
        assert found is not None
        assert found.extra
        assert meta.ready(pod) is well
        assert (pod["status"]["containerStatuses"][0]["restartCount"] == 0) is well

    simulated(test, scenario)


@pytest.mark.parametrize("published", [True, False])
def test_agents_notice_what_a_dual_pod_does_beside_calico(published: bool) -> None:
    """Their kubelet's probes do not arrive, and by ClusterIP the policy takes them for strangers; by address it does not."""
    scenario = GUARDED.model_copy(update={"canal": GUARDED.canal.model_copy(update={"published": published})})

    async def test(sim: Simulation) -> None:
        await apply(sim, *knet_objects())
        await sim.world.idle()
        await dual(sim, route=True)
        for mesh in "ab":
            await restart(sim, "w1", f"knet-stress-{mesh}")
        await asyncio.sleep(5)
        seen = {
            (who, one["peer"], one["kind"])
            for who in ("w1/a", "w1/b", "w2/a", "w2/b")
            for line in await lines(sim, who[:2], who[3:], 4)
            for one in line["bad"]
        }
        deaf = {(who, "kubelet", "kubelet") for who in ("w1/a", "w1/b")}
        assert seen == (deaf | {("w1/a", "guard", "policy_allow")} if published else set())

    simulated(test, scenario)


def test_dual_pods_are_strangers_to_each_other_by_cluster_ip() -> None:
    """Without a default route of Canal's: by address they are known (eth0); by ClusterIP they leave by Cilium's interface, and Calico blocks them."""

    async def test(sim: Simulation) -> None:
        await install_cilium(sim)
        for node in NODES:
            without_default_route(sim, node)
        await apply(sim, (kinds.DAEMON_SET, first_cilium()), (kinds.DAEMON_SET, multus()))
        await sim.world.idle()
        for node in NODES:
            await label(sim, node, dict(FIRST))
            await sim.world.idle()
            for role in ROLES:
                await restart(sim, node, f"{role}-")
        assert await wrong(sim) == {call for call in calls("allowed", NODES, NODES) if call[2] == "service"}

    simulated(test)
