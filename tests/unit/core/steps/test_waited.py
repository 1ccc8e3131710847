"""Why a pod is not Ready, in words: container state, condition, last Event, each once."""

import pytest

from cni_migrate.core.model.objects import Pod
from cni_migrate.core.steps.waited import LONGEST, named, why
from tests.unit.core.builders import a_pod, seen

EVENT = "Unhealthy: Readiness probe failed: connection refused"


@pytest.mark.parametrize(
    ("pod", "event", "said"),
    [
        (None, "", "no pod yet"),
        (a_pod(ready=False), "", "Running, not Ready"),
        (a_pod(ready=False, unready="containers with unready status: [web]"), "",
         "Running, not Ready: containers with unready status: [web]"),
        (a_pod(ready=False, unready="containers with unready status: [web]"), EVENT,
         f"Running, not Ready: containers with unready status: [web]; last event {EVENT}"),
        (a_pod(ready=False, trouble="ImagePullBackOff: no such image", unready="containers with unready status: [web]"),
         "", "ImagePullBackOff: no such image"),
        (a_pod(ready=False, trouble="ContainerCreating: no CNI file"), "FailedCreatePodSandBox: no CNI file",
         "ContainerCreating: no CNI file"),
        (a_pod(ready=False, phase="Pending"), "FailedScheduling: 0/3 nodes are available",
         "Pending, not Ready; last event FailedScheduling: 0/3 nodes are available"),
        (a_pod(deleting=True), "", "terminating"),
        (a_pod(deleting=True, finalizers=("example.com/never",)), "",
         "terminating, kept by its finalizer example.com/never"),
        (a_pod(deleting=True), "FailedKillPod: error killing pod", "terminating; last event FailedKillPod: error killing pod"),
    ],
)  # fmt: skip
def test_why(pod: Pod | None, event: str, said: str) -> None:
    """The container's state outranks the condition, which only repeats it; an Event that says the same is left out."""
    found = seen()
    if pod is not None:
        found.pod_events[pod.uid] = event
    assert why(found, pod) == said


def test_a_whole_log_is_cut() -> None:
    """Some containers print one as their last message."""
    said = named(seen(), a_pod(ready=False, trouble="Error: " + "x" * 1000))
    assert said.endswith("x…")
    assert len(said) == len("pod web-1-a ") + LONGEST
