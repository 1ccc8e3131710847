"""Which configuration holds for a cluster: what was said, then what the record began with, then what is found there."""

import contextlib
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from cni_migrate import cilium_versions
from cni_migrate.config import Config
from cni_migrate.configfile import FOUND, Loaded
from cni_migrate.configsections import Section
from cni_migrate.core.model.canal import FoundCanal, settled, with_values
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.record import Record, closed
from cni_migrate.core.preflight.waiving import check_waivers
from cni_migrate.errors import RecordCorrupt, UsageError
from cni_migrate.kube.canal import found_canal
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.installed import installed_cilium
from cni_migrate.kube.inventory import version

if TYPE_CHECKING:
    from cni_migrate.cli.session import Session

NOTHING: Final = FoundCanal()

INSTALLED: Final = ("image", "operator_image", "pod_cidr", "mask_size", "tunnel_protocol", "tunnel_port", "agreed")
"""Keys of the section `cilium` that an installed Cilium tells (`cilium.source: existing`)."""


def begun(record: Record | None) -> bool:
    """Whether a migration has begun: then what it began with holds."""
    return record is not None and record.cluster.phase is not Phase.PREFLIGHT


def adopted(loaded: Loaded, record: Record | None) -> Config:
    """The configuration, with what the migration began with where nothing was said: strategy and facts of Canal."""
    return recorded(loaded.config, loaded.said, record)


def recorded(config: Config, said: Collection[str], record: Record | None) -> Config:
    """The configuration with the record's values, but for the keys that were said."""
    if record is None or not begun(record):
        return config
    identity = record.cluster.identity_values
    values: dict[str, Any] = {}
    for section, keys in _found(config).items():
        known = identity.get(section)
        if isinstance(known, dict):
            values |= {f"{section}.{key}": known[key] for key in keys if key in known}
    config = with_values(config, {key: value for key, value in values.items() if key not in said})
    if "strategy" in said or record.cluster.strategy == config.strategy:
        return config
    return config.model_copy(update={"strategy": record.cluster.strategy})


def as_recorded(config: Config, record: Record | None) -> Config:
    """The configuration with all that a migration keeps as it began with it: for who only looks, from wherever.

    Whose Cilium it ends with follows only where that has steps of its own: what a chart makes is not in the record.
    """
    if record is None or not begun(record):
        return config
    identity = record.cluster.identity_values
    sections: dict[str, Any] = {}
    for name, known in identity.items():
        section = getattr(config, name, None)
        if not isinstance(section, Section) or not isinstance(known, dict):
            continue
        kept = {key: value for key, value in known.items() if key != "source" or value == "existing"}
        with contextlib.suppress(ValidationError):  # edited by hand: what it says is looked at as what is said here
            sections[name] = type(section).model_validate({**section.model_dump(), **kept})
    return config.model_copy(update={**sections, "strategy": record.cluster.strategy})


def _found(config: Config) -> dict[str, tuple[str, ...]]:
    """The keys that are found in the cluster, by section."""
    return {**FOUND, **({"cilium": INSTALLED} if config.cilium.source == "existing" else {})}


async def look_for_canal(here: "Session", cluster: KubeCluster, config: Config) -> FoundCanal:
    """What the cluster tells about its Canal.

    Raises:
        ClusterError: the API server does not answer, or does not allow it.
    """
    nodes = cluster.snapshot().nodes.values()
    cidrs = [node.pod_cidr for node in nodes if node.pod_cidr]
    return await found_canal(here.client, cidrs, [node.internal_ip for node in nodes], [config.cilium.pod_cidr])


def waived_before(config: Config, record: Record | None) -> Config:
    """The configuration with what a run waived that ended before the migration began.

    Raises:
        RecordCorrupt: there is nothing of that name to waive.
    """
    if record is None or closed(record) or not record.cluster.waived:
        return config
    try:
        check_waivers(record.cluster.waived, "the record")
    except UsageError as error:
        raise RecordCorrupt(error.message, next="see docs/how-to/recover-the-record.md") from None
    waive = [*dict.fromkeys([*config.preflight.waive, *record.cluster.waived])]
    return config.model_copy(update={"preflight": config.preflight.model_copy(update={"waive": waive})})


async def for_this_kubernetes(here: "Session", loaded: Loaded) -> Config:
    """The configuration, with the cluster's Kubernetes to render the chart for, where nobody has said another.

    Below 1.30 Cilium's chart asks for AppArmor's consent by annotations, from there on by fields that older ones drop.

    Raises:
        ClusterError: the API server does not answer.
    """
    config = loaded.config
    if config.cilium.source != "chart" or "cilium.kubernetes" in loaded.said:
        return config
    major, minor = cilium_versions.parsed(await version(here.client))
    return with_values(config, {"cilium.kubernetes": f"{major}.{minor}.0"}) if major else config


async def settle(
    here: "Session", loaded: Loaded, record: Record | None, cluster: KubeCluster
) -> tuple[Config, FoundCanal]:
    """The configuration that holds, and the Canal that was found; nothing is looked for once a migration has begun.

    Raises:
        ClusterError: the API server does not answer, or does not allow it.
    """
    config = await for_this_kubernetes(here, loaded)
    loaded = replace(loaded, config=config)
    if begun(record):
        return adopted(loaded, record), NOTHING
    if config.cilium.source == "existing":
        told = await installed_cilium(here.client, config.cilium.namespace)
        values = {f"cilium.{key}": value for key, value in told.items()}
        config = with_values(config, {key: value for key, value in values.items() if key not in loaded.said})
    found = await look_for_canal(here, cluster, config)
    return waived_before(settled(config, loaded.said, found), record), found
