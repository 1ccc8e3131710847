"""A command's connection: the configuration, the cluster as it is seen, the record. Opened and closed per command."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cni_migrate.cli.effective_config import as_recorded
from cni_migrate.cli.options import Common
from cni_migrate.cli.ui.logs import logging_to
from cni_migrate.config import Config
from cni_migrate.configfile import Loaded, load
from cni_migrate.core.model import names
from cni_migrate.core.model.leftovers import Leftover
from cni_migrate.core.model.lifecycle import Phase
from cni_migrate.core.model.objects import ObjectRef, Snapshot
from cni_migrate.core.model.record import Record
from cni_migrate.core.preflight.waiving import check_waivers
from cni_migrate.engine.clock import WallClock
from cni_migrate.engine.lease import Lock, identity, surely_dead
from cni_migrate.engine.store import RecordStore
from cni_migrate.errors import ClusterError, UsageError
from cni_migrate.knet.reader import LogProber
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.connect import connect
from cni_migrate.kube.documents import KubeDocuments
from cni_migrate.kube.leftovers import leftovers
from cni_migrate.kube.request import Client
from cni_migrate.kube.transport import Hook
from cni_migrate.ports import Releases
from cni_migrate.wiring import completed, plan_for, prober_for, releases_for

if TYPE_CHECKING:
    from cni_migrate.core.reports.status import LeaseInfo, StatusView

T = TypeVar("T")


def configured(common: Common, flags: Mapping[str, Any]) -> Loaded:
    """The effective configuration of a command. Flags that were not typed are None and do not count.

    Raises:
        UsageError: a source of the configuration is wrong, or waives what cannot be waived.
    """
    typed = {key: value for key, value in flags.items() if value is not None}
    if common.namespace:
        typed["namespace"] = common.namespace
    loaded = completed(load(common.config, os.environ, typed), common.config)
    check_waivers(loaded.config.preflight.waive, loaded.origin["preflight.waive"])
    return loaded


FRESH: Final = timedelta(seconds=15)
"""For so long `status --watch` shows what Canal has left without looking again."""


@dataclass(frozen=True)
class Session:
    """What a command works with."""

    config: Config
    client: Client
    documents: KubeDocuments
    clock: WallClock
    as_json: bool
    """Whether log lines are JSON."""
    releases: Releases | None = None
    """Helm, where it comes to own Cilium."""
    _looked: list[tuple[datetime, tuple[Leftover, ...] | None, str]] = field(default_factory=list)
    """What was left of Canal when it was looked at last, or why that failed: it takes dozens of requests."""

    def store(self) -> RecordStore:
        """A reader and writer of the record."""
        return RecordStore(self.documents, self.config.namespace)

    async def record(self) -> Record | None:
        """The record, read without the lock."""
        return await self.store().load()

    async def lease(self) -> "LeaseInfo | None":
        """Who holds the lock."""
        from cni_migrate.core.reports.status import LeaseInfo

        return LeaseInfo.of(await self.documents.get("Lease", self.config.namespace, names.LEASE), surely_dead)

    @property
    def where(self) -> str:
        """Which cluster this is, as the operator knows it."""
        server = self.client.server.removeprefix("https://")
        return f"context {self.client.context} ({server})" if self.client.context else server

    async def status(self, seen: Snapshot) -> "StatusView":
        """The status now, with the record read anew."""
        from cni_migrate.core.reports.status import status_view

        record = await self.record()
        config = as_recorded(self.config, record)
        kept = await self.store().last_closed() if record is None else None
        before = (kept.name, kept.cluster) if kept is not None else None
        left, unread = await self.leftovers(record, config)
        return status_view(
            plan_for(config, seen), record, seen, await self.lease(), self.clock.now(),
            before=before, left=left, unread=unread,
        )  # fmt: skip

    async def leftovers(self, record: Record | None, config: Config) -> tuple[tuple[Leftover, ...] | None, str]:
        """What Canal has left in the API once the migration is done; else None, and why it could not be looked at."""
        if record is None or record.cluster.phase is not Phase.DONE:
            return None, ""
        now = self.clock.now()
        if not self._looked or now - self._looked[0][0] > FRESH:
            try:
                self._looked[:] = [(now, await self.look_for_leftovers(record, config), "")]
            except ClusterError as error:
                self._looked[:] = [(now, None, error.message)]
        _, left, unread = self._looked[0]
        return left, unread

    async def look_for_leftovers(self, record: Record, config: Config) -> tuple[Leftover, ...]:
        """What Canal has left in the API.

        Raises:
            ClusterError: something may not be read, or the API server does not answer.
        """
        self._looked.clear()
        used = [ObjectRef.parse(text) for text in record.cluster.canal_objects]
        namespaces = {namespace for namespace, _ in config.canal.every_daemonset()}
        return await leftovers(self.client, used, namespaces)

    def lock(self, notice: Callable[[str], None] = lambda _: None) -> Lock:
        """The lock; `notice` is told what is worth knowing while it is waited for."""
        # It gives up on one renewal before it is time for the next.
        patient = KubeDocuments(self.client, self.clock, deadline=self.config.lease_seconds / 3)
        return Lock(patient, self.clock, self.config.namespace, self.config.lease_seconds, identity(), notice)

    def prober(self) -> LogProber:
        """A reader of the agents' reports."""
        return prober_for(self.client, self.clock, self.config)

    def cluster(self, *, watching: bool = True) -> KubeCluster:
        """The cluster, to be entered; for one look it needs no watching."""
        return KubeCluster(self.client, self.config, self.clock, random.Random(), self.releases, watching=watching)


@contextlib.asynccontextmanager
async def session(common: Common, config: Config, on_request: Hook | None = None) -> AsyncGenerator[Session]:
    """Configure the log and connect; `on_request` is told of every request.

    Raises:
        MigrateError: see `kube.connect.connect`.
    """
    clock = WallClock()
    connected = connect(
        clock=clock,
        kubeconfig=common.kubeconfig or None,
        context=common.context or None,
        timeout=config.deadlines.request,
        on_request=on_request,
    )
    with logging_to(common) as as_json:
        async with connected as client:
            _expected(client, config)
            releases = releases_for(config, clock, common.kubeconfig, client.context)
            yield Session(config, client, KubeDocuments(client, clock), clock, as_json, releases)


def _expected(client: Client, config: Config) -> None:
    """Refuse any cluster but the one that the configuration is for.

    Raises:
        UsageError: this is another one.
    """
    wanted = config.safety.expect_context
    if wanted and client.context != wanted:
        here = f"context {client.context}" if client.context else "no context, but the pod's own account"
        raise UsageError(
            f"this is {here} ({client.server}), and safety.expect_context allows {wanted} only: nothing was done",
            next=f"the same command with --context {wanted}, or another configuration",
        )


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
