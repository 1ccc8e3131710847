"""`migrate knet deploy` and `migrate knet remove`: the agents put there, and taken away, without a migration."""

import sys
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from rich.text import Text

from cni_migrate.cli.options import Common
from cni_migrate.cli.planning import whereabouts
from cni_migrate.cli.session import Session, configured, run_async, session
from cni_migrate.cli.ui import output
from cni_migrate.cli.ui.confirmation import confirm, needs_terminal
from cni_migrate.cli.ui.failing import say_next
from cni_migrate.core.connectivity import mesh
from cni_migrate.core.model import names
from cni_migrate.core.model.effects import DeleteObject, PutObject, refusal
from cni_migrate.core.model.objects import ObjectRef, Snapshot
from cni_migrate.errors import Halted, UsageError
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.existing import Found, existing
from cni_migrate.wiring import manifests_for

LOOK_AGAIN = timedelta(seconds=1)
"""The longest pause between two looks while something is waited for."""

GATHER = 0.1
"""Seconds of changes that are looked at together."""

STATUS = "migrate knet status"


def deploy(common: Common, *, dry_run: bool) -> None:
    """Apply the agents' objects and wait until two agents are Ready on every Ready node.

    Raises:
        UsageError: something of the same name is there that was not made by this program.
        Halted: not all agents became Ready in time.
    """
    run_async(_deploy(common, dry_run=dry_run))


async def _deploy(common: Common, *, dry_run: bool) -> None:
    config = configured(common, {}).config
    async with session(common, config) as here, here.cluster() as cluster:
        seen = cluster.snapshot()
        made = manifests_for(config, seen).knet()
        there = await existing(here.client, map(ObjectRef.of, made))
        if foreign := [ref for ref, found in there.items() if not _ours(found)]:
            raise UsageError(
                f"{output.listed(map(str, foreign))} is there and was not made by migrate: nothing was changed",
                next="set knet.namespace in the configuration to a namespace of the agents' own",
            )
        if dry_run:
            _show(made, there)
            return
        if mesh.under_way(await here.record()) and mesh.deployed(seen, config):
            output.out().print("a migration is under way, and its agents are there already: nothing was changed")
            say_next(STATUS)
            return
        await _apply(here, cluster, made)
        nodes = await _await_ready(here, cluster, made)
    sys.stdout.write(f"{output.plural(2 * nodes, 'agent')} Ready on {output.plural(nodes, 'node')}\n")
    sys.stdout.flush()
    say_next(STATUS)


def _ours(found: Found) -> bool:
    return found.labels.get(names.MANAGED_BY) == names.TOOL


def _show(made: Iterable[Mapping[str, Any]], there: Mapping[ObjectRef, Found]) -> None:
    """What would be applied."""
    table = output.table("OBJECT", "NOW")
    for manifest in made:
        ref = ObjectRef.of(manifest)
        table.add_row(str(ref), "is there" if ref in there else "missing")
    to = output.out()
    output.show_table(to, table)
    to.print(Text("Nothing was written."), soft_wrap=True)
    to.print(Text.assemble(("next: ", "cyan"), "migrate manifests knet  (their content)"), soft_wrap=True)


async def _apply(here: Session, cluster: KubeCluster, made: Iterable[Mapping[str, Any]]) -> None:
    """Apply all objects; what cannot be made now, because its namespace is on its way out, is tried again.

    Raises:
        Halted: the API server refused one, or did so to the end.
    """
    wanted = [PutObject(manifest) for manifest in made]
    deadline = here.clock.now() + timedelta(seconds=here.config.deadlines.host)
    told = ""
    while True:
        await cluster.perform(wanted)
        attempts = cluster.snapshot().attempts
        wanted = [one for one in wanted if one.key not in attempts or attempts[one.key].result != "applied"]
        if not wanted:
            return
        tried = [effect for effect in wanted if effect.key in attempts]  # the others wait for these
        first = tried[0]
        observed = f"{first.ref}: {attempts[first.key].message}"
        refused = [effect for effect in tried if attempts[effect.key].result == "failed"]
        if refused or here.clock.now() >= deadline:
            first = (refused or tried)[0]
            raise Halted(
                f"{first.ref} could not be applied: {refusal(attempts[first.key].message)}",
                next="mend that, then `migrate knet deploy` again",
            )
        told = _tell(f"waiting to apply {output.plural(len(wanted), 'object')}: {observed}", told)
        await here.clock.sleep(LOOK_AGAIN.total_seconds())


