"""Writes down what Cilium's own charts say, for the tests to compare: `python -m tests.charts [1.20.2 …]`.

Needs `helm` on PATH and Go. The chart and the sources of a version are those of the module github.com/cilium/cilium.
Without arguments, the versions that are written down already are done again.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from cni_migrate.core.render import coexistence
from tests.charts import facts, used
from tests.controlplane.build import go_tool

HERE = Path(__file__).parent
RECORDED = HERE / "recorded"
MODULE = "github.com/cilium/cilium"
CHART = "install/kubernetes/cilium"


def source(version: str) -> Path:
    """The unpacked module of a version.

    Raises:
        SystemExit: it cannot be had; Go's own words say why.
    """
    asked = [go_tool(), "mod", "download", "-json", f"{MODULE}@v{version}"]
    told = json.loads(subprocess.run(asked, capture_output=True, text=True, check=False).stdout)
    if "Error" in told:
        sys.exit(told["Error"])
    return Path(told["Dir"])


def rendered(chart: Path, *values: Path) -> list[dict[str, Any]]:
    """The chart's objects, by the `helm` on PATH.

    Raises:
        SystemExit: helm refuses, in its own words.
    """
    files = [part for file in values for part in ("--values", str(file))]
    asked = ["helm", "template", "cilium", str(chart), "-n", "kube-system", "--kube-version", "1.34.0", *files]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    if told.returncode:
        sys.exit(told.stderr)
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


def _flowing(record: dict[str, Any]) -> dict[str, Any]:
    """The same with each list on one line."""
    for value in record.values():
        if isinstance(value, CommentedSeq):
            value.fa.set_flow_style()
    return record


def main() -> None:
    """Write a file per version."""
    writer = YAML()
    writer.width = 4096
    for version in sys.argv[1:] or sorted(file.stem for file in RECORDED.glob("*.yaml")):
        RECORDED.mkdir(exist_ok=True)
        with (RECORDED / f"{version}.yaml").open("w") as file:
            file.write(f"# Made by `python -m tests.charts {version}`.\n")
            writer.dump(_flowing(record(version)), file)
        sys.stdout.write(f"{version}\n")


if __name__ == "__main__":
    main()
