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


class Reviews:
    """What was asked, and answered: nothing is asked twice, whoever asks, even while the first answer is awaited."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(_PARALLEL)
        self._asked: dict[Ask, asyncio.Future[bool]] = {}

    async def allowed(self, asks: Iterable[Ask | tuple[str, str, str, str, str]]) -> dict[Ask, bool]:
        """Which of these rights this user has.

        Raises:
            ClusterError: the API server would not say.
        """
        wanted = list(dict.fromkeys(Ask(*ask) for ask in asks))
        if len(wanted) > 1 and await self._one(EVERYTHING):
            return dict.fromkeys(wanted, True)
        async with together() as group:
            answers = [group.create_task(self._one(ask)) for ask in wanted]
        return {ask: answer.result() for ask, answer in zip(wanted, answers, strict=True)}

    async def _one(self, ask: Ask) -> bool:
        if (answer := self._asked.get(ask)) is None:
            answer = self._asked[ask] = asyncio.ensure_future(self._review(ask))
        return await asyncio.shield(answer)

    async def _review(self, ask: Ask) -> bool:
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
        async with self._slots:
            answer = await self._client.request("POST", _REVIEWS, body=body)
        if not answer.ok:
            raise ClusterError(f"asking whether `{ask.verb} {ask.resource}` is allowed: {answer.message}")
        return bool((answer.object.get("status") or {}).get("allowed", False))
