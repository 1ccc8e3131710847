"""A Cilium that its owner has installed (`cilium.source: existing`): the end, the way back, and what is in its way.

Nothing of Cilium's own is written: what its owner has said stays as it was said.
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any

import pytest

from cni_migrate.core.decision.decide import Decision
from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world.cniconf import in_force
from cni_migrate.sim.world.kinds import CILIUM_NODE_CONFIG_V2, CONFIG_MAP, DAEMON_SET, NODE, POD
from tests.simulation.harness import SMALL, Process, config_for, simulated
from tests.simulation.outcome import outcome

CONFIG = config_for("overlay", cilium={"source": "existing"})
FINAL: dict[str, str | None] = {
    "custom-cni-conf": "false",
    "write-cni-conf-when-ready": "/host/etc/cni/net.d/05-cilium.conflist",
    "cni-exclusive": "true",
    "prepend-iptables-chains": "true",
    "enable-stale-cilium-endpoint-cleanup": "true",
}
LAST = "cp1"
ONE = Goal(wanted=lambda node: node.name == "w1", partial=True)
OWN = ("/configmaps/cilium-config", "/daemonsets/cilium", "/deployments/cilium-operator", "/serviceaccounts/cilium")


def cluster(upgrade: Mapping[str, str | None] | None = FINAL, **config: str | None) -> Scenario:
    """Three nodes with an installed Cilium, whose owner upgrades it half a minute after the last node is migrated."""
    data = SMALL.model_dump(exclude_defaults=True) | {"cilium": {"config": config}}
    if upgrade is not None:
        when = {"node": LAST, "label": CONFIG.labels.migrated.key}
        data["faults"] = [{"when": when, "after": 30, "helm_upgrade": dict(upgrade)}]
    return Scenario.model_validate(data)


def owned(sim: Simulation) -> dict[str, Any]:
    """What Cilium's owner has said: the specs and the configuration, without what controllers write."""
    found: dict[str, Any] = {}
    for group, version, plural in (
        ("", "v1", "configmaps"),
        ("apps", "v1", "daemonsets"),
        ("apps", "v1", "deployments"),
    ):
        for stored in sim.store.select(sim.app.catalog.find(group, version, plural)):
            if stored.object["metadata"]["name"] in ("cilium-config", "cilium", "cilium-operator"):
                found[stored.key] = stored.object.get("data") or stored.object.get("spec")
    return copy.deepcopy(found)


def _programs(sim: Simulation) -> dict[str, set[str]]:
    """Cilium's pods by their program."""
    found: dict[str, set[str]] = {}
    for stored in sim.store.select(sim.app.catalog.find("", "v1", "pods")):
        for container in stored.object["spec"]["containers"]:
            if container["name"] in ("cilium-agent", "cilium-operator"):
                found.setdefault(container["name"], set()).add(stored.object["metadata"]["uid"])
    return found


async def upgrade(sim: Simulation, keys: Mapping[str, str | None]) -> None:
    """`helm upgrade` by hand."""
    found = await sim.client.get(CONFIG_MAP, "cilium-config", "kube-system")
    await sim.client.patch(CONFIG_MAP, "cilium-config", {"data": dict(keys)}, namespace=found["metadata"]["namespace"])


def written_of_cilium(process: Process) -> list[tuple[str, str]]:
    """The writes of a process to what is Cilium's own."""
    assert process.mortal is not None
    return [one for one in process.mortal.written if one[1].endswith(OWN)]


@cache
def undisturbed() -> tuple[int, dict[str, Any]]:
    """How many writes a run makes that nobody disturbs, and how it ends."""

    async def main() -> tuple[int, dict[str, Any]]:
        async with simulated(cluster(), CONFIG) as (sim, _):
            process = Process(sim, CONFIG)
            final = await process.run()
            assert final is not None
            assert final.outcome == "done", final
            assert written_of_cilium(process) == []
            return sim.app.hooks.writes, outcome(sim, CONFIG)

    return run_virtual(main())


