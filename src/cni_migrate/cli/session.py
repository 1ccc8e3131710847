"""A command's connection: the configuration, the cluster as it is seen, the record. Opened and closed per command."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncGenerator, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cni_migrate import knet, resources
from cni_migrate.cli.clock import WallClock
from cni_migrate.cli.logs import logging_to
from cni_migrate.cli.options import Common
from cni_migrate.config import Config
from cni_migrate.configfile import Loaded, load
from cni_migrate.core.decision.plan import TABLES, make_plan
from cni_migrate.core.model import names
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.core.model.record import Record
from cni_migrate.core.render.manifests import TEMPLATES, Facts, Manifests
from cni_migrate.core.reports.status import LeaseInfo
from cni_migrate.core.steps.view import Plan
from cni_migrate.engine.lease import surely_dead
from cni_migrate.engine.store import RecordStore
from cni_migrate.knet.reader import LogProber, lines_needed
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.connect import connect
from cni_migrate.kube.documents import KubeDocuments
from cni_migrate.kube.logs import KubeLogs
from cni_migrate.kube.pages import KubePages
from cni_migrate.kube.request import Client
from cni_migrate.ports import Clock

T = TypeVar("T")


def configured(common: Common, flags: Mapping[str, Any]) -> Loaded:
    """The effective configuration of a command. Flags that were not typed are None and do not count."""
    typed = {key: value for key, value in flags.items() if value is not None}
    if common.namespace:
        typed["namespace"] = common.namespace
    return load(common.config, os.environ, typed)


@dataclass(frozen=True)
class Session:
    """What a command works with."""

    config: Config
    client: Client
    documents: KubeDocuments
    clock: WallClock
    as_json: bool
    """Whether log lines are JSON."""

    def store(self) -> RecordStore:
        """A reader and writer of the record."""
        return RecordStore(self.documents, self.config.namespace)

    async def record(self) -> Record | None:
        """The record, read without the lock."""
        return await self.store().load()

    async def lease(self) -> LeaseInfo | None:
        """Who holds the lock."""
        return LeaseInfo.of(await self.documents.get("Lease", self.config.namespace, names.LEASE), surely_dead)

    def prober(self) -> LogProber:
        """A reader of the agents' reports."""
        return prober_for(self.client, self.clock, self.config)

    def cluster(self) -> KubeCluster:
        """The cluster, to be entered."""
        return KubeCluster(self.client, self.config, self.clock, random.Random())


@contextlib.asynccontextmanager
async def session(common: Common, config: Config) -> AsyncGenerator[Session]:
    """Configure the log and connect.

    Raises:
        MigrateError: see `kube.connect.connect`.
    """
    clock = WallClock()
    connected = connect(
        clock=clock,
        kubeconfig=common.kubeconfig or None,
        context=common.context or None,
        timeout=config.deadlines.request,
    )
    with logging_to(common) as as_json:
        async with connected as client:
            yield Session(config, client, KubeDocuments(client, clock), clock, as_json)


def prober_for(client: Client, clock: Clock, config: Config) -> LogProber:
    """The reader of the agents' reports, by the way that is configured."""
    tail = KubePages(client).tail if config.knet.reader == "proxy" else KubeLogs(client, clock).tail
    return LogProber(tail, clock, lines=lines_needed(config))


def plan_for(config: Config, seen: Snapshot | None) -> Plan:
    """The plan for a configuration, and for the Canal that is there."""
    return make_plan(config, manifests_for(config, seen), {name: resources.read("states", name) for name in TABLES})


def manifests_for(config: Config, seen: Snapshot | None) -> Manifests:
    """The manifests for a configuration."""
    templates = {name: resources.read("templates", name) for name in TEMPLATES}
    agent = (Path(knet.__file__).parent / "agent.py").read_text(encoding="utf-8")
    return Manifests(templates, config, Facts(host_image(config, seen), agent))


def host_image(config: Config, seen: Snapshot | None) -> str:
    """An image that is on every node already: Canal's (flannel's has a shell), or Cilium's when Canal is gone.

    The last one that is called flannel is flannel's own; an installer of its plugin comes before it.
    """
    canal = seen.daemonsets.get((config.canal.namespace, config.canal.daemonset)) if seen is not None else None
    if canal is None or not canal.images:
        return config.cilium.image
    flannel = (image for image in reversed(canal.images) if "flannel" in image.rpartition("/")[2])
    return next(flannel, canal.images[-1])


INSIST = 1.0
"""Seconds after which what was cancelled and goes on is cancelled again."""


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end, or until it is interrupted.

    An interrupt cancels it, again and again until it ends: a cancellation can get lost on the way down, when what is
    waited for ends at the same moment (asyncio.wait_for before Python 3.12), and Ctrl-C has to work the first time.

    Raises:
        KeyboardInterrupt: it was interrupted.
    """

    async def ended() -> T:
        task = asyncio.ensure_future(main)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=INSIST)
            raise

    return asyncio.run(ended())
