"""Cilium's own charts, from the module github.com/cilium/cilium: rendered by the real `helm`, and what they say."""

import functools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from cni_migrate.core.render import coexistence
from tests.charts import facts, used
from tests.controlplane.build import go_tool
from tests.lab import build
from tests.lab.settings import Lab, cache_folder

HERE = Path(__file__).parent
RECORDED = HERE / "recorded"
MODULE = "github.com/cilium/cilium"
CHART = "install/kubernetes/cilium"


class ChartError(Exception):
    """A chart cannot be had or rendered; the message says why."""


def source(version: str) -> Path:
    """The unpacked module of a version.

    Raises:
        ChartError: it cannot be had; Go's own words say why.
    """
    asked = [go_tool(), "mod", "download", "-json", f"{MODULE}@v{version}"]
    told = json.loads(subprocess.run(asked, capture_output=True, text=True, check=False).stdout)
    if "Error" in told:
        raise ChartError(told["Error"])
    return Path(told["Dir"])


@functools.cache
def helm() -> Path:
    """The `helm` on PATH, or one that is built from its module, as for the lab.

    Raises:
        LabError: it cannot be built.
    """
    found = shutil.which("helm")
    return (
        Path(found)
        if found
        else build.build_programs(Lab(cache_folder(), Path(tempfile.mkdtemp())), [build.HELM])["helm"]
    )


def rendered(chart: Path, *values: Path) -> list[dict[str, Any]]:
    """The chart's objects.

    Raises:
        ChartError: helm refuses, in its own words.
    """
    files = [part for file in values for part in ("--values", str(file))]
    asked = [str(helm()), "template", "cilium", str(chart), "-n", "kube-system", "--kube-version", "1.34.0", *files]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    if told.returncode:
        raise ChartError(told.stderr)
    return [one for one in YAML(typ="safe", pure=True).load_all(told.stdout) if one]


def record(version: str) -> dict[str, Any]:
    """What there is to compare of a version."""
    where = source(version)
    objects, flags = rendered(where / CHART, HERE / "values.yaml"), facts.flags(where)
    page = (where / "Documentation/network/kubernetes/compatibility.rst").read_text()
    tested = next(line for line in page.splitlines() if line.startswith("| 1.")).split("|")[1]
    definitions = where / "pkg/k8s/apis/cilium.io/client/crds"
    config = facts.config(objects)
    return {
        "kubernetes": CommentedSeq(one.strip() for one in tested.split(",")),
        "definitions": CommentedSeq(sorted({file.stem for file in definitions.rglob("*.yaml")})),
        "node_config": CommentedSeq(sorted(_versions(definitions.rglob("ciliumnodeconfigs.yaml")))),
        "init_containers": CommentedSeq(facts.init_containers(objects)),
        "arguments": CommentedSeq(facts.arguments(objects)),
        "mounts": facts.mounts(objects),
        "agent": facts.by_resource(facts.rights(objects, "cilium")),
        "operator": facts.by_resource(facts.rights(objects, "cilium-operator")),
        # What the chart says and the programs would not do by themselves.
        "chosen": {key: text for key, text in sorted(config.items()) if flags.get(key) != {text}},
        # What the programs make of each key that this tool writes or reads, when nothing is written.
        # The same keys by the guide's values, by those that are asked for on the way, and by those for the end on top.
        "installed": {stage: _judged(rendered(where / CHART, *files)) for stage, files in _stages().items()},
        "defaults": {key: " or ".join(sorted(flags[key])) for key in sorted(used.keys(version)) if key in flags},
    }


def _stages() -> dict[str, list[Path]]:
    """The values files of an installed Cilium, by when they are in force."""
    folder = Path(tempfile.mkdtemp())
    asked: dict[str, Path] = {}
    stages: tuple[coexistence.Stage, ...] = ("transit", "final")
    for stage in stages:
        asked[stage] = folder / f"{stage}.yaml"
        YAML().dump(coexistence.values(used.EXISTING, stage), asked[stage])
    guide = HERE / "guide.yaml"
    transit = [guide, asked["transit"]]
    return {"guide": [guide], "transit": transit, "final": [*transit, asked["final"]]}


def _judged(objects: list[dict[str, Any]]) -> dict[str, str]:
    return {key: text for key, text in sorted(facts.config(objects).items()) if key in used.judged()}


def _versions(files: Any) -> set[str]:
    found = set()
    for file in files:
        definition = YAML(typ="safe", pure=True).load(file.read_text())
        found |= {one["name"] for one in definition["spec"]["versions"] if one["served"]}
    return found


def flowing(record: dict[str, Any]) -> dict[str, Any]:
    """The same with each list on one line."""
    for value in record.values():
        if isinstance(value, CommentedSeq):
            value.fa.set_flow_style()
    return record
