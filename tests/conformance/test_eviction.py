"""Evictions and budgets: the order of checks, the codes, the bodies, the traces they leave."""

from typing import Any

import pytest

from tests.conformance.harness import Answer, Json, Space

LABELS = {"app": "x"}


def eviction(name: str, **options: Any) -> Json:
    body: Json = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    return body | ({"deleteOptions": options} if options else {})


def evict(space: Space, name: str, query: str = "", **options: Any) -> Answer:
    return space.cluster.post(space.path(f"pods/{name}/eviction") + query, eviction(name, **options))


def running(space: Space, name: str, *, ready: bool = True) -> Json:
    """A pod on a node that does not exist, said to be running."""
    space.pod(name, node="nowhere", labels=LABELS)
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    answer = space.cluster.patch(space.path(f"pods/{name}/status"), {"status": status})
    assert answer.code == 200, answer.text
    return answer.body


def budget(space: Space, name: str, *, allowed: int, healthy: int, desired: int, **spec: Any) -> None:
    """A budget that its controller has dealt with. The simulator has none of its own: the status is written for it."""
    path = space.path(f"policy/v1/poddisruptionbudgets/{name}")
    space.create("policy/v1/poddisruptionbudgets", {"metadata": {"name": name}, "spec": spec})
    status = {"disruptionsAllowed": allowed, "currentHealthy": healthy, "desiredHealthy": desired}
    if space.cluster.simulator is not None:
        answer = space.cluster.patch(f"{path}/status", {"status": {**status, "observedGeneration": 1}})
        assert answer.code == 200, answer.text
    space.cluster.eventually(
        path, lambda body: body["status"].get("observedGeneration") == 1 and status.items() <= body["status"].items()
    )


def test_success_means_started(space: Space) -> None:
    """201, the condition DisruptionTarget, a deletionTimestamp; the pod stays for its kubelet."""
    running(space, "a")
    answer = evict(space, "a")
    assert answer.code == 201
    assert answer.body == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    pod = space.cluster.get(space.path("pods/a")).body
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    condition = next(item for item in pod["status"]["conditions"] if item["type"] == "DisruptionTarget")
    assert (condition["status"], condition["reason"]) == ("True", "EvictionByEvictionAPI")
    assert condition["message"] == "Eviction API: evicting"


def test_condition_comes_before_the_deletion(space: Space) -> None:
    """Two MODIFIED events."""
    version = running(space, "a")["metadata"]["resourceVersion"]
    evict(space, "a")
    events = list(space.cluster.watch(space.path("pods"), version, seconds=1))
    assert [event["type"] for event in events] == ["MODIFIED", "MODIFIED"]
    assert ["deletionTimestamp" in event["object"]["metadata"] for event in events] == [False, True]


def test_again_while_it_terminates(space: Space) -> None:
    """201 as well, also with a budget that allows nothing."""
    running(space, "a")
    assert evict(space, "a").code == 201
    budget(space, "b", allowed=0, healthy=0, desired=1, minAvailable=1, selector={"matchLabels": LABELS})
    assert evict(space, "a").code == 201


def test_grace_of_the_eviction(space: Space) -> None:
    """The delete options are the eviction's."""
    running(space, "a")
    assert evict(space, "a", gracePeriodSeconds=5).code == 201
    assert space.cluster.get(space.path("pods/a")).body["metadata"]["deletionGracePeriodSeconds"] == 5


def test_missing_pod(space: Space) -> None:
    """404 that names the pod."""
    answer = evict(space, "a")
    assert (answer.code, answer.reason, answer.message) == (404, "NotFound", 'pods "a" not found')


def test_other_name_in_the_body(space: Space) -> None:
    """400."""
    running(space, "a")
    answer = space.cluster.post(space.path("pods/a/eviction"), eviction("b"))
    assert (answer.code, answer.message) == (400, "name in URL does not match name in Eviction object")


def test_v1beta1_body(space: Space) -> None:
    """Old clients' bodies are taken."""
    running(space, "a")
    body = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "a"}}
    assert space.cluster.post(space.path("pods/a/eviction"), body).code == 201


def test_get_is_no_eviction(space: Space) -> None:
    """405."""
    running(space, "a")
    assert space.cluster.get(space.path("pods/a/eviction")).code == 405


