"""`sim.client.Client` over HTTPS: lets the simulated world act on a real API server."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import httpx

from cni_migrate.sim.client import ApiError, EventType, Kind, Object, Objects, PatchType

_MEDIA_TYPES: dict[PatchType, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}

_PAUSES = (0.2, 0.5, 1.0, 1.0, 1.0, 1.0)
"""Before a request is sent again that was answered 429, as client-go does: just after a CRD was made, for example,
"storage is (re)initializing". An eviction's 429 is an answer."""


class RealClient:
    """A client of a real API server; an async context manager.

    It writes under the field manager `manager`. Objects of a list get their kind and apiVersion, which the server
    leaves out, so that they read like those of a watch.
    """

    def __init__(self, url: str, context: ssl.SSLContext, manager: str = "simulator") -> None:
        limits = httpx.Limits(max_connections=None)
        headers = {"User-Agent": f"{manager}/1"}
        self._http = httpx.AsyncClient(base_url=url, verify=context, limits=limits, timeout=30, headers=headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        query: dict[str, str] | None = None,
    ) -> Any:
        content = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": content_type}
        answer = await self._http.request(method, path, content=content, headers=headers, params=query)
        for pause in _PAUSES if not path.endswith("/eviction") else ():
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            await asyncio.sleep(pause)
            answer = await self._http.request(method, path, content=content, headers=headers, params=query)
        if answer.is_error:
            raise _error(answer.status_code, answer.text)
        return answer.json()

    async def list(
        self, kind: Kind, *, namespace: str | None = None, label_selector: str = "", field_selector: str = ""
    ) -> tuple[list[Object], str]:
        """All matching objects and the list's resourceVersion."""
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        found = await self._call(
            "GET", _path(kind, namespace), query={key: text for key, text in query.items() if text}
        )
        head = {"kind": kind.kind, "apiVersion": kind.api_version}
        return [{**head, **item} for item in found["items"]], found["metadata"]["resourceVersion"]

    async def watch(
        self, kind: Kind, *, resource_version: str, namespace: str | None = None
    ) -> AsyncIterator[tuple[EventType, Object]]:
        """Changes after `resource_version` until the server ends the watch; 410 when too old."""
        query = {"watch": "true", "resourceVersion": resource_version}
        async with self._http.stream("GET", _path(kind, namespace), params=query, timeout=None) as answer:
            if answer.is_error:
                raise _error(answer.status_code, (await answer.aread()).decode())
            async for line in answer.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(event["object"].get("code", 500), json.dumps(event["object"]))
                yield event["type"], event["object"]

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """One object."""
        found: Object = await self._call("GET", _path(kind, namespace, name))
        return found

    async def create(self, kind: Kind, body: Object, namespace: str | None = None) -> Object:
        """Create, answer what was stored."""
        where = namespace or body.get("metadata", {}).get("namespace")
        made: Object = await self._call("POST", _path(kind, where), _complete(kind, body))
        return made

    async def update(self, kind: Kind, body: Object, namespace: str | None = None, *, subresource: str = "") -> Object:
        """Replace (PUT)."""
        meta = body["metadata"]
        path = _path(kind, namespace or meta.get("namespace"), meta["name"], subresource)
        stored: Object = await self._call("PUT", path, _complete(kind, body))
        return stored

    async def patch(
        self,
        kind: Kind,
        name: str,
        body: Object | Objects,
        namespace: str | None = None,
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
    ) -> Object:
        """Patch the object or its status."""
        path = _path(kind, namespace, name, subresource)
        stored: Object = await self._call("PATCH", path, body, _MEDIA_TYPES[patch_type])
        return stored

    async def delete(
        self, kind: Kind, name: str, namespace: str | None = None, *, grace: int | None = None, uid: str = ""
    ) -> None:
        """Delete, with a grace period in seconds and a uid precondition when given."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if uid:
            options["preconditions"] = {"uid": uid}
        await self._call("DELETE", _path(kind, namespace, name), options)

    async def create_subresource(self, kind: Kind, name: str, namespace: str, subresource: str, body: Object) -> Object:
        """POST to `pods/binding` or `pods/eviction`."""
        answer: Object = await self._call("POST", _path(kind, namespace, name, subresource), body)
        return answer


def _path(kind: Kind, namespace: str | None, name: str = "", subresource: str = "") -> str:
    head = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    where = ("namespaces", namespace) if kind.namespaced and namespace else ()
    return "/".join(filter(None, (head, *where, kind.plural, name, subresource)))


def _complete(kind: Kind, body: Object) -> Object:
    return {"kind": kind.kind, "apiVersion": kind.api_version, **body}


def _error(code: int, text: str) -> ApiError:
    try:
        body = json.loads(text)
        return ApiError(code, body.get("reason", ""), body.get("message", ""), body.get("details"))
    except ValueError:
        return ApiError(code, "", text)