def test_the_cluster_ends_on_the_cilium_that_was_there() -> None:
    """Canal is gone, every node's file is Cilium's, and the agents run by what its owner has said last."""

    async def main() -> None:
        async with simulated(cluster(), CONFIG) as (sim, _):
            final = await Process(sim, CONFIG).run()
            assert final == Final("done", "the cluster runs on Cilium; the audit is clean", ""), final
            for host in sim.world.ctx.net.hosts.values():
                assert in_force(host.plane.files).file == "05-cilium.conflist"
            assert owned(sim)["kube-system/cilium-config"]["custom-cni-conf"] == "false"

    run_virtual(main())


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("share", range(20))
def test_killed_on_the_way(share: int, moment: str) -> None:
    """Killed before or after one of its writes, at moments spread over the whole run, and resumed: the same end."""
    writes, end = undisturbed()
    k = 1 + share * (writes - 1) // 19

    async def main() -> None:
        async with simulated(cluster(), CONFIG) as (sim, watch):
            first = Process(sim, CONFIG)
            setattr(first, f"kill_{moment}", k)
            assert await first.run() is None, "it was to be killed"
            second = Process(sim, CONFIG, holder="second@test/2/2/elsewhere")
            final = await second.run()
            assert final is not None
            assert final.outcome == "done", final
            watch.check()
            assert outcome(sim, CONFIG) == end
            assert written_of_cilium(first) + written_of_cilium(second) == []

    run_virtual(main())


@pytest.mark.parametrize("when", ["a node is migrated", "it waits for the upgrade"])
def test_a_rollback_leaves_cilium_as_found(when: str) -> None:
    """Back from the middle, and out of clean-up: no pod is on Cilium, and what its owner said was never touched."""

    async def main() -> None:
        async with simulated(cluster(upgrade=None), CONFIG) as (sim, watch):
            before = owned(sim)
            config = CONFIG.model_copy(update={"deadlines": CONFIG.deadlines.model_copy(update={"upgrade": 60.0})})
            goal = ONE if when == "a node is migrated" else Goal()
            first = await Process(sim, config, goal=goal).run()
            assert first is not None
            assert first.outcome == ("done" if when == "a node is migrated" else "halted"), first
            back = Process(sim, config, goal=Goal(kind="rollback"))
            final = await back.run()
            assert final is not None
            assert final.outcome == "done", final
            assert owned(sim) == before
            for host in sim.world.ctx.net.hosts.values():
                assert in_force(host.plane.files).file == "10-canal.conflist"
            watch.check()

    run_virtual(main())


def test_a_node_goes_back_and_forth() -> None:
    """One migrated node goes back to Canal, and the run takes it on again."""

    async def main() -> None:
        async with simulated(cluster(), CONFIG) as (sim, watch):
            first = await Process(sim, CONFIG, goal=ONE).run()
            assert first is not None
            back = await Process(sim, CONFIG, goal=Goal(kind="rollback_node", node="w1")).run()
            assert back == Final("done", "node w1 is back: dual", "migrate run")
            final = await Process(sim, CONFIG).run()
            assert final is not None
            assert final.outcome == "done", final
            watch.check()

    run_virtual(main())


def test_nobody_upgrades_it() -> None:
    """After its deadline the run is held with the keys and what to type; once they are there it goes on to the end.

    Who writes only the keys restarts nothing: agents and operator read them when they start, so they are restarted.
    """

    async def main() -> None:
        async with simulated(cluster(upgrade=None), CONFIG) as (sim, watch):
            final = await Process(sim, CONFIG).run()
            assert final is not None
            assert final.outcome == "halted", final
            assert "waited 3600 s" in final.message
            assert "write-cni-conf-when-ready is not there" in final.message
            assert "helm value cni.customConf: false" in final.message
            assert "migrate manifests cilium-values-final" in final.message + final.next
            assert await sim.client.get(CONFIG_MAP, "canal-config", "kube-system")
            before = _programs(sim)
            assert set(before) == {"cilium-agent", "cilium-operator"}
            await upgrade(sim, FINAL)
            final = await Process(sim, CONFIG).run()
            assert final is not None
            assert final.outcome == "done", final
            after = _programs(sim)
            assert [name for name, uids in before.items() if uids & after[name]] == []
            watch.check()

    run_virtual(main())


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"enable-policy": "never"}, "helm value policyEnforcementMode: default"),
        ({"prepend-iptables-chains": None}, "helm value extraConfig.prepend-iptables-chains: false"),
        ({"enable-stale-cilium-endpoint-cleanup": None}, "extraConfig.enable-stale-cilium-endpoint-cleanup: false"),
        ({"write-cni-conf-when-ready": "/host/etc/cni/net.d/15-cilium.conflist"}, "helm value cni.customConf: true"),
        ({"unmanaged-pod-watcher-interval": "15"}, "helm value operator.unmanagedPodWatcher.restart: false"),
        ({"kube-proxy-replacement": "true"}, "helm value kubeProxyReplacement: false"),
        ({"enable-wireguard": "true"}, "helm value encryption.enabled: false"),
        ({"ipam": "kubernetes"}, "helm value ipam.mode: cluster-pool"),
        ({"cilium-endpoint-gc-interval": "0s"}, "helm value operator.endpointGCInterval: 5m0s"),
        ({"enable-cilium-endpoint-slice": "true"}, "helm value ciliumEndpointSlice.enabled: false"),
    ],
)
def test_a_key_that_does_not_fit_is_named(keys: dict[str, str | None], words: str) -> None:
    """Nothing is done to any node; the key, what is wrong with it, and the helm value are told."""

    async def main() -> None:
        async with simulated(cluster(FINAL, **keys), CONFIG) as (sim, _):
            final = await Process(sim, CONFIG).run()
            assert final is not None
            assert final.outcome == "halted", final
            (key,) = keys
            assert f"{key} is" in final.message
            assert words in final.message
            assert "helm upgrade" in final.next

    run_virtual(main())


