"""From a parsed request to its answer: one method per verb, and the paths that are no resources."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cni_migrate.sim.apiserver import (
    binding,
    deletion,
    discovery,
    eviction,
    jsonvalue,
    podlogs,
    selectors,
    status,
    tables,
    watching,
)
from cni_migrate.sim.apiserver.auth import Auth
from cni_migrate.sim.apiserver.hooks import Fault
from cni_migrate.sim.apiserver.machinery import Machinery, Query, Write
from cni_migrate.sim.apiserver.paging import Page
from cni_migrate.sim.apiserver.requests import Request, is_true
from cni_migrate.sim.apiserver.resources import Resource
from cni_migrate.sim.apiserver.store import Stored, json_head
from cni_migrate.sim.apiserver.wire import JSON, Wire
from cni_migrate.sim.client import ApiError, Object, PatchType

_PATCHES: dict[str, PatchType] = {
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/json-patch+json": "json",
}
_READABLE = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. A stream has been sent already and has none."""

    code: int
    data: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request with its wire and the faults that are to hit its watch."""

    wire: Wire
    request: Request
    query: dict[str, str]
    body: bytes
    faults: list[Fault]

    @property
    def accept(self) -> str:
        """The Accept header."""
        return self.wire.headers.get("accept", "")


def answer_error(error: ApiError) -> Answer:
    """A refusal on the wire, with Retry-After when it says when to come back."""
    after = error.details.get("retryAfterSeconds")
    headers = {"Retry-After": str(after)} if after else {}
    return Answer(error.code, jsonvalue.encoded(status.body(error)), headers=headers)


def _json(value: Any, code: int = 200) -> Answer:
    return Answer(code, jsonvalue.encoded(value))


class Handlers:
    """Answers requests on the machinery."""

    def __init__(self, machinery: Machinery, auth: Auth, dice: random.Random) -> None:
        self._machinery = machinery
        self._auth = auth
        self._dice = dice
        self.logs: podlogs.LogSource | None = None

    async def handle(self, exchange: Exchange) -> Answer | None:
        """The answer, or None when it has been streamed."""
        try:
            return await self._dispatch(exchange)
        except ApiError as error:
            return answer_error(error)

    async def _dispatch(self, exchange: Exchange) -> Answer | None:
        request = exchange.request
        user = self._auth.user_of(exchange.wire.headers.get("authorization", ""))
        if not request.resource:
            return self._path(request)
        self._auth.check(user, request)
        resource = self._machinery.catalog.find(request.group, request.version, request.resource)
        if resource.kind.plural in ("selfsubjectaccessreviews", "selfsubjectreviews", "tokenreviews"):
            return self._review(resource, user, exchange)
        if resource.namespaced and not request.namespace and request.verb not in ("list", "watch"):
            if request.name or request.verb != "create":
                raise status.no_such_path()
            raise status.bad_request("an empty namespace may not be set during creation")
        if not resource.namespaced and request.namespace and resource.key != ("", "namespaces"):
            raise status.no_such_path()
        if request.subresource not in ("", "status"):
            return await self._subresource(resource, exchange)
        if request.subresource and request.subresource not in resource.subresources:
            raise status.no_such_path()
        if request.verb == "watch":
            return await self._watch(resource, exchange)
        verbs: dict[str, Callable[[Resource, Exchange], Answer]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }
        if request.verb not in verbs or (request.verb == "create" and request.name):
            raise status.method_not_allowed()
        return verbs[request.verb](resource, exchange)

    # Paths that are no resources

    def _path(self, request: Request) -> Answer:
        if request.method not in ("GET", "HEAD"):
            raise status.method_not_allowed()
        catalog, path = self._machinery.catalog, request.path
        parts = path.strip("/").split("/")
        if parts[0] in ("livez", "readyz", "healthz"):
            return Answer(200, b"ok", "text/plain; charset=utf-8")
        fixed: dict[str, Callable[[], Object]] = {
            "/version": lambda: discovery.VERSION,
            "/api": lambda: discovery.CORE,
            "/apis": lambda: discovery.group_list(catalog),
            "/openapi/v3": lambda: discovery.openapi_index(catalog),
        }
        found: Object | None = fixed[path]() if path in fixed else None
        if parts[0] == "api" and len(parts) == 2:
            found = discovery.resource_list(catalog, "", parts[1])
        elif parts[0] == "apis" and len(parts) == 2:
            found = discovery.group(catalog, parts[1])
        elif parts[0] == "apis" and len(parts) == 3:
            found = discovery.resource_list(catalog, parts[1], parts[2])
        elif parts[:2] == ["openapi", "v3"] and len(parts) > 3:
            group, version = (parts[3], parts[4]) if len(parts) > 4 else ("", parts[3])
            found = discovery.openapi_document(catalog, group, version)
        if path == "/openapi/v2":
            raise status.not_emulated("OpenAPI v2")
        if found is None:
            raise status.no_such_path()
        return _json(found)

    def _review(self, resource: Resource, user: str, exchange: Exchange) -> Answer:
        if exchange.request.verb != "create":
            raise status.method_not_allowed()
        body = _decoded(exchange.body)
        if resource.kind.plural == "selfsubjectaccessreviews":
            return _json(self._auth.review_access(user, body), 201)
        if resource.kind.plural == "tokenreviews":
            return _json(self._auth.review_token(body), 201)
        return _json(self._auth.review_self(user), 201)

    # Verbs

    def _get(self, resource: Resource, exchange: Exchange) -> Answer:
        request = exchange.request
        stored = self._machinery.get(resource, self._namespace(resource, request) or "", request.name)
        if tables.wanted(exchange.accept):
            return _json(tables.table(resource, [stored.object], self._machinery.store.now(), stored.version))
        return _object(resource, stored)

    def _list(self, resource: Resource, exchange: Exchange) -> Answer:
        query = _query(exchange.query)
        page = self._machinery.list(resource, self._namespace(resource, exchange.request), query)
        if tables.wanted(exchange.accept):
            objects = [item.object for item in page.items]
            table = tables.table(resource, objects, self._machinery.store.now(), page.version)
            if page.token:
                table["metadata"] |= {"continue": page.token}
            return _json(table)
        return Answer(200, _list_json(resource, page))

    def _create(self, resource: Resource, exchange: Exchange) -> Answer:
        body = _body(resource, exchange)
        namespace = self._namespace(resource, exchange.request) or ""
        return _object(resource, self._machinery.create(resource, namespace, body, _write(exchange)), 201)

    def _update(self, resource: Resource, exchange: Exchange) -> Answer:
        request, body = exchange.request, _body(resource, exchange)
        namespace = self._namespace(resource, request) or ""
        stored, created = self._machinery.update(
            resource, namespace, request.name, body, request.subresource, _write(exchange)
        )
        return _object(resource, stored, 201 if created else 200)

    def _patch(self, resource: Resource, exchange: Exchange) -> Answer:
        request = exchange.request
        content_type = exchange.wire.headers.get("content-type", "").partition(";")[0].strip()
        if content_type.startswith("application/apply-patch"):
            raise status.not_emulated("server-side apply")
        if content_type not in _PATCHES:
            raise status.unsupported_media_type(_READABLE)
        patch = _decoded(exchange.body)
        stored = self._machinery.patch(
            resource,
            self._namespace(resource, request) or "",
            request.name,
            patch,
            _PATCHES[content_type],
            request.subresource,
            _write(exchange),
        )
        return _object(resource, stored)

    def _delete(self, resource: Resource, exchange: Exchange) -> Answer:
        request = exchange.request
        if request.subresource:
            raise status.method_not_allowed()
        stored, gone = self._machinery.delete(
            resource,
            self._namespace(resource, request) or "",
            request.name,
            _delete_options(exchange),
            _write(exchange),
        )
        if gone and not resource.echoes_deleted:
            details = {"name": stored.name, "kind": resource.kind.plural, "uid": stored.uid}
            if resource.kind.group:
                details["group"] = resource.kind.group
            return _json(status.success(200, details))
        return _object(resource, stored)

    def _delete_collection(self, resource: Resource, exchange: Exchange) -> Answer:
        namespace = self._namespace(resource, exchange.request)
        found = self._machinery.delete_collection(
            resource, namespace, _query(exchange.query), _delete_options(exchange), _write(exchange)
        )
        return Answer(200, _list_json(resource, Page(found, self._machinery.store.version)))

    async def _watch(self, resource: Resource, exchange: Exchange) -> None:
        query, store = exchange.query, self._machinery.store
        request = exchange.request
        fields = query.get("fieldSelector", "")
        if request.name:
            fields = ",".join(filter(None, (fields, f"metadata.name={request.name}")))
        seconds = query.get("timeoutSeconds", "")
        options = watching.Options(
            self._namespace(resource, request),
            selectors.parse(resource, query.get("labelSelector", ""), fields),
            query.get("resourceVersion", ""),
            is_true(query, "allowWatchBookmarks"),
            float(seconds) if seconds.isdecimal() and int(seconds) else None,
        )
        head = json_head(resource.kind)

        def plain(stored: Stored) -> bytes:
            return head + stored.tail()

        def tabular(stored: Stored) -> bytes:
            return jsonvalue.encoded(tables.table(resource, [stored.object], store.now(), stored.version))

        render = tabular if tables.wanted(exchange.accept) else plain
        watch = watching.Watch(store, resource, options, render, exchange.faults, self._dice)
        first = watch.open()
        await exchange.wire.start(200, JSON)
        async with exchange.wire.when_client_leaves(watch.stop):
            await exchange.wire.chunk(b"".join(first))
            try:
                async for data in watch.lines():
                    await exchange.wire.chunk(data)
            except watching.Cut:
                await exchange.wire.cut()
        await exchange.wire.chunk(b"", more=False)

    # Subresources

    async def _subresource(self, resource: Resource, exchange: Exchange) -> Answer | None:
        request = exchange.request
        name = request.subresource
        if name not in resource.subresources:
            raise status.no_such_path()
        if resource.key == ("", "pods") and name in ("eviction", "binding"):
            if request.method != "POST":
                raise status.method_not_allowed()
            act = eviction.evict if name == "eviction" else binding.bind
            body = _decoded(exchange.body)
            return _json(
                act(self._machinery, request.namespace, request.name, body, _dry_run(exchange.query)), 201
            )
        if resource.key == ("", "pods") and name == "log" and request.method == "GET":
            return await self._log(resource, exchange)
        raise status.not_emulated(f"{resource.qualified}/{name}")

    async def _log(self, resource: Resource, exchange: Exchange) -> Answer | None:
        request, wire = exchange.request, exchange.wire
        pod = self._machinery.get(resource, request.namespace, request.name).object
        options = podlogs.options_of(exchange.query, self._machinery.store.now())
        container = podlogs.container_of(pod, options)
        if not pod["spec"].get("nodeName"):
            return Answer(200, b"", "text/plain")
        if self.logs is None:
            raise podlogs.unreachable(pod, container)
        if not options.follow:
            lines = await self.logs(pod, container, options.previous)
            return Answer(200, podlogs.rendered(lines, options), "text/plain")

        def current() -> Object | None:
            stored = self._machinery.store.get(resource, request.namespace, request.name)
            return stored.object if stored is not None and stored.uid == pod["metadata"]["uid"] else None

        await wire.start(200, "text/plain")
        async for data in podlogs.follow(self.logs, current, container, options):
            await wire.chunk(data)
        await wire.chunk(b"", more=False)
        return None

    def _namespace(self, resource: Resource, request: Request) -> str | None:
        return (request.namespace or None) if resource.namespaced else None


def _object(resource: Resource, stored: Stored, code: int = 200) -> Answer:
    return Answer(code, json_head(resource.kind) + stored.tail())


def _list_json(resource: Resource, page: Page) -> bytes:
    """A list. Items of built-in kinds do not repeat kind and apiVersion, those of custom resources do."""
    meta: Object = {"resourceVersion": str(page.version)}
    if page.token:
        meta["continue"] = page.token
    if page.remaining is not None:
        meta["remainingItemCount"] = page.remaining
    kind = resource.kind
    head = f'{{"kind":"{kind.kind}List","apiVersion":"{kind.api_version}","metadata":'.encode()
    start = json_head(kind) if resource.custom else b"{"
    items = b",".join(start + item.tail() for item in page.items)
    return head + jsonvalue.encoded(meta) + b',"items":[' + items + b"]}"


def _decoded(body: bytes) -> Any:
    if not body:
        return {}
    try:
        return json.loads(body)
    except ValueError as error:
        raise status.bad_request(f"couldn't get version/kind; json parse error: {error}") from None


def _body(resource: Resource, exchange: Exchange) -> Object:
    """The object in the body, of the kind and version the path names."""
    content_type = exchange.wire.headers.get("content-type", JSON).partition(";")[0].strip()
    if content_type == "application/yaml":
        raise status.not_emulated("YAML bodies")
    if content_type not in (JSON, ""):
        accepted = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]
        raise status.unsupported_media_type(accepted)
    body = _decoded(exchange.body)
    if not isinstance(body, dict):
        raise status.bad_request("couldn't get version/kind; json parse error: cannot unmarshal into Go value")
    kind = resource.kind
    api_version, named = body.get("apiVersion") or kind.api_version, body.get("kind") or kind.kind
    if api_version != kind.api_version:
        message = (
            f"the API version in the data ({api_version}) does not match the expected API version ({kind.api_version})"
        )
        raise status.bad_request(message)
    if named != kind.kind:
        message = f'{named} in version "{kind.version}" cannot be handled as a {kind.kind}: converting to {kind.kind}'
        raise status.bad_request(message)
    return body


def _dry_run(query: Mapping[str, str]) -> bool:
    value = query.get("dryRun")
    if value not in (None, "All"):
        wrong = status.FieldError("NotSupported", "dryRun", [value], 'supported values: "All"')
        message = f'Options.meta.k8s.io "" is invalid: {wrong.field}: {wrong.message}'
        raise ApiError(422, "Invalid", message, {"group": "meta.k8s.io", "kind": "Options"})
    return value is not None


def _write(exchange: Exchange) -> Write:
    agent = exchange.wire.headers.get("user-agent", "unknown")
    manager = exchange.query.get("fieldManager") or agent.partition("/")[0]
    return Write(manager, _dry_run(exchange.query))


def _query(query: Mapping[str, str]) -> Query:
    limit = query.get("limit") or "0"
    if not limit.isdecimal():
        raise status.bad_request(f'strconv.ParseInt: parsing "{limit}": invalid syntax')
    return Query(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        limit=int(limit),
        token=query.get("continue", ""),
        version=query.get("resourceVersion", ""),
        match=query.get("resourceVersionMatch", ""),
    )


def _delete_options(exchange: Exchange) -> deletion.Options:
    """From the body, or from the query when there is none."""
    if exchange.body.strip():
        return deletion.options_of(_decoded(exchange.body))
    query, found = exchange.query, dict[str, Any]()
    if text := query.get("gracePeriodSeconds"):
        found["gracePeriodSeconds"] = int(text)
    if text := query.get("propagationPolicy"):
        found["propagationPolicy"] = text
    return deletion.options_of(found)
