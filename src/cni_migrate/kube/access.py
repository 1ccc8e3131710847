"""What this user may do, asked of the API server before anything is touched.

One SelfSubjectAccessReview per right: a forbidden trial request would tell the same, but it would be a trial.
"""

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple

from cni_migrate.errors import ClusterError
from cni_migrate.kube import paths
from cni_migrate.kube.request import Client
from cni_migrate.kube.together import together

_REVIEWS: Final = paths.path("authorization.k8s.io/v1", "selfsubjectaccessreviews")
_PARALLEL: Final = 10


class Ask(NamedTuple):
    """A right that is asked about; '' as group is the core group, as namespace all namespaces."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""


EVERYTHING: Final = Ask("*", "*", "*")
"""Every verb on everything: asked first, as who administers the cluster is spared hundreds of questions.

RBAC grants it only by a rule that has `*` for all three (kubernetes: plugin/pkg/auth/authorizer/rbac)."""


async def allowed(client: Client, asks: Iterable[Ask | tuple[str, str, str, str, str]]) -> dict[Ask, bool]:
    """Which of these rights this user has.

    Raises:
        ClusterError: the API server would not say.
    """
    slots = asyncio.Semaphore(_PARALLEL)

    async def one(ask: Ask) -> bool:
        attributes = {"verb": ask.verb, "group": ask.group, "resource": ask.resource}
        if ask.subresource:
            attributes["subresource"] = ask.subresource
        if ask.namespace:
            attributes["namespace"] = ask.namespace
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        async with slots:
            answer = await client.request("POST", _REVIEWS, body=body)
        if not answer.ok:
            raise ClusterError(f"asking whether `{ask.verb} {ask.resource}` is allowed: {answer.message}")
        return bool((answer.object.get("status") or {}).get("allowed", False))

    wanted = list(dict.fromkeys(Ask(*ask) for ask in asks))
    if len(wanted) > 1 and await one(EVERYTHING):
        return dict.fromkeys(wanted, True)
    async with together() as group:
        answers = [group.create_task(one(ask)) for ask in wanted]
    return {ask: answer.result() for ask, answer in zip(wanted, answers, strict=True)}
