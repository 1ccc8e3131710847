"""A whole migration of a real cluster by each strategy, and every packet that it loses between pods that stay."""

from collections.abc import Callable

import pytest

from tests.lab import report, requests, traces
from tests.lab.cluster import Cluster
from tests.lab.conftest import STRATEGIES, Hire
from tests.lab.driving import Operator, said
from tests.lab.probing import Probing
from tests.lab.processes import say
from tests.lab.settings import ROOT
from tests.real.stage import Trail


@pytest.mark.parametrize(("strategy", "canal"), STRATEGIES)
def test_a_migration_loses_nothing_between_pods_that_stay(strategy: str, cluster: Cluster, hire: Hire) -> None:
    migrate(cluster, hire, strategy)


def at_once(operator: Operator) -> None:
    """One run from the first node to the last."""
    done = operator.run()
    assert done.returncode == 0, said(done)


def migrate(
    cluster: Cluster,
    hire: Hire,
    strategy: str,
    kept: tuple[str, ...] = ("ping", "stream"),
    how: Callable[[Operator], None] = at_once,
) -> None:
    """Migrate a fresh lab; a packet of the `kept` kinds that was lost, or a trace that is left, fails the test."""
    operator, start = hire(cluster, strategy), requests.position(cluster.lab)

    service = cluster.service("shop", "web")
    with Probing(cluster, service) as restarting:  # what the workload's own restart costs, to compare with
        cluster.control_plane.kubectl("rollout", "restart", "-n", "shop", "deploy/web")
        cluster.await_workloads()
    alone = restarting.tally({})["between", "service"]
    with Probing(cluster, service) as probing:
        how(operator)

    lines = operator.lines()
    found, cost = probing.tally(report.spans(lines)), report.cost(cluster.lab, lines, start)
    report.save(
        ROOT / "build" / "lab" / f"{strategy}.json",
        cost=cost,
        restart=vars(alone),
        agents=vars(report.of_agents(lines)),
        lost={" ".join(key): vars(t) for key, t in found.items()},
    )
    say(f"\n{report.table(probing, lines)}")
    say(f"a restart of the 6 web pods without a migration: {alone.lost} of {alone.sent} by the Service lost")
    say(f"{cost.seconds:.1f} s, {cost.requests:.1f} requests, {cost.drains:g} drains per node")

    assert traces.pods_off_cilium(cluster) == []
    assert traces.of_canal(cluster) == []
    assert Trail(cluster.lab.logs / "audit.log").problems() == []
    assert all(tally.sent for tally in found.values())
    assert {kind for _, kind in found} == {"ping", "stream", "service"}
    assert report.losses(found, *kept) == []