@pytest.mark.parametrize("precondition", [{"uid": "x"}, {"resourceVersion": "1"}], ids=["uid", "version"])
@pytest.mark.parametrize("phase", ["Pending", "Running"])
def test_preconditions(space: Space, precondition: Json, phase: str) -> None:
    """409 Conflict; the pod is left as it was."""
    before = running(space, "a") if phase == "Running" else space.pod("a", node="nowhere")
    answer = evict(space, "a", preconditions=precondition)
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert "in the precondition" in answer.message
    after = space.cluster.get(space.path("pods/a")).body
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_preconditions_that_hold(space: Space) -> None:
    """The right uid and version evict."""
    meta = running(space, "a")["metadata"]
    wanted = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
    assert evict(space, "a", preconditions=wanted).code == 201


def test_dry_run(space: Space) -> None:
    """201, nothing is changed."""
    version = running(space, "a")["metadata"]["resourceVersion"]
    assert evict(space, "a", "?dryRun=All").code == 201
    assert evict(space, "a", dryRun=["All"]).code == 201
    assert space.cluster.get(space.path("pods/a")).version == version


def test_budget_refuses(space: Space) -> None:
    """429 with the budget's cause and no Retry-After; the pod is untouched."""
    running(space, "a")
    budget(space, "b", allowed=0, healthy=1, desired=1, minAvailable=1, selector={"matchLabels": LABELS})
    for query in ("", "?dryRun=All"):
        answer = evict(space, "a", query)
        assert (answer.code, answer.reason) == (429, "TooManyRequests")
        assert answer.message == "Cannot evict pod as it would violate the pod's disruption budget."
        cause = {
            "reason": "DisruptionBudget",
            "message": "The disruption budget b needs 1 healthy pods and has 1 currently",
        }
        assert answer.body["details"] == {"causes": [cause]}
        assert "retry-after" not in answer.headers
    assert "deletionTimestamp" not in space.cluster.get(space.path("pods/a")).body["metadata"]


def test_budget_is_booked(space: Space) -> None:
    """An allowed disruption is taken off at once and the pod noted, so that a second eviction must wait."""
    running(space, "a")
    running(space, "c")
    budget(space, "b", allowed=1, healthy=2, desired=1, minAvailable=1, selector={"matchLabels": LABELS})
    path = space.path("policy/v1/poddisruptionbudgets")
    version = space.cluster.get(path).version
    assert evict(space, "a").code == 201
    assert evict(space, "c").code == 429
    first = next(iter(space.cluster.watch(path, version, seconds=3)))["object"]["status"]
    assert first["disruptionsAllowed"] == 0
    assert list(first["disruptedPods"]) == ["a"]


def test_empty_selector_matches_every_pod(space: Space) -> None:
    """`{}` does, a missing selector matches none."""
    running(space, "a")
    budget(space, "none", allowed=0, healthy=0, desired=1, minAvailable=1)
    assert evict(space, "a", "?dryRun=All").code == 201
    budget(space, "all", allowed=0, healthy=1, desired=1, minAvailable=1, selector={})
    assert evict(space, "a").code == 429


def test_two_budgets(space: Space) -> None:
    """500 without a reason: no client can help it."""
    running(space, "a")
    for name in ("b", "c"):
        budget(space, name, allowed=1, healthy=1, desired=0, minAvailable=0, selector={"matchLabels": LABELS})
    answer = evict(space, "a")
    assert (answer.code, answer.reason) == (500, "")
    assert answer.message == (
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    )


def test_unready_pod(space: Space) -> None:
    """It may go while the budget's other pods suffice, and its budget is not touched."""
    running(space, "a", ready=False)
    running(space, "c")
    budget(space, "b", allowed=0, healthy=1, desired=1, minAvailable=1, selector={"matchLabels": LABELS})
    assert evict(space, "c", "?dryRun=All").code == 429
    assert evict(space, "a").code == 201


def test_unready_pod_of_an_unhealthy_budget(space: Space) -> None:
    """It may not, unless the policy is AlwaysAllow."""
    running(space, "a", ready=False)
    selector = {"matchLabels": LABELS}
    budget(space, "b", allowed=0, healthy=0, desired=1, minAvailable=1, selector=selector)
    assert evict(space, "a").code == 429
    patch = {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}
    assert space.cluster.patch(space.path("policy/v1/poddisruptionbudgets/b"), patch).code == 200
    assert evict(space, "a").code == 201


def test_pending_pod_ignores_budgets(space: Space) -> None:
    """So does a finished one."""
    space.pod("a", node="nowhere", labels=LABELS)
    budget(space, "b", allowed=0, healthy=0, desired=1, minAvailable=1, selector={"matchLabels": LABELS})
    assert evict(space, "a").code == 201
    running(space, "c")
    assert space.cluster.patch(space.path("pods/c/status"), {"status": {"phase": "Failed"}}).code == 200
    assert evict(space, "c").code == 201
    assert space.cluster.get(space.path("pods/c")).code == 404
