"""With Cilium's official charts and the real helm: what was written down is so, and each is moved to.

Charts come from Go's module proxy, helm from PATH or from there. `nox -s charts` runs it for every version.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cni_migrate import cilium_versions as versions
from cni_migrate.core.render import coexistence
from tests.charts import charts
from tests.cli.conftest import Served

VERSIONS = sorted(file.stem for file in charts.RECORDED.glob("*.yaml"))
VALUES = charts.HERE / "operator.yaml"
MIGRATE = str(Path(sys.executable).with_name("migrate"))


def typed(*words: str, environment: dict[str, str]) -> str:
    """What a command says; it has to end well."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_written_down_is_what_the_chart_says(version: str) -> None:
    """`python -m tests.charts` writes it down anew."""
    written = YAML(typ="safe").load((charts.RECORDED / f"{version}.yaml").read_text())
    assert json.loads(json.dumps(charts.record(version))) == written


def paths(tree: object, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every path of a tree of values that ends in a value."""
    if isinstance(tree, dict) and tree:
        for key, below in tree.items():
            yield from paths(below, (*before, key))
    else:
        yield before


def test_values_that_are_named_are_the_newest_chart_s() -> None:
    """In the how-tos, and in what is said of an installed Cilium: a name that the chart has not does nothing there."""
    version = max(VERSIONS, key=versions.parsed)
    chart = YAML(typ="safe").load((charts.source(version) / charts.CHART / "values.yaml").read_text())
    known = {path[:depth] for path in paths(chart) for depth in range(1, len(path) + 1)}
    in_comments = {("policyAuditMode",), ("cni", "readCniConf")}  # of values.yaml; the templates read them
    taken = YAML(typ="safe").load((charts.RECORDED / f"{version}.yaml").read_text())["defaults"]
    stages: tuple[coexistence.Stage, ...] = ("transit", "final")
    said = {
        row.value for stage in stages for row in coexistence.rows(stage)
        if row.key in taken and row.value[0] != coexistence.EXTRA
    }  # fmt: skip
    for page in sorted((charts.HERE.parents[1] / "docs" / "how-to").glob("*.md")):
        for block in re.findall(r"^```yaml\n# cilium-values.*?^```", page.read_text(), re.MULTILINE | re.DOTALL):
            said |= set(paths(YAML(typ="safe").load(block.strip("`").removeprefix("yaml"))))
    assert ("bpf", "hostLegacyRouting") in said
    assert said - known - in_comments == set()


def config_of(objects: list[dict[str, Any]]) -> dict[str, str]:
    """The data of `cilium-config`."""
    (found,) = [one["data"] for one in objects if one["metadata"]["name"] == "cilium-config"]
    data: dict[str, str] = found
    return data


@pytest.mark.parametrize("strategy", ["overlay", "multus"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_cluster_is_moved_to_the_chart(version: str, strategy: str, tmp_path: Path) -> None:
    """From the diff to a release that is deployed, whose `cilium-config` is the chart's own."""
    chart = charts.source(version) / charts.CHART
    file = tmp_path / "migrate.yaml"
    file.write_text(f"strategy: {strategy}\ncilium: {{source: chart, chart: {chart}, values: [{VALUES}]}}\n")
    with Served(tmp_path) as served:
        environment = {
            **os.environ,
            "KUBECONFIG": str(served.kubeconfig),
            "MIGRATE_CONFIG": str(file),
            "PATH": f"{charts.helm().parent}:{os.environ['PATH']}",
        }
        assert "-  custom-cni-conf" in typed(MIGRATE, "manifests", "--diff", environment=environment)
        assert version in typed(MIGRATE, "config", "show", environment=environment)
        typed(MIGRATE, "plan", environment=environment)
        images = typed(MIGRATE, "images", environment=environment)
        assert {f"quay.io/cilium/{name}:v{version}" for name in ("cilium", "operator-generic", "hubble-relay")} <= {
            word.partition("@")[0] for word in images.split()
        }
        typed(MIGRATE, "run", "--yes", environment=environment)

        helm = str(charts.helm())
        told = typed(helm, "status", "cilium", "-n", "kube-system", "-o", "json", environment=environment)
        assert json.loads(told)["info"]["status"] == "deployed"
        stored = {
            one.key: one.object for one in served.sim.store.select(served.sim.app.catalog.find("", "v1", "configmaps"))
        }
        found = next(one for one in stored.values() if one["metadata"]["name"] == "cilium-config")
        assert found["data"] == config_of(charts.rendered(chart, VALUES))
