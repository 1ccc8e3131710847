"""Effects: one mutation of the cluster each, as data, with the precondition that protects it.

A step answers with effects, the engine performs them. Each effect has a `key` that names it for good: the outcome of
the latest try is looked up by it (`Outcomes.attempts`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cni_migrate.core.model import names
from cni_migrate.core.model.objects import ObjectRef, Taint
from cni_migrate.core.model.words import many


@dataclass(frozen=True, slots=True)
class PatchNode:
    """Change a node by one merge-patch that carries the resourceVersion that was seen.

    `labels` and `annotations` map to None what is to be removed. `taints`, when given, replaces the whole list, as
    any patch of it does (seen on a real API server); None leaves it alone.
    """

    node: str
    uid: str
    resource_version: str
    labels: Mapping[str, str | None]
    annotations: Mapping[str, str | None]
    unschedulable: bool | None = None
    taints: tuple[Taint, ...] | None = None

    @property
    def key(self) -> str:
        """One try per version of the node: a conflict is answered by looking again, never by repeating."""
        return f"patch:node/{self.node}@{self.resource_version}"


@dataclass(frozen=True, slots=True)
class EvictPod:
    """Ask the eviction API to delete exactly this pod (uid precondition), honouring its budget.

    `grace` is how many seconds its processes get; None: as the pod says.
    """

    namespace: str
    name: str
    uid: str
    node: str
    grace: int | None = None

    @property
    def key(self) -> str:
        """By uid: a StatefulSet's next pod has the same name."""
        return f"evict:{self.uid}"


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete exactly this pod (uid precondition), with its own grace period or `grace` seconds.

    `at_once` takes the object away before its processes have ended, so that its controller makes the next pod already.
    Only for pods whose successor can be started beside them (Kubernetes: "force deletion").
    """

    namespace: str
    name: str
    uid: str
    node: str
    at_once: bool = False
    grace: int | None = None

    @property
    def key(self) -> str:
        """By uid: a StatefulSet's next pod has the same name."""
        return f"delete:{self.uid}"


@dataclass(frozen=True, slots=True)
class PutObject:
    """Make an object of ours be exactly `manifest`: created when missing, replaced when it differs."""

    manifest: Mapping[str, Any]

    @property
    def ref(self) -> ObjectRef:
        """Which object."""
        return ObjectRef.of(self.manifest)

    @property
    def key(self) -> str:
        """By content: the same object with other content is another effect."""
        content = json.dumps(self.manifest, sort_keys=True, separators=(",", ":"))
        return f"put:{self.ref}#{hashlib.sha256(content.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class KeepObject:
    """See that an object of ours is still there and as it was installed: looked at first, written only if it is not.

    What is made anew at each rendering (certificates in a Secret) or ends by itself (a Job) is not replaced: see
    `MADE_ONCE`. `occasion` tells one such look from the next.
    """

    manifest: Mapping[str, Any]
    occasion: str

    @property
    def ref(self) -> ObjectRef:
        """Which object."""
        return ObjectRef.of(self.manifest)

    @property
    def key(self) -> str:
        """By target and occasion: what a driver has installed stays the same as long as it lives."""
        return f"keep:{self.ref}@{self.occasion}"


GONE: Final = "it was gone"
CHANGED: Final = "it was changed"
AS_IT_WAS: Final = "as it was"
"""What an attempt says of an object of ours that had to be put back, or not even written."""

MADE_ONCE: Final = frozenset({"Secret"})
"""Kinds of which an object that is there is right as it is."""


@dataclass(frozen=True, slots=True)
class PatchObject:
    """Merge-patch somebody else's object; `resource_version` is sent along when not empty."""

    ref: ObjectRef
    body: Mapping[str, Any]
    resource_version: str = ""

    @property
    def key(self) -> str:
        """By target, version and content."""
        content = json.dumps(self.body, sort_keys=True, separators=(",", ":"))
        return f"patch:{self.ref}@{self.resource_version}#{hashlib.sha256(content.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class DeleteObject:
    """Delete an object in the background; one that is not there counts as deleted."""

    ref: ObjectRef
    uid: str = ""

    @property
    def key(self) -> str:
        """By target."""
        return f"delete:{self.ref}@{self.uid}"


