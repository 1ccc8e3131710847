"""A Cilium that its owner has installed by Helm, by Cilium's guide: the migration ends on that one, and writes nothing of it."""

import json
from pathlib import Path

import pytest

from tests.lab import cilium, configuration, traces
from tests.lab import cluster as labs
from tests.lab.cluster import Cluster
from tests.lab.conftest import Hire
from tests.lab.driving import Operator
from tests.lab.releases import Release
from tests.lab.test_disturbed import KILLS, begun

OWN = ("ds/cilium", "deploy/cilium-operator", "cm/cilium-config", "sa/cilium", "clusterrole/cilium")

STEPS = 33
"""About so many different steps come before it waits for the last upgrade; the kills are spread over them."""


def managers(cluster: Cluster) -> set[str]:
    """Who has written what is Cilium's own, statuses aside."""
    told = cluster.control_plane.kubectl("get", "-n", "kube-system", *OWN, "-o", "json", "--show-managed-fields").stdout
    return {
        one["manager"]
        for found in json.loads(told)["items"]
        for one in found["metadata"]["managedFields"]
        if one.get("subresource") != "status"
    }


def values(operator: Operator, part: str, folder: Path) -> Path:
    """The values that the tool asks for, in a file."""
    done = operator.type("manifests", part)
    assert done.returncode == 0, done.stderr
    path = folder / f"{part}.yaml"
    path.write_text(done.stdout)
    return path


@pytest.mark.parametrize("canal", [labs.BRIDGED], ids=["bridged"])
def test_killed_ten_times_it_ends_on_the_cilium_that_helm_has_installed(
    cluster: Cluster, hire: Hire, tmp_path: Path
) -> None:
    configuration.write_installed(cluster.lab.folder)
    admin = Operator(cluster.lab, tmp_path / "admin.jsonl", "overlay")
    release = Release(cluster, cilium.chart(cluster.lab, cluster.release.version))
    release.install(values(admin, "cilium-values", tmp_path))
    kubectl = cluster.control_plane.kubectl
    kubectl("rollout", "status", "-n", "kube-system", "ds/cilium", "--timeout=180s")
    operator = hire(cluster, "overlay")

    # The relay has an emptyDir, and is drained like others.
    for kill in range(1, KILLS + 1):
        running = operator.start("--delete-emptydir-data")
        assert running.until(begun(STEPS * kill // (KILLS + 1)), within=600), running.said()
        running.kill()
    running = operator.start("--delete-emptydir-data")
    assert running.until(lambda lines: "await_final_values" in json.dumps(lines[-20:]), within=600), running.said()
    release.change(values(admin, "cilium-values-final", tmp_path))
    assert running.end() == 0, running.said()

    assert "migrate" not in managers(cluster)
    assert release.ask("status")["info"]["status"] == "deployed"
    assert traces.pods_off_cilium(cluster) == []
    assert traces.of_canal(cluster) == []
