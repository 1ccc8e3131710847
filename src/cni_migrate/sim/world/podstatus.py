"""The status a kubelet writes for a pod. Pure functions: one patch takes a pod from Pending to Running and Ready."""

import zlib

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta


def _conditions(pod: Object, ready: bool, now: str, reason: str = "") -> list[Object]:
    """All conditions; those the kubelet does not own (DisruptionTarget, ...) are kept."""
    wanted = {
        "PodReadyToStartContainers": True,
        "Initialized": True,
        "Ready": ready,
        "ContainersReady": ready,
    }
    kept = [c for c in (pod.get("status") or {}).get("conditions") or () if c["type"] not in wanted]
    made: list[Object] = []
    for kind, value in wanted.items():
        status = "True" if value else "False"
        old = meta.condition(pod, kind)
        entry: Object = {
            "type": kind,
            "status": status,
            "lastProbeTime": None,
            "lastTransitionTime": old.get("lastTransitionTime", now) if old.get("status") == status else now,
        }
        if not value and reason:
            entry["reason"] = reason
        if not value and reason == "ContainersNotReady":
            names = " ".join(container["name"] for container in pod["spec"].get("containers") or ())
            entry["message"] = f"containers with unready status: [{names}]"
        made.append(entry)
    if not any(c["type"] == "PodScheduled" for c in kept):
        made.append({"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now})
    return made + kept


def _container_id(pod: Object, name: str, restarts: int) -> str:
    return f"containerd://{zlib.crc32(f'{meta.uid(pod)}/{name}/{restarts}'.encode()):08x}"


def _containers(pod: Object, *, ready: bool, restarts: int, state: Object) -> list[Object]:
    return [
        {
            "name": container["name"],
            "image": container.get("image", ""),
            "imageID": container.get("image", ""),
            "containerID": _container_id(pod, container["name"], restarts),
            "ready": ready,
            "started": "running" in state,
            "restartCount": restarts,
            "state": state,
            "lastState": {},
        }
        for container in pod["spec"].get("containers") or ()
    ]


def _inits(pod: Object, now: str) -> list[Object]:
    done = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}
    return [
        {
            "name": container["name"],
            "image": container.get("image", ""),
            "imageID": container.get("image", ""),
            "containerID": _container_id(pod, container["name"], 0),
            "ready": True,
            "started": False,
            "restartCount": 0,
            "state": done,
            "lastState": {},
        }
        for container in pod["spec"].get("initContainers") or ()
    ]


def _addresses(host_ip: str, pod_ip: str) -> Object:
    found: Object = {"hostIP": host_ip, "hostIPs": [{"ip": host_ip}]}
    if pod_ip:
        found |= {"podIP": pod_ip, "podIPs": [{"ip": pod_ip}]}
    return found


def running(pod: Object, *, host_ip: str, pod_ip: str, ready: bool, restarts: int, now: str) -> Object:
    """The containers run; Ready as told."""
    status: Object = {
        "phase": "Running",
        "startTime": (pod.get("status") or {}).get("startTime", now),
        "conditions": _conditions(pod, ready, now, "ContainersNotReady"),
        "containerStatuses": _containers(pod, ready=ready, restarts=restarts, state={"running": {"startedAt": now}}),
        **_addresses(host_ip, pod_ip),
    }
    if pod["spec"].get("initContainers"):
        status["initContainerStatuses"] = _inits(pod, now)
    return status


def crashing(pod: Object, *, host_ip: str, pod_ip: str, restarts: int, message: str, now: str) -> Object:
    """The containers end again and again: phase Running, waiting in CrashLoopBackOff."""
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    return {
        "phase": "Running",
        "startTime": (pod.get("status") or {}).get("startTime", now),
        "conditions": _conditions(pod, False, now, "ContainersNotReady"),
        "containerStatuses": [
            {**entry, "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": now}}}
            for entry in _containers(pod, ready=False, restarts=restarts, state=state)
        ],
        **_addresses(host_ip, pod_ip),
    }


def creating(pod: Object, *, host_ip: str, message: str, now: str) -> Object:
    """The sandbox cannot be made: phase Pending, waiting in ContainerCreating."""
    conditions = _conditions(pod, False, now, "ContainersNotReady")
    for entry in conditions:
        if entry["type"] == "PodReadyToStartContainers":
            entry["status"] = "False"
    state = {"waiting": {"reason": "ContainerCreating", "message": message}}
    return {
        "phase": "Pending",
        "startTime": (pod.get("status") or {}).get("startTime", now),
        "conditions": conditions,
        "containerStatuses": [
            {**entry, "containerID": "", "imageID": ""}
            for entry in _containers(pod, ready=False, restarts=0, state=state)
        ],
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
    }


def ended(pod: Object, *, host_ip: str, pod_ip: str, exit_code: int, message: str, now: str) -> Object:
    """The containers ended for good: Succeeded, or Failed with the exit code; `message` is the termination message."""
    state: Object = {
        "terminated": {
            "exitCode": exit_code,
            "reason": "Error" if exit_code else "Completed",
            "startedAt": (pod.get("status") or {}).get("startTime", now),
            "finishedAt": now,
        }
    }
    if message:
        state["terminated"]["message"] = message
    return {
        "phase": "Failed" if exit_code else "Succeeded",
        "startTime": (pod.get("status") or {}).get("startTime", now),
        "conditions": _conditions(pod, False, now, "PodCompleted" if not exit_code else "PodFailed"),
        "containerStatuses": _containers(pod, ready=False, restarts=0, state=state),
        **_addresses(host_ip, pod_ip),
    }


def not_ready(pod: Object, now: str) -> list[Object]:
    """The conditions of a pod whose containers do not run at the moment."""
    return _conditions(pod, False, now, "ContainersNotReady")


def lost(pod: Object, now: str) -> list[Object]:
    """The conditions of a pod whose node is silent: not Ready, all else as it was last reported."""
    kept = [c for c in (pod.get("status") or {}).get("conditions") or () if c["type"] != "Ready"]
    entry = {"type": "Ready", "status": "False", "reason": "NodeNotReady", "lastProbeTime": None}
    return [*kept, {**entry, "lastTransitionTime": now}]