async def _await_ready(here: Session, cluster: KubeCluster, made: Iterable[Mapping[str, Any]]) -> int:
    """Wait until all agents are Ready in the form that was applied; on how many nodes.

    Raises:
        Halted: the deadline for agents has passed.
    """
    digest = next(
        str(manifest["spec"]["template"]["metadata"]["annotations"][mesh.DIGEST])
        for manifest in made
        if manifest["kind"] == "DaemonSet"
    )
    seconds = here.config.deadlines.agent
    deadline = here.clock.now() + timedelta(seconds=seconds)
    told = ""
    while True:
        seen = cluster.snapshot()
        ready = [node for node in seen.nodes.values() if node.ready]
        left = mesh.unready(seen, here.config, digest)
        what = f"{output.plural(len(left), 'agent')} to be Ready"
        if not left:
            left, what = mesh.rolling(seen, here.config), "the agents' rollout"
        if not left and ready:
            return len(ready)
        observed = ", ".join(f"{who}: {why}" for who, why in sorted(left.items())[:3]) or "no node is Ready"
        if here.clock.now() >= deadline:
            raise Halted(
                f"waited {seconds:g} s for {what}; {observed}",
                next=f"kubectl -n {here.config.knet.namespace} get pods, then `migrate knet deploy` again",
            )
        told = _tell(f"waiting for {what}: {observed}", told)
        await cluster.changed(min(deadline, here.clock.now() + LOOK_AGAIN), GATHER)


def _tell(text: str, told: str) -> str:
    """A line on stderr, unless it is the last one's text."""
    if text != told:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    return text


def remove(common: Common, *, yes: bool) -> None:
    """Delete what `deploy` made, and wait until the agents' pods are gone.

    Only objects that carry this program's label are deleted, each by its uid.

    Raises:
        UsageError: a migration is under way, or there is nobody to ask.
        Halted: the pods did not go in time.
    """
    needs_terminal(yes=yes)
    run_async(_remove(common, yes=yes))


async def _remove(common: Common, *, yes: bool) -> None:
    config = configured(common, {}).config
    async with session(common, config) as here, here.cluster() as cluster:
        await _refuse_under_way(here)
        seen = cluster.snapshot()
        refs = [ObjectRef.of(manifest) for manifest in reversed(manifests_for(config, seen).knet())]
        there = await existing(here.client, refs)
        ours = {ref: found for ref, found in there.items() if _ours(found)}
        for ref in there.keys() - ours.keys():
            sys.stderr.write(f"{ref} was not made by migrate: it stays\n")
        guests = _guests(seen, config.knet.namespace)
        for ref in [ref for ref in ours if ref.kind == "Namespace" and guests]:
            sys.stderr.write(f"{ref} stays: there are pods of others in it: {output.listed(guests)}\n")
            del ours[ref]
        if not ours:
            sys.stdout.write("nothing of the mesh is there: nothing was changed\n")
            return
        sys.stderr.write(f"to be deleted: {output.listed(map(str, ours), 12)}\n")
        await confirm(f"Delete them on {whereabouts(here)}?", yes=yes)
        await _delete(here, cluster, ours)
        await _await_gone(here, cluster)
    sys.stdout.write(f"{output.plural(len(ours), 'object')} deleted, no agent is left\n")


async def _refuse_under_way(here: Session) -> None:
    record, lease = await here.record(), await here.lease()
    alive = lease is not None and lease.driver(here.clock.now()).alive
    if mesh.under_way(record) or alive:
        phase = f", in phase {record.cluster.phase}" if record is not None else ""
        raise UsageError(
            f"a migration is under way{phase}, and its gates need the agents: nothing was changed",
            next="migrate run  (removes them at its end), or migrate rollback  (removes them, too)",
        )


def _guests(seen: Snapshot, namespace: str) -> list[str]:
    """The pods in the agents' namespace that this program did not make."""
    every = [*seen.pending, *(pod for node in seen.nodes for pod in seen.pods_on(node))]
    return sorted(
        pod.name for pod in every if pod.namespace == namespace and pod.labels.get(names.MANAGED_BY) != names.TOOL
    )


async def _delete(here: Session, cluster: KubeCluster, ours: Mapping[ObjectRef, Found]) -> None:
    """Delete the objects, the namespace behind all others.

    Raises:
        Halted: the API server refused one.
    """
    effects = [DeleteObject(ref, found.uid) for ref, found in ours.items() if not found.deleting]
    await cluster.perform(effects)
    attempts = cluster.snapshot().attempts
    for effect in effects:
        attempt = attempts.get(effect.key)  # none where one that goes before it could not be deleted
        if attempt is not None and attempt.result not in ("applied", "gone"):
            raise Halted(
                f"{effect.ref} could not be deleted: {attempt.message}",
                next="mend that, then `migrate knet remove` again",
            )


async def _await_gone(here: Session, cluster: KubeCluster) -> None:
    seconds = here.config.deadlines.pods
    deadline = here.clock.now() + timedelta(seconds=seconds)
    told = ""
    while left := mesh.pods_of_mesh(cluster.snapshot(), here.config):
        what, observed = f"{output.plural(len(left), 'agent')} to go", f"pod {left[0].name} on node {left[0].node}"
        if here.clock.now() >= deadline:
            raise Halted(
                f"waited {seconds:g} s for {what}; {observed}",
                next=f"kubectl -n {here.config.knet.namespace} get pods -o wide, then `migrate knet remove` again",
            )
        told = _tell(f"waiting for {what}: {observed}", told)
        await cluster.changed(min(deadline, here.clock.now() + LOOK_AGAIN), GATHER)
