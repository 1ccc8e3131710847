"""Who is asking, and may they: bearer tokens, per-user rules, and the reviews that tell a client about both.

By default any token, or none, is an administrator. With `tokens` an unknown token is 401: take one out of the mapping
and its holder's credentials have expired. With `rules` everything is denied that no rule of the user allows, with the
message of a real RBAC authorizer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cni_migrate.sim.apiserver import status
from cni_migrate.sim.apiserver.requests import Request
from cni_migrate.sim.client import ApiError, Object

ADMIN = "kubernetes-admin"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a user may do: verbs on resources (`pods`, `pods/eviction`) of groups, everywhere or in one namespace.

    `*` stands for anything, in resources also as `*/status` or `pods/*`.
    """

    verbs: Sequence[str] = ("*",)
    groups: Sequence[str] = ("*",)
    resources: Sequence[str] = ("*",)
    names: Sequence[str] = ()
    namespace: str = ""

    def allows(self, wanted: "Attributes") -> bool:
        """Whether it covers the request."""
        full = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
        return (
            _covers(self.verbs, wanted.verb)
            and _covers(self.groups, wanted.group)
            and _covers(self.resources, full, f"*/{wanted.subresource}")
            and (not self.names or wanted.name in self.names)
            and self.namespace in ("", wanted.namespace)
        )


def _covers(allowed: Sequence[str], *wanted: str) -> bool:
    return "*" in allowed or any(item in allowed for item in wanted)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked of the authorizer."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


@dataclass(slots=True)
class Auth:
    """Authentication and authorization; both mappings may be changed while the server runs."""

    tokens: dict[str, str] | None = None
    rules: dict[str, Sequence[Rule]] | None = None
    groups: Sequence[str] = field(default=("system:masters", "system:authenticated"))
    incomplete: str = "spec.resourceAttributes"
    """The field that an access review lacks which asks for nothing: it has moved."""

    def user_of(self, authorization: str) -> str:
        """The user an Authorization header stands for; 401 when it stands for none."""
        if self.tokens is None:
            return ADMIN
        user = self.tokens.get(authorization.removeprefix("Bearer ").strip())
        if user is None:
            raise status.unauthorized()
        return user

    def allowed(self, user: str, wanted: Attributes) -> bool:
        """Whether the user may."""
        return self.rules is None or any(rule.allows(wanted) for rule in self.rules.get(user, ()))

    def check(self, user: str, request: Request) -> None:
        """403 in the authorizer's words. Discovery, health and reviews of oneself are open to all."""
        if self.rules is None or not request.resource or request.resource.startswith("selfsubject"):
            return
        wanted = Attributes(
            request.verb, request.group, request.resource, request.subresource, request.namespace, request.name
        )
        if not self.allowed(user, wanted):
            raise _denied(user, request)

    def review_access(self, user: str, body: Mapping[str, Any]) -> Object:
        """SelfSubjectAccessReview: the same rules, asked beforehand."""
        spec = body.get("spec") or {}
        attributes = spec.get("resourceAttributes")
        if attributes is None and spec.get("nonResourceAttributes") is None:
            raise _incomplete_review(self.incomplete)
        allowed = True
        if attributes is not None:
            keys = ("verb", "group", "resource", "subresource", "namespace", "name")
            allowed = self.allowed(user, Attributes(**{key: attributes.get(key) or "" for key in keys}))
        answer: Object = {"allowed": allowed}
        if self.rules is not None and allowed:
            answer["reason"] = f'RBAC: allowed by the rules of "{user}"'
        return {
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {},
            "spec": spec,
            "status": answer,
        }

    def review_rules(self, user: str, body: Mapping[str, Any]) -> Object:
        """SelfSubjectRulesReview: the rules that hold in a namespace; 400 without one."""
        namespace = (body.get("spec") or {}).get("namespace", "")
        if not namespace:
            raise status.bad_request("no namespace on request")
        rules = [Rule()] if self.rules is None else self.rules.get(user, ())
        found: list[Object] = [
            {
                "verbs": list(rule.verbs),
                "apiGroups": list(rule.groups),
                "resources": list(rule.resources),
                **({"resourceNames": list(rule.names)} if rule.names else {}),
            }
            for rule in rules
            if rule.namespace in ("", namespace)
        ]
        return {
            "kind": "SelfSubjectRulesReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {},
            "spec": {},
            "status": {"resourceRules": found, "nonResourceRules": [], "incomplete": False},
        }

    def review_self(self, user: str) -> Object:
        """SelfSubjectReview: who am I."""
        return {
            "kind": "SelfSubjectReview",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {},
            "status": {"userInfo": {"username": user, "groups": list(self.groups)}},
        }

    def review_token(self, body: Mapping[str, Any]) -> Object:
        """TokenReview: whose is this token."""
        token = (body.get("spec") or {}).get("token", "")
        user = ADMIN if self.tokens is None else self.tokens.get(token)
        known: Object = {"authenticated": True, "user": {"username": user, "groups": list(self.groups)}}
        return {
            "kind": "TokenReview",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {},
            "spec": body.get("spec") or {},
            "status": known if user else {"user": {}},
        }


def _incomplete_review(field: str) -> ApiError:
    detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
    wrong = status.FieldError("Invalid", field, None, detail)
    cause = {"reason": "FieldValueInvalid", "message": wrong.message, "field": wrong.field}
    message = f'.authorization.k8s.io "" is invalid: {wrong.field}: {wrong.message}'
    return ApiError(422, "Invalid", message, {"group": "authorization.k8s.io", "causes": [cause]})


def _denied(user: str, request: Request) -> ApiError:
    full = f"{request.resource}/{request.subresource}" if request.subresource else request.resource
    scope = f'in the namespace "{request.namespace}"' if request.namespace else "at the cluster scope"
    qualified = f"{request.resource}.{request.group}" if request.group else request.resource
    subject = f'{qualified} "{request.name}"' if request.name else qualified
    message = (
        f'{subject} is forbidden: User "{user}" cannot {request.verb} resource "{full}" in API group '
        f'"{request.group}" {scope}'
    )
    details = {key: value for key, value in (("name", request.name), ("group", request.group)) if value}
    return ApiError(403, "Forbidden", message, details | {"kind": request.resource})
