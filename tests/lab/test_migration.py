"""A whole migration of a real cluster by each strategy, and every packet that it loses between pods that stay."""

import pytest

from tests.lab import report, requests, traces
from tests.lab.cluster import Cluster
from tests.lab.conftest import Hire
from tests.lab.driving import said
from tests.lab.probing import Probing
from tests.lab.processes import say
from tests.lab.settings import ROOT
from tests.real.stage import Trail


@pytest.mark.parametrize("strategy", ["overlay", "multus"])
def test_a_migration_loses_nothing_between_pods_that_stay(strategy: str, cluster: Cluster, hire: Hire) -> None:
    operator, start = hire(cluster, strategy), requests.position(cluster.lab)

    with Probing(cluster, cluster.service("shop", "web")) as probing:
        done = operator.run()
    assert done.returncode == 0, said(done)

    lines = operator.lines()
    found, cost = probing.tally(report.spans(lines)), report.cost(cluster.lab, lines, start)
    report.save(
        ROOT / "build" / "lab" / f"{strategy}.json",
        cost=cost,
        lost={" ".join(key): vars(t) for key, t in found.items()},
    )
    say(f"\n{report.table(probing, lines)}\n{cost}")

    assert traces.pods_off_cilium(cluster) == []
    assert traces.of_canal(cluster) == []
    assert Trail(cluster.lab.logs / "audit.log").problems() == []
    assert all(tally.sent for tally in found.values())
    assert {kind for _, kind in found} == {"ping", "stream", "service"}
    assert report.losses(found, "ping", "stream") == []
