"""Refusals in the API's own words: each function makes the `ApiError` whose `Status` a real API server sends.

Reasons, codes and message forms follow `k8s.io/apimachinery/pkg/api/errors` and `.../util/validation/field`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cni_migrate.sim.apiserver import jsonvalue
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.client import ApiError, Object

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
REJECTED = "the server rejected our request due to an error in our request"

Fault = Literal["Required", "Invalid", "Duplicate", "NotSupported", "Forbidden", "TooLong", "NotFound"]
_WORDS: dict[Fault, str] = {
    "Required": "Required value",
    "Invalid": "Invalid value",
    "Duplicate": "Duplicate value",
    "NotSupported": "Unsupported value",
    "Forbidden": "Forbidden",
    "TooLong": "Too long",
    "NotFound": "Not found",
}


_WITHOUT_DETAILS = ("BadRequest", "Expired", "Unauthorized", "NotImplemented", "")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with an object, as a 422's `details.causes` tells it."""

    fault: Fault
    field: str
    value: Any = None
    detail: str = ""

    @property
    def message(self) -> str:
        """The cause's message, without the field."""
        words = [_WORDS[self.fault]]
        if self.fault in ("Invalid", "Duplicate", "NotSupported", "NotFound"):
            words.append(jsonvalue.encoded(self.value).decode())
        if self.detail:
            words.append(self.detail)
        return ": ".join(words)


class ListExpiredError(ApiError):
    """410 for a continue token, with the token that goes on from the present state (`metadata.continue`)."""

    def __init__(self, message: str, continue_token: str) -> None:
        super().__init__(410, "Expired", message)
        self.continue_token = continue_token


def body(error: ApiError) -> Object:
    """The `Status` object of a refusal."""
    metadata = {"continue": error.continue_token} if isinstance(error, ListExpiredError) else {}
    answer: Object = {"kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure"}
    if error.message:
        answer["message"] = error.message
    if error.reason:
        answer["reason"] = error.reason
    if error.details or error.reason not in _WITHOUT_DETAILS:
        answer["details"] = error.details
    answer["code"] = error.code
    return answer


def success(code: int, details: Object | None = None) -> Object:
    """A `Status` that says yes."""
    answer: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details:
        return answer | {"details": details}
    return answer | {"code": code}


def _details(group: str, kind: str, name: str) -> Object:
    details: Object = {"name": name} if name else {}
    if group:
        details["group"] = group
    return details | {"kind": kind}


def _about(resource: Resource, name: str) -> Object:
    return _details(resource.kind.group, resource.kind.plural, name)


def not_found(resource: Resource, name: str) -> ApiError:
    """404: there is no such object."""
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', _about(resource, name))


def no_such_path() -> ApiError:
    """404: nothing is served at this path."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: Resource, name: str) -> ApiError:
    """409 AlreadyExists."""
    return ApiError(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', _about(resource, name))


def uid_conflict(resource: Resource, namespace: str, name: str, wanted: str, found: str) -> ApiError:
    """409: a PUT with another object's uid."""
    key = "/".join(filter(None, ("/registry", resource.kind.plural, namespace, name)))
    return conflict(
        resource,
        name,
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}",
    )


def conflict(resource: Resource, name: str, why: str = MODIFIED) -> ApiError:
    """409 Conflict: the write was made against something else than what is stored."""
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, _about(resource, name))


def delete_conflict(resource: Resource, name: str, why: str) -> ApiError:
    """409 Conflict of a delete precondition; it names the kind where others name the resource."""
    kind, group = resource.kind.kind, resource.kind.group
    title = f"{kind}.{group}" if group else kind
    message = f'Operation cannot be fulfilled on {title} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(group, kind, name))


def invalid(resource: Resource, name: str, errors: Sequence[FieldError]) -> ApiError:
    """422: the object breaks the rules of its kind."""
    kind, group = resource.kind.kind, resource.kind.group
    told = [f"{error.field}: {error.message}" for error in errors]
    said = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    title = f"{kind}.{group}" if group else kind
    causes = [
        {"reason": f"FieldValue{error.fault}", "message": error.message, "field": error.field} for error in errors
    ]
    details = _details(group, kind, name) | {"causes": causes}
    return ApiError(422, "Invalid", f'{title} "{name}" is invalid: {said}', details)


def version_required(resource: Resource, name: str) -> ApiError:
    """422: this kind is never replaced without a resourceVersion. The message names the resource, not the kind."""
    wrong = FieldError("Invalid", "metadata.resourceVersion", 0, "must be specified for an update")
    cause = {"reason": "FieldValueInvalid", "message": wrong.message, "field": wrong.field}
    message = f'{resource.qualified} "{name}" is invalid: {wrong.field}: {wrong.message}'
    return ApiError(422, "Invalid", message, _about(resource, name) | {"causes": [cause]})


def forbidden(resource: Resource, name: str, why: str, causes: Sequence[Object] = ()) -> ApiError:
    """403 about one object."""
    details = _about(resource, name) | ({"causes": list(causes)} if causes else {})
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", details)


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def rejected_patch() -> ApiError:
    """422 without a cause: a JSON patch that cannot be applied, a failing `test` among them."""
    return ApiError(422, "Invalid", REJECTED)


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """415, with what would be read."""
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return ApiError(415, "UnsupportedMediaType", message)


def method_not_allowed() -> ApiError:
    """405."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message)


def expired(wanted: int, oldest: int) -> ApiError:
    """410: the history does not reach back that far."""
    return ApiError(410, "Expired", f"too old resource version: {wanted} ({oldest})")


def too_large_version(wanted: int, current: int) -> ApiError:
    """504: the caller has seen a version that is yet to come."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    return ApiError(504, "Timeout", message, {"causes": [cause], "retryAfterSeconds": 1})


def bad_version(text: str) -> str:
    """What is said about a resourceVersion that is no number."""
    return f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'


def unauthorized() -> ApiError:
    """401."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def not_emulated(what: str) -> ApiError:
    """501: the simulator says so instead of guessing."""
    return ApiError(501, "NotImplemented", f"the simulated API server does not emulate {what}")
