"""Why a pod is not Ready, or not gone: in the words of its kubelet, the scheduler or whoever else acts on it."""

from cni_migrate.core.model.objects import Pod, Snapshot

LONGEST = 300
"""Characters of what one of them says; some print a whole log."""


def why(seen: Snapshot, pod: Pod | None) -> str:
    """What is known of why a pod is not Ready: container state, or condition, and its last Event where one was read."""
    if pod is None:
        return "no pod yet"
    if pod.deleting:
        kept = f", kept by its finalizer {', '.join(pod.finalizers)}" if pod.finalizers else ""
        return f"terminating{kept}{_event(seen, pod, '')}"
    said = pod.trouble or (f"{pod.phase}, not Ready: {pod.unready}" if pod.unready else f"{pod.phase}, not Ready")
    return f"{_short(said)}{_event(seen, pod, said)}"


def named(seen: Snapshot, pod: Pod | None) -> str:
    """The same behind the pod's name."""
    return f"pod {pod.name} {why(seen, pod)}" if pod is not None else why(seen, pod)


def _event(seen: Snapshot, pod: Pod, said: str) -> str:
    event = seen.pod_events.get(pod.uid, "")
    _, _, message = event.partition(": ")
    return f"; last event {_short(event)}" if event and message not in said else ""


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
