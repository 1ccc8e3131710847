"""The tool's configuration for a lab: `migrate.yaml`, and which Cilium the lab has."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from cni_migrate.config import Config
from tests.lab.settings import CILIUM, HERE

COMMON = HERE / "migrate.yaml"
VALUES = (HERE / "values.yaml", HERE / "hubble.yaml")
"""The values with which the official chart is installed on a lab."""

EVERYTHING = (*VALUES, HERE / "everything.yaml")
"""The same, with as much turned on as runs there."""


def text(version: str = CILIUM, chart: Path | None = None, values: Sequence[Path] = VALUES) -> str:
    """The file's text for a lab with this Cilium: the tool's own, or that of a chart with these values."""
    section: dict[str, Any] = {"version": version}
    if chart is not None:
        section = {"source": "chart", "chart": str(chart), "values": [str(path) for path in values]}
    return f"{COMMON.read_text()}cilium: {json.dumps(section)}\n"


def write_installed(folder: Path) -> Path:
    """Lay the file into a folder for a Cilium that is installed before; where it is."""
    path = folder / "migrate.yaml"
    path.write_text(f"{COMMON.read_text()}cilium: {{source: existing}}\n")
    return path


def config(version: str = CILIUM) -> Config:
    """The same, as the tool reads it."""
    return Config.model_validate(YAML(typ="safe", pure=True).load(text(version)))


def write(folder: Path, version: str = CILIUM, chart: Path | None = None, values: Sequence[Path] = VALUES) -> Path:
    """Lay the file into a folder; where it is."""
    path = folder / "migrate.yaml"
    path.write_text(text(version, chart, values))
    return path
