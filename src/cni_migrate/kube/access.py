"""What this user may do, asked of the API server before anything is touched.

A forbidden trial request would tell the same, but it would be a trial. Many rights are looked for in this user's rules
first, a SelfSubjectRulesReview per namespace; what these do not grant for sure has a SelfSubjectAccessReview of its
own, as authorizers that are no RBAC may know more (kubernetes.io: "Authorization Overview"; `incomplete`).
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from cni_migrate.errors import RightsMissing
from cni_migrate.kube import paths
from cni_migrate.kube.request import Client
from cni_migrate.kube.together import together

_REVIEWS: Final = paths.path("authorization.k8s.io/v1", "selfsubjectaccessreviews")
_RULES: Final = paths.path("authorization.k8s.io/v1", "selfsubjectrulesreviews")
_PARALLEL: Final = 10

MANY: Final = 20
"""With so many questions the rules are asked for first."""

NOWHERE: Final = "-"
"""No namespace can be called so: its rules are those that hold everywhere, as there are no RoleBindings in it."""


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
        self._rules: dict[str, asyncio.Future[list[Mapping[str, Any]]]] = {}

    async def allowed(self, asks: Iterable[Ask | tuple[str, str, str, str, str]]) -> dict[Ask, bool]:
        """Which of these rights this user has.

        Raises:
            ClusterError: the API server would not say.
        """
        wanted = list(dict.fromkeys(Ask(*ask) for ask in asks))
        if len(wanted) > 1 and await self._one(EVERYTHING):
            return dict.fromkeys(wanted, True)
        granted = await self._granted(wanted) if len(wanted) >= MANY else set[Ask]()
        async with together() as group:
            answers = {ask: group.create_task(self._one(ask)) for ask in wanted if ask not in granted}
        return {ask: ask in granted or answers[ask].result() for ask in wanted}

    async def _granted(self, wanted: Iterable[Ask]) -> set[Ask]:
        """Those of the rights that this user's rules grant on all objects."""
        by_namespace: dict[str, list[Ask]] = {}
        for ask in wanted:
            by_namespace.setdefault(ask.namespace or NOWHERE, []).append(ask)
        async with together() as group:
            rules = {namespace: group.create_task(self._rules_in(namespace)) for namespace in by_namespace}
        return {
            ask
            for namespace, asks in by_namespace.items()
            for ask in asks
            if any(_grants(rule, ask) for rule in rules[namespace].result())
        }

    async def _rules_in(self, namespace: str) -> list[Mapping[str, Any]]:
        if (answer := self._rules.get(namespace)) is None:
            answer = self._rules[namespace] = asyncio.ensure_future(self._rules_review(namespace))
        return await asyncio.shield(answer)

    async def _rules_review(self, namespace: str) -> list[Mapping[str, Any]]:
        """This user's rules in a namespace; none where they are not all of the truth."""
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        try:
            async with self._slots:
                answer = await self._client.request("POST", _RULES, body=body)
        except RightsMissing:
            return []
        status = (answer.object.get("status") or {}) if answer.ok else {}
        return [] if status.get("incomplete", True) else list(status.get("resourceRules") or ())

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
            raise answer.refusal(f"asking whether `{ask.verb} {ask.resource}` is allowed")
        return bool((answer.object.get("status") or {}).get("allowed", False))


def _grants(rule: Mapping[str, Any], ask: Ask) -> bool:
    """Whether a rule grants a right on all objects (kubernetes: pkg/apis/rbac/v1, `ResourceMatches`)."""
    resource = f"{ask.resource}/{ask.subresource}" if ask.subresource else ask.resource
    resources = {"*", resource, f"*/{ask.subresource}"} if ask.subresource else {"*", resource}
    return (
        not rule.get("resourceNames")
        and not {"*", ask.verb}.isdisjoint(rule.get("verbs") or ())
        and not {"*", ask.group}.isdisjoint(rule.get("apiGroups") or ())
        and not resources.isdisjoint(rule.get("resources") or ())
    )
