"""The lock: a Lease with the rules of client-go's leader election.

A holder that has not renewed for its whole duration, by our clock and since we saw it, may be replaced (client-go,
`tools/leaderelection`: clocks of different machines are never compared). One rule more: a holder that was a process of
this very machine and is no longer alive may be replaced at once.
"""

import asyncio
import contextlib
import getpass
import os
import socket
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cni_migrate.core.model import names
from cni_migrate.errors import ClusterError, Conflict, LockHeld, LockLost
from cni_migrate.ports import Clock, Documents

Notice = Callable[[str], None]


def identity() -> str:
    """Who we are: user@host, then process, its start, and the kernel boot and pid namespace it lives in."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # ImportError: a system without users' names has no `pwd`
        user = str(os.getuid()) if hasattr(os, "getuid") else "somebody"
    return f"{user}@{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}/{_place()}"


def _place() -> str:
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    return "unknown"


def _started(pid: int) -> str:
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]
    return "gone"


def surely_dead(holder: str) -> bool:
    """Whether a holder was a process of this machine, boot and pid namespace, and is not alive."""
    parts = holder.split("/")
    if len(parts) != 4 or parts[3] != _place() or parts[3] == "unknown" or not parts[1].isdigit():
        return False
    return _started(int(parts[1])) != parts[2]


def micro_time(instant: datetime) -> str:
    """A MicroTime as the API server wants it: six digits after the second are required."""
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def short(holder: str) -> str:
    """A holder's identity for humans: user@host, process."""
    parts = holder.split("/")
    return f"{parts[0]} (process {parts[1]})" if len(parts) > 1 else holder


class Lock:
    """The lock on a cluster's migration. Take it, renew it in the background, give it back."""

    def __init__(
        self, documents: Documents, clock: Clock, namespace: str, seconds: int, holder: str, notice: Notice
    ) -> None:
        self._documents = documents
        self._clock = clock
        self._namespace = namespace
        self._seconds = seconds
        self.holder = holder
        self._notice = notice
        self._lease: Mapping[str, Any] | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._renewed: datetime | None = None
        self.lost = ""

    async def take(self, *, takeover: bool = False) -> None:
        """Take the lock and keep it renewed.

        Raises:
            LockHeld: somebody else holds it and is alive.
        """
        await self._take(takeover)
        self._renewed = self._clock.now()
        self._renewal = asyncio.create_task(self._renew(), name="lease renewal")

    async def _take(self, takeover: bool) -> None:
        first_seen: tuple[str, datetime] | None = None
        while True:
            found = await self._documents.get("Lease", self._namespace, names.LEASE)
            if found is None:
                if await self._write(None, transitions=0):
                    return
                continue
            spec = found.get("spec", {})
            holder = spec.get("holderIdentity") or ""
            transitions = int(spec.get("leaseTransitions") or 0) + 1
            if takeover or not holder or surely_dead(holder):
                if await self._write(found, transitions):
                    return
                takeover = False
                continue
            version = found["metadata"]["resourceVersion"]
            now = self._clock.now()
            if first_seen is None:
                first_seen = (version, now)
                self._notice(
                    f"{short(holder)} holds the lock; looking for up to {self._wait(spec):g} s whether it is alive"
                )
            if version != first_seen[0]:
                raise self._held(found)
            if (now - first_seen[1]).total_seconds() > self._wait(spec):
                if await self._write(found, transitions):
                    return
                raise self._held(found)
            await self._clock.sleep(1)

    def _wait(self, spec: Mapping[str, Any]) -> float:
        return float(spec.get("leaseDurationSeconds") or self._seconds)

    def _held(self, lease: Mapping[str, Any]) -> LockHeld:
        spec = lease.get("spec", {})
        return LockHeld(
            f"another migrate works on this cluster: {short(spec.get('holderIdentity', '?'))}, "
            f"since {spec.get('acquireTime', '?')}, seen alive at {spec.get('renewTime', '?')}",
            next="migrate status --watch  (to follow it), or `--takeover` if you know that it is dead",
        )

    async def _write(self, old: Mapping[str, Any] | None, transitions: int) -> bool:
        now = micro_time(self._clock.now())
        spec = {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": self._seconds,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        meta: dict[str, Any] = {"name": names.LEASE, "namespace": self._namespace}
        manifest = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
        try:
            if old is None:
                self._lease = await self._documents.create(manifest)
            else:
                meta["resourceVersion"] = old["metadata"]["resourceVersion"]
                self._lease = await self._documents.replace(manifest)
        except Conflict:
            return False
        return True

    async def _renew(self) -> None:
        """Renew three times a duration; when that fails for two thirds of it, the lock counts as lost.

        After a failure it is tried again soon, and no try may last longer than these two thirds: the rest of the time
        is for requests that are under way.
        """
        patience = self._seconds * 2 / 3
        soon, last = self._seconds / 15, "no answer"
        pause = self._seconds / 3
        while not self.lost:
            await self._clock.sleep(pause)
            assert self._lease is not None
            assert self._renewed is not None
            left = patience - (self._clock.now() - self._renewed).total_seconds()
            spec = {**self._lease["spec"], "renewTime": micro_time(self._clock.now())}
            meta = {k: self._lease["metadata"][k] for k in ("name", "namespace", "resourceVersion")}
            manifest = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
            try:
                async with asyncio.timeout(max(left, 0)):  # 0: no try any more
                    self._lease = await self._documents.replace(manifest)
                self._renewed = self._clock.now()
                pause = self._seconds / 3
            except Conflict:
                pause = soon
                await self._look_again()
            except TimeoutError:
                self.lost = f"the lock could not be renewed for {patience:g} s: {last}"
            except ClusterError as error:
                last = error.message
                pause = soon

    async def _look_again(self) -> None:
        """A renewal met another version: ours still (an answer was lost), or somebody else's."""
        with contextlib.suppress(ClusterError):
            found = await self._documents.get("Lease", self._namespace, names.LEASE)
            if found is not None and found.get("spec", {}).get("holderIdentity") == self.holder:
                self._lease = found
                return
            new = found.get("spec", {}).get("holderIdentity", "nobody") if found is not None else "nobody"
            self.lost = f"the lock was taken over by {short(new)}"

    def check(self) -> None:
        """Raise when the lock is not ours any more; to be asked before every write.

        Raises:
            LockLost: it was taken over, or could not be renewed in time.
        """
        if not self.lost and self._renewed is not None:
            age = (self._clock.now() - self._renewed).total_seconds()
            if age > self._seconds:
                self.lost = (
                    f"the lock was not renewed for {age:.0f} s (was this process stopped?), longer than it lasts"
                )
        if self.lost:
            raise LockLost(f"stopped at once: {self.lost}", next="migrate status")

    async def release(self) -> None:
        """Stop renewing and give the lock back, if it is still ours."""
        if self._renewal is not None:
            self._renewal.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewal
            self._renewal = None
        if self.lost or self._lease is None:
            return
        spec = {**self._lease["spec"], "holderIdentity": "", "renewTime": micro_time(self._clock.now())}
        meta = {k: self._lease["metadata"][k] for k in ("name", "namespace", "resourceVersion")}
        with contextlib.suppress(ClusterError):
            self._lease = await self._documents.replace(
                {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
            )
        self._lease = None
