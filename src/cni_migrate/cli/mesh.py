"""One look at the mesh: what the agents report now, judged; for `migrate knet status` and `migrate knet matrix`."""

import asyncio
from dataclasses import asdict, dataclass, replace
from typing import Any

from cni_migrate.cli.effective_config import as_recorded
from cni_migrate.cli.session import Session
from cni_migrate.cli.ui import output
from cni_migrate.core.connectivity import mesh
from cni_migrate.core.connectivity.gate import Failing, Passed, Verdict, unasked
from cni_migrate.core.connectivity.known_failures import KnownFailures, enforcing
from cni_migrate.core.connectivity.matrix import ORDER, Matrix, matrix
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.core.model.record import Record
from cni_migrate.core.model.rounds import GateReading
from cni_migrate.core.steps.gates import excluded
from cni_migrate.core.steps.view import ClusterView
from cni_migrate.errors import GateFailed, UsageError
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.wiring import plan_for


@dataclass(frozen=True)
class Seen:
    """One look at the mesh."""

    asked: mesh.Question
    read: GateReading
    verdict: Verdict
    nodes: tuple[str, ...]

    @property
    def matrix(self) -> Matrix:
        """The picture."""
        return matrix(self.nodes, self.asked.expected, self.read, self.verdict)

    @property
    def left(self) -> mesh.Doubt:
        """What a passed verdict leaves open."""
        return mesh.doubt(self.asked, self.read)

    @property
    def proven(self) -> bool:
        """Whether connectivity is proven: the verdict is good, and nothing is left open."""
        return isinstance(self.verdict, Passed) and self.left.proven

    @property
    def said(self) -> str:
        """The verdict in one line."""
        return mesh.said(self.verdict, self.left)


def kinds(text: str) -> frozenset[str]:
    """The kinds of probes that are named, comma separated.

    Raises:
        UsageError: there is no such kind.
    """
    found = frozenset(kind.strip() for kind in text.split(",") if kind.strip())
    known = [kind for kind in ORDER if kind != "peer"]
    if unknown := sorted(found.difference(known)):
        raise UsageError(
            f"--ignore: there is no kind of probe {output.listed(unknown)}; there are: {', '.join(known)}",
            next="migrate knet status --ignore policy_deny",
        )
    return found


async def settled(
    here: Session, cluster: KubeCluster, ignore: frozenset[str], again: tuple[type[Verdict], ...]
) -> Seen:
    """The first look whose verdict is none of `again`, or the last one.

    So agents that have just started are given the time for their rounds, and one lost probe a second chance, as in a
    gate: it has to be followed by as many clean rounds as a gate wants.

    Raises:
        GateFailed: there are no agents.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + mesh.seconds_needed(here.config)
    while True:
        seen = await look(here, cluster, ignore)
        if not isinstance(seen.verdict, again) or loop.time() >= end:
            return seen
        await here.clock.sleep(here.config.knet.interval)


async def look(here: Session, cluster: KubeCluster, ignore: frozenset[str]) -> Seen:
    """What the agents report now; the kinds of probes in `ignore` do not count.

    Raises:
        GateFailed: there are no agents.
    """
    snapshot, record = cluster.snapshot(), await here.record()
    here = replace(here, config=as_recorded(here.config, record))
    asked = _question(here, snapshot, record, ignore)
    if not mesh.deployed(snapshot, here.config):
        raise GateFailed(
            f"there are no agents in namespace {here.config.knet.namespace}: nothing would be proven",
            next="migrate knet deploy",
        )
    reading = (await here.prober().read([asked.ask]))[asked.ask.key]
    full, verdict = asked.judged(reading, here.config)
    return Seen(asked, full, verdict, tuple(sorted(snapshot.nodes)))


def _question(here: Session, seen: Snapshot, record: Record | None, ignore: frozenset[str]) -> mesh.Question:
    """Of every node; while a migration is under way with what it excuses, as in its own gates."""
    if record is None or not mesh.under_way(record):
        return mesh.question(seen, here.config, ignored=ignore)
    config, now = here.config, here.clock.now()
    out = excluded(ClusterView(plan_for(config, seen), seen, record, now, now))
    known = KnownFailures(record.cluster.baseline, enforcing(record.nodes))
    return mesh.question(seen, config, left_out=out, known=known, ignored=ignore | unasked(config))


def verdict_data(seen: Seen) -> dict[str, Any]:
    """The verdict as data."""
    verdict = seen.verdict
    pairs = verdict.pairs if isinstance(verdict, Failing) else ()
    silent = verdict.silent if isinstance(verdict, Failing) else ()
    return {
        "passed": isinstance(verdict, Passed),
        "proven": seen.proven,
        "verdict": seen.said,
        "pairs": [asdict(pair) for pair in pairs],
        "silent": dict(silent),
        "left_out": list(seen.asked.left_out),
    }
