"""`pods/eviction`: the order of checks, the codes and the side effects of `eviction.go` in kubernetes 1.34.

1. a missing pod is 404; 2. a pod that is Pending, finished or already terminating is deleted whatever the budgets say;
3. more than one matching budget is 500, none deletes, one is asked; 4. the pod gets the condition DisruptionTarget,
then a normal graceful delete. Success only says that the deletion has started.
"""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cni_migrate.sim.apiserver import deletion, selectors, status
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.store import Stored
from cni_migrate.sim.client import ApiError, Object

if TYPE_CHECKING:
    from cni_migrate.sim.apiserver.machinery import Machinery

MAX_DISRUPTED = 2000
RETRIES = 20
RETRY_EVERY = 0.5
_TWO_BUDGETS = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."


def evict(machinery: "Machinery", namespace: str, name: str, body: Any, dry_run: bool) -> Object:
    """Evict a pod, or refuse. Answers the `Status` of a 201."""
    if not isinstance(body, dict) or body.get("kind", "Eviction") != "Eviction":
        raise status.bad_request("not a Eviction object")
    if (body.get("metadata") or {}).get("name") != name:
        raise status.bad_request("name in URL does not match name in Eviction object")
    resource = machinery.catalog.find("", "v1", "pods")
    options = deletion.options_of(body.get("deleteOptions") or {})
    if options.dry_run and not dry_run:
        dry_run = True
    pod = machinery.get(resource, namespace, name)
    if not _ignores_budgets(pod.object):
        _ask_budget(machinery, pod, dry_run)
    if not dry_run:
        deletion.check_preconditions(resource, pod, options)
        marked = _mark(machinery, resource, pod)
        if options.version:
            options = replace(options, version=marked.object["metadata"]["resourceVersion"])
        pod = marked
    deletion.delete(machinery, resource, pod, options, dry_run)
    return status.success(201)


async def evict_with_retries(machinery: "Machinery", namespace: str, name: str, body: Any, dry_run: bool) -> Object:
    """Evict over HTTP: a conflict about a pod that no budget guards is tried again for ten seconds, then told.

    That is what the real server does unless the client named a resourceVersion; a wrong uid waits in vain.
    """
    for _ in range(RETRIES - 1):
        try:
            return evict(machinery, namespace, name, body, dry_run)
        except ApiError as error:
            if error.code != 409 or not _retries(machinery, namespace, name, body):
                raise
        await asyncio.sleep(RETRY_EVERY)
    return evict(machinery, namespace, name, body, dry_run)


def _retries(machinery: "Machinery", namespace: str, name: str, body: Any) -> bool:
    pod = machinery.store.get(machinery.catalog.find("", "v1", "pods"), namespace, name)
    preconditions = (body.get("deleteOptions") or {}).get("preconditions") or {}
    return pod is not None and _ignores_budgets(pod.object) and not preconditions.get("resourceVersion")


def _ignores_budgets(pod: Object) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or "deletionTimestamp" in pod["metadata"]


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def _ask_budget(machinery: "Machinery", pod: Stored, dry_run: bool) -> None:
    """Pass when the pod's budget allows the disruption, and book it there."""
    resource = machinery.catalog.find("policy", "v1", "poddisruptionbudgets")
    budgets = [
        budget
        for budget in machinery.store.select(resource, pod.namespace)
        if (selector := selectors.label_selector(budget.object.get("spec", {}).get("selector"))) is not None
        and selector.matches(pod.object)
    ]
    if len(budgets) > 1:
        raise ApiError(500, "", _TWO_BUDGETS)
    if not budgets:
        return
    budget = budgets[0]
    state = budget.object.get("status") or {}
    if not _ready(pod.object):
        if budget.object["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
            return
        if state.get("currentHealthy", 0) >= state.get("desiredHealthy", 0) > 0:
            return
    _check_and_decrement(machinery, resource, budget, pod.name, dry_run)


def _check_and_decrement(
    machinery: "Machinery", resource: Resource, budget: Stored, pod_name: str, dry_run: bool
) -> None:
    state: Object = dict(budget.object.get("status") or {})
    if state.get("observedGeneration", 0) < budget.object["metadata"].get("generation", 0):
        raise _too_many(f"The disruption budget {budget.name} is still being processed by the server.", 10)
    allowed = state.get("disruptionsAllowed", 0)
    singular = replace(resource, kind=replace(resource.kind, plural="poddisruptionbudget"))
    if allowed < 0:
        raise status.forbidden(singular, budget.name, "pdb disruptions allowed is negative")
    if len(state.get("disruptedPods") or {}) > MAX_DISRUPTED:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise status.forbidden(singular, budget.name, why)
    if allowed == 0:
        needs, has = state.get("desiredHealthy", 0), state.get("currentHealthy", 0)
        raise _too_many(f"The disruption budget {budget.name} needs {needs} healthy pods and has {has} currently", 0)
    if dry_run:
        return
    state["disruptionsAllowed"] = allowed - 1
    if allowed == 1:
        state["conditions"] = _not_allowed(machinery, budget, state.get("conditions") or [])
    state["disruptedPods"] = {**(state.get("disruptedPods") or {}), pod_name: machinery.store.timestamp()}
    machinery.write(resource, budget, "kube-apiserver", "status", status=state)


def _not_allowed(machinery: "Machinery", budget: Stored, conditions: list[Object]) -> list[Object]:
    condition = {
        "type": "DisruptionAllowed",
        "status": "False",
        "observedGeneration": budget.object["metadata"].get("generation", 0),
        "lastTransitionTime": machinery.store.timestamp(),
        "reason": "InsufficientPods",
        "message": "",
    }
    return [*(item for item in conditions if item.get("type") != "DisruptionAllowed"), condition]


def _too_many(cause: str, retry_after: int) -> ApiError:
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    if retry_after:
        details["retryAfterSeconds"] = retry_after
    return ApiError(429, "TooManyRequests", _VIOLATES, details)


def _mark(machinery: "Machinery", resource: Resource, pod: Stored) -> Stored:
    """Add the condition DisruptionTarget: a MODIFIED event before the deletion starts."""
    state: Object = dict(pod.object.get("status") or {})
    conditions = state.get("conditions") or []
    had = next((item for item in conditions if item.get("type") == "DisruptionTarget"), None)
    if had is not None and had.get("status") == "True" and had.get("reason") == "EvictionByEvictionAPI":
        return pod
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": machinery.store.timestamp(),
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    state["conditions"] = [*(item for item in conditions if item.get("type") != "DisruptionTarget"), condition]
    return machinery.write(resource, pod, "kube-apiserver", "status", status=state)