@dataclass(frozen=True, slots=True)
class RunHostTask:
    """Run operations on a node's files and links by a one-shot pod named `name` (see docs/reference/host-tasks.md).

    `pod` is the whole manifest. A pod of that name that is there already is this task: it is not made twice.
    """

    node: str
    name: str
    pod: Mapping[str, Any]

    @property
    def key(self) -> str:
        """By the pod's name, which tells node, event, step and attempt."""
        return f"host:{self.name}"


@dataclass(frozen=True, slots=True)
class SweepTasks:
    """Remove a node's host tasks that have ended, by one request; one that still runs stays.

    With a `purpose` those that have it in their label go instead: on every node, also those that still run. `tasks` are
    those that are known: (name, uid).
    """

    namespace: str
    node: str
    tasks: tuple[tuple[str, str], ...]
    purpose: str = ""

    @property
    def key(self) -> str:
        """By the tasks: others are another effect."""
        known = ",".join(uid for _, uid in self.tasks)
        return f"sweep:{self.purpose or self.node}#{hashlib.sha256(known.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class UpgradeRelease:
    """Let Helm make, or upgrade, the release that owns the objects which are there (`helm upgrade --install`)."""

    namespace: str
    release: str

    @property
    def key(self) -> str:
        """By target: Helm itself sees what has changed."""
        return f"release:{self.namespace}/{self.release}"


@dataclass(frozen=True, slots=True)
class DeleteIdentities:
    """Delete all CiliumIdentities that carry a label, by one request."""

    label: str

    @property
    def key(self) -> str:
        """By the label."""
        return f"delete:identities/{self.label}"


Effect = (
    PatchNode
    | EvictPod
    | DeletePod
    | PutObject
    | KeepObject
    | PatchObject
    | DeleteObject
    | RunHostTask
    | SweepTasks
    | UpgradeRelease
    | DeleteIdentities
)


def refusal(message: str) -> str:
    """Why the API server refuses an effect, with the key of the configuration that helps where one does."""
    # A quota's words (apiserver resourcequota/controller.go); one Service of ours has a node port.
    if "exceeded quota" in message and "services.nodeports" in message:
        return f"{message} (`knet.node_port: false` in the configuration does without a node port)"
    return message


def describe(effect: Effect) -> str:
    """The effect in one line, as `plan` and the log show it."""
    match effect:
        case PatchNode():
            return _node_patch(effect)
        case EvictPod():
            return f"evict pod {effect.namespace}/{effect.name} from {effect.node}"
        case DeletePod():
            return f"delete pod {effect.namespace}/{effect.name} on {effect.node}"
        case PutObject() | KeepObject():
            return f"apply {effect.ref}"
        case PatchObject():
            return f"patch {effect.ref}"
        case DeleteObject():
            return f"delete {effect.ref}"
        case DeleteIdentities():
            return f"delete CiliumIdentities with the label {effect.label}"
        case SweepTasks() if effect.purpose:
            return f"remove {many(len(effect.tasks), 'host task')} for the {effect.purpose}"
        case SweepTasks():
            return f"remove {many(len(effect.tasks), 'ended host task')} on {effect.node}"
        case UpgradeRelease():
            return f"helm upgrade --install {effect.release} in namespace {effect.namespace}"
        case RunHostTask():
            (container,) = effect.pod["spec"]["containers"]
            what = container.get("name", names.HOST_TASK).replace("-", " ")
            return f"{what} on {effect.node}: {' '.join(container.get('args', []))}"


def _node_patch(effect: PatchNode) -> str:
    parts = []
    if effect.unschedulable is not None:
        parts.append("cordon" if effect.unschedulable else "uncordon")
    for key, value in effect.labels.items():
        parts.append(f"label {key}-" if value is None else f"label {key}={value}")
    if effect.taints is not None:
        parts.append("taints " + (", ".join(str(taint) for taint in effect.taints) or "none"))
    parts.extend(f"annotation {key}" + ("-" if v is None else "") for key, v in effect.annotations.items())
    return f"node {effect.node}: {', '.join(parts)}"
