"""What the API server does to pods: defaults, admission, QoS, and what an update may change.

Rules: `pkg/apis/core/v1/defaults.go`, `pkg/registry/core/pod/strategy.go`, `ValidatePodUpdate`, and the admission
plugins DefaultTolerationSeconds, Priority and ServiceAccount (without its token volume, which nothing here mounts).
"""

from typing import Any

from cni_migrate.sim.apiserver.status import FieldError
from cni_migrate.sim.client import Object

_UPDATE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def default_spec(spec: Object) -> None:
    """The defaults of a pod's spec, also inside a template."""
    if spec.get("nodeName") == "":
        del spec["nodeName"]
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if account := spec.get("serviceAccountName") or spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        if isinstance(container, dict):
            _default_container(container, host_network=bool(spec.get("hostNetwork")))
    for volume in spec.get("volumes") or ():
        _default_volume(volume)


def _default_container(container: Object, *, host_network: bool) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    image = str(container.get("image") or "")
    latest = ":" not in image.rpartition("/")[2] or image.endswith(":latest")
    container.setdefault("imagePullPolicy", "Always" if latest and "@" not in image else "IfNotPresent")
    container.setdefault("resources", {})
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if host_network and "containerPort" in port:
            port.setdefault("hostPort", port["containerPort"])
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe := container.get(field):
            _default_probe(probe)


def _default_probe(probe: Object) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        probe.setdefault(field, value)
    if http := probe.get("httpGet"):
        http.setdefault("path", "/")
        http.setdefault("scheme", "HTTP")


def _default_volume(volume: Object) -> None:
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        if source in volume:
            volume[source].setdefault("defaultMode", 0o644)
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}


def _qos(spec: Object) -> str:
    """BestEffort without any request or limit, Guaranteed when all limits are set and equal to the requests."""
    resources = [
        container.get("resources") or {}
        for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    ]
    if not any(item.get("requests") or item.get("limits") for item in resources):
        return "BestEffort"
    for item in resources:
        limits = item.get("limits") or {}
        requests = {**limits, **(item.get("requests") or {})}
        if not {"cpu", "memory"} <= set(limits) or any(requests[key] != limits[key] for key in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def admit(spec: Object, priority: int | None) -> None:
    """What the admission plugins add to a new pod; `priority` is that of its class, if it names one."""
    spec.setdefault("serviceAccountName", "default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    spec.setdefault("enableServiceLinks", True)
    spec["priority"] = priority or 0
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    admit_tolerations(spec)


def admit_tolerations(spec: Object) -> None:
    """DefaultTolerationSeconds, on create and on update: five minutes on a node that is not ready or unreachable."""
    tolerations = list(spec.get("tolerations") or ())
    for condition in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{condition}"
        if not any(
            item.get("key") in (key, None, "") and item.get("effect") in ("NoExecute", None, "") for item in tolerations
        ):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    spec["tolerations"] = tolerations


def prepare_create(pod: Object) -> None:
    """A new pod is Pending, whatever status was sent."""
    default_spec(pod["spec"])
    for container in pod["spec"].get("containers") or ():
        _default_requests(container.get("resources") or {})
    pod["status"] = {"phase": "Pending", "qosClass": _qos(pod["spec"])}


def _default_requests(resources: Object) -> None:
    if limits := resources.get("limits"):
        resources["requests"] = {**limits, **(resources.get("requests") or {})}


def validate_spec(spec: Any, field: str) -> list[FieldError]:
    """The part of a pod's spec that clients get wrong most easily."""
    containers = spec.get("containers") or []
    found = [] if containers else [FieldError("Required", f"{field}.containers")]
    seen = {""}
    volumes = [volume.get("name") for volume in spec.get("volumes") or ()]
    for index, container in enumerate(containers):
        where = f"{field}.containers[{index}]"
        if not container.get("name"):
            found.append(FieldError("Required", f"{where}.name"))
        if not container.get("image"):
            found.append(FieldError("Required", f"{where}.image"))
        for at, mount in enumerate(container.get("volumeMounts") or ()):
            if mount.get("name") not in volumes:
                found.append(FieldError("NotFound", f"{where}.volumeMounts[{at}].name", mount.get("name")))
        if container.get("name") in seen:
            found.append(FieldError("Duplicate", f"{where}.name", container["name"]))
        seen.add(container.get("name") or "")
    return found


def validate_update(new: Object, old: Object) -> list[FieldError]:
    """An update may change images, add tolerations, and little else."""

    def comparable(spec: Object, base: Object) -> Object:
        like: Object = {**spec, "tolerations": base.get("tolerations")}
        like["activeDeadlineSeconds"] = base.get("activeDeadlineSeconds")
        for field in ("containers", "initContainers"):
            like[field] = [{**container, "image": ""} for container in spec.get(field) or ()]
        return like

    kept = old["spec"].get("tolerations") or []
    now = new["spec"].get("tolerations") or []
    if comparable(new["spec"], old["spec"]) == comparable(old["spec"], old["spec"]) and all(i in now for i in kept):
        return []
    return [FieldError("Forbidden", "spec", detail=_UPDATE)]


def priority_of(name: str, classes: dict[str, int]) -> int | None:
    """The value of a priority class; None when there is no such class."""
    return classes.get(name, _PRIORITIES.get(name))
