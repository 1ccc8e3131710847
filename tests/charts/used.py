"""Which keys of `cilium-config` this tool writes or judges, and what it renders."""

from typing import Any

from cni_migrate import consistency, resources
from cni_migrate.config import Config
from cni_migrate.core.render import coexistence, foreign
from cni_migrate.core.render.manifests import TEMPLATES, Manifests, Payload
from tests.charts import facts

EXISTING = Config.model_validate({"cilium": {"source": "existing"}})
TEXTS = {name: resources.read("templates", name) for name in TEMPLATES}


def builtin(version: str, *, final: bool = True) -> list[dict[str, Any]]:
    """The built-in Cilium of a version, as it stays or as it is beside Canal."""
    config = Config.model_validate({"strategy": "overlay", "cilium": {"version": version}})
    made = Manifests(TEXTS, config, Payload("canal:1", {}))
    return made.cilium_final() if final else made.cilium()


def judged() -> set[str]:
    """Every key that is looked at in an installed Cilium, beside Canal or in the end."""
    stages: tuple[coexistence.Stage, ...] = ("transit", "final")
    return {row.key for stage in stages for row in coexistence.rows(stage)}


def keys(version: str) -> set[str]:
    """Every key that is written, in either form, or looked at in an operator's own Cilium."""
    written = {*facts.config(builtin(version)), *facts.config(builtin(version, final=False))}
    return written | judged() | {*foreign.TRANSIT, *foreign.OFF, *foreign.WRITTEN, *consistency.RESERVED}
