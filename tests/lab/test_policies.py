"""NetworkPolicies while half of the nodes are migrated, and at the end: who gets through, who does not."""

import pytest

from tests.lab import guarded, policies, report
from tests.lab.cluster import BRIDGED, Cluster
from tests.lab.conftest import Hire
from tests.lab.driving import Operator, said
from tests.lab.guarded import CALLERS
from tests.lab.policies import Call, wrong
from tests.lab.processes import say
from tests.lab.settings import ROOT
from tests.lab.test_migration import migrate

MIGRATED = ("node1", "node2")


def _kind(node: str) -> str:
    return "migrated" if node in MIGRATED else "dual"


def _table(calls: list[Call]) -> str:
    """How many calls came through, by what both nodes are."""
    rows = ["caller  from      to        way        through"]
    keys = {(call.caller, _kind(call.source), _kind(call.target), call.way) for call in calls}
    for key in sorted(keys):
        same = [c for c in calls if (c.caller, _kind(c.source), _kind(c.target), c.way) == key]
        rows.append(f"{key[0]:7} {key[1]:9} {key[2]:9} {key[3]:10} {sum(c.reached for c in same)} of {len(same)}")
    return "\n".join(rows)


@pytest.mark.parametrize("strategy", ["overlay", "multus"])
def test_policies_hold_through_a_whole_migration(strategy: str, cluster: Cluster, hire: Hire) -> None:
    """Routed pods, real policies on Canal's side, and no second in which somebody forbidden got through.

    Asked at every stage as well: before, with one and with two nodes migrated, and at the end.
    """
    stages: dict[str, list[Call]] = {}

    def look(stage: str) -> None:
        guarded.settle(cluster)
        stages[stage] = policies.calls(cluster)
        say(f"{stage}: {len(wrong(stages[stage]))} wrong of {len(stages[stage])}")

    def node_by_node(operator: Operator) -> None:
        for some in (("--nodes", "node1"), ("--nodes", "node1,node2"), ()):
            done = operator.run(*some)
            assert done.returncode == 0, said(done)
            look(" ".join(some) or "the end")

    guarded.deploy(cluster)
    look("before")
    with policies.Sampling(cluster) as sampling:
        migrate(cluster, hire, strategy, how=node_by_node)
    tally = sampling.tally()
    say(f"\n{tally.table()}")
    report.save(ROOT / "build" / "lab" / f"policies-{strategy}.json", summary=str(tally), wrong=tally.wrong)
    assert {stage: (len(found), wrong(found)) for stage, found in stages.items()} == dict.fromkeys(stages, (36, []))
    assert len(stages) == 4
    assert tally.calls
    assert tally.through == []
    assert tally.lost == []


@pytest.mark.parametrize(("strategy", "canal"), [("multus", BRIDGED)])
def test_policies_in_transit_and_at_the_end(strategy: str, four: Cluster, hire: Hire) -> None:
    guarded.deploy(four)
    operator = hire(four, strategy)

    warned = operator.type("preflight", "--strategy", strategy)
    assert warned.returncode == 0, said(warned)
    assert guarded.NAMESPACE in warned.stdout

    half = operator.run("--nodes", ",".join(MIGRATED))
    assert half.returncode == 0, said(half)
    guarded.settle(four)
    calls = policies.calls(four)
    say(f"\n{_table(calls)}")
    report.save(ROOT / "build" / "lab" / f"policies-{strategy}.json", calls=calls)

    # Nobody who may is kept out, whatever the pair.
    assert [call for call in calls if CALLERS[call.caller] and not call.reached] == []
    # On migrated nodes policies hold for all callers; on dual nodes they are Canal's business, and this one enforces none.
    assert [call for call in wrong(calls) if call.target in MIGRATED] == []
    # Each goes out by the interface that has its address, which is what everybody knows it by.
    routes = guarded.routes(four, "ok", "node3")
    assert any(route.startswith("default ") and "dev eth0" in route for route in routes), routes

    done = operator.run()
    assert done.returncode == 0, said(done)
    guarded.settle(four)
    assert wrong(policies.calls(four)) == []
