"""The fences of the program: what the engine needs of the outside. Kubernetes, the agents and time are behind them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from cni_migrate.core.model.attempts import Attempt, Result
from cni_migrate.core.model.effects import Effect, UpgradeRelease
from cni_migrate.core.model.objects import Pod, Snapshot
from cni_migrate.core.model.rounds import GateAsk, GateReading
from cni_migrate.core.preflight.registry import ReleaseFound


class Clock(Protocol):
    """Time, so that tests can run it forward."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Cluster(Protocol):
    """The Kubernetes cluster."""

    def snapshot(self) -> Snapshot:
        """What is known now. Own writes that were answered are never missing from it (read your writes)."""
        ...

    async def perform(self, effects: Iterable[Effect]) -> None:
        """Do each effect once, in parallel where their targets differ; outcomes appear in `attempts`.

        Raises:
            ClusterUnreachable: the API server did not answer within the retry deadline.
            RightsMissing: the API server forbade a write.
        """
        ...

    async def changed(self, until: datetime, gather: float) -> None:
        """Return `gather` seconds after the snapshot has changed since the last `snapshot()`, or at `until`."""
        ...

    async def look_up(self, pods: Iterable[Pod]) -> None:
        """Put the last Events of these pods into the snapshot; what cannot be read is left out, never an exception."""
        ...

    @property
    def attempts(self) -> Mapping[str, Attempt]:
        """How the latest try of each effect ended, by the effect's key; of this process only, and live."""
        ...


class Releases(Protocol):
    """Helm, which owns the operator's Cilium in the end (`cilium.source` chart)."""

    def found(self) -> ReleaseFound | None:
        """The release that is there already.

        Raises:
            Halted: helm does not answer.
            UsageError: there is no helm.
        """
        ...

    async def upgrade(self, effect: UpgradeRelease) -> tuple[Result, str]:
        """Make the release be as the operator's chart and values say: 'applied', or 'failed' and Helm's words."""
        ...


class Prober(Protocol):
    """The knet-stress agents' reports."""

    async def read(self, asks: Iterable[GateAsk]) -> Mapping[str, GateReading]:
        """Read what each ask names; what could not be read is in the reading's errors, never an exception."""
        ...


class Documents(Protocol):
    """The driver's own objects: ConfigMaps and the Lease, compared and set by resourceVersion."""

    async def get(self, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        """A `ConfigMap` or `Lease` straight from the API server (no cache), or None."""
        ...

    async def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create it.

        Raises:
            Conflict: it exists.
        """
        ...

    async def replace(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replace the version that `manifest` carries.

        Raises:
            Conflict: the object has another version now, or is gone.
        """
        ...

    async def delete(self, read: Mapping[str, Any]) -> None:
        """Delete an object in the version that was read; one that is not there counts as deleted.

        Raises:
            Conflict: the object has another version now.
        """
        ...

    async def list(self, kind: str, namespace: str, component: str) -> Sequence[Mapping[str, Any]]:
        """The objects of a kind that the tool has labelled as a component."""
        ...
