"""From the API's JSON to the slim views of `core.model.objects`: pure functions, one per kind.

Only what the views hold is kept. Strings that recur are interned and equal label maps are shared, so that ten thousand
pods cost some ten megabytes (an unpacked pod's JSON is twenty times its view).
"""

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from cni_migrate.core.model import names
from cni_migrate.core.model.nodeconfig import NodeConfig
from cni_migrate.core.model.objects import (
    Budget,
    CiliumConfig,
    CiliumNode,
    DaemonSet,
    Endpoint,
    Node,
    Pod,
    Requests,
    Requirement,
    Taint,
    Toleration,
)
from cni_migrate.core.render.overrides import settings_of
from cni_migrate.kube import amounts
from cni_migrate.kube.managedfields import writers
from cni_migrate.kube.references import used_by

Json = Mapping[str, Any]

MIRROR: Final = "kubernetes.io/config.mirror"
"""Annotation of a static pod's mirror; the kubelet owns it (kubernetes.io: "Create static Pods")."""

REVISION: Final = "controller-revision-hash"
"""Label by which a DaemonSet's controller tells template versions apart (apps/v1, DefaultDaemonSetUniqueLabelKey)."""

_UNWANTED: Final = ("kubectl.kubernetes.io/last-applied-configuration",)

_CLOSED: Final = (("maxUnavailable", "0"), ("maxUnavailable", "0%"), ("minAvailable", "100%"))  # whatever happens

_OWN: Final = ("InternalIP", "ExternalIP")  # the types of a node's addresses that are no names

_SHARED_MAX: Final = 20_000
_shared: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
_tolerations: dict[str, tuple[Toleration, ...]] = {}


def node(raw: Json) -> Node:
    """A Node. `ready` is its Ready condition; of InternalIPs and podCIDRs IPv4's first one counts."""
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    told = [(str(one.get("type", "")), str(one["address"])) for one in status.get("addresses") or ()]
    first = min((address for kind, address in told if kind == "InternalIP"), key=lambda one: ":" in one, default="")
    return Node(
        name=_text(meta["name"]),
        uid=str(meta.get("uid", "")),
        resource_version=str(meta.get("resourceVersion", "")),
        labels=_map(meta.get("labels")),
        annotations=_annotations(meta),
        taints=tuple(_taint(one) for one in spec.get("taints") or ()),
        unschedulable=bool(spec.get("unschedulable", False)),
        ready=_condition(status, "Ready").get("status") == "True",
        boot_id=str((status.get("nodeInfo") or {}).get("bootID", "")),
        internal_ip=first,
        pod_cidr=str(min(spec.get("podCIDRs") or (), key=lambda one: ":" in one, default=spec.get("podCIDR", ""))),
        pod_cidrs=tuple(_text(one) for one in spec.get("podCIDRs") or ()),
        os=_text((status.get("nodeInfo") or {}).get("operatingSystem") or "linux"),
        arch=_text((status.get("nodeInfo") or {}).get("architecture") or ""),
        allocatable=amounts.allocatable(status),
        more_addresses=tuple(address for kind, address in told if kind in _OWN and address != first),
    )


def pod(raw: Json) -> Pod:
    """A Pod. `ready` is its Ready condition, and False from the moment it is being deleted."""
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    deleting = bool(meta.get("deletionTimestamp"))
    labels = _map(meta.get("labels"))
    annotations = _annotations(meta)
    return Pod(
        namespace=_text(meta.get("namespace", "")),
        name=str(meta["name"]),
        uid=str(meta.get("uid", "")),
        node=_text(spec.get("nodeName") or ""),
        ip=str(status.get("podIP", "")),
        host_network=bool(spec.get("hostNetwork", False)),
        phase=_text(status.get("phase", "")),
        ready=not deleting and _condition(status, "Ready").get("status") == "True",
        deleting=deleting,
        labels=labels,
        annotations=annotations,
        controller=_controller(meta),
        containers=tuple(_text(one["name"]) for one in spec.get("containers") or ()),
        mirror=MIRROR in annotations,
        local_storage=any("emptyDir" in one for one in spec.get("volumes") or ()),
        revision=_text(labels.get(REVISION, "")),
        trouble=_trouble(spec, status),
        message=_message(spec, status),
        tolerations=_tolerated(spec.get("tolerations") or ()),
        host_ports=not spec.get("hostNetwork") and _host_ports(spec),
        unready=_unready(status),
        finalizers=tuple(_text(one) for one in meta.get("finalizers") or ()),
        due_gone=datetime.fromisoformat(meta["deletionTimestamp"]) if deleting else None,
        claims=_claims(meta, spec),
        created=_text(meta.get("creationTimestamp") or ""),
        needs=amounts.needs(spec),
    )


def _claims(meta: Json, spec: Json) -> tuple[str, ...]:
    """The claims' names; that of an ephemeral volume is made of the pod's and the volume's (kubernetes.io)."""
    found = []
    for one in spec.get("volumes") or ():
        if claim := one.get("persistentVolumeClaim"):
            found.append(str(claim.get("claimName", "")))
        elif "ephemeral" in one:
            found.append(f"{meta['name']}-{one['name']}")
    return tuple(found)


