"""The objects of the mesh, put there and taken away without a driver; for `migrate knet deploy` and `remove`."""

import sys
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from cni_migrate.cli.session import Session
from cni_migrate.core.connectivity import mesh
from cni_migrate.core.model import names
from cni_migrate.core.model.effects import DeleteObject, PutObject, refusal
from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.core.model.words import many
from cni_migrate.errors import Halted
from cni_migrate.kube.cluster import KubeCluster
from cni_migrate.kube.existing import Found

LOOK_AGAIN = timedelta(seconds=1)
"""The longest pause between two looks while something is waited for."""

GATHER = 0.1
"""Seconds of changes that are looked at together."""


def ours(found: Found) -> bool:
    """Whether this program made it."""
    return found.labels.get(names.MANAGED_BY) == names.TOOL


async def apply(here: Session, cluster: KubeCluster, made: Iterable[Mapping[str, Any]]) -> None:
    """Apply all objects; what cannot be made now, because its namespace is on its way out, is tried again.

    Raises:
        Halted: the API server refused one, or did so to the end.
    """
    wanted = [PutObject(manifest) for manifest in made]
    deadline = here.clock.now() + timedelta(seconds=here.config.deadlines.host)
    told = ""
    while True:
        await cluster.perform(wanted)
        attempts = cluster.attempts
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
                next="fix that, then `migrate knet deploy` again",
            )
        told = _tell(f"waiting to apply {many(len(wanted), 'object')}: {observed}", told)
        await here.clock.sleep(LOOK_AGAIN.total_seconds())


async def await_ready(here: Session, cluster: KubeCluster, made: Iterable[Mapping[str, Any]]) -> int:
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
        what = f"{many(len(left), 'agent')} to be Ready"
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


async def delete(cluster: KubeCluster, found: Mapping[ObjectRef, Found]) -> None:
    """Delete the objects, the namespace behind all others.

    Raises:
        Halted: the API server refused one.
    """
    effects = [DeleteObject(ref, one.uid) for ref, one in found.items() if not one.deleting]
    await cluster.perform(effects)
    attempts = cluster.attempts
    for effect in effects:
        attempt = attempts.get(effect.key)  # none where one that goes before it could not be deleted
        if attempt is not None and attempt.result not in ("applied", "gone"):
            raise Halted(
                f"{effect.ref} could not be deleted: {attempt.message}",
                next="fix that, then `migrate knet remove` again",
            )


async def await_gone(here: Session, cluster: KubeCluster) -> None:
    """Wait until no pod of the mesh is left.

    Raises:
        Halted: the deadline for pods has passed.
    """
    seconds = here.config.deadlines.pods
    deadline = here.clock.now() + timedelta(seconds=seconds)
    told = ""
    while left := mesh.pods_of_mesh(cluster.snapshot(), here.config):
        what, observed = f"{many(len(left), 'agent')} to go", f"pod {left[0].name} on node {left[0].node}"
        if here.clock.now() >= deadline:
            raise Halted(
                f"waited {seconds:g} s for {what}; {observed}",
                next=f"kubectl -n {here.config.knet.namespace} get pods -o wide, then `migrate knet remove` again",
            )
        told = _tell(f"waiting for {what}: {observed}", told)
        await cluster.changed(min(deadline, here.clock.now() + LOOK_AGAIN), GATHER)


def _tell(text: str, told: str) -> str:
    """A line on stderr, unless it is the last one's text."""
    if text != told:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    return text
