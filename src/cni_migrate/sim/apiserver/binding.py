"""`pods/binding`: the scheduler's word on which node a pod runs."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cni_migrate.sim.apiserver import status
from cni_migrate.sim.client import ApiError, Object

if TYPE_CHECKING:
    from cni_migrate.sim.apiserver.machinery import Machinery


def bind(machinery: "Machinery", namespace: str, name: str, body: Any, dry_run: bool) -> Object:
    """Assign the pod to the target node and note it as scheduled; 409 when it has a node already."""
    target = (body.get("target") or {}).get("name", "") if isinstance(body, dict) else ""
    if not target:
        raise ApiError(500, "", "target.name: Required value")
    resource = machinery.catalog.find("", "v1", "pods")
    pod = machinery.get(resource, namespace, name)
    if "deletionTimestamp" in pod.object["metadata"]:
        raise status.conflict(resource, name, f"pod {name} is being deleted, cannot be assigned to a host")
    if node := pod.object["spec"].get("nodeName"):
        sub = replace(resource, kind=replace(resource.kind, plural="pods/binding"))
        raise status.conflict(sub, name, f"pod {name} is already assigned to node {node!r}".replace("'", '"'))
    if not dry_run:
        state = dict(pod.object.get("status") or {})
        others = [item for item in state.get("conditions") or () if item.get("type") != "PodScheduled"]
        scheduled = {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": machinery.store.timestamp(),
        }
        state["conditions"] = [*others, scheduled]
        spec = {**pod.object["spec"], "nodeName": target}
        machinery.write(resource, pod, "kube-scheduler", "binding", spec=spec, status=state)
    return status.success(201)
