"""Carries out effects: one request or two each, and what the answer means.

The meanings are those of `core.model.objects.Attempt`. What the eviction API answers is in kubernetes' eviction.go; the
answers to a stale resourceVersion, a wrong uid, and so on were seen on a real API server (v1.34).
"""

import asyncio
import re
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

from cni_migrate.core.decision.eviction_budgets import selecting
from cni_migrate.core.model import names
from cni_migrate.core.model.attempts import Attempt
from cni_migrate.core.model.effects import (
    DeleteIdentities,
    DeleteObject,
    DeletePod,
    Effect,
    EvictPod,
    KeepObject,
    PatchNode,
    PatchObject,
    PutObject,
    RunHostTask,
    SweepTasks,
    UpgradeRelease,
)
from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.core.model.ranks import rank
from cni_migrate.kube import paths
from cni_migrate.kube.applying import Applier, Outcome, refused
from cni_migrate.kube.cache import Cache
from cni_migrate.kube.discovery import RESTMapper
from cni_migrate.kube.request import BUDGET, Client
from cni_migrate.kube.transport import Answer
from cni_migrate.ports import Clock, Releases

MERGE: Final = "application/merge-patch+json"

PARALLEL: Final = 10
"""How many effects are under way at once."""


class Performer:
    """Performs effects and notes their outcomes in the cache."""

    def __init__(self, client: Client, cache: Cache, clock: Clock, releases: Releases | None = None) -> None:
        self._client = client
        self._cache = cache
        self._clock = clock
        self._releases = releases
        self._mapper = RESTMapper(client)
        self._applier = Applier(client, cache, self._mapper)
        self._slots = asyncio.Semaphore(PARALLEL)
        self._ended = False

    async def perform(self, effects: Iterable[Effect]) -> None:
        """Do each effect once; those on one target one after the other, in the order given.

        Objects are applied rank by rank (`core.model.ranks`), and deleted in the reverse order. A rank begins when the
        API server has accepted all of the one before; otherwise it is left out, to be asked for again.

        Raises:
            ClusterError: the API server does not answer or forbids it; what else could be done has been done by then.
        """
        self._ended = False
        targets: dict[ObjectRef, list[Effect]] = {}
        for effect in effects:
            targets.setdefault(target(effect), []).append(effect)
        put: dict[int, list[list[Effect]]] = {}
        deleted: dict[int, list[list[Effect]]] = {}
        others: list[list[Effect]] = []
        for ref, group in targets.items():
            if any(isinstance(effect, PutObject | KeepObject) for effect in group):
                put.setdefault(rank(ref.kind), []).append(group)
            elif any(isinstance(effect, DeleteObject) for effect in group):
                deleted.setdefault(-rank(ref.kind), []).append(group)
            else:
                others.append(group)
        await _all_of([*map(self._in_turn, others), self._by_rank(put), self._by_rank(deleted)])

    async def _by_rank(self, ranks: Mapping[int, Sequence[Sequence[Effect]]]) -> None:
        for _, groups in sorted(ranks.items()):
            await _all_of([self._in_turn(group) for group in groups])
            if not all(self._accepted(effect) for group in groups for effect in group):
                return

    def _accepted(self, effect: Effect) -> bool:
        attempt = self._cache.attempts.get(effect.key)
        return attempt is not None and attempt.result in ("applied", "gone")

    async def _in_turn(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            async with self._slots:
                if self._ended:
                    return
                budgets = self._budgets(effect)
                try:
                    result, message = await self._do(effect)
                except BaseException as error:
                    self._ended = not isinstance(error, Exception)
                    raise
            self._cache.note(effect.key, Attempt(result, message, self._clock.now(), budgets))

    def _budgets(self, effect: Effect) -> frozenset[tuple[str, str, str]]:
        """The budgets by which an eviction is judged, in the versions that are known before it is sent."""
        pod = self._cache.pods.views.get((effect.namespace, effect.name)) if isinstance(effect, EvictPod) else None
        found = selecting(pod, self._cache.budgets.views) if pod is not None else []
        return frozenset((one.namespace, one.name, one.resource_version) for one in found)

    async def _do(self, effect: Effect) -> Outcome:
        match effect:
            case PatchNode():
                return await self._patch_node(effect)
            case EvictPod():
                return await self._evict(effect)
            case DeletePod():
                return await self._delete_pod(effect)
            case PutObject():
                return await self._applier.put(effect)
            case KeepObject():
                return await self._applier.keep(effect)
            case PatchObject():
                return await self._patch(effect.ref, dict(effect.body), effect.resource_version)
            case DeleteObject():
                return await self._delete(effect)
            case RunHostTask():
                return await self._run_host_task(effect)
            case SweepTasks():
                return await self._sweep(effect)
            case DeleteIdentities():
                return await self._delete_identities(effect)
            case UpgradeRelease():
                assert self._releases is not None, "a release is wanted of a cluster that was made without Helm"
                return await self._releases.upgrade(effect)

    async def _patch_node(self, effect: PatchNode) -> Outcome:
        meta: dict[str, Any] = {}
        if effect.uid:
            meta["uid"] = effect.uid
        if effect.labels:
            meta["labels"] = dict(effect.labels)
        if effect.annotations:
            meta["annotations"] = dict(effect.annotations)
        spec: dict[str, Any] = {}
        if effect.unschedulable is not None:
            spec["unschedulable"] = effect.unschedulable or None
        if effect.taints is not None:
            spec["taints"] = [_taint(one.key, one.value, one.effect) for one in effect.taints] or None
        body = {"metadata": meta, **({"spec": spec} if spec else {})}
        return await self._patch(ObjectRef("v1", "Node", "", effect.node), body, effect.resource_version)

    async def _patch(self, ref: ObjectRef, body: dict[str, Any], resource_version: str) -> Outcome:
        collection = await self._mapper.collection(ref)
        if collection is None:
            return "failed", f"{ref.api_version} {ref.kind} is not served"
        if resource_version:
            body = {**body, "metadata": {**(body.get("metadata") or {}), "resourceVersion": resource_version}}
        answer = await self._client.request("PATCH", f"{collection}/{ref.name}", body=body, content_type=MERGE)
        if _of_a_proxy(answer, ref):
            return "blocked", answer.message
        if (answer.status == 404 and not answer.by_admission) or _of_another_uid(answer):
            return "gone", answer.message
        return self._applier.written(answer)

    async def _evict(self, effect: EvictPod) -> Outcome:
        answer = await self._client.request(
            "POST",
            paths.path("v1", "pods", namespace=effect.namespace, name=effect.name, sub="eviction"),
            body={
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": effect.name, "namespace": effect.namespace},
                "deleteOptions": {
                    "preconditions": {"uid": effect.uid},
                    **({} if effect.grace is None else {"gracePeriodSeconds": effect.grace}),
                },
            },
        )
        if answer.status == 429:
            return "blocked", f"pod {effect.namespace}/{effect.name}: {_budget_says(effect, answer)}"
        return self._left(effect, answer)

    async def _delete_pod(self, effect: DeletePod) -> Outcome:
        answer = await self._client.request(
            "DELETE",
            paths.path("v1", "pods", namespace=effect.namespace, name=effect.name),
            body=_delete_options(effect.uid, grace=0 if effect.at_once else effect.grace),
        )
        return self._left(effect, answer)

    def _left(self, effect: EvictPod | DeletePod, answer: Answer) -> Outcome:
        """The outcome of an eviction or a deletion, and what the cache shows from now on."""
        key = (effect.namespace, effect.name)
        if answer.status in (404, 409) and not answer.by_admission:
            if not answer.reason:
                return "blocked", answer.message  # these are a proxy's words: the API server tells a reason
            if answer.status == 409 and _MODIFIED.search(answer.message):
                return "conflict", answer.message
            self._cache.pods.forget(key, effect.uid)
            return "gone", answer.message
        if answer.ok:
            self._cache.pods.leaving(key, effect.uid)
            return "applied", ""
        return refused(answer)

    async def _delete(self, effect: DeleteObject) -> Outcome:
        ref = effect.ref
        collection = await self._mapper.collection(ref)
        if collection is None:
            return "gone", f"{ref.api_version} {ref.kind} is not served"
        answer = await self._client.request(
            "DELETE", f"{collection}/{ref.name}", body=_delete_options(effect.uid, "Background")
        )
        if answer.by_admission:
            return refused(answer)
        if _of_a_proxy(answer, ref):
            return "blocked", answer.message
        if answer.status == 409 and not effect.uid:
            return "applied", answer.message  # a namespace whose deletion is under way answers like this
        if answer.status in (404, 409) or answer.ok:
            self._forget(ref, effect.uid or _uid(answer))
            return ("applied", "") if answer.ok else ("gone", answer.message)
        return refused(answer)

    def _forget(self, ref: ObjectRef, uid: str) -> None:
        """A deleted object is not shown any more; a pod is shown as leaving, a node until it has left."""
        key = (ref.namespace, ref.name)
        if ref.kind == "Pod":
            self._cache.pods.leaving(key, uid)
        elif ref.kind != "Node" and (store := self._cache.store(ref.api_version, ref.kind)) is not None:
            store.forget(key, uid)

    async def _run_host_task(self, effect: RunHostTask) -> Outcome:
        ref = ObjectRef.of(effect.pod)
        answer = await self._client.request("POST", paths.path("v1", "pods", namespace=ref.namespace), body=effect.pod)
        if answer.status == 409 and answer.reason == "AlreadyExists":
            return "applied", "it was there already"
        return self._applier.written(answer)

    async def _sweep(self, effect: SweepTasks) -> Outcome:
        labels = f"{names.COMPONENT}={names.HOST_TASK}"
        chosen = {"labelSelector": f"{labels},{names.TASK}={effect.purpose}"}
        if not effect.purpose:
            ended = f"spec.nodeName={effect.node},status.phase!=Pending,status.phase!=Running"
            chosen = {"labelSelector": labels, "fieldSelector": ended}
        answer = await self._client.request(
            "DELETE",
            paths.path("v1", "pods", namespace=effect.namespace),
            params=chosen,
            body=_delete_options(""),
        )
        if not answer.ok:
            return refused(answer)
        for name, uid in effect.tasks:
            self._cache.pods.leaving((effect.namespace, name), uid)
        return "applied", ""

    async def _delete_identities(self, effect: DeleteIdentities) -> Outcome:
        ref = target(effect)
        collection = await self._mapper.collection(ref)
        if collection is None:
            return "gone", f"{ref.api_version} {ref.kind} is not served"
        answer = await self._client.request(
            "DELETE", collection, params={"labelSelector": effect.label}, body=_delete_options("")
        )
        if answer.status == 404:
            return "gone", answer.message
        return ("applied", "") if answer.ok else refused(answer)


_NEEDS: Final = re.compile(r"The disruption budget (\S+) needs (\d+) healthy pods and has (\d+) currently")
"""kubernetes: pkg/registry/core/pod/storage/eviction.go; a budget that is not this one's words is quoted as it is."""


_MODIFIED: Final = re.compile(r"object (has|might have) been modified|ResourceVersion in precondition")
"""The pod is there: it, or its budget, was written too often during its eviction (eviction.go, `EvictionsRetry`).
Of another pod under its name a uid is told (apiserver: rest/delete.go)."""


def _budget_says(effect: EvictPod, answer: Answer) -> str:
    cause = answer.cause(BUDGET) or answer.message
    if (found := _NEEDS.search(cause)) is None:
        return cause
    name, needs, has = found.groups()
    budget = f"PodDisruptionBudget {effect.namespace}/{name}"
    return f"{budget} allows 0 disruptions: it needs {needs} healthy pods and has {has}"


async def _all_of(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all to their ends, then raise the first error; what is no `Exception` ends the run, and all at once."""
    tasks = [asyncio.create_task(work) for work in works]
    pending = set(tasks)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                error = task.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        task.result()


def target(effect: Effect) -> ObjectRef:
    """What an effect changes: effects on one target keep their order."""
    match effect:
        case PatchNode():
            return ObjectRef("v1", "Node", "", effect.node)
        case EvictPod() | DeletePod():
            return ObjectRef("v1", "Pod", effect.namespace, effect.name)
        case PutObject() | KeepObject() | PatchObject() | DeleteObject():
            return effect.ref
        case RunHostTask():
            return ObjectRef.of(effect.pod)
        case DeleteIdentities():
            return ObjectRef("cilium.io/v2", "CiliumIdentity", "", f"with {effect.label}")
        case SweepTasks():
            return ObjectRef("v1", "Pod", effect.namespace, f"of {effect.node or effect.purpose}")
        case UpgradeRelease():
            return ObjectRef("v1", "Secret", effect.namespace, f"of release {effect.release}")


def _of_a_proxy(answer: Answer, ref: ObjectRef) -> bool:
    """Whether an answer says nothing of the object: the API server tells a reason, but for kinds it does not serve."""
    return answer.status in (404, 409) and not answer.reason and paths.built_in(ref.api_version)


def _of_another_uid(answer: Answer) -> bool:
    """Whether a patch met an object of the same name: a real API server calls its uid immutable, with a 422."""
    details = answer.object.get("details") or {}
    fields = {cause.get("field") for cause in details.get("causes") or ()}
    return answer.status == 422 and "metadata.uid" in fields


def _delete_options(uid: str, propagation: str = "", *, grace: int | None = None) -> dict[str, Any]:
    options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
    if uid:
        options["preconditions"] = {"uid": uid}
    if propagation:
        options["propagationPolicy"] = propagation
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    return options


def _uid(answer: Answer) -> str:
    """The uid of what a DELETE was about: the object's, or that in the Status's details."""
    body = answer.object
    if not answer.ok:
        return ""
    place = body.get("details") if body.get("kind") == "Status" else body.get("metadata")
    return str((place or {}).get("uid", ""))


def _taint(key: str, value: str, effect: str) -> dict[str, str]:
    return {"key": key, "value": value, "effect": effect} if value else {"key": key, "effect": effect}
