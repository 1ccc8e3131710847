"""Who reaches whom: a table over kinds of pods, then what happens when something on a node is missing."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world.faultstate import Loss
from cni_migrate.sim.world.host import ALWAYS, NEVER, Host, Plane
from cni_migrate.sim.world.masquerade import CILIUM, FLANNEL
from cni_migrate.sim.world.sandbox import Sandbox
from cni_migrate.sim.world.world import World

BOTH = frozenset({"cni0", "flannel.1", "cilium_host", "cilium_net", "cilium_vxlan"})
TWO = Scenario.model_validate({"nodes": 2, "workloads": [{"kind": "daemonset", "name": "a"}]})
EMPTY = Scenario.model_validate({"nodes": 2, "calico": False})


@dataclass
class Stage:
    """Two nodes with both networks, and pods of every sort on each."""

    world: World
    pods: dict[str, Sandbox] = field(default_factory=dict)

    def add(self, name: str, node: str, primary: str, ip: str, **more: Any) -> None:
        pod = Sandbox(name, "default", name, node, {"app": name}, primary, ip, -math.inf, bridged=True, **more)
        self.pods[name] = pod
        self.world.ctx.net.add(pod)

    def error(self, source: str, target: str, kind: str = "http", *, extra: bool = False) -> str:
        pod = self.pods[target]
        return self.world.reach(self.pods[source], pod.extra if extra else pod.ip, kind)


def stage(test: Callable[[Stage], None], **planes: dict[str, Any]) -> None:
    """Run a test on the stage; `planes` changes what the nodes have."""

    async def run() -> None:
        async with Simulation(EMPTY) as sim:
            made = Stage(sim.world)
            for number, node in enumerate(("w1", "w2"), 1):
                host = sim.world.host(node)
                host.cilium_since = NEVER
                values: dict[str, Any] = {
                    "links": BOTH,
                    "subnet": f"10.244.{number}.0/24",
                    "cidr": f"10.245.{number}.0/24",
                    "flannel_seen": ALWAYS,
                    "cilium_seen": ALWAYS,
                    "postrouting": (CILIUM, FLANNEL),
                }
                host.seed(Plane(**{**values, **planes.get(node, {})}))
                made.add(f"canal{number}", node, "canal", f"10.244.{number}.100")
                made.add(f"cilium{number}", node, "cilium", f"10.245.{number}.100")
                made.add(
                    f"dual{number}",
                    node,
                    "canal",
                    f"10.244.{number}.101",
                    extra=f"10.245.{number}.101",
                    via_extra=True,
                )
            test(made)

    run_virtual(run())


PODS = ("canal1", "cilium1", "dual1", "canal2", "cilium2", "dual2")
PAIRS = [(a, b) for a in PODS for b in PODS if a != b]


def test_with_both_networks_in_place_all_reach_all() -> None:
    def check(made: Stage) -> None:
        for kind in ("http", "http_large", "udp", "tcp"):
            assert {pair: made.error(*pair, kind) for pair in PAIRS} == dict.fromkeys(PAIRS, "")
        assert made.error("dual1", "dual2", extra=True) == ""

    stage(check)


CANAL_TARGETS = {("canal1", "canal2"), ("cilium1", "canal2"), ("dual1", "canal2"), ("canal1", "dual2")}
CANAL_TARGETS |= {("cilium1", "dual2"), ("dual1", "dual2")}
ACROSS_CANAL = CANAL_TARGETS | {(a.replace("1", "2"), b.replace("2", "1")) for a, b in CANAL_TARGETS}
CILIUM_TARGETS = {("canal1", "cilium2"), ("cilium1", "cilium2"), ("dual1", "cilium2")}
ACROSS_CILIUM = CILIUM_TARGETS | {(a.replace("1", "2"), b.replace("2", "1")) for a, b in CILIUM_TARGETS}

MISSING: list[tuple[str, dict[str, dict[str, Any]], set[tuple[str, str]]]] = [
    ("flannel.1 of w1", {"w1": {"links": BOTH - {"flannel.1"}}}, ACROSS_CANAL),
    ("flannel's routes of w1, after a reboot without flanneld", {"w1": {"flannel_seen": NEVER}}, ACROSS_CANAL),
    ("flannel's route to w2 on w1", {"w1": {"lost_routes": frozenset({"w2"})}}, ACROSS_CANAL),
    ("Cilium's datapath on w2", {"w2": {"cilium_seen": NEVER}}, ACROSS_CILIUM | {
        ("canal2", "cilium2"), ("dual2", "cilium2"), ("cilium2", "canal2"), ("cilium2", "dual2"), ("cilium2", "canal1"),
        ("cilium2", "dual1"),
    }),
]  # fmt: skip


@pytest.mark.parametrize(("what", "planes", "lost"), MISSING, ids=[row[0] for row in MISSING])
def test_what_is_missing_turns_pairs_red(
    what: str, planes: dict[str, dict[str, Any]], lost: set[tuple[str, str]]
) -> None:
    def check(made: Stage) -> None:
        assert {pair for pair in PAIRS if made.error(*pair)} == lost

    stage(check, **planes)


def test_a_bridge_that_is_gone_cuts_its_own_pods_off() -> None:
    def check(made: Stage) -> None:
        red = {pair for pair in PAIRS if made.error(*pair)}
        assert ("canal1", "dual1") in red
        assert ("canal1", "canal2") in red
        assert ("cilium2", "canal1") in red
        assert ("cilium1", "cilium2") not in red

    stage(check, w1={"links": BOTH - {"cni0"}})


def test_a_node_is_known_only_where_the_daemon_has_run_since() -> None:
    def check(made: Stage) -> None:
        host: Host = made.world.host("w2")
        host.flannel_since = 10.0
        host.cilium_since = 10.0
        assert made.error("canal1", "canal2") == "timeout"
        assert made.error("cilium1", "cilium2") == "timeout"
        first = made.world.host("w1")
        first.change(flannel_seen=ALWAYS, cilium_seen=ALWAYS)
        assert made.error("canal1", "canal2") == ""
        assert made.error("cilium1", "cilium2") == ""

    stage(check, w1={"flannel_seen": 5.0, "cilium_seen": 5.0})


LOSSES = [
    (Loss("w2", "canal"), "http", {"canal1": "timeout", "cilium1": ""}),
    (Loss("w2", "cilium"), "http", {"canal1": "", "cilium1": "timeout"}),
    (Loss("w2", "all", "in"), "http", {"canal1": "timeout", "cilium1": "timeout"}),
    (Loss("w2", "all", "out"), "udp", {"canal1": "timeout", "cilium1": "timeout"}),
    (Loss(kinds=frozenset({"http_large"})), "http", {"canal1": "", "cilium1": ""}),
    (Loss(kinds=frozenset({"http_large"})), "http_large", {"canal1": "timeout", "cilium1": "timeout"}),
    (Loss(network="cilium", kinds=frozenset({"udp"})), "udp", {"canal1": "", "cilium1": "timeout"}),
]


@pytest.mark.parametrize(("loss", "kind", "expected"), LOSSES)
def test_lost_packets(loss: Loss, kind: str, expected: dict[str, str]) -> None:
    def check(made: Stage) -> None:
        made.world.ctx.faults.losses.append(loss)
        loss.since, loss.until = -math.inf, math.inf
        found = {source: made.error(source, source.replace("1", "2"), kind) for source in expected}
        assert found == expected
        assert made.error("canal1", "cilium1", kind) == ""

    stage(check)


def test_two_pods_with_one_address_and_the_older_is_lost() -> None:
    def check(made: Stage) -> None:
        made.add("twin", "w2", "canal", "10.244.2.100")
        path = made.world.network.path(made.pods["canal1"], "10.244.2.100", made.world.ctx.now())
        assert path.target is made.pods["twin"]

    stage(check)


POLICY = {
    "metadata": {"name": "only-ok", "namespace": "default"},
    "spec": {
        "podSelector": {},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "canal1"}}}]}],
    },
}
POLICY_FOR_DUAL = {
    "metadata": {"name": "only-dual", "namespace": "default"},
    "spec": {
        "podSelector": {},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "dual1"}}}]}],
    },
}
GUARDED = [
    # policy, who enforces on w2, route of dual pods via Cilium, source, target, does it arrive
    (POLICY, {}, True, "cilium1", "canal2", True),
    (POLICY, {"calico_seen": ALWAYS}, True, "canal1", "canal2", True),
    (POLICY, {"calico_seen": ALWAYS}, True, "dual1", "canal2", False),
    (POLICY, {"calico_seen": ALWAYS}, True, "cilium1", "cilium2", True),
    (POLICY, {"enforcing": True}, True, "canal1", "cilium2", False),
    (POLICY_FOR_DUAL, {"enforcing": True}, True, "dual1", "cilium2", True),
    (POLICY_FOR_DUAL, {"enforcing": True}, False, "dual1", "cilium2", False),
    (POLICY_FOR_DUAL, {"enforcing": True}, True, "cilium1", "cilium2", False),
    (POLICY_FOR_DUAL, {"calico_seen": ALWAYS}, True, "dual1", "dual2", True),
]


@pytest.mark.parametrize(("policy", "plane", "via", "source", "target", "arrives"), GUARDED)
def test_policies(
    policy: dict[str, Any], plane: dict[str, Any], via: bool, source: str, target: str, arrives: bool
) -> None:
    def check(made: Stage) -> None:
        made.pods["dual1"].via_extra = via
        made.world.policies._changed(None, policy)
        assert (made.error(source, target) == "") is arrives

    stage(check, w2=plane)


def test_the_past_stays_as_it_was() -> None:
    async def run() -> None:
        async with Simulation(TWO) as sim:
            await sim.world.idle()
            pods = [run.sandbox for run in sim.world.kubelets.runs.values() if run.pod["metadata"]["name"][:2] == "a-"]
            first, second = [pod for pod in pods if pod is not None]
            await asyncio.sleep(5)
            host = sim.world.host("w1")
            host.change(links=host.plane.links - {"flannel.1"})
            broken = sim.clock.seconds()
            await asyncio.sleep(5)
            host.add_links("flannel.1")
            await asyncio.sleep(5)
            assert sim.world.reach(first, second.ip, when=broken - 1) == ""
            assert sim.world.reach(first, second.ip, when=broken + 1) == "timeout"
            assert sim.world.reach(first, second.ip) == ""
            assert "flannel.1" not in sim.world.plane_at("w1", broken + 1).links

    run_virtual(run())
