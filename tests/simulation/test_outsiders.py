"""A node that joins with a podCIDR of another network: told by name before it is taken in, and nothing is lost by it."""

from typing import Any

import pytest

from cni_migrate.core.model.goal import Final, Goal
from cni_migrate.core.preflight.findings import Severity
from cni_migrate.sim.clock import run_virtual
from cni_migrate.sim.scenario import Scenario
from cni_migrate.sim.simulation import Simulation
from cni_migrate.sim.world.kinds import NODE
from tests.simulation.harness import Process, config_for
from tests.simulation.looking import looked_at

OUTSIDE = "10.99.3.0/24"


def _scenario(**canal: Any) -> Scenario:
    return Scenario.model_validate(
        {
            "nodes": 3,
            "workloads": [{"name": "web", "replicas": 3}],
            "canal": {"published": True, **canal},
            "faults": [{"when": {"node": "w1", "cordoned": True}, "join": {"name": "w9", "pod_cidr": OUTSIDE}}],
        }
    )


def test_who_was_outside_from_the_beginning_is_found_by_preflight() -> None:
    """A scenario's node may have such a part at the start; it is the one that is named."""

    async def main() -> None:
        nodes = [{"name": "w1"}, {"name": "w2", "pod_cidr": OUTSIDE}]
        async with Simulation(Scenario.model_validate({"nodes": nodes, "canal": {"published": True}})) as sim:
            _, _, found = await looked_at(sim)
            (blocker,) = [one for one in found if one.severity is Severity.BLOCKER]
            assert (blocker.id, blocker.objects) == ("CANAL_POD_CIDR", (f"w2: {OUTSIDE}",))

    run_virtual(main())


@pytest.mark.parametrize(
    ("strategy", "network", "where"),
    [
        ("overlay", "", "outside of (canal.pod_cidr 10.244.0.0/16): flannel does not serve it"),
        ("overlay", "10.0.0.0/8", "in flannel's network 10.0.0.0/8, but not in the pods' part of it"),
        ("multus", "", "outside of"),
    ],
)
def test_who_joins_from_outside_is_told_by_name(strategy: str, network: str, where: str) -> None:
    """Node, podCIDR and network, and what to type; once the node is gone the run goes on to the clean audit."""

    async def main() -> None:
        settings = {"network": network} if network else {}
        cilium = {"pod_cidr": "172.30.0.0/16"} if network else {}
        config = config_for(strategy, canal=settings, cilium=cilium)
        async with Simulation(_scenario(network=network)) as sim:
            first = Process(sim, config)
            final = await first.run()
            assert final is not None
            assert final.outcome == "halted", final
            assert f"node w9 joined with podCIDR {OUTSIDE}, which is {where}" in final.message
            assert "`kubectl delete node w9`" in final.next
            assert "migrate run" in final.next
            ended = [line.at for line in first.turns[-1].record.cluster.history if " done, " in line.what]
            assert (first.turns[-1].deadline - max(ended)).total_seconds() < 60, "nobody waits for what does not change"
            entry = first.turns[-1].record.nodes["w9"]
            assert (entry.event, entry.held, entry.attempt) == (None, None, 0), "nothing was begun on it"
            await sim.world.machines.leave("w9")
            done = await Process(sim, config, goal=Goal(), holder="second@test/1/1/elsewhere").run()
            assert done == Final("done", "the cluster runs on Cilium; the audit is clean", "")

    run_virtual(main())


def test_other_addresses_of_nodes_are_theirs_as_well() -> None:
    """A second network of the nodes, and what they are outside: in Cilium's network, or allowed by an ipBlock."""
    told = [("InternalIP", "198.51.100.7"), ("InternalIP", "10.245.9.7"), ("ExternalIP", "203.0.113.7")]
    block = {"from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}
    policy = {
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [block]},
    }

    async def main() -> None:
        scenario = {"nodes": 2, "canal": {"published": True}, "network_policies": [policy]}
        async with Simulation(Scenario.model_validate(scenario)) as sim:
            node = await sim.client.get(NODE, "w1")
            node["status"]["addresses"] += [{"type": kind, "address": address} for kind, address in told]
            await sim.client.update(NODE, node, subresource="status")
            _, _, every = await looked_at(sim)
            found = {one.id: one.objects for one in every}
            assert found["CIDR_OVERLAP"] == ("node w1 (10.245.9.7)",)
            assert found["POLICIES_IPBLOCK"] == ("NetworkPolicy shop/db: 203.0.113.0/24",)

    run_virtual(main())
