"""What would refuse the migration's own objects: asked of the API server by a dry run, so that nothing is written.

Quotas, PodSecurity and webhooks judge pods, so a pod of each template is asked for beside the template itself
(kubernetes.io: "API concepts", dry-run). In a namespace that is not there yet no quota can be, and every request ends
in 404 before a webhook is asked (NamespaceLifecycle), so none is made; what webhooks would say of its pods is asked in
`default`, whose own PodSecurity does not count.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.core.render.rights import plural
from cni_migrate.errors import RightsMissing
from cni_migrate.kube.access import Ask, Reviews
from cni_migrate.kube.discovery import RESTMapper
from cni_migrate.kube.request import Client
from cni_migrate.kube.together import together
from cni_migrate.kube.transport import Answer

Manifest = Mapping[str, Any]

_ACCOUNT: Final = ("serviceAccountName", "serviceAccount")
STAND_IN: Final = "default"
_STAND_INS: Final = Ask("create", "", "pods", "", STAND_IN)
_PARALLEL: Final = 10
_CILIUM: Final = "cilium.io"
_WEBHOOK: Final = "admission webhook"
_NO_DRY_RUN: Final = "does not support dry run"


async def refusals(client: Client, manifests: Iterable[Manifest], reviews: Reviews) -> tuple[str, ...]:
    """Each object that would be refused, with the API server's words; of what `reviews` say that the user may make.

    Raises:
        ClusterError: the API server does not answer.
    """
    manifests = list(manifests)
    mapper, slots, coming = RESTMapper(client), asyncio.Semaphore(_PARALLEL), set(_defined(manifests))
    every = [(asked, name) for manifest in manifests for asked, name in _asked(manifest)]
    rights = await reviews.allowed([_STAND_INS, *(_creating(asked) for asked, _ in every)])

    absent: set[str] = set()
    brought = {str(one["metadata"]["name"]) for one in manifests if one["kind"] == "Namespace"}

    async def one(manifest: Manifest, name: str) -> str:
        ref = ObjectRef.of(manifest)
        async with slots:
            if ref.namespace in absent:
                said = await _elsewhere(client, mapper, manifest) if ref.kind == "Pod" and rights[_STAND_INS] else ""
            else:
                answer = await _dry_run(client, mapper, manifest)
                if ref.kind != "Pod" and ref.namespace not in brought and _no_namespace(answer, ref.namespace):
                    return f"Namespace {ref.namespace}: it is not there, and nothing brings it"
                said = await _said(client, mapper, manifest, answer, stand_in=rights[_STAND_INS])
                if answer is not None and answer.ok and ref.kind == "Namespace":
                    absent.add(ref.name)
            said = said or await _unserved(mapper, ref, coming)
        return f"{name}: {said}" if said else ""

    # Who may not make it needs another to make it, as controllers make pods: nobody is asked then.
    wanted = [(asked, name) for asked, name in every if rights[_creating(asked)]]
    tasks: list[asyncio.Task[str]] = []
    for namespaces in (True, False):
        async with together() as group:
            now = [(asked, name) for asked, name in wanted if (asked["kind"] == "Namespace") is namespaces]
            tasks += [group.create_task(one(asked, name)) for asked, name in now]
    return tuple(dict.fromkeys(filter(None, (task.result() for task in tasks))))


def _asked(manifest: Manifest) -> Iterator[tuple[Manifest, str]]:
    """An object, and a pod of its template, each with its name for people."""
    ref = ObjectRef.of(manifest)
    yield manifest, str(ref)
    template = (manifest.get("spec") or {}).get("template")
    if ref.kind not in ("DaemonSet", "Deployment") or not template:
        return
    # Its account comes with the migration, and a pod of an account that is not there is refused for that alone.
    spec = {
        key: value for key, value in template["spec"].items() if key not in ("serviceAccountName", "serviceAccount")
    }
    meta = {**(template.get("metadata") or {}), "namespace": ref.namespace, "name": f"dry-run-{ref.name}"[:63]}
    yield {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}, f"a pod of {ref}"


def _defined(manifests: Iterable[Manifest]) -> Iterator[tuple[str, str]]:
    """Group and kind of the definitions among these objects."""
    for one in manifests:
        if one["kind"] == "CustomResourceDefinition":
            spec = one.get("spec") or {}
            yield str(spec.get("group", "")), str((spec.get("names") or {}).get("kind", ""))


async def _unserved(mapper: RESTMapper, ref: ObjectRef, coming: set[tuple[str, str]]) -> str:
    """Why an object could not be put at all, or '': Cilium's operator brings Cilium's own kinds, and no others."""
    group = ref.api_version.rpartition("/")[0]
    if group == _CILIUM or (group, ref.kind) in coming or await mapper.collection(ref) is not None:
        return ""
    return f"the API server serves no {ref.kind} of {ref.api_version}: bring its definition first, or leave it out"


def _creating(manifest: Manifest) -> Ask:
    """The right to make an object."""
    ref = ObjectRef.of(manifest)
    group = ref.api_version.rpartition("/")[0]
    return Ask("create", group, plural(ref.kind), "", "" if ref.kind == "Namespace" else ref.namespace)


def _no_namespace(answer: Answer | None, namespace: str) -> bool:
    return answer is not None and answer.status == 404 and f'namespaces "{namespace}" not found' in answer.message


async def _said(
    client: Client, mapper: RESTMapper, manifest: Manifest, answer: Answer | None, *, stand_in: bool
) -> str:
    """Why an object is refused, by the answer to a dry run of it, or ''."""
    if answer is not None and answer.status == 404 and manifest["kind"] == "Pod" and stand_in:
        return await _elsewhere(client, mapper, manifest)
    return _words(answer)


async def _elsewhere(client: Client, mapper: RESTMapper, pod: Manifest) -> str:
    """What webhooks have against a pod whose namespace is not there yet, or ''."""
    answer = await _dry_run(client, mapper, {**pod, "metadata": {**pod["metadata"], "namespace": STAND_IN}})
    return _words(answer) if answer is not None and _WEBHOOK in answer.message else ""


def _words(answer: Answer | None) -> str:
    """The refusal in an answer, or ''."""
    if answer is None or answer.ok or answer.status in (404, 409) or _NO_DRY_RUN in answer.message:
        return ""
    if answer.status >= 500 and "webhook" not in answer.message:
        return ""  # nobody has refused it: the API server is in trouble, and said so to each try
    if answer.cause("NamespaceTerminating") is not None:
        return ""  # a rollback of a moment ago: the first step waits until the namespace is gone
    return answer.message


async def _dry_run(client: Client, mapper: RESTMapper, manifest: Manifest) -> Answer | None:
    """The answer to a creation that is none; None where nobody can be asked."""
    collection = await mapper.collection(ObjectRef.of(manifest))
    if collection is None:
        return None  # its kind comes with the migration
    try:
        return await client.request("POST", collection, params={"dryRun": "All"}, body=manifest)
    except RightsMissing:
        return None  # that is another finding, where it matters
