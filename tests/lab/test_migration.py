"""A whole migration of a real cluster by each strategy, and every packet that it loses between pods that stay.

By `overlay` to the operator's own Cilium: the official chart, with Hubble, which Helm owns in the end.
"""

import pytest

from tests.lab import cilium, configuration, report, requests, traces
from tests.lab.cluster import Cluster
from tests.lab.conftest import Bring, Hire
from tests.lab.driving import said
from tests.lab.probing import Probing
from tests.lab.processes import say
from tests.lab.releases import Release
from tests.lab.settings import ROOT
from tests.real.stage import Trail

NEWEST = next(iter(cilium.RELEASES))


def test_multus_loses_nothing_between_pods_that_stay(bring: Bring, hire: Hire) -> None:
    migrate(bring(NEWEST, "multus"), hire, "multus")


def test_overlay_to_the_official_chart_that_helm_owns_in_the_end(
    bring: Bring, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = bring(NEWEST, "overlay")
    chart = cilium.chart(here.lab, NEWEST)
    release = Release(here, chart)
    monkeypatch.setenv("PATH", str(release.helm.parent), prepend=":")
    configuration.write(here.lab.folder, NEWEST, chart)

    migrate(here, hire, "overlay")

    assert release.ask("status")["info"]["status"] == "deployed"
    assert release.ask("get values")["hubble"]["relay"]["enabled"] is True
    kubectl = here.control_plane.kubectl
    kubectl("rollout", "status", "-n", "kube-system", "deploy/hubble-relay", "--timeout=120s")
    before = release.objects()
    release.upgrade()
    assert release.objects() == before
    assert {"DaemonSet/cilium", "Deployment/hubble-relay", "ConfigMap/cilium-config"} <= set(before)
    observe = ("exec", "-n", "kube-system", "ds/cilium", "-c", "cilium-agent", "--", "hubble", "observe", "--last", "5")
    assert "FORWARDED" in kubectl(*observe).stdout


def migrate(cluster: Cluster, hire: Hire, strategy: str) -> None:
    """Migrate a fresh lab; a packet that was lost, or a trace that is left, fails the test."""
    operator, start = hire(cluster, strategy), requests.position(cluster.lab)

    service = cluster.service("shop", "web")
    with Probing(cluster, service) as restarting:  # what the workload's own restart costs, to compare with
        cluster.control_plane.kubectl("rollout", "restart", "-n", "shop", "deploy/web")
        cluster.await_workloads()
    alone = restarting.tally({})["between", "service"]
    with Probing(cluster, service) as probing:
        done = operator.run()
    assert done.returncode == 0, said(done)

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
    assert report.losses(found, "ping", "stream") == []
