"""The driver as a Job in the cluster that it migrates, through the drain of the node it runs on."""

import json
import sys

import pytest

from tests.lab import traces
from tests.lab.account import printed
from tests.lab.cluster import BRIDGED, Cluster
from tests.lab.driving import PROGRAM
from tests.lab.matrix import unreached
from tests.lab.processes import run, wait_for

JOB = ("-n", "cni-migrate", "job/cni-migrate")


@pytest.mark.parametrize("canal", [BRIDGED])
def test_the_driver_survives_the_migration_of_its_own_node(cluster: Cluster) -> None:
    lab, kubectl = cluster.lab, cluster.control_plane.kubectl
    # There is no registry: `migrate` is on the nodes, as the how-to says for that case; the nodes' Python runs it.
    program = lab.folder / "program"
    pip = [sys.executable, "-m", "pip", "--python", "/usr/bin/python3", "--quiet", "--disable-pip-version-check"]
    run(*pip, "install", "--target", program, ".")
    run("chmod", "-R", "a+rX", program)
    settings = lab.folder / "job-settings.yaml"
    job = {
        "image": "localhost/lab/userland:1",
        "command": ["env", f"PYTHONPATH={program}", "python3", "-m", "cni_migrate.cli.main"],
        "host_folders": [str(program)],
        "node_selector": {"kubernetes.io/hostname": "node2"},
    }
    settings.write_text(f"{lab.configuration.read_text()}strategy: overlay\njob: {json.dumps(job)}\n")
    for name, text in (
        ("rbac", printed(lab, "overlay")),
        ("job", run(PROGRAM, "manifests", "job", "--config", settings).stdout),
    ):
        manifest = lab.folder / f"{name}.yaml"
        manifest.write_text(text)
        kubectl("apply", "-f", str(manifest))

    def ended() -> bool:
        status = json.loads(kubectl("get", *JOB, "-o", "json").stdout)["status"]
        return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in status.get("conditions", []))

    wait_for("the Job to end", ended, 600, every=1)
    log = kubectl("logs", *JOB).stdout
    status = json.loads(kubectl("get", *JOB, "-o", "json").stdout)["status"]
    assert status.get("succeeded") == 1, log[-4000:]
    # It ran on one of the nodes, and that one was migrated under it, the last of all.
    pods = json.loads(kubectl("get", "pods", "-n", "cni-migrate", "-l", "job-name=cni-migrate", "-o", "json").stdout)
    assert {pod["spec"]["nodeName"] for pod in pods["items"]} == {"node2"}
    told = [json.loads(line) for line in log.splitlines() if line.startswith("{")]  # the status table comes last
    history = [line["what"] for line in told if line.get("event") == "history"]
    released = [what.split(":")[0] for what in history if "release done" in what]
    assert released == ["node node1", "node node3", "node node2"]
    cluster.await_workloads()
    assert traces.pods_off_cilium(cluster) == []
    assert traces.of_canal(cluster) == []
    assert unreached(cluster) == []