def test_an_upgrade_on_the_way_holds_the_next_node() -> None:
    """Keys that change while nodes are in between stop the run before the next drain, by name; put right, it goes on."""

    async def main() -> None:
        async with simulated(cluster(), CONFIG) as (sim, watch):
            first = await Process(sim, CONFIG, goal=ONE).run()
            assert first is not None
            await upgrade(sim, {"enable-policy": "never"})
            final = await Process(sim, CONFIG).run()
            assert final is not None
            assert final.outcome == "halted", final
            assert "enable-policy is never" in final.message
            await upgrade(sim, {"enable-policy": "default"})
            final = await Process(sim, CONFIG).run()
            assert final is not None
            assert final.outcome == "done", final
            watch.check()

    run_virtual(main())


async def restart_agent(sim: Simulation, node: str) -> None:
    """An agent's pod is deleted by somebody, and made anew by its DaemonSet."""
    found, _ = await sim.client.list(POD, namespace="kube-system")
    for one in found:
        if one["metadata"].get("labels", {}).get("k8s-app") == "cilium" and one["spec"].get("nodeName") == node:
            await sim.client.delete(POD, one["metadata"]["name"], "kube-system")
    await asyncio.sleep(30)


def test_an_agent_that_has_read_what_was_wrong_for_a_while_holds_the_next_node() -> None:
    """Changed and changed back, nothing shows it but that the agent has started in between; restarted, it goes on."""

    async def main() -> None:
        async with simulated(cluster(), CONFIG) as (sim, _):
            first = await Process(sim, CONFIG, goal=ONE).run()
            assert first is not None
            await upgrade(sim, {"policy-audit-mode": "true"})
            await restart_agent(sim, "w1")
            await upgrade(sim, {"policy-audit-mode": None})
            final = await Process(sim, CONFIG).run()
            assert final is not None
            assert final.outcome == "halted", final
            assert "agent on 1 node (w1) has started before cilium-config was written last" in final.message
            assert "kubectl -n kube-system rollout restart daemonset/cilium" in final.next
            await restart_agent(sim, "w1")
            final = await Process(sim, CONFIG).run()
            assert final is not None
            assert final.outcome == "done", final

    run_virtual(main())


def test_a_cilium_deleted_on_the_way_holds_the_next_node() -> None:
    """No node is taken on for agents that are not there; it is told by name, and put back by its owner it goes on."""

    async def main() -> None:
        async with simulated(cluster(), CONFIG) as (sim, _):
            first = await Process(sim, CONFIG, goal=ONE).run()
            assert first is not None
            found = await sim.client.get(DAEMON_SET, "cilium", "kube-system")
            await sim.client.delete(DAEMON_SET, "cilium", "kube-system")
            final = await Process(sim, CONFIG).run()
            assert final is not None
            assert final.outcome == "halted", final
            assert "DaemonSet kube-system/cilium is gone" in final.message
            assert "helm upgrade" in final.next
            meta = {key: found["metadata"][key] for key in ("name", "namespace", "labels") if key in found["metadata"]}
            again = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": found["spec"]}
            await sim.client.create(DAEMON_SET, again, "kube-system")
            final = await Process(sim, CONFIG).run()
            assert final is not None
            assert final.outcome == "done", final

    run_virtual(main())


