"""The tool's configuration for a lab: `migrate.yaml`, and which Cilium the lab has."""

from pathlib import Path

from ruamel.yaml import YAML

from cni_migrate.config import Config
from tests.lab.settings import CILIUM, HERE

COMMON = HERE / "migrate.yaml"


def text(version: str = CILIUM) -> str:
    """The file's text for a lab with this Cilium."""
    return f"""\
{COMMON.read_text()}cilium:
  version: {version}
"""


def config(version: str = CILIUM) -> Config:
    """The same, as the tool reads it."""
    return Config.model_validate(YAML(typ="safe", pure=True).load(text(version)))


def write(folder: Path, version: str = CILIUM) -> Path:
    """Lay the file into a folder; where it is."""
    path = folder / "migrate.yaml"
    path.write_text(text(version))
    return path