def _host_ports(spec: Json) -> bool:
    every = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    return any(port.get("hostPort") for one in every for port in one.get("ports") or ())


def daemonset(raw: Json) -> DaemonSet:
    """A DaemonSet."""
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    template = (spec.get("template") or {}).get("spec") or {}
    containers = template.get("containers") or ()
    return DaemonSet(
        namespace=_text(meta.get("namespace", "")),
        name=str(meta["name"]),
        uid=str(meta.get("uid", "")),
        resource_version=str(meta.get("resourceVersion", "")),
        node_selector=_map(template.get("nodeSelector")),
        labels=_map(meta.get("labels")),
        annotations=_annotations(meta),
        containers=tuple(str(one["name"]) for one in containers),
        images=tuple(str(one.get("image", "")) for one in (*(template.get("initContainers") or ()), *containers)),
        generation=int(meta.get("generation", 0)),
        observed_generation=int(status.get("observedGeneration", 0)),
        update_strategy=str((spec.get("updateStrategy") or {}).get("type", "RollingUpdate")),
        desired=int(status.get("desiredNumberScheduled", 0)),
        updated=int(status.get("updatedNumberScheduled", 0)),
        available=int(status.get("numberAvailable", 0)),
        writers=writers(meta),
        node_terms=_node_terms(template),
        created=_instant(meta.get("creationTimestamp")),
        deleting=bool(meta.get("deletionTimestamp")),
        owner=next(
            (f"{one['kind']} {one['name']}" for one in meta.get("ownerReferences") or () if one.get("controller")), ""
        ),
        uses=tuple(used_by(template, _text(meta.get("namespace", "")))),
        tolerations=_tolerated(template.get("tolerations") or ()),
        settings=settings_of(template),
        folders={
            str(one.get("name", "")): str((one.get("hostPath") or {}).get("path", "")).rstrip("/")
            for one in template.get("volumes") or ()
            if one.get("hostPath")
        },
    )


def _instant(stamp: object) -> datetime | None:
    """When something was; None where it is not told, or not as the API tells it."""
    try:
        return datetime.fromisoformat(str(stamp))
    except ValueError:
        return None


def _node_terms(pod: Json) -> tuple[tuple[Requirement, ...], ...] | None:
    """The alternatives of a pod's required node affinity."""
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return None
    return tuple(
        (
            *(_requirement(one, on_name=False) for one in term.get("matchExpressions") or ()),
            *(_requirement(one, on_name=True) for one in term.get("matchFields") or ()),
        )
        for term in required.get("nodeSelectorTerms") or ()
    )


def _requirement(raw: Json, *, on_name: bool) -> Requirement:
    values = tuple(_text(value) for value in raw.get("values") or ())
    return Requirement(_text(raw.get("key", "")), _text(raw.get("operator", "")), values, on_name)


def budget(raw: Json) -> Budget:
    """A PodDisruptionBudget. A selector that is absent selects nothing, an empty one every pod (policy/v1)."""
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    return Budget(
        namespace=_text(meta.get("namespace", "")),
        name=str(meta["name"]),
        selector=spec.get("selector"),
        disruptions_allowed=int(status.get("disruptionsAllowed", 0)),
        unhealthy_always_allowed=spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow",
        current_healthy=int(status.get("currentHealthy", 0)),
        desired_healthy=int(status.get("desiredHealthy", 0)),
        resource_version=str(meta.get("resourceVersion", "")),
        never=next((f"{key}: {spec[key]}" for key, closed in _CLOSED if str(spec.get(key)) == closed), ""),
    )


def cilium_node(raw: Json) -> CiliumNode:
    """A CiliumNode (cilium.io/v2): its pod CIDRs, once the operator has given it some."""
    ipam = (raw.get("spec") or {}).get("ipam") or {}
    return CiliumNode(_text(raw["metadata"]["name"]), tuple(str(one) for one in ipam.get("podCIDRs") or ()))