async def change_agents(sim: Simulation, spec: Mapping[str, Any]) -> None:
    """Cilium's owner, or a program of theirs, changes its DaemonSet's pods."""
    await sim.client.patch(DAEMON_SET, "cilium", {"spec": {"template": {"spec": dict(spec)}}}, namespace="kube-system")


async def tell_agents(sim: Simulation, argument: str) -> None:
    """One more argument of the agents."""
    found = await sim.client.get(DAEMON_SET, "cilium", "kube-system")
    containers = copy.deepcopy(found["spec"]["template"]["spec"]["containers"])
    (agent,) = [one for one in containers if one["name"] == "cilium-agent"]
    agent["args"] = [*agent.get("args", ()), argument]
    await change_agents(sim, {"containers": containers})


async def put_node_config(sim: Simulation, selector: Mapping[str, Any], defaults: Mapping[str, str]) -> None:
    """A CiliumNodeConfig of Cilium's owner."""
    made = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNodeConfig",
        "metadata": {"name": "edge", "namespace": "kube-system"},
        "spec": {"nodeSelector": dict(selector), "defaults": dict(defaults)},
    }
    await sim.client.create(CILIUM_NODE_CONFIG_V2, made, "kube-system")


Change = Callable[[Simulation], Awaitable[Any]]
W2 = {"matchLabels": {"kubernetes.io/hostname": "w2"}}
CHANGES: list[tuple[str, Change, str]] = [
    ("policies open", lambda sim: upgrade(sim, {"enable-policy": "never"}), "enable-policy is never"),
    ("another tunnel", lambda sim: upgrade(sim, {"tunnel-port": "9999"}), "tunnel-port is 9999"),
    ("another pool", lambda sim: upgrade(sim, {"cluster-pool-ipv4-cidr": "10.9.0.0/16"}), "cluster-pool-ipv4-cidr is"),
    ("another cluster", lambda sim: upgrade(sim, {"cluster-id": "7"}), "cluster-id is 7: it cannot change while nodes are"),
    ("another name", lambda sim: upgrade(sim, {"cluster-name": "b"}), "helm value cluster.name: default"),
    ("host ports", lambda sim: upgrade(sim, {"cni-chaining-mode": "portmap"}), "helm value cni.chainingMode: none"),
    ("no masquerading", lambda sim: upgrade(sim, {"enable-ipv4-masquerade": "false"}), "enable-ipv4-masquerade is false"),
    ("takes all nodes", lambda sim: upgrade(sim, {"write-cni-conf-when-ready": "/host/etc/cni/net.d/05-c.conflist"}),
     "write-cni-conf-when-ready is /host"),
    ("other nodes", lambda sim: change_agents(sim, {"nodeSelector": {"pool": "x"}}), "nodeSelector keeps its agents off"),
    ("another affinity", lambda sim: change_agents(sim, {"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["w2"]}]}]}}}}),
     "affinity.nodeAffinity keeps its agents off 1 node (w2)"),
    ("no tolerations", lambda sim: change_agents(sim, {"tolerations": None}), "tolerations lack"),
    ("an argument", lambda sim: tell_agents(sim, "--enable-policy=never"), "is started with enable-policy is never"),
    ("a node config", lambda sim: put_node_config(sim, W2, {"enable-policy": "never"}),
     "CiliumNodeConfig kube-system/edge sets enable-policy to 'never' on 1 node (w2)"),
    ("a node config that takes a node", lambda sim: put_node_config(
        sim, W2, {"write-cni-conf-when-ready": "/host/etc/cni/net.d/05-cilium.conflist"}),
     "sets write-cni-conf-when-ready to '/host/etc/cni/net.d/05-cilium.conflist' on 1 node (w2)"),
]  # fmt: skip


BACK: list[tuple[str, Change, str, str]] = [
    ("no agents", lambda sim: sim.client.delete(DAEMON_SET, "cilium", "kube-system"),
     "DaemonSet kube-system/cilium is gone", "put it back (helm upgrade --install"),
    ("no configuration", lambda sim: sim.client.delete(CONFIG_MAP, "cilium-config", "kube-system"),
     "there is no ConfigMap kube-system/cilium-config", "put it back (helm upgrade --install"),
    ("no agents there", lambda sim: change_agents(sim, {"nodeSelector": {"pool": "x"}}),
     "its nodeSelector or affinity keeps its agent off the node", "put it back (helm upgrade --install"),
    ("it would take the node again",
     lambda sim: upgrade(sim, {"write-cni-conf-when-ready": "/host/etc/cni/net.d/05-cilium.conflist"}),
     "write-cni-conf-when-ready is /host", "migrate manifests cilium-values > cilium-values.yaml; helm upgrade"),
    ("a node config would take the node again", lambda sim: put_node_config(
        sim, {}, {"write-cni-conf-when-ready": "/host/etc/cni/net.d/05-cilium.conflist"}),
     "so says a CiliumNodeConfig", "helm upgrade"),
]  # fmt: skip


@pytest.mark.parametrize("goal", [Goal(kind="rollback"), Goal(kind="rollback_node", node="w1")], ids=lambda g: g.kind)
@pytest.mark.parametrize(("change", "words", "todo"), [row[1:] for row in BACK], ids=[row[0] for row in BACK])
def test_the_way_back_is_held_before_a_drain(change: Change, words: str, todo: str, goal: Goal) -> None:
    """Where a node could not get back to Canal its pods stay where they are; what is missing, and what to type."""

    async def main() -> None:
        async with simulated(cluster(), CONFIG) as (sim, _):
            first = await Process(sim, CONFIG, goal=ONE).run()
            assert first is not None
            await change(sim)
            await asyncio.sleep(30)
            back = Process(sim, CONFIG, goal=goal)
            final = await back.run()
            assert final is not None
            assert final.outcome == "halted", final
            assert words in final.message
            assert todo in final.next
            node = await sim.client.get(NODE, "w1")
            assert not node["spec"].get("unschedulable")
            assert CONFIG.labels.cilium.key not in {one["key"] for one in node["spec"].get("taints", ())}
            assert back.mortal is not None
            assert not [path for _, path in back.mortal.written if path.endswith("/eviction")]

    run_virtual(main())


def test_back_all_the_same_when_its_policies_are_open() -> None:
    """Who goes back may do so because this Cilium is not as it should be: only what is needed is asked for."""

    async def main() -> None:
        async with simulated(cluster(), CONFIG) as (sim, _):
            first = await Process(sim, CONFIG, goal=ONE).run()
            assert first is not None
            await upgrade(sim, {"enable-policy": "never"})
            final = await Process(sim, CONFIG, goal=Goal(kind="rollback")).run()
            assert final is not None
            assert final.outcome == "done", final

    run_virtual(main())


@pytest.mark.parametrize(("change", "words"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_what_is_changed_on_the_way_is_seen_before_the_next_drain(change: Change, words: str) -> None:
    """Changed as late as the last look before a node is touched: nothing is done to it, and the field is named."""

    async def main() -> None:
        async with simulated(cluster(), CONFIG) as (sim, _):
            first = await Process(sim, CONFIG, goal=ONE).run()
            assert first is not None
            changing: list[asyncio.Future[Any]] = []

            def on_turn(decision: Decision, _: Snapshot) -> None:
                entry = decision.record.nodes.get("w2")
                if entry is not None and entry.step == "baseline_gate" and not changing:
                    changing.append(asyncio.ensure_future(change(sim)))

            second = Process(sim, CONFIG)
            second.on_turn = on_turn
            final = await second.run()
            await changing[0]
            assert final is not None
            assert final.outcome == "halted", final
            assert words in final.message
            node = await sim.client.get(NODE, "w2")
            assert not node["spec"].get("unschedulable")
            assert CONFIG.labels.cilium.key not in {one["key"] for one in node["spec"].get("taints", ())}

    run_virtual(main())


def test_an_operator_that_has_not_read_it_is_named() -> None:
    """Cilium's operator reads its configuration when it starts: an older one would restart Canal's pods."""

    async def main() -> None:
        async with simulated(cluster(), CONFIG) as (sim, _):
            await asyncio.sleep(30)
            await upgrade(sim, {"debug": "true"})
            final = await Process(sim, CONFIG).run()
            assert final is not None
            assert "does not read it again" in final.message
            assert final.next == "kubectl -n kube-system rollout restart deployment/cilium-operator, then `migrate run`"

    run_virtual(main())
