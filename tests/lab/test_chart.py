"""A whole migration to the operator's own Cilium: the official chart, with Hubble, which Helm owns in the end."""

import pytest

from tests.lab import cilium, configuration
from tests.lab import cluster as labs
from tests.lab.cluster import Cluster
from tests.lab.conftest import Hire
from tests.lab.releases import Release
from tests.lab.test_migration import migrate

OBSERVE = ("exec", "-n", "kube-system", "ds/cilium", "-c", "cilium-agent", "--", "hubble", "observe", "--last", "5")


@pytest.mark.parametrize("canal", [labs.BRIDGED], ids=["bridged"])
@pytest.mark.parametrize("strategy", ["overlay", "multus"])
def test_helm_owns_the_official_chart_in_the_end(
    strategy: str, cluster: Cluster, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    chart = cilium.chart(cluster.lab, cluster.release.version)
    release = Release(cluster, chart)
    monkeypatch.setenv("PATH", str(release.helm.parent), prepend=":")
    configuration.write(cluster.lab.folder, cluster.release.version, chart)

    # TCP between pods that stay stalls for some seconds while the chart's agents get their final form; it is counted and
    # printed (docs/explanation/real-clusters.md), and no packet of theirs may be lost otherwise.
    migrate(cluster, hire, strategy, kept=("ping",))

    assert release.ask("status")["info"]["status"] == "deployed"
    assert release.ask("get values")["hubble"]["relay"]["enabled"] is True
    kubectl = cluster.control_plane.kubectl
    kubectl("rollout", "status", "-n", "kube-system", "deploy/hubble-relay", "--timeout=120s")
    before = release.objects()
    release.upgrade()
    assert release.objects() == before
    assert {"DaemonSet/cilium", "Deployment/hubble-relay", "ConfigMap/cilium-config"} <= set(before)
    assert "FORWARDED" in kubectl(*OBSERVE).stdout
