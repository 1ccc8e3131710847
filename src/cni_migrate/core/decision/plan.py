"""Puts a `Plan` together: configuration, manifests and the tables of `states/`, checked against the steps there are."""

from collections.abc import Mapping

from cni_migrate.config import Config
from cni_migrate.core import steps as _steps  # noqa: F401 - registers them
from cni_migrate.core.model.lifecycle import Lifecycle, NodeEvent, NodeState, Phase, PhaseEvent, StrategyTable
from cni_migrate.core.render.manifests import Manifests
from cni_migrate.core.steps.registry import CLUSTER_STEPS, NODE_STEPS
from cni_migrate.core.steps.view import Plan

TABLES = (
    "node.yaml", "cluster.yaml", "strategies/multus.yaml", "strategies/overlay.yaml", "sources/existing.yaml",
)  # fmt: skip
"""The files of `states/`."""


def make_plan(config: Config, manifests: Manifests, tables: Mapping[str, str]) -> Plan:
    """The plan for a configuration.

    Args:
        config: the configuration.
        manifests: what is applied.
        tables: the texts of `states/`, by file name (see `TABLES`).

    Raises:
        ValueError: a table names a state, event or step that there is not.
    """
    name: str = config.strategy
    folder = "strategies"
    if config.cilium.source == "existing":  # its agents never leave a node, and nobody but its owner changes it
        name, folder = "existing", "sources"
    strategy = StrategyTable.load(name, tables[f"{folder}/{name}.yaml"])
    unknown = [step for steps in strategy.events.values() for step in steps if step not in NODE_STEPS]
    unknown += [step for steps in strategy.phases.values() for step in steps if step not in CLUSTER_STEPS]
    if unknown or {event for event in NodeEvent if not event.of_some} - set(strategy.events):
        raise ValueError(f"strategy {name} names unknown steps {unknown} or lacks an event")
    return Plan(
        config=config,
        manifests=manifests,
        strategy=strategy,
        node_lifecycle=Lifecycle(tables["node.yaml"], NodeState, NodeEvent),
        cluster_lifecycle=Lifecycle(tables["cluster.yaml"], Phase, PhaseEvent),
    )