def node_config(raw: Json) -> NodeConfig:
    """A CiliumNodeConfig (cilium.io/v2 and v2alpha1)."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    return NodeConfig(
        _text(meta.get("namespace", "")),
        _text(meta["name"]),
        spec.get("nodeSelector"),
        {str(key): str(value) for key, value in (spec.get("defaults") or {}).items()},
        (meta.get("labels") or {}).get(names.MANAGED_BY) == names.TOOL,
    )


def cilium_config(raw: Json) -> CiliumConfig:
    """The ConfigMap `cilium-config`."""
    meta = raw["metadata"]
    written = [str(one.get("time") or "") for one in meta.get("managedFields") or ()]
    changed = max([str(meta.get("creationTimestamp") or ""), *written])
    return CiliumConfig(str(meta.get("namespace", "")), dict(raw.get("data") or {}), changed)


def endpoint(raw: Json) -> Endpoint:
    """A CiliumEndpoint (cilium.io/v2): it has the pod as owner, and its name, unless our agents have made it."""
    meta = raw["metadata"]
    owners = meta.get("ownerReferences") or ()
    status = raw.get("status") or {}
    addresses = (status.get("networking") or {}).get("addressing") or ()
    first = addresses[0] if addresses else {}
    return Endpoint(
        namespace=_text(meta.get("namespace", "")),
        name=str(meta["name"]),
        pod_uid=next((str(one["uid"]) for one in owners if one.get("kind") == "Pod"), ""),
        ip=str(first.get("ipv4") or first.get("ipv6") or ""),
        uid=str(meta.get("uid", "")),
        identity=int((status.get("identity") or {}).get("id") or 0),
        ours=names.OURS in (meta.get("labels") or {}),
    )


def requests(raw: Json) -> Requests:
    """The operators' ConfigMap: one data key per wish, so that two operators never overwrite each other.

    `paused`: since when. `retry.NODE`: since when. `skip.NODE`: why (or since when). Other keys are ignored.
    """
    data = raw.get("data") or {}
    return Requests(
        paused_since=str(data.get("paused", "")),
        retry={key.removeprefix("retry."): value for key, value in data.items() if key.startswith("retry.")},
        skip={key.removeprefix("skip."): value for key, value in data.items() if key.startswith("skip.")},
    )


def _text(value: Any) -> str:
    return sys.intern(value) if type(value) is str else str(value)


def _map(raw: Json | None) -> dict[str, str]:
    """A label map, the same object for equal content. Read-only by agreement."""
    items = tuple(sorted((raw or {}).items()))
    found = _shared.get(items)
    if found is None:
        if len(_shared) >= _SHARED_MAX:
            _shared.clear()
        found = _shared[items] = {_text(key): _text(value) for key, value in items}
    return found


def _annotations(meta: Json) -> dict[str, str]:
    """Annotations, which are rarely equal: only the empty map is shared."""
    raw = meta.get("annotations")
    kept = {_text(key): str(value) for key, value in raw.items() if key not in _UNWANTED} if raw else None
    return kept or _map(None)


def _tolerated(raw: Any) -> tuple[Toleration, ...]:
    """A pod's tolerations, shared: nearly all pods have the same two."""
    if not raw:
        return ()
    name = json.dumps(raw, sort_keys=True)
    found = _tolerations.get(name)
    if found is None:
        if len(_tolerations) >= _SHARED_MAX:
            _tolerations.clear()
        found = _tolerations[name] = tuple(
            Toleration(
                _text(one.get("key", "")), _text(one.get("operator") or "Equal"), _text(one.get("value", "")),
                _text(one.get("effect", "")),
            )
            for one in raw
        )  # fmt: skip
    return found


def _taint(raw: Json) -> Taint:
    return Taint(_text(raw["key"]), _text(raw.get("value", "")), _text(raw["effect"]))


def _condition(status: Json, kind: str) -> Json:
    return next((one for one in status.get("conditions") or () if one.get("type") == kind), {})


def _controller(meta: Json) -> tuple[str, str, str] | None:
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            return _text(owner["kind"]), _text(owner["name"]), _text(owner["uid"])
    return None


def _trouble(spec: Json, status: Json) -> str:
    """The first thing that keeps a pod from running, in the words of whoever reported it; '' when nothing does."""
    return next(_troubles(spec, status), "")


def _troubles(spec: Json, status: Json) -> Iterator[str]:
    scheduled = _condition(status, "PodScheduled")
    if not spec.get("nodeName") and scheduled.get("status") == "False":
        yield _said(scheduled.get("reason") or "Unschedulable", scheduled.get("message"))
    if status.get("phase") == "Failed" and status.get("reason"):
        yield _said(status["reason"], status.get("message"))
    for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = one.get("state") or {}
        if waiting := state.get("waiting"):
            yield _said(waiting.get("reason") or "Waiting", waiting.get("message")) + _last_end(one)
        elif (ended := state.get("terminated")) and ended.get("exitCode"):
            yield _said(f"{ended.get('reason') or 'Error'} (exit code {ended['exitCode']})", ended.get("message"))


def _last_end(status: Json) -> str:
    """How a container ended the last time, before it was started again."""
    ended = (status.get("lastState") or {}).get("terminated")
    if not ended:
        return ""
    message = _one_line(ended.get("message"))
    return f"; it ended with exit code {ended.get('exitCode')} ({ended.get('reason') or 'no reason given'})" + (
        f": {message}" if message else ""
    )


def _unready(status: Json) -> str:
    """What the Ready condition says while it is not True; '' before a kubelet or a gate has written one."""
    ready = _condition(status, "Ready")
    return "" if ready.get("status") == "True" else _one_line(ready.get("message") or ready.get("reason"))


def _said(reason: str, message: Any) -> str:
    return f"{reason}: {_one_line(message)}" if message else _text(reason)


def _one_line(text: Any) -> str:
    return " ".join(str(text or "").split())


def _message(spec: Json, status: Json) -> str:
    """What the first container wrote to its termination log; the statuses are ordered by name, not as in the spec."""
    first = next((one.get("name") for one in spec.get("containers") or ()), None)
    for one in status.get("containerStatuses") or ():
        if one.get("name") == first:
            return str(((one.get("state") or {}).get("terminated") or {}).get("message") or "")
    return ""
